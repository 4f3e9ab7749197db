{{- define "sandwatch.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "sandwatch.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "sandwatch.name" . -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "sandwatch.selector" -}}
app.kubernetes.io/name: {{ include "sandwatch.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "sandwatch.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "sandwatch.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "sandwatch.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "sandwatch.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "sandwatch.image" -}}
{{- $image := .Values.image -}}
{{- $name := trimPrefix "/" (printf "%s/%s" $image.registry $image.repository) -}}
{{- if $image.digest -}}
{{ $name }}@{{ $image.digest }}
{{- else -}}
{{ $name }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- /* The sinks as the agent reads them: existing Secrets have become files. */ -}}
{{- define "sandwatch.sinks" -}}
{{- $sinks := list -}}
{{- range .Values.sinks -}}
  {{- $folder := printf "/etc/sandwatch/credentials/%s" .name -}}
  {{- $sink := omit . "existingSecret" "headerSecrets" "tls" -}}
  {{- if .existingSecret -}}
    {{- $_ := set $sink "key_file" (printf "%s/key" $folder) -}}
  {{- end -}}
  {{- if .headerSecrets -}}
    {{- $headers := deepCopy (.header_files | default dict) -}}
    {{- range $header, $from := .headerSecrets -}}
      {{- $_ := set $headers $header (printf "%s/headers/%s" $folder $header) -}}
    {{- end -}}
    {{- $_ := set $sink "header_files" $headers -}}
  {{- end -}}
  {{- if .tls -}}
    {{- $tls := omit .tls "existingSecret" -}}
    {{- $secret := .tls.existingSecret | default dict -}}
    {{- range $part := list "ca" "cert" "key" -}}
      {{- if get $secret $part -}}
        {{- $_ := set $tls (printf "%s_file" $part) (printf "%s/tls/%s" $folder $part) -}}
      {{- end -}}
    {{- end -}}
    {{- $_ := set $sink "tls" $tls -}}
  {{- end -}}
  {{- $sinks = append $sinks $sink -}}
{{- end -}}
{{- toYaml $sinks -}}
{{- end -}}

{{- /* Sources of the volume of credentials, one for each Secret that a sink names. */ -}}
{{- define "sandwatch.credentials" -}}
{{- range .Values.sinks -}}
{{- $name := .name -}}
{{- with .existingSecret }}
- secret: { name: {{ .name | quote }}, items: [{ key: {{ .key | quote }}, path: {{ printf "%s/key" $name | quote }} }] }
{{- end }}
{{- range $header, $from := .headerSecrets }}
- secret: { name: {{ $from.name | quote }}, items: [{ key: {{ $from.key | quote }}, path: {{ printf "%s/headers/%s" $name $header | quote }} }] }
{{- end }}
{{- $secret := (.tls | default dict).existingSecret | default dict }}
{{- range $part := list "ca" "cert" "key" }}
{{- with get $secret $part }}
- secret: { name: {{ $secret.name | quote }}, items: [{ key: {{ . | quote }}, path: {{ printf "%s/tls/%s" $name $part | quote }} }] }
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* sandwatch.yaml. What the chart decides is laid over what the values say. */ -}}
{{- define "sandwatch.config" -}}
{{- $config := omit .Values.config "schema" "state_dir" "rules" "pods" "listen" "sinks" -}}
{{- $rules := list -}}
{{- if .Values.rules.shipped }}{{ $rules = append $rules "/usr/lib/sandwatch/rules" }}{{ end -}}
{{- range $index, $name := .Values.rules.existingConfigMaps -}}
{{- $rules = append $rules (printf "/etc/sandwatch/rules.d/%d" $index) -}}
{{- end -}}
{{- if .Values.rules.overlay }}{{ $rules = append $rules "/etc/sandwatch/rules.d/overlay" }}{{ end -}}
{{- $_ := set $config "schema" "sandwatch/config/v1" -}}
{{- $_ := set $config "state_dir" "/var/lib/sandwatch" -}}
{{- $_ := set $config "rules" $rules -}}
{{- if ne .Values.pods.from "none" -}}
  {{- $pods := dict "from" .Values.pods.from -}}
  {{- if and (eq .Values.pods.from "kubelet") .Values.pods.kubeletCertificate -}}
    {{- $_ := set $pods "ca_file" "/etc/sandwatch/kubelet.crt" -}}
    {{- $_ := set $pods "server_name" "$NODE_NAME" -}}
  {{- end -}}
  {{- $_ := set $config "pods" $pods -}}
{{- end -}}
{{- if .Values.metrics.enabled }}{{ $_ := set $config "listen" (printf "%s:%v" .Values.metrics.address .Values.metrics.port) }}{{ end -}}
{{- $_ := set $config "sinks" (include "sandwatch.sinks" . | fromYamlArray) -}}
{{- toYaml $config -}}
{{- end -}}

{{- /* Mounts of the configuration: of the agent, and of the tests. */ -}}
{{- define "sandwatch.configMounts" -}}
- { name: config, mountPath: /etc/sandwatch/config, readOnly: true }
{{- range $index, $name := .Values.rules.existingConfigMaps }}
- { name: rules-{{ $index }}, mountPath: /etc/sandwatch/rules.d/{{ $index }}, readOnly: true }
{{- end }}
{{- if .Values.rules.overlay }}
- { name: rules-overlay, mountPath: /etc/sandwatch/rules.d/overlay, readOnly: true }
{{- end }}
{{- end -}}

{{- define "sandwatch.configVolumes" -}}
- name: config
  configMap: { name: {{ include "sandwatch.fullname" . }} }
{{- range $index, $name := .Values.rules.existingConfigMaps }}
- name: rules-{{ $index }}
  configMap: { name: {{ $name | quote }} }
{{- end }}
{{- if .Values.rules.overlay }}
- name: rules-overlay
  configMap: { name: {{ include "sandwatch.fullname" . }}-rules }
{{- end }}
{{- end -}}

{{- define "sandwatch.credentialMounts" -}}
{{- if include "sandwatch.credentials" . | trim -}}
- { name: credentials, mountPath: /etc/sandwatch/credentials, readOnly: true }
{{- end }}
{{- end -}}

{{- define "sandwatch.credentialVolumes" -}}
{{- with include "sandwatch.credentials" . | trim -}}
- name: credentials
  projected:
    defaultMode: 0400
    sources:
      {{- . | nindent 6 }}
{{- end }}
{{- end -}}

{{- /* The version of Kubernetes that is rendered for. */ -}}
{{- define "sandwatch.kubeVersion" -}}
{{- default .Capabilities.KubeVersion.Version .Values.kubeVersion -}}
{{- end -}}

{{- /* Whether AppArmor profiles are fields of this Kubernetes. */ -}}
{{- define "sandwatch.appArmorField" -}}
{{- if semverCompare ">=1.30.0-0" (include "sandwatch.kubeVersion" .) }}yes{{ end -}}
{{- end -}}
