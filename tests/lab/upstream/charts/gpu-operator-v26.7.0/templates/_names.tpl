{{- /*
Copyright (c) 2026, katagpu contributors
GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
SPDX-License-Identifier: GPL-3.0-or-later
*/ -}}
{{- define "lab.chart" -}}{{ .Chart.Name }}-{{ .Chart.Version }}{{- end }}

{{- define "lab.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
helm.sh/chart: {{ include "lab.chart" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/component: gpu-operator
{{- end }}

{{- define "lab.image" -}}
{{ printf "%s/%s:%s" .Values.operator.repository .Values.operator.image (.Values.operator.version | default .Chart.AppVersion) }}
{{- end }}

{{- /* One container of a hook Job, with the operator's image as upstream: where it cannot be pulled, Helm waits. */ -}}
{{- define "lab.hookJob" -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: gpu-operator-{{ .name }}
  namespace: {{ .root.Release.Namespace }}
  annotations:
    helm.sh/hook: {{ .hook }}
    helm.sh/hook-weight: {{ .weight | quote }}
    helm.sh/hook-delete-policy: hook-succeeded,before-hook-creation
  labels:
    {{- include "lab.labels" .root | nindent 4 }}
spec:
  template:
    metadata:
      labels:
        {{- include "lab.labels" .root | nindent 8 }}
    spec:
      serviceAccountName: {{ .account }}
      restartPolicy: OnFailure
      nodeSelector:
        {{- toYaml .root.Values.operator.nodeSelector | nindent 8 }}
      tolerations:
        {{- toYaml .root.Values.operator.tolerations | nindent 8 }}
      containers:
        - name: {{ .name }}
          image: {{ include "lab.image" .root }}
          imagePullPolicy: {{ .root.Values.operator.imagePullPolicy }}
          command: [{{ .command }}]
          args:
            {{- toYaml .args | nindent 12 }}
{{- end }}
