# `make` alone lists what there is. Needs Python 3.11 or newer, nothing else.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# Hundreds of processes are started by the tests: none of them compiles Relay anew.
export PYTHONDONTWRITEBYTECODE :=
# A stamp for each set of requirements: installing is done again when they change, free otherwise.
STAMP = $(VENV)/.$(1)-$(shell cat requirements.txt requirements-dev.txt pyproject.toml | cksum | cut -d' ' -f1)
RUN := $(call STAMP,run)
DEV := $(call STAMP,dev)
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# Python compiles what it imports, which is a fraction of what comes.
INSTALL := $(PIP) install --no-compile
BENCHMARKS := $(wildcard tests/benchmarks/bench_*.py)

.DEFAULT_GOAL := help
.PHONY: help setup run test lint bench torture lock browser postgresql clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1	\2/' | expand -t 16

setup: $(DEV) ## everything for working on Relay, into .venv

run: $(RUN) ## the main job, embedded: relay demo (ARGS=--once ends by itself)
	@$(BIN)/python -m relay demo $(ARGS)

test: $(DEV) browser postgresql ## all tests, with coverage (ARGS="-k words" chooses)
	@$(BIN)/python -m pytest -n 5 --dist worksteal --cov --cov-report=term:skip-covered \
		$(if $(ARGS),,--cov-fail-under=85 --ignore=tests/torture) $(ARGS)
	@$(if $(ARGS),,$(BIN)/python -m pytest -n 8 --dist worksteal tests/torture)

lint: $(DEV) ## ruff, mypy --strict
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(DEV) ## the benchmarks: ratios measured in one run
	@$(if $(BENCHMARKS),,echo "there are no benchmarks yet: tests/benchmarks/bench_*.py")
	@for f in $(BENCHMARKS); do echo "== $$f"; $(BIN)/python $$f $(ARGS) || exit 1; done

torture: $(DEV) postgresql ## kills, storms, full disks: an hour (ARGS=quick: the short sweep; SOAK=24h)
	@$(BIN)/python -m tests.torture $(ARGS)

lock: $(DEV) ## pin again what the direct requirements pull in
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tests/tools/lock.py $(ARGS)

browser: ## Chromium for the browser tests, where apt can install it
	@$(call system,chromium,command -v chromium,the browser tests)

postgresql: ## PostgreSQL's server for the ledger's tests, where apt can install it
	@$(call system,postgresql,command -v postgres || ls /usr/lib/postgresql/*/bin/postgres,the tests of the ledger)

# system(package, how to see that it is there, who needs it): in CI its absence is an error.
define system
{ $(2); } >/dev/null 2>&1 && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		echo "installing $(1)"; \
		apt-get update -qq >/dev/null && \
			DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(1) >/dev/null && exit 0; \
	fi; \
	echo "$(1) is missing and was not installed: $(3) need it" >&2; \
	test -z "$$CI"
endef

clean: ## remove what make made
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage* .lint.log .system.log build *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; none was found" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; }

$(RUN): | $(BIN)/python
	@echo "installing what Relay runs on"
	@sed -e '/^-r/d' -e 's/\[.*\]//' requirements-dev.txt > $(VENV)/constraints.txt
	@$(INSTALL) -r requirements.txt && $(INSTALL) -c $(VENV)/constraints.txt -e '.[demo]'
	@rm -f $(VENV)/.run-* && touch $@

$(DEV): $(RUN)
	@echo "installing what its tests need"
	@$(INSTALL) -r requirements-dev.txt
	@rm -f $(VENV)/.dev-* && touch $@
