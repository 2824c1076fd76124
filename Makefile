# The commands of a developer's day; `make` alone lists them.
#
# Needs make, Python 3.11 or newer and, on Debian and Ubuntu, the package python3-venv. Everything else is put into
# .venv, once, and again only after setup.cfg or pyproject.toml has changed.

PYTHON ?= python3
VENV := .venv
VENV_PYTHON := $(VENV)/bin/python
PIP := $(VENV_PYTHON) -m pip --quiet --disable-pip-version-check --no-input

# `make test` fails when fewer tests ran: a package that is no longer found would otherwise look like success.
FLOOR := 2200

# What to run, and with which options of trial: `make test TESTS=tests.logs FLOOR=0`.
TESTS ?= tests
TRIAL_OPTIONS ?=
# Trial's workers; none of them for `JOBS= TRIAL_OPTIONS=--debug`. Each has ports, folders and a PostgreSQL of its own,
# so tests of two workers never meet.
JOBS ?= 2
TEST_LOG := build/test.log
NODE_MODULES := tests/clients/node_modules/.package-lock.json

# The storm of `make crash`: how many kills, what the database does meanwhile (up, down or flap), how large the spool's
# disk is, and the seed that makes a storm repeatable.
KILLS ?= 30
DB ?= flap
DISK ?= 64M
SEED ?= 1

# What `make bench` does: `run` with its options, or `idle`, `mixed --minutes 5`, `compare OLD NEW`, `install`.
BENCH ?= run

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help run test lint docs crash bench clean

help: ## list these commands
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1|\2/p' Makefile | column -t -s '|' 2>/dev/null \
		|| sed -nE 's/^([a-z]+):.*## (.*)/  make \1  \2/p' Makefile

run: $(VENV)/.ready-run ## start the gateway, with its own PostgreSQL, in ./aigw-data (options: ARGS="--listen ...")
	@exec $(VENV)/bin/twistd --nodaemon --pidfile= aigateway $(ARGS)

test: $(VENV)/.ready-test $(NODE_MODULES) ## run every test (one room: TESTS=tests.logs FLOOR=0)
	@mkdir -p $(dir $(TEST_LOG))
	@$(VENV_PYTHON) -u -m twisted.trial $(if $(JOBS),--jobs $(JOBS)) $(TRIAL_OPTIONS) $(TESTS) 2>&1 | tee $(TEST_LOG)
	@$(VENV_PYTHON) -m tests.tally $(TEST_LOG) --floor $(FLOOR) $(if $(CI),--no-skips)

lint: $(VENV)/.ready-dev ## check style, types and the direction of imports
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

docs: $(VENV)/.ready-docs ## build the documentation into docs/_build/html
	$(VENV_PYTHON) docs/settings_keys.py
	$(VENV_PYTHON) docs/error_codes.py
	$(VENV)/bin/sphinx-build -W --keep-going -q -b html docs docs/_build/html

crash: $(VENV)/.ready-test ## kill -9 the gateway under load and count what was lost (KILLS, DB, DISK, SEED)
	@$(VENV_PYTHON) -m tests.integration.crash --kills $(KILLS) --db $(DB) --disk $(DISK) --seed $(SEED)

bench: $(VENV)/.ready-run ## measure the gateway beside others, which are put below build/bench (BENCH="run --json FILE")
	@$(VENV_PYTHON) -m benchmarks $(BENCH)

clean: ## remove what can be made again; ./aigw-data stays
	rm -rf $(VENV) tests/clients/node_modules build dist docs/_build _trial_temp* *.egg-info \
		.mypy_cache .ruff_cache .import_linter_cache .grimp_cache .hypothesis
	find aigw tests twisted benchmarks -name __pycache__ -prune -exec rm -rf {} +
	rm -f twisted/plugins/dropin.cache

# --clear: what is there without a working interpreter is the rest of an interrupted or outdated one.
$(VENV_PYTHON):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "aigw needs Python 3.11 or newer; '$(PYTHON)' is not. Name another one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; \
		exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || { \
		rm -rf $(VENV); \
		echo "No virtual environment could be made. On Debian and Ubuntu: apt install python3-venv" >&2; \
		exit 1; }

# The build backend would warn about setup.cfg's editable mode, whose reason stands there.
$(VENV)/.ready-run: EXTRA :=
$(VENV)/.ready-test: EXTRA := [test]
$(VENV)/.ready-dev: EXTRA := [dev]
$(VENV)/.ready-docs: EXTRA := [docs]
$(VENV)/.ready-%: setup.cfg pyproject.toml | $(VENV_PYTHON)
	@echo "Installing aigw$(EXTRA) into $(VENV) ..." >&2
	@PYTHONWARNINGS=ignore $(PIP) install --editable '.$(EXTRA)'
	@touch $@

# Without Node, or without its registry, the tests that need it say so and are skipped.
$(NODE_MODULES): tests/clients/package-lock.json
	@if ! command -v npm >/dev/null; then \
		echo "npm is missing: the tests with Node's clients will be skipped" >&2; \
	elif ! npm ci --prefix tests/clients --silent --no-audit --no-fund; then \
		echo "npm ci failed: the tests with Node's clients will be skipped" >&2; \
	fi
