# One command runs it all: `make test`. Everything happens in .venv, which make creates.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# Benchmarks: which rows, as `make bench ROWS=commit_one,fsync_one`; all of them when empty.
ROWS ?=
CYCLES ?= 1000
IMAGES ?= 3000
# pytest's arguments, as `make test ARGS="tests/core -x"`.
ARGS ?=

.PHONY: help test lint format demo bench crash power clean

help:
	@echo "make test              everything that guards the house: tests, lint, types, contracts, documents"
	@echo "make demo              a real job, killed half-way, with nothing lost"
	@echo "make lint              lint, format, types and import contracts only"
	@echo "make format            rewrite what the formatter and the linter can"
	@echo "make bench ROWS=...    the speed and memory table, or some of its rows"
	@echo "make crash CYCLES=...  kill a process again and again, and look at what it left"
	@echo "make power IMAGES=...  cut the power at any moment, and open what is left"
	@echo "make clean             remove .venv and what the tools left"

# A stamp each: what is installed again when pyproject.toml or the version changes.
.venv/bin/python:
	@$(PYTHON) -m venv .venv

.venv/runtime: pyproject.toml nsqlite/_version.py | .venv/bin/python
	@$(PIP) --editable .
	@touch $@

.venv/dev: pyproject.toml nsqlite/_version.py | .venv/bin/python
	@$(PIP) --editable '.[dev]'
	@touch .venv/runtime $@

.venv/bench: pyproject.toml nsqlite/_version.py | .venv/bin/python
	@$(PIP) --editable '.[bench]'
	@touch .venv/runtime $@

test: .venv/dev
	@$(BIN)/python -m pytest --numprocesses=auto --dist=worksteal $(ARGS)

lint: .venv/dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: .venv/dev
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

demo: .venv/runtime
	@$(BIN)/python -m benchmarks.demo

bench: .venv/bench
	@$(BIN)/python -m benchmarks $(if $(ROWS),--rows $(ROWS))

crash: .venv/dev
	@$(BIN)/python -m tests.crash --cycles $(CYCLES)

power: .venv/dev
	@$(BIN)/python -m tests.power --images $(IMAGES)

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
