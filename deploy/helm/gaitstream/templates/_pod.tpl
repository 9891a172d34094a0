{{- /* What every pod of the chart has in common. */ -}}
{{- define "gaitstream.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
serviceAccountName: {{ include "gaitstream.name" . }}
terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "gaitstream.container" -}}
image: {{ include "gaitstream.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  privileged: false
  capabilities:
    drop: ["ALL"]
{{- end -}}

{{- /* Asks the health check on loopback, which no network policy has to let in: list . "/healthz". */ -}}
{{- define "gaitstream.probe" -}}
exec:
  command:
    - python3
    - -c
    - import urllib.request as u; u.urlopen('http://127.0.0.1:9464{{ . }}', timeout=5)
timeoutSeconds: 10
{{- end -}}

{{- define "gaitstream.claim" -}}
metadata:
  name: state
spec:
  accessModes: ["ReadWriteOnce"]
  {{- with .Values.journal.storageClass }}
  storageClassName: {{ . | quote }}
  {{- end }}
  resources:
    requests:
      storage: {{ .Values.journal.size }}
{{- end -}}
