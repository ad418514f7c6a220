#!/usr/bin/env bash
# The status route answers 200 while a version still loads, so its body is read.
set -eu
port=${1:-8501}
for model in reviews faces; do
  exec 3<>"/dev/tcp/127.0.0.1/$port"
  printf 'GET /v1/models/%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$model" >&3
  grep -q '"state": "AVAILABLE"' <&3
  exec 3>&-
done
