#!/usr/bin/env bash
# gen.sh KUBERNETES ETCD GATEWAY HELM KUSTOMIZE: rewrites go.mod for other versions, one replace per staging module.
# Run by hand when a version changes (see "go list -m -versions k8s.io/kubernetes"); go.mod and go.sum are committed.
set -euo pipefail
kubernetes=${1:-1.36.3} etcd=${2:-v3.6.8} gateway=${3:-v1.4.1} helm=${4:-v3.20.2} kustomize=${5:-v0.21.1}
cd "$(dirname "$0")"
rm -f go.mod go.sum
go mod init kubetest 2>/dev/null
theirs=$(go mod download -json "k8s.io/kubernetes@v$kubernetes" | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p')
{
  printf 'module kubetest\n\ngo 1.26.0\n\n'
  grep '^godebug' "$theirs" || true
  printf '\nrequire (\n\tgo.etcd.io/etcd/server/v3 %s\n\tk8s.io/kubernetes v%s\n' "$etcd" "$kubernetes"
  printf '\tsigs.k8s.io/gateway-api %s\n\thelm.sh/helm/v3 %s\n' "$gateway" "$helm"
  printf '\tsigs.k8s.io/kustomize/api %s\n)\n\nreplace (\n' "$kustomize"
  grep -oE 'k8s.io/[a-z-]+ => \./staging' "$theirs" | awk -v "v=v0.${kubernetes#1.}" '{print "\t"$1" => "$1" "v}'
  echo ')'
} > go.mod
go mod tidy
