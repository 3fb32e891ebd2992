# One command runs it all: `make test`. Everything happens in .venv, which make creates.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

GO ?= go

# Benchmarks: which rows, as `make bench ROWS=commit_one,fsync_one`; all of them when empty.
ROWS ?=
CYCLES ?= 1000
IMAGES ?= 3000
SECONDS ?= 60
# pytest's arguments, as `make test ARGS="tests/core -x"`.
ARGS ?=

.PHONY: help test test-interop lint format demo bench bench-net bench-http bench-testing crash power fuzz peers browser wrk clean

help:
	@echo "make test              everything that guards the house: tests, lint, types, contracts, documents"
	@echo "make test-interop      a node beside NSQ's own programs and clients; needs Go, Node and Chromium"
	@echo "make demo              a real job, killed half-way, with nothing lost"
	@echo "make lint              lint, format, types and import contracts only"
	@echo "make format            rewrite what the formatter and the linter can"
	@echo "make bench ROWS=...    the speed and memory table, or some of its rows"
	@echo "make bench-net ROWS=.. the same for the listener, beside the real nsqd; needs Go"
	@echo "make bench-http ROWS=.. the same for the HTTP API; needs Go and wrk"
	@echo "make bench-testing     what the pytest fixtures cost, beside fakeredis and a real nsqd; needs Go"
	@echo "make crash CYCLES=...  kill a process again and again, and look at what it left; ARGS=--tcp over TCP"
	@echo "make power IMAGES=...  cut the power at any moment, and open what is left"
	@echo "make fuzz SECONDS=...  feed the protocol's parser what nobody would send"
	@echo "make peers             build NSQ's own programs into build/peers; needs Go"
	@echo "make browser           install Chromium, in which the page for people is tried, if there is none"
	@echo "make clean             remove .venv, build and what the tools left"

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

.venv/interop: pyproject.toml nsqlite/_version.py | .venv/bin/python
	@$(PIP) --editable '.[dev,interop]'
	@touch .venv/runtime .venv/dev $@

.venv/fuzz: pyproject.toml nsqlite/_version.py | .venv/bin/python
	@$(PIP) --editable '.[test,fuzz]'
	@touch .venv/runtime $@

.venv/bench-net: pyproject.toml nsqlite/_version.py | .venv/bin/python
	@$(PIP) --editable '.[net]'
	@touch .venv/runtime $@

.venv/bench-testing: pyproject.toml nsqlite/_version.py | .venv/bin/python
	@$(PIP) --editable '.[bench,test]'
	@touch .venv/runtime .venv/bench $@

# NSQ's own programs, which tests/interop/go/tools.go names, and ours of the same module. `go build` runs in
# the module's folder, so it is told the whole path of ours.
INTEROP := tests/interop/go
NSQ := github.com/nsqio/nsq
PROGRAMS := $(NSQ)/apps/... $(NSQ)/bench/bench_reader $(NSQ)/bench/bench_writer ./...

build/peers/.built: $(INTEROP)/go.mod $(INTEROP)/go.sum $(shell find $(INTEROP) -name '*.go')
	@command -v $(GO) >/dev/null || { \
		echo "NSQ's own programs are built with Go, and there is no command '$(GO)' here:" >&2; \
		echo "install Go 1.21 or newer (Debian and Ubuntu: golang-go; Homebrew: go), or say where it is: make GO=..." >&2; \
		exit 1; }
	@mkdir -p $(@D)
	@cd $(INTEROP) && $(GO) build -mod=readonly -buildvcs=false -trimpath -o "$(CURDIR)/$(@D)/" $(PROGRAMS)
	@touch $@

peers: build/peers/.built

# Programs of the system. Root may install Debian's package; nobody else is asked for a password.
CHROMIUM = $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)
debian = { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update --quiet=2 && \
	DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 --no-install-recommends $(1) >/dev/null; }

browser:
	@test -n "$(CHROMIUM)" || $(call debian,chromium) || { \
		echo "The page for people is tried in Chromium, and there is none here:" >&2; \
		echo "install it (Debian: apt-get install chromium; Ubuntu: snap install chromium; Fedora: dnf install chromium)" >&2; \
		exit 1; }

wrk:
	@command -v wrk >/dev/null || $(call debian,wrk) || { \
		echo "HTTP requests come from wrk, and there is no command 'wrk' here:" >&2; \
		echo "install it (Debian and Ubuntu: apt-get install wrk; Homebrew: wrk)" >&2; \
		exit 1; }

test: .venv/dev
	@$(BIN)/python -m pytest --numprocesses=auto --dist=worksteal $(ARGS)

# Not a part of `make test`: these need Go, Node, Chromium and wrk, and wait for real heartbeats.
test-interop: .venv/interop peers browser wrk
	@$(BIN)/python -m pytest --numprocesses=auto --dist=worksteal tests/interop $(ARGS)

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

bench-net: .venv/bench-net peers
	@$(BIN)/python -m benchmarks.net $(if $(ROWS),--rows $(ROWS)) $(ARGS)

bench-http: .venv/bench-net peers wrk
	@$(BIN)/python -m benchmarks.http $(if $(ROWS),--rows $(ROWS)) $(ARGS)

bench-testing: .venv/bench-testing peers
	@$(BIN)/python -m benchmarks.testing $(if $(ROWS),--rows $(ROWS)) $(ARGS)

crash: .venv/dev
	@$(BIN)/python -m tests.crash --cycles $(CYCLES) $(ARGS)

power: .venv/dev
	@$(BIN)/python -m tests.power --images $(IMAGES)

fuzz: .venv/fuzz
	@$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

clean:
	rm -rf .venv build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
