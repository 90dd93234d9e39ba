{{/*
The environment of every role: the one place of Emet's option names. deploy/helm/tests checks each of them against
`emet ROLE --help`.
*/}}

{{/* Settings without secrets, the data of the ConfigMap; every role reads all of them that concern it. */}}
{{- define "emet.settings" -}}
RUST_LOG: {{ .Values.log.level | quote }}
EMET_LOG_FORMAT: {{ .Values.log.format | quote }}
{{- with .Values.telemetry.otlpEndpoint }}
EMET_OTLP_ENDPOINT: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* Where the logs and settings of a pod come from. */}}
{{- define "emet.envFrom" -}}
envFrom:
  - configMapRef:
      name: {{ include "emet.fullname" .root }}
{{- end -}}

{{- define "emet.guestNetworkEnv" -}}
{{- with .Values.guestNetwork.deny }}
- name: EMET_NETWORK_DENY
  value: {{ join "," . | quote }}
{{- end }}
{{- with .Values.guestNetwork.allow }}
- name: EMET_NETWORK_ALLOW
  value: {{ join "," . | quote }}
{{- end }}
{{- end -}}

{{/* Who may use the REST API, and metrics apart from it: environment, mounts and volumes. */}}
{{- define "emet.accessEnv" -}}
- name: EMET_METRICS_LISTEN
  value: 0.0.0.0:8080
- name: EMET_AUTH
  value: {{ ternary "tokens" "off" .Values.auth.enabled | quote }}
{{- if .Values.auth.enabled }}
- name: EMET_BOOTSTRAP_TOKEN_FILE
  value: /etc/emet/token/{{ .Values.auth.secretKey }}
{{- end }}
{{- end -}}

{{- define "emet.accessMounts" -}}
{{- if .Values.auth.enabled -}}
- {name: token, mountPath: /etc/emet/token, readOnly: true}
{{- end }}
{{- end -}}

{{- define "emet.accessVolumes" -}}
{{- if .Values.auth.enabled -}}
- name: token
  secret:
    secretName: {{ include "emet.tokenSecretName" . }}
    defaultMode: 0440
{{- end }}
{{- end -}}

{{/* Credentials between the services: environment, mounts and volumes. */}}
{{- define "emet.peerEnv" -}}
- name: EMET_PEER_SECRET_FILE
  value: /etc/emet/peer-secret/{{ .Values.peers.secret.key }}
{{- if .Values.peers.tls.existingSecret }}
- name: EMET_PEER_CERT_FILE
  value: /etc/emet/peer-tls/tls.crt
- name: EMET_PEER_KEY_FILE
  value: /etc/emet/peer-tls/tls.key
- name: EMET_PEER_CA_FILE
  value: /etc/emet/peer-tls/ca.crt
- name: EMET_PEER_TLS_NAME
  value: {{ .Values.peers.tls.name }}
{{- end }}
{{- end -}}

{{- define "emet.peerMounts" -}}
- {name: peer-secret, mountPath: /etc/emet/peer-secret, readOnly: true}
{{- if .Values.peers.tls.existingSecret }}
- {name: peer-tls, mountPath: /etc/emet/peer-tls, readOnly: true}
{{- end }}
{{- end -}}

{{- define "emet.peerVolumes" -}}
- name: peer-secret
  secret:
    secretName: {{ include "emet.peerSecretName" . }}
    defaultMode: 0440
{{- with .Values.peers.tls.existingSecret }}
- name: peer-tls
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- end -}}

{{/* http, or https where mutual TLS is on. */}}
{{- define "emet.peerScheme" -}}
http{{ if .Values.peers.tls.existingSecret }}s{{ end }}
{{- end -}}

