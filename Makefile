# Headwater's verbs. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ROUNDS ?= 10
BROKERS ?= 1
EVENTS ?= 100000
SEED ?= 1

.PHONY: help compiled compiled-alike demo demo-kafka test js sdk-version sdk-packages check fmt lint types imports unit crash crash-kafka bench bench-sdk sdk-soak docs clean

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.run ## install, start everything on this machine, send a demo stream, show the answers (DEMO_EXIT=1 ends by itself)
	@$(BIN)/headwater demo $(if $(DEMO_EXIT),--exit,)

demo-kafka: $(VENV)/.run ## the same on Apache Kafka: one broker on loopback, installed with Maven at the first start (needs Java)
	@$(BIN)/headwater demo --kafka $(if $(DEMO_EXIT),--exit,)

test: system-deps $(VENV)/.dev node-deps check js unit ## install what the tests need (Debian, PyPI, npm), then lint, types, import rules and all tests

js: js-deps ## the JavaScript SDKs: install, lint and types, build, test
	@cd sdk/javascript && npm run --silent check && npm run --silent build && npm run --silent test

sdk-version: js-deps ## stamp a version into every SDK and into what the collector serves (V=1.2.3)
	@test -n "$(V)" || { echo "say which: make sdk-version V=1.2.3"; exit 1; }
	@echo "$(V)" > sdk/VERSION && cd sdk/javascript && node tools/version.mjs && npm run --silent collector

sdk-packages: js-deps $(VENV)/.dev ## build what is published of the SDKs into dist/: wheel, sdist, npm packages
	@mkdir -p dist && $(BIN)/python -m build --no-isolation --outdir dist sdk/python
	@cd sdk/javascript && npm run --silent build && npm pack --silent --workspaces --pack-destination ../../dist

check: lint types imports ## lint, types and import rules

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev
	$(BIN)/mypy
	cd sdk/python && $(abspath $(BIN))/mypy

imports: $(VENV)/.dev
	$(BIN)/lint-imports

unit: $(VENV)/.dev
	$(BIN)/pytest -n 2 --dist loadfile

fmt: $(VENV)/.dev ## format the code and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

crash: $(VENV)/.dev ## kill processes at random under load and balance the books (ROUNDS=10)
	$(BIN)/python -m tests.crash.run --rounds $(ROUNDS)

crash-kafka: $(VENV)/.dev ## the same to a cluster on Kafka: kills, freezes, network cuts, clock jumps (ROUNDS=10 BROKERS=1)
	$(BIN)/python -m tests.crash.kafka --rounds $(ROUNDS) --brokers $(BROKERS)

compiled: $(VENV)/.dev ## build the wheel with its hot modules compiled and unpack it into build/compiled (needs a C compiler)
	@rm -rf build/wheel build/compiled && mkdir -p build/compiled
	@HEADWATER_COMPILE=1 $(BIN)/uv build --wheel --python $(BIN)/python --out-dir build/wheel .
	@$(BIN)/python -m zipfile -e build/wheel/headwater-*.whl build/compiled && ln -s ../../bench build/compiled/bench

compiled-alike: $(VENV)/.dev ## send hostile events through both builds of the hot modules and compare all that comes of them (EVENTS=100000 SEED=1)
	@HOSTILE_EVENTS=$(EVENTS) HOSTILE_SEED=$(SEED) $(BIN)/pytest -q -p no:randomly tests/deploy/test_compiled.py -k come_to_the_same

bench: compiled ## measure everything, as the image ships it, against floor probes; print the table of docs/performance.md
	@cd build/compiled && PYTHONPATH=$(CURDIR)/build/compiled $(abspath $(BIN))/python -P -m bench

bench-sdk: $(VENV)/.dev node-deps js-deps ## measure our SDKs beside Segment's, print the table of docs/sdk/performance.md (more than six minutes)
	@cd sdk/javascript && npm run --silent build -w packages/node
	$(BIN)/python -m bench.sdk

sdk-soak: $(VENV)/.dev js-deps ## every SDK through faults and kills into ClickHouse, each event exactly once (EVENTS=100000)
	@cd sdk/javascript && npm run --silent build -w packages/node
	$(BIN)/python -m tests.soak.run --events $(EVENTS)

docs: $(VENV)/.dev ## run every command and code block of the docs
	$(BIN)/pytest tests/docs

clean: ## remove environments, caches and demo data
	rm -rf $(VENV) build .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist tests/e2e/node/node_modules sdk/javascript/node_modules sdk/javascript/packages/*/dist

# --- environments -----------------------------------------------------------------------------------------------------
# A stamp file says what is installed; it is older than pyproject.toml when something changed.

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Headwater needs Python >= 3.11; $(PYTHON) is $$($(PYTHON) --version). Set PYTHON=..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: apt-get install python3-venv"; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check uv

$(VENV)/.run: pyproject.toml sdk/python/pyproject.toml | $(BIN)/uv
	@echo "installing Headwater into $(VENV) ..."
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet -e '.[local,demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml sdk/python/pyproject.toml | $(BIN)/uv
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet -e '.[local,demo]' --group dev
	@touch $@ $(VENV)/.run

.PHONY: system-deps node-deps js-deps
system-deps:
	@bash deploy/dev/system-deps.sh

node-deps:
	@cd tests/e2e/node && npm install --silent --no-audit --no-fund

js-deps:
	@cd sdk/javascript && npm install --silent --no-audit --no-fund --omit-lockfile-registry-resolved
