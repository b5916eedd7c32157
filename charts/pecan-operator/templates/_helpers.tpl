{{- define "pecan-operator.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "pecan-operator.fullname" -}}
{{- $name := include "pecan-operator.name" . }}
{{- $both := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- .Values.fullnameOverride | default $both | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "pecan-operator.serviceAccountName" -}}
{{- $made := ternary (include "pecan-operator.fullname" .) "default" .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default $made }}
{{- end }}

{{- /* Cluster-wide names carry the namespace, so that two releases of one name in two namespaces do not meet. */}}
{{- define "pecan-operator.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "pecan-operator.fullname" .) | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "pecan-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "pecan-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "pecan-operator.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "pecan-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "pecan-operator.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}

{{- define "pecan-operator.managesCrds" -}}
{{- if and .Values.crds.manage (not .Values.watchNamespaces) }}true{{ end }}
{{- end }}

{{- define "pecan-operator.podSecurityContext" -}}
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "pecan-operator.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* What the operator does in the namespaces it works in. */}}
{{- define "pecan-operator.rules" -}}
# Never written but for their status: no finalizers, no annotations.
- apiGroups: [pecanproject.org]
  resources: [pecanplatforms, pecanmodels, pecanworkflows]
  verbs: [get, list, watch]
- apiGroups: [pecanproject.org]
  resources: [pecanplatforms/status, pecanmodels/status, pecanworkflows/status]
  verbs: [get, patch]
- apiGroups: [apps]
  resources: [deployments, statefulsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services, configmaps, secrets]
  verbs: [get, list, create, patch, delete]
# Not to be deleted: volumes go with their owner or not at all.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, create, patch]
# Patched with a deletion cost before workers are scaled down.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch]
- apiGroups: [""]
  resources: [events]
  verbs: [list, create, patch]
{{- end }}

{{- /* To apply our CRDs. RBAC cannot limit `create` to a name. */}}
{{- define "pecan-operator.crdRules" -}}
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  verbs: [create]
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  resourceNames: [pecanplatforms.pecanproject.org, pecanmodels.pecanproject.org, pecanworkflows.pecanproject.org]
  verbs: [get, patch]
{{- end }}
