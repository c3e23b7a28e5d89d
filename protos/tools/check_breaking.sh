#!/usr/bin/env bash
# Compare protos/ with the newest release tag, or, before the first release, with the commit before this one.
set -euo pipefail
cd "$(dirname "$0")/../.."
against=$(git describe --tags --abbrev=0 --match 'v*' 2>/dev/null || git rev-parse --verify --quiet 'HEAD~1' || true)
if [ -z "$against" ] || ! git cat-file -e "$against:protos/intentmesh/v1" 2>/dev/null; then
  echo "buf breaking: there is no earlier version of protos/ to compare with"
  exit 0
fi
before=build/protos_before
rm -rf "$before" && mkdir -p "$before/build"
git archive "$against" buf.yaml protos | tar -x -C "$before"
cp -r build/proto_deps "$before/build/"
.venv/bin/buf breaking --against "$before"
