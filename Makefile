# SPDX-License-Identifier: Apache-2.0
# `make run` and `make test` work on a fresh machine with Python 3.11+, a C compiler and make.

VENV    := .venv
PY      := $(VENV)/bin/python
JOBS    := $(shell nproc 2>/dev/null || echo 2)
ARGS    ?=
PATHS   ?=
SCALE   ?= 10
SOURCES := $(shell find sfu -name '*.pyx' -o -name '*.pxd' -o -name '*.h')
LINTED  := $(wildcard sfu signaling tests benchmarks tools)

# The steps of one goal depend on each other; the compiler runs in parallel by itself.
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help run test test-full lint format build bench asan fuzz lock clean setup setup-test

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

run: build  ## start the server for development and print its address (ARGS="--http-port 9000")
	@exec $(VENV)/bin/sfu serve --dev $(ARGS)

test: setup-test build  ## every test, at small counts (PATHS=tests/wire ARGS="-k nack")
	@sh tools/bootstrap.sh browsers
	@$(PY) -m pytest --durations=15 $(ARGS) $(PATHS)

test-full: setup-test build  ## the same tests at full counts, and the slow ones; writes docs/results/
	@sh tools/bootstrap.sh browsers
	@$(PY) -m pytest --durations=30 --scale $(SCALE) --timeout 1800 -o faulthandler_timeout=3600 --results docs/results/test-full.md $(ARGS) $(PATHS)

lint: setup-test  ## ruff, mypy --strict, import-linter, house rules
	@failed=0; \
	$(VENV)/bin/ruff check . || failed=1; \
	$(VENV)/bin/ruff format --check . || failed=1; \
	$(PY) tools/check_sources.py || failed=1; \
	$(VENV)/bin/mypy $(LINTED) || failed=1; \
	$(VENV)/bin/lint-imports --no-logo --cache-dir build/import-linter || failed=1; \
	exit $$failed

format: setup-test  ## let ruff rewrite what it can
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

build: setup $(VENV)/built  ## compile the extension modules in place

$(VENV)/built: setup.py pyproject.toml sfu/__init__.py requirements/build.txt $(SOURCES)
	@sh tools/build.sh $(JOBS)

bench: build  ## the benchmarks (ARGS="NAME")
	@$(PY) -m benchmarks $(ARGS)

asan: setup-test  ## kernel tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@sh tools/asan.sh $(JOBS) $(PATHS)

fuzz: setup-test  ## hostile datagrams through parsers and router under AddressSanitizer (SCALE=100: more of them)
	@sh tools/asan.sh $(JOBS) tests/fuzzing tests/wire --timeout 7200 -o faulthandler_timeout=7200 --scale $(SCALE)

lock: setup  ## resolve the requirements anew (needs uv)
	@sh tools/lock.sh

setup:
	@sh tools/bootstrap.sh run

setup-test:
	@sh tools/bootstrap.sh test

clean:  ## undo everything make did here
	rm -rf $(VENV) build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache tests/artefacts
	find sfu -name '*.so' -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
