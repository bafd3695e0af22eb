{{- define "headwater.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{/* Labels that select: dict root, component */}}
{{- define "headwater.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "headwater.labels" -}}
{{ include "headwater.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "headwater.image" -}}
{{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end -}}

{{/* The Secret of the variables, or nothing */}}
{{- define "headwater.secret" -}}
{{- if .Values.secrets.existingSecret -}}
{{ .Values.secrets.existingSecret }}
{{- else if .Values.secrets.values -}}
{{ printf "%s-secrets" (include "headwater.fullname" .) }}
{{- end -}}
{{- end -}}

{{/* Enabled destinations, by name, as YAML */}}
{{- define "headwater.destinations" -}}
{{- $found := dict -}}
{{- range $name, $one := .Values.config.destinations -}}
{{- if ne (toString $one.enabled) "false" -}}
{{- if and (eq $one.type "clickhouse") (not $one.url) -}}
{{- fail (printf "config.destinations.%s has no url: the engine inside Headwater keeps its tables on one machine's disk; on Kubernetes name a ClickHouse server" $name) -}}
{{- end -}}
{{- $_ := set $found $name $one -}}
{{- end -}}
{{- end -}}
{{ toYaml $found }}
{{- end -}}

{{- define "headwater.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "headwater.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Where secrets and files come from: dict root, secret */}}
{{- define "headwater.container" -}}
image: {{ include "headwater.image" .root }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  {{- include "headwater.containerSecurity" . | nindent 2 }}
{{- with .secret }}
envFrom:
  - secretRef: {name: {{ . }}}
{{- end }}
volumeMounts:
  - {name: workspace, mountPath: /etc/headwater, readOnly: true}
  - {name: data, mountPath: /data}
  - {name: tmp, mountPath: /tmp}
  {{- with .root.Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* The pod of a stage: dict root, component, values, args, resources, data (a volume source, or nothing for a claim) */}}
{{- define "headwater.pod" -}}
metadata:
  labels:
    {{- include "headwater.labels" . | nindent 4 }}
  annotations:
    headwater/log-checksum: {{ .root.Values.config.log | toJson | sha256sum }}
    headwater/secrets-checksum: {{ .root.Values.secrets | toJson | sha256sum }}
    {{- with .values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: {{ .values.terminationGracePeriodSeconds }}
  securityContext:
    {{- include "headwater.podSecurity" . | nindent 4 }}
  {{- with .root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  containers:
    - name: headwater
      args: {{ toJson .args }}
      {{- include "headwater.container" (dict "root" .root "secret" (include "headwater.secret" .root)) | nindent 6 }}
      ports:
        - {name: http, containerPort: 8080}
      startupProbe:
        httpGet: {path: /health, port: http}
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /health, port: http}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 3
      readinessProbe:
        httpGet: {path: /ready, port: http}
        periodSeconds: 5
        timeoutSeconds: 3
        failureThreshold: 2
      {{- if eq .component "collector" }}
      # the Service forgets the pod first, then the collector takes no more
      lifecycle: {preStop: {exec: {command: [sleep, "5"]}}}
      {{- end }}
      resources:
        {{- toYaml .resources | nindent 8 }}
  volumes:
    - name: workspace
      configMap: {name: {{ include "headwater.fullname" .root }}}
    - name: tmp
      emptyDir: {sizeLimit: 64Mi}
    {{- if .data }}
    - name: data
      {{- toYaml .data | nindent 6 }}
    {{- end }}
    {{- with .root.Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "headwater.selector" . | nindent 10 }}
  {{- with .values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* The headless Service of a StatefulSet, which Prometheus finds the pods by: dict root, component, name */}}
{{- define "headwater.headless" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ .name }}
  labels:
    {{- include "headwater.labels" . | nindent 4 }}
    headwater/scrape: "true"
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector:
    {{- include "headwater.selector" . | nindent 4 }}
  ports:
    - {name: http, port: 8080, targetPort: http}
{{- end -}}

{{/* A PodDisruptionBudget: dict root, component, name, values */}}
{{- define "headwater.budget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .name }}
  labels:
    {{- include "headwater.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ .values.podDisruptionBudget.maxUnavailable }}
  selector:
    matchLabels:
      {{- include "headwater.selector" . | nindent 6 }}
{{- end -}}

{{/* The claim of a StatefulSet's data: a volumeClaimTemplate from dict size, storageClass */}}
{{- define "headwater.claim" -}}
- metadata: {name: data}
  spec:
    accessModes: [ReadWriteOnce]
    {{- with .storageClass }}
    storageClassName: {{ . }}
    {{- end }}
    resources: {requests: {storage: {{ .size }}}}
{{- end -}}
