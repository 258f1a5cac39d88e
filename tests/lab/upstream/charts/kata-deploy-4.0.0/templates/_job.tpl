{{- /*
Copyright (c) 2026, katagpu contributors
GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
SPDX-License-Identifier: GPL-3.0-or-later
*/ -}}
{{- define "lab.selector" -}}
{{- $parts := list }}
{{- range $key, $value := .nodeSelector | default dict }}{{ $parts = append $parts (printf "%s=%s" $key $value) }}{{ end }}
{{- range .nodeSelectorExpressions | default list }}
{{- if eq .operator "Exists" }}{{ $parts = append $parts .key }}
{{- else if eq .operator "DoesNotExist" }}{{ $parts = append $parts (printf "!%s" .key) }}
{{- else if eq .operator "In" }}{{ $parts = append $parts (printf "%s in (%s)" .key (join "," .values)) }}
{{- else if eq .operator "NotIn" }}{{ $parts = append $parts (printf "%s notin (%s)" .key (join "," .values)) }}
{{- else }}{{ fail (printf "nodeSelectorExpressions: unsupported operator %q for key %q" .operator .key) }}
{{- end }}
{{- end }}
{{- join "," $parts }}
{{- end }}

{{- define "lab.stage" -}}
- name: {{ .name }}
  image: {{ include "lab.image" (dict "image" .root.Values.image "version" .root.Chart.AppVersion) }}
  imagePullPolicy: {{ .root.Values.imagePullPolicy }}
  command: [/usr/bin/kata-deploy, {{ .action }}]
  env:
    {{- include "lab.env" .root | trim | nindent 4 }}
  securityContext: {privileged: {{ .host }}}
  {{- if .host }}
  volumeMounts:
    {{- include "lab.mounts" .root | nindent 4 }}
  {{- end }}
{{- end }}

{{- /* The Job of one node and stage: install or cleanup. */ -}}
{{- define "lab.nodeJob" -}}
{{- $labels := dict "app.kubernetes.io/name" .root.Chart.Name "app.kubernetes.io/instance" .root.Release.Name "kata-deploy/stage" .stage }}
apiVersion: batch/v1
kind: Job
metadata:
  labels:
    {{- toYaml $labels | nindent 4 }}
spec:
  backoffLimit: {{ .root.Values.job.backoffLimit }}
  ttlSecondsAfterFinished: {{ .root.Values.job.ttlSecondsAfterFinished }}
  template:
    metadata:
      labels:
        {{- toYaml $labels | nindent 8 }}
    spec:
      serviceAccountName: {{ include "lab.part" (dict "root" .root "part" "sa") }}
      restartPolicy: Never
      hostPID: true
      {{- with .root.Values.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      priorityClassName: {{ .root.Values.priorityClassName }}
      {{- if eq .stage "install" }}
      initContainers:
        {{- range list "host-check" "artifacts" "cri" }}
        {{- include "lab.stage" (dict "root" $.root "name" . "action" (printf "install-stage-%s" .) "host" true) | nindent 8 }}
        {{- end }}
      containers:
        {{- include "lab.stage" (dict "root" .root "name" "label" "action" "install-stage-label" "host" false) | nindent 8 }}
      {{- else }}
      initContainers:
        {{- include "lab.stage" (dict "root" .root "name" "unlabel" "action" "cleanup-stage-unlabel" "host" false) | nindent 8 }}
        {{- include "lab.stage" (dict "root" .root "name" "revert-cri" "action" "cleanup-stage-revert-cri" "host" true) | nindent 8 }}
      containers:
        {{- include "lab.stage" (dict "root" .root "name" "remove-artifacts" "action" "cleanup-stage-remove-artifacts" "host" true) | nindent 8 }}
      {{- end }}
      volumes:
        {{- include "lab.volumes" .root | nindent 8 }}
{{- end }}

{{- /* The Job that makes those Jobs; a hook. */ -}}
{{- define "lab.dispatcher" -}}
{{- $base := include "lab.name" .root }}
{{- $labels := dict "app.kubernetes.io/name" .root.Chart.Name "app.kubernetes.io/instance" .root.Release.Name "kata-deploy/dispatcher" .stage }}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ $base }}-{{ .stage }}-dispatcher
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- toYaml $labels | nindent 4 }}
  annotations:
    helm.sh/hook: {{ .hook }}
    helm.sh/hook-weight: "5"
    helm.sh/hook-delete-policy: {{ .policy }}
spec:
  backoffLimit: 0
  ttlSecondsAfterFinished: {{ .root.Values.job.ttlSecondsAfterFinished }}
  template:
    metadata:
      labels:
        {{- toYaml $labels | nindent 8 }}
    spec:
      serviceAccountName: {{ include "lab.part" (dict "root" .root "part" "dispatcher-sa") }}
      restartPolicy: Never
      {{- with .root.Values.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: dispatcher
          image: {{ include "lab.image" (dict "image" .root.Values.job.dispatcherImage "version" .root.Chart.AppVersion) }}
          imagePullPolicy: {{ .root.Values.imagePullPolicy }}
          command:
            - /usr/bin/kata-deploy-job-dispatcher
            - --job-template=/etc/kata-job/{{ .stage }}-job.yaml
            - --name-prefix={{ $base }}-{{ .stage }}
            - --owner-job-name={{ $base }}-{{ .stage }}-dispatcher
            - --parallelism={{ .root.Values.job.parallelism }}
            {{- if .nodes }}
            - --nodes={{ join "," .nodes }}
            {{- else if .selector }}
            - {{ printf "--node-selector=%s" .selector | quote }}
            {{- end }}
          env:
            - name: POD_NAMESPACE
              valueFrom:
                fieldRef:
                  fieldPath: metadata.namespace
          volumeMounts:
            - {name: job-templates, mountPath: /etc/kata-job, readOnly: true}
      volumes:
        - {name: job-templates, configMap: {name: {{ $base }}-job-templates}}
{{- end }}
