# `make` alone lists what there is. Needs Python 3.11 or newer, nothing else.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# A stamp for each set of requirements: installing is done again when they change, free otherwise.
STAMP = $(VENV)/.$(1)-$(shell cat requirements.txt requirements-dev.txt pyproject.toml | cksum | cut -d' ' -f1)
RUN := $(call STAMP,run)
DEV := $(call STAMP,dev)
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help setup run test lint bench lock browser clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1	\2/' | expand -t 16

setup: $(DEV) ## everything for working on Relay, into .venv

run: $(RUN) ## the main job, embedded: relay demo (ARGS=--once ends by itself)
	@$(BIN)/python -m relay demo $(ARGS)

test: $(DEV) browser ## all tests, with coverage (ARGS="-k words" chooses)
	@$(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=term:skip-covered \
		--cov-fail-under=85 $(ARGS)

lint: $(DEV) ## ruff, mypy --strict
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(DEV) ## the benchmarks: ratios measured in one run
	@for f in tests/benchmarks/bench_*.py; do echo "== $$f"; $(BIN)/python $$f $(ARGS) || exit 1; done

lock: $(DEV) ## pin again what the direct requirements pull in
	@$(BIN)/python tests/tools/lock.py

browser: ## Chromium for the browser tests, where apt can install it
	@if ! command -v chromium >/dev/null 2>&1; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
			echo "installing chromium"; \
			apt-get update -qq >/dev/null && apt-get install -y -qq chromium >/dev/null; \
		elif [ -n "$$CI" ]; then echo "chromium is missing" >&2; exit 1; \
		else echo "chromium is missing: the browser tests will be skipped"; fi; fi

clean: ## remove what make made
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage* build *.egg-info

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; none was found" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(RUN): | $(VENV)/bin/python
	@echo "installing what Relay runs on"
	@$(PIP) install -r requirements.txt
	@rm -f $(VENV)/.run-* && touch $@

$(DEV): $(RUN)
	@echo "installing what its tests need"
	@$(PIP) install -r requirements-dev.txt && $(PIP) install --no-deps -e .
	@rm -f $(VENV)/.dev-* && touch $@
