# Every target sets up what it needs. Needed beforehand: Python 3.11 or later, as `python3`, and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-$(shell cat requirements-dev.lock pyproject.toml 2>/dev/null | cksum | cut -d' ' -f1)

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format lock bench chaos chart-tools kafka kafka-stop clean

help: ## Show what can be made
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv with the locked dependencies and .venv/bin/callgate

$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Python 3.11 or later is needed; $(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo not there)." \
		"Try: make PYTHON=python3.12" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV) # also mends one that was cut short
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@rm -f $(VENV)/.installed-* && touch $@

demo: setup ## Run the demonstration on the embedded log (under 20 s once installed)
	@$(BIN)/callgate demo

test: setup chart-tools ## Run all tests
	@$(BIN)/python -m broker fetch || echo "Without Kafka's jars its tests need CALLGATE_TEST_BOOTSTRAP or Docker." >&2
	@$(BIN)/python -m pytest

HELM_VERSION := v3.22.0
HELM := .tools/helm-$(HELM_VERSION)/helm
chart-tools: ## Build helm for the chart's tests, where none is there and Go is
	@command -v helm >/dev/null || test -x $(HELM) || { command -v go >/dev/null && \
		GOBIN=$(abspath $(dir $(HELM))) go install helm.sh/helm/v3/cmd/helm@$(HELM_VERSION); } || \
		echo "Without helm or Go the chart's tests can't run." >&2

check: setup ## Lint, types, layers, house rules and schemas
	@$(BIN)/ruff check services tests broker bench
	@$(BIN)/ruff format --check services tests broker bench
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m pytest -q tests/house
	@$(BIN)/callgate schemas check

format: setup ## Format the code and mend what ruff can
	@$(BIN)/ruff check --fix services tests broker bench
	@$(BIN)/ruff format services tests broker bench

lock: setup ## Pin the dependencies anew, with hashes
	@$(BIN)/pip-compile --quiet --upgrade --generate-hashes --strip-extras --allow-unsafe --no-emit-index-url \
		--no-emit-trusted-host --no-emit-find-links --no-header --output-file requirements.lock pyproject.toml
	@$(BIN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-emit-index-url \
		--no-emit-trusted-host --no-emit-find-links --no-header --extra dev --constraint requirements.lock \
		--output-file requirements-dev.lock pyproject.toml
	@$(BIN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-emit-index-url \
		--no-emit-trusted-host --no-emit-find-links --no-header --build-deps-for wheel --only-build-deps \
		--constraint requirements-dev.lock --output-file requirements-build.lock pyproject.toml

bench: setup ## Run the benchmarks (about twenty minutes), on a broker of their own
	@$(BIN)/python -m bench

RUNS ?= 20
SEED ?= 1
LOG ?= both
chaos: setup ## Kill and stop everything at random and check what is left (RUNS=20 SEED=1 LOG=kafka|sqlite|both)
	@$(BIN)/python -m tests.chaos --runs $(RUNS) --seed $(SEED) --log $(LOG)

kafka: ## Start a local Kafka, detached, and print its address (needs a JDK and Maven)
	@$(PYTHON) -m broker start

kafka-stop: ## Stop the local Kafka; its data are kept
	@$(PYTHON) -m broker stop

clean: ## Remove what setup and tests have made
	@rm -rf $(VENV) .mypy_cache .ruff_cache .hypothesis .import_linter_cache
