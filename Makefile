# The project's commands. `make` alone runs everything on this machine.
#
#   make run [PORT=9191] [DATA_DIR=/var/lib/studios]   install what is missing, then `studios up --demo`
#   make test [TESTS=tests/agent]                      the tests, in under ten minutes
#   make check                                         format, lint, types, import rules, tidiness: under a minute
#   make format                                        put into shape what can be
#   make bench                                         measure, into bench/RESULTS.md
#   make lock                                          the locked requirements, from pyproject.toml and images/
#   make clean-host [YES=1] [IN_USE=1]                 show, or end, what sessions left on this machine;
#                                                      those of a `studios up` that runs only with IN_USE=1

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := run
MAKEFLAGS += --no-print-directory

PORT ?= 9191
DATA_DIR ?= /var/lib/studios
TESTS ?= tests
TEST_JOBS ?= 5
# Parts that take about as long as each other; what is of none is the fifth.
SESSION_TESTS := tests/agent/session
ROOT_TESTS := tests/agent/root tests/agent/volume tests/e2e
CHECKPOINT_TESTS := tests/checkpoints tests/agent/checkpointing
AGENT_TESTS := tests/agent
# Tests that run make run one of their own.
ALONE := env --unset=MAKEFLAGS --unset=MFLAGS --unset=MAKELEVEL
BIN := .venv/bin
PACKAGES := agent checkpoints common connect_proxy control_plane studios tests
CODE := $(wildcard $(PACKAGES) bench)

.PHONY: run test test-sessions test-roots test-agents test-checkpoints test-rest test-vm check check-format check-lint check-types check-imports check-tidy format bench lock soak \
	clean-host install-dev check-data-dir

# Before anything is installed or made: what an unset variable of the caller's leaves is no folder.
run: check-data-dir
	@scripts/install
	@exec $(BIN)/studios up --demo --port '$(PORT)' --data-dir '$(DATA_DIR)'

# The whole runs in five parts side by side: those with sessions on the real kernel mostly wait.
# Hundreds of processes import the same modules: compiled once, whatever PYTHONDONTWRITEBYTECODE says.
test: install-dev
	@$(BIN)/python -m compileall -q $(filter-out tests bench,$(CODE))
ifeq ($(TESTS),tests)
	@$(MAKE) --jobs=$(TEST_JOBS) --output-sync=target --keep-going \
		test-sessions test-agents test-rest test-checkpoints test-roots
else
	@$(BIN)/python -m pytest $(TESTS)
endif

# Those that mount are in a mount namespace of their own: agents that other tests start would take
# copies of their mounts along, and keep them.
test-sessions:
	@$(ALONE) unshare --mount $(BIN)/python -m pytest $(SESSION_TESTS)

test-roots:
	@$(ALONE) unshare --mount $(BIN)/python -m pytest $(ROOT_TESTS)

test-agents:
	@$(ALONE) $(BIN)/python -m pytest $(AGENT_TESTS) \
		$(patsubst %,--ignore=%,$(SESSION_TESTS) $(ROOT_TESTS) $(CHECKPOINT_TESTS))

test-checkpoints:
	@$(ALONE) unshare --mount $(BIN)/python -m pytest $(CHECKPOINT_TESTS)

test-rest:
	@$(ALONE) $(BIN)/python -m pytest tests --ignore=tests/tidy \
		$(patsubst %,--ignore=%,$(AGENT_TESTS) $(ROOT_TESTS) $(CHECKPOINT_TESTS))

# What takes too long for every day: full sizes, thousands of random histories, every fault everywhere.
# No stacks are printed of what takes long here: looking at other threads' can end the process.
soak: install-dev
	@$(ALONE) unshare --mount $(BIN)/python -m pytest tests -m soak -o faulthandler_timeout=0

# On a kernel of their own, in a virtual machine: tests that need what a container's root doesn't have.
test-vm: install-dev
	@scripts/test-vm -m own_kernel tests/agent/volume

# Two at a time: more would only wait for each other on a small machine.
check: install-dev
	@$(MAKE) --jobs=2 --output-sync=target --keep-going \
		check-types check-format check-lint check-imports check-tidy

check-format:
	@$(BIN)/ruff format --check --quiet $(CODE) || { echo "Not in shape: run make format."; exit 1; }

check-lint:
	@$(BIN)/ruff check --quiet $(CODE)

check-types:
	@$(BIN)/mypy --no-error-summary

check-imports:
	@report=$$($(BIN)/lint-imports --no-logo 2>&1) || { echo "$$report"; exit 1; }

check-tidy:
	@$(BIN)/python -m pytest --quiet --no-header --durations=0 --durations-min=5 tests/tidy

format: install-dev
	@$(BIN)/ruff check --fix --quiet $(CODE) || true
	@$(BIN)/ruff format --quiet $(CODE)

bench: install-dev
	@$(BIN)/python -m bench

lock:
	@scripts/lock

clean-host: check-data-dir
	@scripts/clean-host $(if $(filter 1,$(YES)),--end )$(if $(filter 1,$(IN_USE)),--in-use )--data-dir '$(DATA_DIR)'

check-data-dir:
	@[[ '$(DATA_DIR)' = *[![:space:]]* ]] || \
		{ echo 'Error: DATA_DIR is empty: name a folder, or leave it out for /var/lib/studios.' >&2; exit 2; }

install-dev:
	@scripts/install --dev
