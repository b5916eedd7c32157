"""A real single-node Kubernetes in namespaces of its own, for machines that can reach no container registry."""
