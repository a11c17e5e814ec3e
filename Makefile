# Every target installs what it needs into .venv from a lock file with hashes. Nothing else on the machine is changed.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help demo test lint types unit certs sd-setup bench soak fuzz lock proto clean

help:
	@echo 'make demo [ONCE=1]   the network on this machine: hd-1 pings hd-2 through the proxy'
	@echo 'make test            lint, types, tests with coverage'
	@echo 'make certs           new certificates for settings/dev and settings/test, and fresh state'
	@echo 'make sd-setup        sign the development directory and submit it (the service directory must run)'
	@echo 'make soak            long runs that look for leaks'
	@echo 'make fuzz            random bytes for every parser of untrusted input'
	@echo 'make lock            renew the lock files from pyproject.toml'

$(VENV)/.run: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/.dev: $(VENV)/.run requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	touch $@
