# `make demo` and `make test` are each the only command a fresh machine needs: they make .venv when it is missing.
# PYTHON=python3.12 chooses the interpreter that .venv is made with.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

SCENARIO ?= sme-credit
PRESET ?= standard
OUT ?= demo
BENCH_PRESET ?= full
WORKERS ?= 2

# --no-compile: byte code is made for what is imported, when it is; that halves the time of an installation.
PIP_FLAGS := --quiet --disable-pip-version-check --no-compile --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup demo test check fmt bench docs

help: ## list these verbs
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-6s %s\n", $$1, $$2}' Makefile

setup: $(INSTALLED) ## make .venv and install everything, as pinned in constraints.txt

# torch goes first and by its exact version: a range would take a GPU build of several gigabytes.
# The build backend is installed like everything else, so that its version is pinned too.
$(INSTALLED): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11) and "LeanRisk needs Python 3.11 or newer: remove .venv and repeat with PYTHON=python3.11")'
	$(BIN)/python -m pip install $(PIP_FLAGS) "$$(grep '^torch==' constraints.txt)" hatchling editables
	$(BIN)/python -m pip install $(PIP_FLAGS) --no-build-isolation --editable '.[dev]'
	@touch $@

demo: $(INSTALLED) ## run the main job and leave its report, result.json and bundle in OUT (demo)
	$(BIN)/leanrisk run $(SCENARIO) --preset $(PRESET) --out $(OUT)

test: $(INSTALLED) ## run every test, warnings as errors
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

check: $(INSTALLED) ## formatting, lint, types, layers
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

fmt: $(INSTALLED) ## format and mend what can be mended by machine
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(INSTALLED) ## run every benchmark of benchmarks/ (BENCH_PRESET=smoke for a quick look)
	$(BIN)/leanrisk bench --all --preset $(BENCH_PRESET)

docs: $(INSTALLED) ## run every example of the README, the guide and the docstrings
	$(BIN)/python -m pytest --quiet README.md $(wildcard docs) src
