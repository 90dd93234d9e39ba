{{/* What all pods have in common. */}}

{{- define "emet.podMetadata" -}}
{{- $values := index .root.Values .role -}}
labels:
  {{- include "emet.podLabels" . | nindent 2 }}
  {{- with $values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  # A changed setting or secret of the chart restarts the pods that read it.
  checksum/config: {{ include "emet.settings" .root | sha256sum }}
  {{- with $values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* Everything of a pod's spec but containers and volumes. */}}
{{- define "emet.podSpec" -}}
{{- $values := index .root.Values .role -}}
serviceAccountName: {{ include "emet.name" . }}
# Nothing of Emet talks to the Kubernetes API.
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
securityContext:
  {{- include "emet.podSecurity" 65532 | nindent 2 }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if ne .role "server" }}
topologySpreadConstraints:
  {{- if $values.topologySpreadConstraints }}
  {{- toYaml $values.topologySpreadConstraints | nindent 2 }}
  {{- else }}
  {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - topologyKey: {{ $key }}
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "emet.selector" $ | nindent 8 }}
  {{- end }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Takes the user's and group's id. */}}
{{- define "emet.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "emet.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Head of a role's container: image, command, rights, resources. */}}
{{- define "emet.container" -}}
{{- $values := index .root.Values .role -}}
name: {{ kebabcase .role }}
image: {{ include "emet.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
args: [{{ kebabcase .role }}]
securityContext:
  {{- include "emet.containerSecurity" . | nindent 2 }}
resources:
  {{- toYaml $values.resources | nindent 2 }}
{{- end -}}

{{/*
Startup: up to five minutes for opening stores and joining the cluster.
Readiness: what the role depends on answers (an executor holds its lease and reaches the stores, a shard manager has a
leader, a worker service knows executors). Liveness: only whether the process still answers, which version and metrics
do whatever else is away; a missing store must not restart pods, and a node that is recovering must not be killed.
*/}}
{{- define "emet.probes" -}}
{{- $api := eq .role (include "emet.apiRole" .root) -}}
{{- $alive := ternary "{path: /version, port: http}" "{path: /metrics, port: metrics}" $api -}}
startupProbe:
  httpGet: {{ $alive }}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 150
readinessProbe:
  httpGet: {path: /healthcheck, port: {{ ternary "http" "metrics" $api }}}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
livenessProbe:
  httpGet: {{ $alive }}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end -}}

{{/* Lets the endpoints' change reach all proxies before the process is told to stop. */}}
{{- define "emet.leaveServiceFirst" -}}
lifecycle:
  preStop:
    sleep: {seconds: 5}
{{- end -}}

{{/*
How long requests under way may take to end: all of the grace period but `reserve` seconds, for what comes before
(preStop) and after it (closing).
*/}}
{{- define "emet.drainEnv" -}}
{{- $values := index .root.Values .role -}}
- name: EMET_DRAIN_WITHIN
  value: {{ sub $values.terminationGracePeriodSeconds .reserve | quote }}
{{- end -}}

{{- define "emet.volumeClaim" -}}
metadata:
  name: data
  {{- with .annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  accessModes: [ReadWriteOnce]
  {{- with .storageClass }}
  storageClassName: {{ . }}
  {{- end }}
  resources:
    requests:
      storage: {{ .size }}
{{- end -}}
