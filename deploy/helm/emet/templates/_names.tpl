{{/*
Names and labels. A role is called by its key in the values (workerService) and, in names and labels, by the same
in kebab case (worker-service). Helpers of a role take (dict "root" $ "role" "workerService").
*/}}

{{- define "emet.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The roles of Emet that the profile installs, as a JSON list. */}}
{{- define "emet.roles" -}}
{{- if eq .Values.profile "minimal" -}}
["server"]
{{- else -}}
["shardManager", "componentService", "workerExecutor", "workerService"]
{{- end -}}
{{- end -}}

{{/* The role that serves the REST API. */}}
{{- define "emet.apiRole" -}}
{{- if eq .Values.profile "minimal" -}}server{{- else -}}workerService{{- end -}}
{{- end -}}

{{- define "emet.name" -}}
{{- printf "%s-%s" (include "emet.fullname" .root) (kebabcase .role) -}}
{{- end -}}

{{/* DNS name of a role's Service, as seen from everywhere in the cluster. */}}
{{- define "emet.host" -}}
{{- printf "%s.%s.svc.%s" (include "emet.name" .) .root.Release.Namespace .root.Values.clusterDomain -}}
{{- end -}}

{{- define "emet.commonLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/part-of: emet
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels that select a role's pods: never changed, selectors are immutable. */}}
{{- define "emet.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ kebabcase .role }}
{{- end -}}

{{/* Labels of pods: without versions, so that a new chart alone restarts nothing. */}}
{{- define "emet.podLabels" -}}
{{ include "emet.selector" . }}
app.kubernetes.io/part-of: emet
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "emet.labels" -}}
{{ include "emet.commonLabels" .root }}
app.kubernetes.io/component: {{ kebabcase .role }}
{{- end -}}

{{- define "emet.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{/*
Refuses an upgrade over more than one minor version before anything is changed: the roles would refuse each other in the
middle of it. What is installed is known from a label; renderings without a cluster know nothing, and refuse nothing.
*/}}
{{- define "emet.checkUpgrade" -}}
{{- $installed := lookup "v1" "ConfigMap" .Release.Namespace (include "emet.fullname" .) | default dict -}}
{{- $old := dig "metadata" "labels" "app.kubernetes.io/version" "" $installed -}}
{{- if and $old (ne .Values.profile "minimal") -}}
{{- $from := semver $old -}}
{{- $to := semver .Chart.AppVersion -}}
{{- $minors := sub (int $to.Minor) (int $from.Minor) | int -}}
{{- if or (ne $from.Major $to.Major) (gt $minors 1) (lt $minors -1) -}}
{{- fail (printf "from %s to %s is more than one minor version: go by way of those between (docs/operations/kubernetes.md)" $old .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Names of secrets: the user's own, or the chart's. */}}
{{- define "emet.peerSecretName" -}}
{{- default (printf "%s-peers" (include "emet.fullname" .)) .Values.peers.secret.existingSecret -}}
{{- end -}}
{{- define "emet.tokenSecretName" -}}
{{- default (printf "%s-token" (include "emet.fullname" .)) .Values.auth.existingSecret -}}
{{- end -}}
{{- define "emet.devSecretName" -}}
{{- printf "%s-dev-stores" (include "emet.fullname" .) -}}
{{- end -}}
