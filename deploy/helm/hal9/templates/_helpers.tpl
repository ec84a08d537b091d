{{- define "hal9.name" -}}
{{- .Release.Name | trunc 30 | trimSuffix "-" -}}
{{- end -}}

{{- define "hal9.labels" -}}
app.kubernetes.io/part-of: hal9
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* What selects the pods of one component; takes {root, component}. */}}
{{- define "hal9.selector" -}}
app.kubernetes.io/name: hal9-{{ .component }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end -}}

{{- define "hal9.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "hal9.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "hal9.name" .) }}
{{- end -}}

{{/* Secret with the settings that are secret. */}}
{{- define "hal9.secret" -}}
{{ .Values.secrets.existing | default (printf "%s-secrets" (include "hal9.name" .)) }}
{{- end -}}

{{- define "hal9.temporalAddress" -}}
{{- if .Values.temporal.inCluster.enabled -}}
{{ include "hal9.name" . }}-temporal:7233
{{- else -}}
{{ required "temporal.address is needed: host:port of a Temporal frontend, or temporal.inCluster.enabled" .Values.temporal.address }}
{{- end -}}
{{- end -}}

{{- define "hal9.dataClaim" -}}
{{- if .Values.data.enabled -}}
{{ .Values.data.existing | default (printf "%s-data" (include "hal9.name" .)) }}
{{- end -}}
{{- end -}}

{{/* Whether what migrations need is there before the release: then they are a hook. Otherwise a Job of the release, for which all pods wait. */}}
{{- define "hal9.migrateAsHook" -}}
{{- if and (not .Values.postgresql.inCluster.enabled) (or .Values.secrets.existing .Values.secrets.values) -}}true{{- end -}}
{{- end -}}

{{- define "hal9.podSecurity" -}}
{{- include "hal9.podSecurityAs" 10001 -}}
{{- end -}}

{{/* Takes the number of the account. */}}
{{- define "hal9.podSecurityAs" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "hal9.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}

{{/* Where a process has its settings from. */}}
{{- define "hal9.envFrom" -}}
- configMapRef: { name: {{ include "hal9.name" . }}-settings }
- secretRef: { name: {{ include "hal9.secret" . }} }
{{- end -}}

{{/* Settings that the chart decides. */}}
{{- define "hal9.env" -}}
- { name: HAL9_DATA, value: /var/lib/hal9 }
- { name: HAL9_METRICS_HOST, value: 0.0.0.0 }
- { name: HAL9_METRICS_PORT, value: "9464" }
- { name: XDG_CACHE_HOME, value: /var/cache/hal9 }
- { name: NODE_COMPILE_CACHE, value: /var/cache/hal9/compile }
{{- if .Values.postgresql.inCluster.enabled }}
- name: DATABASE_URL
  valueFrom: { secretKeyRef: { name: {{ include "hal9.name" . }}-postgres-app, key: uri } }
{{- end }}
{{- end -}}

{{- define "hal9.volumeMounts" -}}
- { name: data, mountPath: /var/lib/hal9 }
- { name: cache, mountPath: /var/cache/hal9 }
- { name: tmp, mountPath: /tmp }
{{- end -}}

{{- define "hal9.volumes" -}}
- name: data
{{- with include "hal9.dataClaim" . }}
  persistentVolumeClaim: { claimName: {{ . }} }
{{- else }}
  emptyDir: {}
{{- end }}
- { name: cache, emptyDir: {} }
- { name: tmp, emptyDir: {} }
{{- end -}}

{{/* A process begins when the schema of its version is there, whoever brings it. */}}
{{- define "hal9.awaitSchema" -}}
- name: await-schema
  image: {{ include "hal9.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command: {{ ternary (list "node" "deploy/jobs/migrate.ts") (list "node" "deploy/jobs/migrate.ts" "--await") .Values.migrations.byPods | toJson }}
  envFrom: {{- include "hal9.envFrom" . | nindent 4 }}
  env: {{- include "hal9.env" . | nindent 4 }}
  resources: { requests: { cpu: 50m, memory: 128Mi }, limits: { memory: 256Mi } }
  securityContext: {{- include "hal9.containerSecurity" . | nindent 4 }}
  volumeMounts: {{- include "hal9.volumeMounts" . | nindent 4 }}
{{- end -}}

{{/* Pod settings all processes have; takes {root, component}, and an account if it is not HAL9's. */}}
{{- define "hal9.pod" -}}
serviceAccountName: {{ include "hal9.serviceAccount" .root }}
automountServiceAccountToken: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
securityContext: {{- include "hal9.podSecurityAs" (.account | default 10001) | nindent 2 }}
terminationGracePeriodSeconds: 15
topologySpreadConstraints:
{{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector: { matchLabels: {{ include "hal9.selector" $ | fromYaml | toJson }} }
{{- end }}
{{- end -}}

{{/* Changes when settings do, so that pods are replaced. */}}
{{- define "hal9.settingsDigest" -}}
{{ printf "%s%s%s" (toJson .Values.settings) (toJson .Values.secrets) (toJson .Values.backups.drill) | sha256sum | trunc 16 }}
{{- end -}}
