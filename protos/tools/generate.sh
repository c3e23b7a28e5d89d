#!/usr/bin/env bash
# Generate the Python code of protos/ into the folder given (default: services). `make lint` generates into another
# folder and compares, so that what is committed never drifts.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-services}
deps=build/proto_deps
bin=.venv/bin
site=$("$bin"/python -c 'import google.rpc, os; print(os.path.dirname(os.path.dirname(list(google.rpc.__path__)[0])))')

mkdir -p "$deps/google/rpc" "$out"
"$bin"/python protos/tools/print_validate_proto.py "$deps"
cp "$site/google/rpc/error_details.proto" "$deps/google/rpc/"
PATH="$PWD/$bin:$PATH" "$bin"/python -m grpc_tools.protoc \
  -I protos -I "$deps" \
  --python_out="$out" --mypy_out=quiet:"$out" \
  protos/intentmesh/v1/*.proto "$deps/buf/validate/validate.proto"
PATH="$PWD/$bin:$PATH" "$bin"/python -m grpc_tools.protoc \
  -I protos -I "$deps" \
  --grpc_python_out="$out" --mypy_grpc_out=quiet:"$out" \
  protos/intentmesh/v1/*_service.proto
echo '"""Generated from protos/ by `make protos`; never edited."""' > "$out/intentmesh/v1/__init__.py"
