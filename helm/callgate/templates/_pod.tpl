{{- define "callgate.guards" -}}
{{- $on := dict -}}{{- range $n, $s := .Values.services }}{{- if $s.enabled }}{{- $_ := set $on $n true }}{{- end }}{{- end }}
{{- if not (hasPrefix "kafka://" .Values.log) }}{{ fail "log: must be a kafka:// address; pods share no embedded log" }}{{ end }}
{{- if and (or $on.proposer $on.executor) (not .Values.tools) }}{{ fail "tools: is needed by proposer and executor; write it as module:attribute" }}{{ end }}
{{- if and (or $on.evaluator $on.reporter) (not .Values.bighub.secretName) }}{{ fail "bighub.secretName: is needed by evaluator and reporter; name an existing Secret" }}{{ end }}
{{- $e := .Values.env }}
{{- $given := dict }}{{- range .Values.secretFiles }}{{- $_ := set $given .name true }}{{- end }}
{{- if and $on.approvals (not (or $given.CALLGATE_APPROVAL_KEYS $e.CALLGATE_APPROVAL_TRUSTED $e.CALLGATE_APPROVAL_KEYS $e.CALLGATE_APPROVAL_OIDC_ISSUER)) }}{{ fail "env: approvals needs CALLGATE_APPROVAL_KEYS, CALLGATE_APPROVAL_OIDC_ISSUER or CALLGATE_APPROVAL_TRUSTED" }}{{ end }}
{{- if and .Values.approvalPolicy (or $e.CALLGATE_APPROVAL_POLICY $given.CALLGATE_APPROVAL_POLICY) }}{{ fail "approvalPolicy: is there, and CALLGATE_APPROVAL_POLICY too; give one of them" }}{{ end }}
{{- if $on.notifier }}
{{- if not (or $e.CALLGATE_NOTIFY_WEBHOOKS $e.CALLGATE_NOTIFY_SMTP_HOST $given.CALLGATE_NOTIFY_SLACK_URL_FILE) }}{{ fail "env: notifier needs CALLGATE_NOTIFY_WEBHOOKS, CALLGATE_NOTIFY_SMTP_HOST or, in secretFiles, CALLGATE_NOTIFY_SLACK_URL_FILE" }}{{ end }}
{{- if and $e.CALLGATE_NOTIFY_WEBHOOKS (not $given.CALLGATE_NOTIFY_WEBHOOK_SECRET_FILE) }}{{ fail "secretFiles: notifier needs CALLGATE_NOTIFY_WEBHOOK_SECRET_FILE for its webhooks" }}{{ end }}
{{- end }}
{{- if .Values.modelWebhook.enabled }}
{{- if not (and $on.proposer $given.CALLGATE_MODEL_KEY_FILE $given.CALLGATE_MODEL_WEBHOOK_SECRET_FILE $e.CALLGATE_MODEL_BACKGROUND_SECONDS) }}{{ fail "modelWebhook: needs the proposer, CALLGATE_MODEL_KEY_FILE and CALLGATE_MODEL_WEBHOOK_SECRET_FILE in secretFiles, and CALLGATE_MODEL_BACKGROUND_SECONDS in env" }}{{ end }}
{{- end }}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.egress) }}{{ fail "networkPolicy.egress: is empty; without a rule to the brokers nothing works" }}{{ end }}
{{- range $n, $_ := $e }}{{- if or (regexMatch "_(KEY|PASSWORD|SECRET|KEY_PASSWORD|SLACK_URL)$" $n) (has $n (list "CALLGATE_LOG" "CALLGATE_TOOLS" "CALLGATE_TELEMETRY_HOST" "CALLGATE_TELEMETRY_PORT" "CALLGATE_MODEL_WEBHOOK_HOST" "CALLGATE_MODEL_WEBHOOK_PORT")) }}{{ fail (printf "env.%s: is not taken here; secrets go into secretFiles, the rest has a value of its own" $n) }}{{ end }}{{- end }}
{{- $drain := float64 (default "20" $e.CALLGATE_WORKER_DRAIN_SECONDS) }}
{{- if le (float64 .Values.terminationGracePeriodSeconds) $drain }}{{ fail "terminationGracePeriodSeconds: must be above CALLGATE_WORKER_DRAIN_SECONDS" }}{{ end }}
{{- end }}

{{- /* "yes" where a service reads what a file of secretFiles holds. */ -}}
{{- define "callgate.reads" -}}
{{- $only := "" -}}
{{- if hasPrefix "CALLGATE_NOTIFY_" .name }}{{- $only = "notifier" }}{{- else if hasPrefix "CALLGATE_MODEL_" .name }}{{- $only = "proposer" }}{{- end }}
{{- if or (not $only) (eq $only .service) }}yes{{ end }}
{{- end }}

