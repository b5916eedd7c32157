package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

// directories provisions every volume as a directory of this machine, so any access mode can be given: there is
// only one node. Its volumes are not limited in size.
type directories struct {
	root string
	node string
}

// Provision makes a directory that every user may write to: hostPath volumes get no fsGroup from the kubelet.
func (d directories) Provision(
	_ context.Context, options controller.ProvisionOptions,
) (*core.PersistentVolume, controller.ProvisioningState, error) {
	path := filepath.Join(d.root, options.PVName)
	if err := os.MkdirAll(path, 0o777); err != nil {
		return nil, controller.ProvisioningFinished, fmt.Errorf("make volume directory: %w", err)
	}
	if err := os.Chmod(path, 0o777); err != nil {
		return nil, controller.ProvisioningFinished, fmt.Errorf("open volume directory to all users: %w", err)
	}
	mustBeDirectory := core.HostPathDirectory
	return &core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{Name: options.PVName},
		Spec: core.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *options.StorageClass.ReclaimPolicy,
			AccessModes:                   options.PVC.Spec.AccessModes,
			MountOptions:                  options.StorageClass.MountOptions,
			Capacity:                      core.ResourceList{core.ResourceStorage: options.PVC.Spec.Resources.Requests[core.ResourceStorage]},
			PersistentVolumeSource: core.PersistentVolumeSource{
				HostPath: &core.HostPathVolumeSource{Path: path, Type: &mustBeDirectory},
			},
			NodeAffinity: &core.VolumeNodeAffinity{Required: &core.NodeSelector{NodeSelectorTerms: []core.NodeSelectorTerm{{
				MatchExpressions: []core.NodeSelectorRequirement{
					{Key: core.LabelHostname, Operator: core.NodeSelectorOpIn, Values: []string{d.node}},
				},
			}}}},
		},
	}, controller.ProvisioningFinished, nil
}

// Delete removes the directory, which is looked for by the volume's name only: a volume object that was edited by
// hand must not be able to point at anything else on the machine.
func (d directories) Delete(_ context.Context, volume *core.PersistentVolume) error {
	if err := os.RemoveAll(filepath.Join(d.root, filepath.Base(volume.Name))); err != nil {
		return fmt.Errorf("remove volume directory: %w", err)
	}
	return nil
}

func provisioner() {
	kubeconfig := flag.String("kubeconfig", "", "kubeconfig file with the rights of system:persistent-volume-provisioner")
	name := flag.String("name", "", "provisioner named by the storage class")
	root := flag.String("root", "", "directory below which the volumes are made")
	node := flag.String("node", "", "value of the node's label kubernetes.io/hostname")
	klog.InitFlags(nil)
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		klog.ErrorS(err, "Cannot read the kubeconfig", "file", *kubeconfig)
		os.Exit(1)
	}
	controller.NewProvisionController(
		ctx,
		kubernetes.NewForConfigOrDie(config),
		*name,
		directories{root: *root, node: *node},
		controller.LeaderElection(false),
	).Run(ctx)
}
