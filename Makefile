# Every target does its own set-up from a bare checkout. `make help` lists them.
# PYTHON is the interpreter that makes .venv: 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
ARGS ?=

.PHONY: help demo demo-hedera test test-tools test-long bench docs lock clean

help:  ## list the targets
	@grep -hE '^[a-z.-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

demo: $(VENV)  ## the whole network on this machine, with simulated stations
	@$(BIN)/chargera demo $(ARGS)

demo-hedera: $(VENV)/.test  ## the same on an emulator of Hedera, which is no part of the package
	@$(BIN)/python -m scripts.demo_hedera $(ARGS)

test: $(VENV)/.test  ## style, types, layers, unit and integration tests (Python only)
	@BIN=$(BIN) sh scripts/test $(ARGS)

test-tools: $(VENV)/.tools  ## foreign judges: Go, Node, Rust and Chromium (names what is missing)
	@BIN=$(BIN) sh scripts/test-tools $(ARGS)

test-long: $(VENV)/.test  ## longer fuzz, more kills, more sessions
	@BIN=$(BIN) sh scripts/test-long $(ARGS)

bench: $(VENV)/.tools  ## benchmarks; ARGS=ocpp, eventlog, ledger or outage
	@$(BIN)/python -m benchmarks $(ARGS)

docs: $(VENV)/.test  ## write the generated parts of docs/reference again
	@$(BIN)/python -m scripts.docs

$(VENV): $(VENV)/.base  ## the environment with the command .venv/bin/chargera

$(VENV)/.base: requirements/base.txt requirements/build.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ChargEra needs Python 3.11 or newer: set PYTHON=python3.11 or later")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV) (once, about a minute)"
	@$(PIP) install --require-hashes --no-deps -r requirements/base.txt -r requirements/build.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.base requirements/test.txt
	@$(PIP) install --require-hashes --no-deps -r requirements/test.txt
	@touch $@

$(VENV)/.tools: $(VENV)/.test requirements/tools.txt
	@$(PIP) install --require-hashes --no-deps -r requirements/tools.txt
	@touch $@

# Needs uv. No index address is written into the files.
COMPILE = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock" pyproject.toml
lock:  ## pin what pyproject.toml allows today, with hashes
	$(COMPILE) -o requirements/base.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--custom-compile-command "make lock" --group build -o requirements/build.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--custom-compile-command "make lock" --group slither -o requirements/slither.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--custom-compile-command "make lock" --group halmos -o requirements/halmos.txt
	$(COMPILE) --extra hedera -o requirements/hedera.txt
	$(COMPILE) --group test -o requirements/test.txt
	$(COMPILE) --group test --group tools -o requirements/tools.txt

clean:  ## remove what the targets above made
	rm -rf $(VENV) build dist .coverage .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
