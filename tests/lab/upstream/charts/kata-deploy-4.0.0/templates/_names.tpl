{{- /*
Copyright (c) 2026, katagpu contributors
GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
SPDX-License-Identifier: GPL-3.0-or-later
*/ -}}
{{- define "lab.name" -}}
{{ .Chart.Name }}{{ with .Values.env.multiInstallSuffix }}-{{ . }}{{ end }}
{{- end }}

{{- /* Names of the access objects: <chart>-<part>[-<suffix>]; call with a dict of root and part. */ -}}
{{- define "lab.part" -}}
{{ .root.Chart.Name }}-{{ .part }}{{ with .root.Values.env.multiInstallSuffix }}-{{ . }}{{ end }}
{{- end }}

{{- /* reference@digest as it is, otherwise reference:tag; call with a dict of image and version. */ -}}
{{- define "lab.image" -}}
{{- if contains "@" .image.reference }}{{ .image.reference }}{{ else }}{{ .image.reference }}:{{ .image.tag | default .version }}{{ end -}}
{{- end }}

{{- /* Shims that are on: enabled, or not said and disableAll not set. A JSON list. */ -}}
{{- define "lab.shims" -}}
{{- $all := .Values.shims }}
{{- $on := list }}
{{- range $name := keys $all | sortAlpha }}
{{- if ne $name "disableAll" }}
{{- $said := toString (get (get $all $name) "enabled") }}
{{- if or (eq $said "true") (and (ne $said "false") (not $all.disableAll)) }}{{ $on = append $on $name }}{{ end }}
{{- end }}
{{- end }}
{{- toJson $on }}
{{- end }}
