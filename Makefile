# Every target installs what it needs into .venv from a lock file with hashes. Nothing else on the machine is changed.
# --no-deps: the lock files name everything, and so nothing newer is looked at, not even for an extra such as coverage[toml].
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Tests and benchmarks start some hundred programs: each would compile all of eps anew, for most of a second.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo internal-server test lint types unit certs sd-setup sd-test-setup bench soak chaos fuzz mutants deb lock proto docs clean

help:
	@echo 'make demo [ONCE=1]   the network on this machine: hd-1 pings hd-2 through the proxy; STORE=redis or file: kept there; SCALE=1: several of everything'
	@echo 'make internal-server an HTTPS server to reach through TLS passthrough (the demo has one)'
	@echo 'make test            lint, types, tests with coverage'
	@echo 'make certs           new certificates for settings/dev and settings/test, and fresh state'
	@echo 'make sd-setup        sign the development directory and submit it (the service directory must run)'
	@echo 'make sd-test-setup   the same for settings/test'
	@echo 'make soak            long runs that look for leaks'
	@echo 'make chaos           every fault that the network is to survive, and all other slow tests; cut links need root'
	@echo 'make fuzz            random bytes for every parser of untrusted input'
	@echo 'make mutants         each guard against attacks taken away in turn: a test must notice'
	@echo 'make docs            the documentation as a site that can be searched: build/docs/index.html'
	@echo 'make deb             a Debian package in dist/: all programs, with everything that they need'
	@echo 'make lock            renew the lock files from pyproject.toml'

$(VENV)/.run: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/.dev: $(VENV)/.run requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-dev.lock
	$(BIN)/python -m pip --disable-pip-version-check check
	touch $@

demo: $(VENV)/.run
	$(if $(filter redis,$(STORE))$(SCALE),tests/packages.sh redis-server:redis-server)
	$(BIN)/eps demo $(if $(ONCE),--once) $(if $(STORE),--store $(STORE)) $(if $(SCALE),--scale)

internal-server: $(VENV)/.run
	$(BIN)/eps dev internal-server

certs: $(VENV)/.run
	$(BIN)/eps dev certs

sd-setup: $(VENV)/.run
	EPS_SETTINGS=settings/dev/roles/hd-1 $(BIN)/eps sd submit-records --reset --wait 30 settings/dev/directory

sd-test-setup: $(VENV)/.run
	EPS_SETTINGS=settings/test/roles/hd-1 $(BIN)/eps sd submit-records --reset --wait 30 settings/test/directory

test: lint types unit

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

unit: $(VENV)/.dev
	tests/packages.sh curl:curl jq:jq openssl:openssl node:nodejs chromium:chromium redis-server:redis-server \
		groff:groff-base promtool:prometheus systemd-analyze:systemd
	rm -f .coverage .coverage.*
	$(BIN)/python -m pytest -n 3 --dist loadgroup --cov --cov-report=
	$(BIN)/coverage report --format=total --precision=2
	$(BIN)/coverage report --fail-under=92
	$(BIN)/coverage report --include='src/eps/core/*' --fail-under=100

soak: $(VENV)/.dev
	EPS_RECOVERY_SECONDS=5 $(BIN)/python -m pytest tests/integration/test_programs.py
	EPS_PASSTHROUGH_RECOVERY_SECONDS=10 $(BIN)/python -m pytest tests/integration/test_passthrough_programs.py
	EPS_THOUSAND_RECORDS_SECONDS=3 $(BIN)/python -m pytest tests/integration/test_programs_cli.py -s -k thousand
	EPS_SOAK_SECONDS=$${EPS_SOAK_SECONDS:-1800} $(BIN)/python -m pytest -m soak -s tests/soak

chaos: $(VENV)/.dev
	tests/packages.sh faketime:faketime promtool:prometheus lintian:lintian mmdebstrap:mmdebstrap \
		systemd-nspawn:systemd-container buildah:buildah
	$(BIN)/python -m pytest -m 'chaos or not chaos' --timeout=600 tests/faults
	$(BIN)/python -m pytest -m chaos --timeout=600 --ignore=tests/faults tests

fuzz: $(VENV)/.dev
	$(BIN)/python fuzz/run.py

mutants: $(VENV)/.dev
	$(BIN)/python tests/attacks/mutants.py

bench: $(VENV)/.dev
	tests/packages.sh haproxy:haproxy iperf3:iperf3 ab:apache2-utils openssl:openssl
	$(BIN)/python bench/run.py

docs: $(VENV)/.dev
	tests/packages.sh chromium:chromium
	rm -rf build/screens
	EPS_PICTURES=build/screens $(BIN)/python -m pytest -n0 -k pictures tests/programs/status/test_page.py
	$(BIN)/python docs/site/build.py build/docs build/screens

deb: $(VENV)/.run
	deploy/debian/build.sh dist

# The generated protobuf code is committed, so that nobody needs a compiler to install.
proto: $(VENV)/.dev
	$(BIN)/python -m grpc_tools.protoc -Isrc/eps/grpc --python_out=src/eps/grpc \
		--pyi_out=src/eps/grpc src/eps/grpc/eps.proto

LOCK := pip-compile --quiet --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
	--no-emit-trusted-host --strip-extras --allow-unsafe

# The development lock first; the shorter one is made from the same versions.
lock: $(VENV)/.dev
	$(BIN)/$(LOCK) --extra dev --output-file requirements-dev.lock pyproject.toml
	grep -oE '^[A-Za-z0-9_.-]+==[^ ]+' requirements-dev.lock > .constraints
	$(BIN)/$(LOCK) --build-deps-for editable --constraint .constraints --output-file requirements.lock pyproject.toml
	rm -f .constraints

clean:
	rm -rf $(VENV) .eps .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.*
