# The commands of the repository. Every target installs what it needs; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
export UV_PYTHON_DOWNLOADS := never
# A test run starts some hundred processes, and without bytecode each compiles all that it imports: 2 s of a core.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
BIN := .venv/bin
STAMPS := build/stamps

.PHONY: help
help: ## list the commands
	@grep -hE '^[a-z][a-z0-9-]*:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# --- set-up -----------------------------------------------------------------------------------------------------

$(BIN)/uv:
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check uv

$(STAMPS)/python: $(BIN)/uv requirements.lock pyproject.toml
	@mkdir -p $(@D)
	$(BIN)/uv pip sync --quiet --require-hashes requirements.lock
	$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: setup
setup: $(STAMPS)/python $(STAMPS)/protos ## install everything into .venv and build/

.PHONY: lock
lock: $(BIN)/uv ## resolve pyproject.toml into requirements.lock (names no host)
	$(BIN)/uv pip compile pyproject.toml --universal --all-extras --generate-hashes --no-annotate --no-header --quiet -o requirements.lock

# --- generated code ---------------------------------------------------------------------------------------------

$(STAMPS)/protos: $(STAMPS)/python $(wildcard protos/intentmesh/v1/*.proto) protos/tools/generate.sh protos/tools/print_validate_proto.py
	protos/tools/generate.sh services
	@touch $@

.PHONY: protos
protos: $(STAMPS)/protos ## generate services/intentmesh/v1 from protos/

# --- contracts --------------------------------------------------------------------------------------------------

.PHONY: contracts
contracts: ## compile the contracts (and Permit2) into build/contracts
	$(MAKE) --no-print-directory --jobs 2 -C contracts build

# The tools that judge the contracts want other versions of libraries than we do, so each has an environment of its own.
$(STAMPS)/env-%: contracts/tools/requirements-%.txt $(BIN)/uv
	@mkdir -p $(@D)
	$(BIN)/uv venv --quiet --clear .envs/$*
	$(BIN)/uv pip sync --quiet --require-hashes --python .envs/$* $<
	@touch $@

.PHONY: audit-tools
audit-tools: $(STAMPS)/env-slither $(STAMPS)/env-halmos ## install slither and halmos into .envs

.PHONY: audit
audit: setup contracts audit-tools ## every gate over the contracts, then every mutant of them; deploys nothing
	$(BIN)/intentmesh contracts audit
	$(BIN)/intentmesh contracts mutants

.PHONY: lock-audit-tools
lock-audit-tools: $(BIN)/uv ## resolve the versions of slither and halmos anew
	echo slither-analyzer | $(BIN)/uv pip compile - --generate-hashes --no-annotate --no-header --quiet -o contracts/tools/requirements-slither.txt
	echo halmos | $(BIN)/uv pip compile - --generate-hashes --no-annotate --no-header --quiet -o contracts/tools/requirements-halmos.txt

# --- checks -----------------------------------------------------------------------------------------------------

.PHONY: lint
lint: setup ## ruff, mypy, import-linter, buf, forge fmt, generated-code drift, manifests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf format --diff --exit-code protos
	$(BIN)/buf lint
	protos/tools/check_breaking.sh
	rm -rf build/protos_again && protos/tools/generate.sh build/protos_again
	diff --recursive --exclude=__pycache__ build/protos_again/intentmesh/v1 services/intentmesh/v1
	diff --recursive --exclude=__pycache__ build/protos_again/buf services/buf
	$(MAKE) --no-print-directory -C contracts lint
	deploy/kubernetes/check.sh

.PHONY: manifests
manifests: setup ## fill the gateway's configuration for Kubernetes from its template
	$(BIN)/python -m intentmesh.embedded.gateway_config deploy/envoy/kubernetes.toml > deploy/kubernetes/base/envoy.yaml

# --- tests ------------------------------------------------------------------------------------------------------

$(STAMPS)/js: tests/acceptance/js/package-lock.json
	@mkdir -p $(@D)
	npm ci --silent --prefix tests/acceptance/js
	@touch $@

TEST_WORKERS ?= 2
.PHONY: test
test: setup $(STAMPS)/js ## everything needed to trust a change: contracts, unit, integration, acceptance [TEST_WORKERS=]
	$(MAKE) --no-print-directory -C contracts test
	$(BIN)/pytest --quiet --numprocesses $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder

BENCH ?= *
.PHONY: bench
bench: setup contracts ## benchmarks, or one of them: make bench BENCH=intake; results in build/bench/NAME.jsonl
	@set -e; for folder in tests/benchmarks/$(BENCH)/__main__.py; do $(BIN)/python -m "tests.benchmarks.$$(basename $$(dirname $$folder))" $(BENCH_OPTIONS); done

.PHONY: faults
faults: setup contracts ## the fault campaign: services killed at every moment; longer than CI's
	$(BIN)/pytest --quiet --timeout 600 tests/faults

.PHONY: fuzz
fuzz: setup contracts ## 200,000 hostile calls to every RPC of a mesh of its own [SEED= INPUTS= MAX_SECONDS= REPLAY=file]
	GRPC_VERBOSITY=NONE $(BIN)/python -m tests.fuzz $(if $(REPLAY),--replay $(REPLAY)) $(if $(SEED),--seed $(SEED)) \
	  $(if $(INPUTS),--inputs $(INPUTS)) $(if $(MAX_SECONDS),--seconds $(MAX_SECONDS))

.PHONY: demo
demo: setup contracts ## the whole mesh on this machine: three signed intents from signature to settlement
	@$(BIN)/intentmesh demo

.PHONY: clean
clean: ## remove what the commands made, installed packages included
	rm -rf build .venv .envs contracts/node_modules tests/acceptance/js/node_modules
