# make demo   transcribes samples/ with the shipped bundle (own virtual environment, plain install, no torch)
# make test   ruff, mypy and pytest (own virtual environment, with torch and all that tests need)
#
# Another interpreter: make PYTHON=python3.12 test. Both environments are kept; a second run is quick.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

PYTHON ?= python3
TORCH := torch==2.13.0
TEST_ENV := .venv
DEMO_ENV := .venv-demo
SOURCES := $(shell find edge_asr -type f -not -path '*/__pycache__/*')

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
export PIP_NO_INPUT := 1

# $(call environment,FOLDER): a virtual environment in FOLDER, made where there is none yet.
define environment
@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found; Python 3.10 or newer is needed (make PYTHON=/path/to/python3 ...)" >&2; exit 1; }
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "error: $$($(PYTHON) --version) is too old; Python 3.10 or newer is needed (make PYTHON=python3.12 ...)" >&2; exit 1; }
@[ -x $(1)/bin/pip ] || { echo "creating $(1)"; $(PYTHON) -m venv --clear $(1); } || { echo "error: $(PYTHON) -m venv failed (on Debian and Ubuntu: apt install python3-venv)" >&2; rm -rf $(1); exit 1; }
endef

.PHONY: help demo test lint types unit format wheel clean

help:
	@sed -n 's/^# make /make /p' Makefile

demo: $(DEMO_ENV)/.ready
	@$(DEMO_ENV)/bin/edge-asr demo samples/manifest.jsonl

test: lint types unit

lint: $(TEST_ENV)/.ready
	@$(TEST_ENV)/bin/ruff check .

types: $(TEST_ENV)/.ready
	@$(TEST_ENV)/bin/mypy --strict edge_asr export scripts

unit: $(TEST_ENV)/.ready
	@$(TEST_ENV)/bin/python -m pytest -q

format: $(TEST_ENV)/.ready
	@$(TEST_ENV)/bin/ruff check --fix .
	@$(TEST_ENV)/bin/ruff format .

wheel: $(TEST_ENV)/.ready
	@$(TEST_ENV)/bin/pip wheel -qq --no-deps --wheel-dir dist .

# The plain install, as a user has it: not editable, so done again when a source changes.
$(DEMO_ENV)/.ready: pyproject.toml constraints.txt README.md LICENSE $(SOURCES)
	$(call environment,$(DEMO_ENV))
	@echo "installing edge-asr into $(DEMO_ENV)"
	@$(DEMO_ENV)/bin/pip install -qq -c constraints.txt .
	@touch $@

# torch goes first and by version alone, so that pip takes a CPU wheel where its find-links hold one.
$(TEST_ENV)/.ready: pyproject.toml constraints.txt
	$(call environment,$(TEST_ENV))
	@echo "installing $(TORCH) into $(TEST_ENV)"
	@$(TEST_ENV)/bin/pip install -qq -c constraints.txt $(TORCH)
	@echo "installing edge-asr[train,export,dev,voices,monitor] into $(TEST_ENV)"
	@$(TEST_ENV)/bin/pip install -qq -c constraints.txt -e '.[train,export,dev,voices,monitor]'
	@touch $@

clean:
	rm -rf $(TEST_ENV) $(DEMO_ENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find edge_asr export scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +
