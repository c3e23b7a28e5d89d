#!/usr/bin/env bash
# Render every kustomization and validate each object strictly against the schemas of the Kubernetes release we target.
set -euo pipefail
cd "$(dirname "$0")/../.."
rendered=build/kubernetes
mkdir -p "$rendered"

# The cluster's gateway runs the one template of deploy/envoy; `make manifests` fills it anew.
.venv/bin/python -m intentmesh.embedded.gateway_config deploy/envoy/kubernetes.toml > "$rendered/envoy.yaml"
diff "$rendered/envoy.yaml" deploy/kubernetes/base/envoy.yaml
.venv/bin/envoy --mode validate --log-level error -c "$rendered/envoy.yaml"

for kustomization in deploy/kubernetes/base deploy/kubernetes/jobs deploy/kubernetes/jobs/volume deploy/kubernetes/overlays/*/; do
  [ -f "$kustomization/kustomization.yaml" ] || continue
  name=$(basename "$kustomization")
  .venv/bin/kubectl kustomize "$kustomization" > "$rendered/$name.yaml"
  .venv/bin/kubernetes-validate --quiet --strict --kubernetes-version 1.33 "$rendered/$name.yaml"
  echo "kubernetes: $name renders and validates ($(grep -c '^kind:' "$rendered/$name.yaml") objects)"
done
