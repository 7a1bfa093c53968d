# `make` alone lists the targets. Needs Python 3.11 or newer, nothing else.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# The tests start hundreds of processes: share the compiled files.
export PYTHONDONTWRITEBYTECODE :=
# A stamp per set of requirements: make installs again only when they change.
STAMP = $(VENV)/.$(1)-$(shell cat requirements.txt requirements-dev.txt pyproject.toml | cksum | cut -d' ' -f1)
RUN := $(call STAMP,run)
DEV := $(call STAMP,dev)
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# Python compiles at import: most of the installed modules are never imported.
INSTALL := $(PIP) install --no-compile
BENCHMARKS := $(wildcard tests/benchmarks/bench_*.py)

.DEFAULT_GOAL := help
.PHONY: help setup run test lint bench torture lock browser postgresql clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1	\2/' | expand -t 16

setup: $(DEV) ## install everything for working on Relay into .venv

run: $(RUN) ## relay demo: everything embedded (ARGS=--once exits after the import)
	@$(BIN)/python -m relay demo $(ARGS)

test: $(DEV) browser postgresql ## all tests, with coverage (ARGS="-k words" selects)
	@$(BIN)/python -m pytest -n 5 --dist worksteal --cov --cov-report=term:skip-covered \
		$(if $(ARGS),,--cov-fail-under=85 --ignore=tests/torture) $(ARGS)
	@$(if $(ARGS),,$(BIN)/python -m pytest -n 8 --dist worksteal tests/torture)

lint: $(DEV) ## ruff, mypy --strict, and a count of words that make prose hard to read
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python tests/tools/prose.py

bench: $(DEV) ## benchmarks: ratios measured in a single run
	@$(if $(BENCHMARKS),,echo "there are no benchmarks yet: tests/benchmarks/bench_*.py")
	@for f in $(BENCHMARKS); do echo "== $$f"; $(BIN)/python $$f $(ARGS) || exit 1; done

torture: $(DEV) postgresql ## reliability tests: kills, bursts, full disks, an hour (ARGS=quick is short; SOAK=24h)
	@$(BIN)/python -m tests.torture $(ARGS)

lock: $(DEV) ## pin the transitive requirements again
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tests/tools/lock.py $(ARGS)

browser: ## Chromium for the browser tests, if apt can install it
	@$(call system,chromium,command -v chromium,the browser tests)

postgresql: ## PostgreSQL for the tests of the ledger, if apt can install it
	@$(call system,postgresql,command -v postgres || ls /usr/lib/postgresql/*/bin/postgres,the tests of the ledger)

# system(package, check command, user): install a system package; in CI its absence is an error.
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

clean: ## remove everything that make created
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage* .lint.log .system.log build *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; none was found" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; }

$(RUN): | $(BIN)/python
	@echo "installing Relay"
	@sed -e '/^-r/d' -e 's/\[.*\]//' requirements-dev.txt > $(VENV)/constraints.txt
	@$(INSTALL) -r requirements.txt && $(INSTALL) -c $(VENV)/constraints.txt -e '.[demo]'
	@rm -f $(VENV)/.run-* && touch $@

$(DEV): $(RUN)
	@echo "installing the test requirements"
	@$(INSTALL) -r requirements-dev.txt
	@rm -f $(VENV)/.dev-* && touch $@
