# Everything the project does, by name. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
NAMESPACE ?= pecan-system
# With --quiet mkdocs would not count its warnings.
MKDOCS := said=$$($(BIN)/mkdocs build --strict 2>&1) || { echo "$$said"; exit 1; }

.PHONY: help
help: ## Explain every target
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

$(VENV)/.ready: pyproject.toml
	@hack/venv $(VENV) $(PYTHON)
	@touch $@

.PHONY: venv
venv: $(VENV)/.ready ## Make the Python environment for development in .venv

.PHONY: demo
demo: ## Run a real 100-member DALEC ensemble on a real cluster and show its results
	@hack/demo

.PHONY: test
test: cluster check unit chart services e2e ## Everything that guards a change, on a real cluster

.PHONY: test-full
test-full: cluster check unit chart services-full services e2e-full cluster-test ## test, and what takes too long for it

.PHONY: check
check: venv ## Lint, types, architecture, CRD drift, chart lint, documentation
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/mypy --python-version 3.10 model-images/base/worker.py
	@MYPYPATH=hack/local-cluster:hack $(BIN)/mypy --strict -p local_cluster -p image_builder
	@said=$$($(BIN)/lint-imports 2>&1) || { echo "$$said"; exit 1; }
	@$(BIN)/python -m pecan_operator.api.crdgen --check --reference docs/reference.md crds/
	@hack/helm lint --quiet charts/pecan-operator
	@$(MKDOCS)

.PHONY: unit
unit: venv ## Unit tests: every decision, no cluster
	@$(PYTEST) -q -n auto tests/unit

.PHONY: services
services: venv ## Tests of worker, broker client and ledger on a RabbitMQ and a PostgreSQL of their own
	@hack/services
	@$(PYTEST) -q tests/broker tests/database -m "not full"

.PHONY: services-full
services-full: venv ## The long tests of the same
	@hack/services
	@$(PYTEST) -q tests/broker tests/database -m full

.PHONY: chart
chart: venv ## Tests of the rendered chart
	@$(PYTEST) -q tests/chart

.PHONY: crds
crds: venv ## Generate crds/ and docs/reference.md from the models in operator/pecan_operator/api
	@$(BIN)/python -m pecan_operator.api.crdgen --reference docs/reference.md crds/

.PHONY: docs
docs: venv ## Build the documentation into .build/site
	@$(MKDOCS)
	@echo "docs: .build/site/index.html"

.PHONY: format
format: venv ## Format the Python sources
	@$(BIN)/ruff check --fix -q . || true
	@$(BIN)/ruff format -q .

.PHONY: cluster
cluster: ## Bring up a Kubernetes cluster: the current one if named, kind, or a local one
	@hack/cluster up

.PHONY: cluster-down
cluster-down: ## Take down what `make cluster` brought up
	@hack/cluster down

# make images IMAGES=model-wofost builds this one only; without, all but the model images that are built on request.
.PHONY: images
images: ## Build our images
	@hack/images build $(IMAGES)

.PHONY: install
install: cluster images ## Install the operator into the cluster
	@hack/images load
	@hack/install $(NAMESPACE)

.PHONY: e2e
e2e: venv install ## Tests on the real cluster
	@$(PYTEST) -q tests/e2e -m "not full and not cluster_lifecycle"

.PHONY: e2e-full
e2e-full: venv install ## All tests on the real cluster, the long ones too
	@hack/images build model-wofost
	@hack/images load
	@$(PYTEST) -q tests/e2e -m "not cluster_lifecycle"

.PHONY: cluster-test
cluster-test: venv ## Start, kill and stop a local cluster of its own
	@$(PYTEST) -q tests/e2e -m cluster_lifecycle

# make bench ROWS="scale_up fairness" measures these only.
.PHONY: bench
bench: venv install ## Figures of the run loop on the real cluster, in ten to fifteen minutes
	@$(BIN)/python tests/bench/run.py $(if $(LONG),--long) $(ROWS)

.PHONY: bench-long
bench-long: ## The same with sizes of production
	@$(MAKE) --no-print-directory bench LONG=1

.PHONY: clean
clean: ## Remove what was built into this tree
	@rm -rf $(VENV) .build results
