#!/usr/bin/env bash
# Prints the path of the test control plane's program; builds it first where the user's cache lacks it.
# The resource definitions of Gateway API and of Flagger, and the values of Flagger's chart, are put beside it, in crds/.
set -euo pipefail
cd "$(dirname "$0")"
version=$(sed -n 's/^\tk8s.io\/kubernetes \(v.*\)/\1/p' go.mod)
key=$(cat go.mod go.sum ./*.go build.sh | sha256sum | cut -c1-12)
folder=${XDG_CACHE_HOME:-$HOME/.cache}/kubetest/$version-$key
out=$folder/kubetest
[ -x "$out" ] && { echo "$out"; exit 0; }

go=$(../../.ci/install-go)
mkdir -p "$folder"
exec 9>"$folder/lock"
flock 9
[ -x "$out" ] && { echo "$out"; exit 0; }
echo "building the test cluster ($version) once into $folder: about 3 minutes on 2 idle cores, 90 MB of modules" >&2
export GOFLAGS="${GOFLAGS:-} -mod=mod"
start=$SECONDS
stamp=k8s.io/component-base/version
minor=$(echo "$version" | cut -d. -f2)
nice -n 5 "$go" build -trimpath -buildvcs=false -o "$out.part" \
  -ldflags "-s -w -X $stamp.gitVersion=$version -X $stamp.gitMajor=1 -X $stamp.gitMinor=$minor" . >&2
rm -rf "$folder/crds"
cp -r "$("$go" list -m -f '{{.Dir}}' sigs.k8s.io/gateway-api)/config/crd/standard" "$folder/crds"
flagger=$("$go" mod download -json github.com/fluxcd/flagger@v1.44.0 | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
cp "$flagger/artifacts/flagger/crd.yaml" "$folder/crds/flagger.yaml"
cp "$flagger/charts/flagger/values.yaml" "$folder/crds/flagger-values.yaml"
chmod -R u+w "$folder/crds"
mv "$out.part" "$out"
echo "built the test cluster in $((SECONDS - start)) s" >&2
echo "$out"