{{- define "callgate.account" -}}
{{- if .Values.serviceAccount.create }}{{ default .Release.Name .Values.serviceAccount.name }}{{ else }}{{ default "default" .Values.serviceAccount.name }}{{ end }}
{{- end }}

{{- define "callgate.container" -}}
{{- $v := .root.Values -}}
image: {{ printf "%s:%s" $v.image.repository (default .root.Chart.AppVersion $v.image.tag) | quote }}
imagePullPolicy: {{ $v.image.pullPolicy }}
securityContext:
  runAsNonRoot: true
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
env:
  - {name: CALLGATE_LOG, value: {{ $v.log | quote }}}
  # Probes are asked from outside the pod.
  - {name: CALLGATE_TELEMETRY_HOST, value: "0.0.0.0"}
  - {name: CALLGATE_TELEMETRY_PORT, value: "9464"}
  {{- if and $v.modelWebhook.enabled (eq .service "proposer") }}
  # The Service comes from outside the pod.
  - {name: CALLGATE_MODEL_WEBHOOK_HOST, value: "0.0.0.0"}
  - {name: CALLGATE_MODEL_WEBHOOK_PORT, value: {{ $v.modelWebhook.port | quote }}}
  {{- end }}
  {{- range $n, $t := $v.env }}
  - {name: {{ $n }}, value: {{ $t | quote }}}
  {{- end }}
  {{- range $i, $f := $v.secretFiles }}
  {{- if include "callgate.reads" (dict "name" $f.name "service" $.service) }}
  - {name: {{ $f.name }}, value: "/run/secrets/{{ $i }}/{{ $f.secretKey }}"}
  {{- end }}
  {{- end }}
  {{- if and $v.approvalPolicy (has .service (list "evaluator" "executor")) }}
  - {name: CALLGATE_APPROVAL_POLICY, value: /etc/callgate/policy/approvals.toml}
  {{- end }}
  {{- if has .service (list "proposer" "executor") }}
  - {name: CALLGATE_TOOLS, value: {{ $v.tools | quote }}}
  {{- end }}
  {{- if has .service (list "evaluator" "reporter") }}
  - {name: CALLGATE_BIGHUB_KEY_FILE, value: "/run/secrets/bighub/{{ $v.bighub.secretKey }}"}
  {{- end }}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  - {name: work, mountPath: /var/lib/callgate}
  {{- range $i, $f := $v.secretFiles }}
  {{- if include "callgate.reads" (dict "name" $f.name "service" $.service) }}
  - {name: secret-{{ $i }}, mountPath: /run/secrets/{{ $i }}, readOnly: true}
  {{- end }}
  {{- end }}
  {{- if and $v.approvalPolicy (has .service (list "evaluator" "executor")) }}
  - {name: policy, mountPath: /etc/callgate/policy, readOnly: true}
  {{- end }}
  {{- if and $v.toolsSecretName (eq .service "executor") }}
  - {name: tools, mountPath: /run/secrets/tools, readOnly: true}
  {{- end }}
  {{- if has .service (list "evaluator" "reporter") }}
  - {name: bighub, mountPath: /run/secrets/bighub, readOnly: true}
  {{- end }}
{{- end }}

{{- define "callgate.pod" -}}
automountServiceAccountToken: false
# Variables that name a Service could be taken for settings.
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: [{{ range $i, $name := . }}{{ if $i }}, {{ end }}{name: {{ $name | quote }}}{{ end }}]
{{- end }}
securityContext: {runAsNonRoot: true, runAsUser: 10001, runAsGroup: 10001, fsGroup: 10001, seccompProfile: {type: RuntimeDefault}}
volumes:
  - {name: tmp, emptyDir: {}}
  - {name: work, emptyDir: {}}
  {{- range $i, $f := .root.Values.secretFiles }}
  {{- if include "callgate.reads" (dict "name" $f.name "service" $.service) }}
  - {name: secret-{{ $i }}, secret: {secretName: {{ $f.secretName | quote }}, defaultMode: 0440}}
  {{- end }}
  {{- end }}
  {{- if and .root.Values.approvalPolicy (has .service (list "evaluator" "executor")) }}
  - {name: policy, configMap: {name: {{ .root.Release.Name }}-policy}}
  {{- end }}
  {{- if and .root.Values.toolsSecretName (eq .service "executor") }}
  - {name: tools, secret: {secretName: {{ .root.Values.toolsSecretName | quote }}, defaultMode: 0440}}
  {{- end }}
  {{- if has .service (list "evaluator" "reporter") }}
  - {name: bighub, secret: {secretName: {{ .root.Values.bighub.secretName | quote }}, defaultMode: 0440}}
  {{- end }}
{{- end }}
