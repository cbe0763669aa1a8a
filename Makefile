# Targets: setup, demo, test, test-fast, test-long, test-newest, test-lowest, check, bench, docs,
# objects, lock, dist.

SHELL := /bin/bash
PY := .venv/bin/python
PACKAGES := python3 python3-venv python3-bpfcc linux-image-amd64 linux-headers-amd64 \
	linux-image-rt-amd64 linux-headers-rt-amd64 qemu-system-x86 ipvsadm iproute2 kmod cpio \
	zstd busybox-static nginx-light nghttp2-client httperf wrk netpipe-tcp openssh-client \
	openssh-server keepalived tcsh fish netcat-openbsd procps sysstat bpfcc-tools util-linux ethtool \
	nftables iptables pciutils strace libbpf1 clang-14 llvm-14 zsh bash-completion groff-base \
	chromium fonts-dejavu-core prometheus
# For `make dist` and its tests.
DIST_PACKAGES := gcc libc6-dev zlib1g-dev libbpf1 git man-db debootstrap rpm zsh fish

# The interpreter of test-newest and test-lowest.
PYTHON ?= /usr/bin/python3
LOCK := requirements/dev.txt
# More than the two cores of CI: many tests wait for processes and for time-outs.
WORKERS := 4

.PHONY: setup demo test test-fast test-long test-newest test-lowest check bench docs objects lock dist

# Whatever is missing from apt and PyPI; quick when nothing is. policy-rc.d keeps the packages
# from starting their daemons on this machine.
setup: .venv/.complete
	@missing=$$(for p in $(PACKAGES); do \
	  dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	  if [ $$(id -u) -ne 0 ]; then \
	    echo "make setup: needs root to install: apt-get install" $$missing >&2; exit 2; fi; \
	  set -e; apt-get update -q; \
	  fence=/usr/sbin/policy-rc.d; made=; \
	  [ -e $$fence ] || { printf '#!/bin/sh\nexit 101\n' > $$fence; chmod +x $$fence; made=1; }; \
	  trap '[ -z "$$made" ] || rm -f $$fence' EXIT; \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing; \
	fi

# Exactly the lock, whatever this machine's pip would choose.
.venv/.complete: pyproject.toml $(LOCK)
	@if ! /usr/bin/python3 -c 'import ensurepip' 2>/dev/null; then \
	  apt-get update -q && apt-get install -y -q --no-install-recommends python3 python3-venv; fi
	/usr/bin/python3 -m venv --clear --system-site-packages .venv
	.venv/bin/pip install -q --disable-pip-version-check --no-deps --require-hashes -r $(LOCK)
	.venv/bin/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# The newest of everything; a newer lock is a commit of its own.
lock: .venv/.complete
	.venv/bin/uv pip compile -q --universal --python-version 3.11 --upgrade --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' \
	  --extra dev -o $(LOCK) pyproject.toml

demo: setup
	.venv/bin/dirtune lab demo

# What CI runs: everything but campaigns. The lab's tests share one boot where they can.
test: setup check
	$(PY) -m pytest -q -m 'lab and not long' --timeout 3000 --durations 30

test-fast: setup
	$(PY) -m pytest -q -n $(WORKERS) -m 'not lab and not long' --timeout 300

test-long: setup dist
	$(PY) -m pytest -q -m long --timeout 7200

# The fast suite with the newest and with the lowest versions that pyproject.toml allows, in an
# environment of its own: make test-newest PYTHON=python3.14
test-newest: export RESOLUTION := highest
test-lowest: export RESOLUTION := lowest-direct
test-newest test-lowest: .venv/.complete
	.venv/bin/uv venv -q --clear --system-site-packages --python $(PYTHON) build/$@
	.venv/bin/uv pip install -q --python build/$@ --resolution $(RESOLUTION) \
	  --only-binary :all: --no-binary dirtune -r pyproject.toml --extra dev -e .
	build/$@/bin/python -m pytest -q -n $(WORKERS) -m 'not lab and not long' --timeout 300

check: setup
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	$(PY) -m pytest -q -n $(WORKERS) -m 'not lab and not long' --timeout 300

# What boots the lab needs root.
bench: setup
	$(PY) tests/bench_suite.py
	$(PY) tests/bench_probes.py
	$(PY) tests/bench_lab.py
	$(PY) tests/bench_cost.py

docs: setup
	.venv/bin/dirtune explain --format markdown > docs/checks.md
	$(PY) -m dirtune.schemas docs/schema

# The probes, as a wheel carries them. tests/probes/build_objects.py pins the compiler.
objects: setup
	$(PY) tests/probes/build_objects.py

# The wheel, the one file, the .deb, the .rpm, the SBOM and SHA256SUMS, in dist/.
dist: PACKAGES := $(PACKAGES) $(DIST_PACKAGES)
dist: setup
	$(PY) packaging/build.py