{{/* Where logs and keys are; a worker service reads the tokens of the API there. */}}
{{- define "emet.redisEnv" -}}
{{- $dev := eq .Values.profile "dev" -}}
- name: EMET_REDIS
  {{- if $dev }}
  valueFrom:
    secretKeyRef:
      name: {{ include "emet.devSecretName" . }}
      key: redis-url
  {{- else if .Values.redis.existingSecret }}
  valueFrom:
    secretKeyRef:
      name: {{ .Values.redis.existingSecret }}
      key: {{ .Values.redis.secretKey }}
  {{- else }}
  value: {{ required "redis.url or redis.existingSecret is needed in profile cluster" .Values.redis.url | quote }}
  {{- end }}
{{- with .Values.redis.prefix }}
- name: EMET_REDIS_PREFIX
  value: {{ . | quote }}
{{- end }}
- name: EMET_REQUIRE_DURABLE
  value: {{ .Values.redis.requireDurable | quote }}
{{- if .Values.redis.tls.existingSecret }}
- name: EMET_REDIS_CA_FILE
  value: /etc/emet/redis-tls/ca.crt
{{- if .Values.redis.tls.clientCertificate }}
- name: EMET_REDIS_CERT_FILE
  value: /etc/emet/redis-tls/tls.crt
- name: EMET_REDIS_KEY_FILE
  value: /etc/emet/redis-tls/tls.key
{{- end }}
{{- end }}
{{- end -}}

{{- define "emet.redisMounts" -}}
{{- if .Values.redis.tls.existingSecret }}
- {name: redis-tls, mountPath: /etc/emet/redis-tls, readOnly: true}
{{- end }}
{{- end -}}

{{- define "emet.redisVolumes" -}}
{{- with .Values.redis.tls.existingSecret }}
- name: redis-tls
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- end -}}

{{- define "emet.storesEnv" -}}
{{- $dev := eq .Values.profile "dev" -}}
{{ include "emet.redisEnv" . }}
- name: EMET_S3_BUCKET
  value: {{ if $dev }}emet{{ else }}{{ required "s3.bucket is needed in profile cluster" .Values.s3.bucket | quote }}{{ end }}
- name: EMET_S3_REGION
  value: {{ .Values.s3.region | quote }}
{{- $endpoint := ternary (printf "http://%s:7070" (include "emet.host" (dict "root" . "role" "s3"))) .Values.s3.endpoint $dev }}
{{- with $endpoint }}
- name: EMET_S3_ENDPOINT
  value: {{ . | quote }}
- name: EMET_S3_PATH_STYLE
  value: "true"
{{- end }}
{{- $secret := ternary (include "emet.devSecretName" .) .Values.s3.existingSecret $dev }}
{{- if $secret }}
- name: AWS_ACCESS_KEY_ID
  valueFrom:
    secretKeyRef:
      name: {{ $secret }}
      key: {{ ternary "access-key-id" .Values.s3.accessKeyIdKey $dev }}
- name: AWS_SECRET_ACCESS_KEY
  valueFrom:
    secretKeyRef:
      name: {{ $secret }}
      key: {{ ternary "secret-access-key" .Values.s3.secretAccessKeyKey $dev }}
{{- end }}
{{- end -}}

{{/* DNS names of the shard managers, by ordinal. */}}
{{- define "emet.shardManagerHosts" -}}
{{- $role := dict "root" . "role" "shardManager" -}}
{{- $hosts := list -}}
{{- range $i := until (int .Values.shardManager.replicas) -}}
{{- $hosts = append $hosts (printf "%s-%d.%s" (include "emet.name" $role) (add1 $i) (include "emet.host" $role)) -}}
{{- end -}}
{{- $hosts | toJson -}}
{{- end -}}

{{/* 1=http://…-1…:9002,2=… */}}
{{- define "emet.shardManagerPeers" -}}
{{- $peers := list -}}
{{- range $i, $host := include "emet.shardManagerHosts" . | fromJsonArray -}}
{{- $peers = append $peers (printf "%d=%s://%s:9002" (add1 $i) (include "emet.peerScheme" $) $host) -}}
{{- end -}}
{{- join "," $peers -}}
{{- end -}}

{{- define "emet.shardManagerUrls" -}}
{{- $urls := list -}}
{{- range include "emet.shardManagerHosts" . | fromJsonArray -}}
{{- $urls = append $urls (printf "%s://%s:9002" (include "emet.peerScheme" $) .) -}}
{{- end -}}
{{- join "," $urls -}}
{{- end -}}

{{- define "emet.componentServiceUrl" -}}
{{- $host := include "emet.host" (dict "root" . "role" "componentService") -}}
{{- printf "%s://%s:9090" (include "emet.peerScheme" .) $host -}}
{{- end -}}
