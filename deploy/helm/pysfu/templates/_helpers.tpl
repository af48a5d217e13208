{{/* SPDX-License-Identifier: Apache-2.0 */}}
{{- define "pysfu.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "pysfu.selector" -}}
app.kubernetes.io/name: pysfu
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "pysfu.labels" -}}
{{ include "pysfu.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "pysfu.secret" -}}
{{- if .Values.existingSecret -}}
{{ .Values.existingSecret }}
{{- else -}}
{{- if not .Values.keys -}}
{{- fail "nobody could join: set keys (an id and a secret of at least 32 bytes), or existingSecret" -}}
{{- end -}}
{{ include "pysfu.name" . }}-keys
{{- end -}}
{{- end -}}
