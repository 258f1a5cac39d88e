{{- /*
Copyright (c) 2026, katagpu contributors
GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
SPDX-License-Identifier: GPL-3.0-or-later
*/ -}}
{{- /* What the installer is told; one set of variables per architecture that has a shim. */ -}}
{{- define "lab.env" -}}
{{- $root := . }}
- name: NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
- name: DAEMONSET_NAME
  value: {{ include "lab.name" . | quote }}
- name: DEBUG
  value: {{ .Values.debug | toString | quote }}
{{- $shims := include "lab.shims" . | fromJsonArray }}
{{- range $arch, $suffix := dict "amd64" "X86_64" "arm64" "AARCH64" "s390x" "S390X" "ppc64le" "PPC64LE" }}
{{- $here := list }}
{{- $annotations := list }}
{{- $snapshotters := list }}
{{- $pulls := list }}
{{- $forced := list }}
{{- range $shim := $shims }}
{{- $one := get $root.Values.shims $shim }}
{{- if has $arch ($one.supportedArches | default list) }}
{{- $here = append $here $shim }}
{{- $containerd := $one.containerd | default dict }}
{{- $crio := $one.crio | default dict }}
{{- with $one.allowedHypervisorAnnotations }}{{ $annotations = append $annotations (printf "%s:%s" $shim (join "," .)) }}{{ end }}
{{- with $containerd.snapshotter }}{{ $snapshotters = append $snapshotters (printf "%s:%s" $shim .) }}{{ end }}
{{- if or $containerd.forceGuestPull $crio.guestPull }}{{ $pulls = append $pulls (printf "%s:guest-pull" $shim) }}{{ end }}
{{- if $containerd.forceGuestPull }}{{ $forced = append $forced $shim }}{{ end }}
{{- end }}
{{- end }}
{{- $default := get $root.Values.defaultShim $arch | default "" }}
{{- $default = ternary $default "" (has $default $here) }}
{{- range $name, $value := dict "SHIMS" (join " " $here) "DEFAULT_SHIM" $default "ALLOWED_HYPERVISOR_ANNOTATIONS" (join " " $annotations) "SNAPSHOTTER_HANDLER_MAPPING" (join "," $snapshotters) "PULL_TYPE_MAPPING" (join "," $pulls) "EXPERIMENTAL_FORCE_GUEST_PULL" (join "," $forced) }}
{{- if $value }}
- name: {{ $name }}_{{ $suffix }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{- end }}
- name: INSTALLATION_PREFIX
  value: {{ .Values.env.installationPrefix | quote }}
- name: MULTI_INSTALL_SUFFIX
  value: {{ .Values.env.multiInstallSuffix | quote }}
{{- with .Values.snapshotter.setup }}
- name: EXPERIMENTAL_SETUP_SNAPSHOTTER
  value: {{ join "," . | quote }}
{{- end }}
{{- with .Values.containerd.configFileName }}
- name: CONTAINERD_CONFIG_FILE_NAME
  value: {{ . | quote }}
{{- end }}
{{- with .Values.env.hostOS }}
- name: HOST_OS
  value: {{ . | quote }}
{{- end }}
{{- with .Values.startupTaints }}
- name: STARTUP_TAINTS
  value: {{ join "," . | quote }}
{{- end }}
{{- end }}

{{- /* Where the containerd configuration of the distribution is. */ -}}
{{- define "lab.containerdDirectory" -}}
{{- $known := dict "k3s" "/var/lib/rancher/k3s/agent/etc/containerd/" "rke2" "/var/lib/rancher/rke2/agent/etc/containerd/" "k0s" "/etc/k0s/" "microk8s" "/var/snap/microk8s/current/args/" -}}
{{ .Values.containerd.configDir | default (get $known .Values.k8sDistribution | default "/etc/containerd/") }}
{{- end }}

{{- define "lab.mounts" -}}
- {name: crio-conf, mountPath: /etc/crio/}
- {name: containerd-conf, mountPath: /etc/containerd/}
- {name: host, mountPath: /host/}
{{- end }}

{{- define "lab.volumes" -}}
- {name: crio-conf, hostPath: {path: /etc/crio/}}
- {name: containerd-conf, hostPath: {path: {{ include "lab.containerdDirectory" . }}}}
- {name: host, hostPath: {path: /}}
{{- end }}
