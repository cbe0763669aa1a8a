# Targets: setup, demo, test, test-fast, test-long, check, bench, docs.

SHELL := /bin/bash
PY := .venv/bin/python
PACKAGES := python3 python3-venv python3-bpfcc linux-image-amd64 linux-headers-amd64 \
	linux-image-rt-amd64 linux-headers-rt-amd64 qemu-system-x86 ipvsadm iproute2 kmod cpio \
	zstd busybox-static nginx-light nghttp2-client httperf wrk netpipe-tcp openssh-client \
	openssh-server tcsh fish netcat-openbsd procps sysstat bpfcc-tools util-linux ethtool nftables strace

.PHONY: setup demo test test-fast test-long check bench docs

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

.venv/.complete: pyproject.toml
	@if ! /usr/bin/python3 -c 'import ensurepip' 2>/dev/null; then \
	  apt-get update -q && apt-get install -y -q --no-install-recommends python3 python3-venv; fi
	/usr/bin/python3 -m venv --system-site-packages .venv
	.venv/bin/pip install -q --disable-pip-version-check -e '.[dev]'
	touch $@

demo: setup
	.venv/bin/dirtune lab demo

# What CI runs: everything but campaigns. The lab's tests share one boot where they can.
test: setup check
	$(PY) -m pytest -q -m 'lab and not long' --timeout 1200

test-fast: setup
	$(PY) -m pytest -q -n auto -m 'not lab and not long' --timeout 120

test-long: setup
	$(PY) -m pytest -q -m long --timeout 7200

check: setup
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	$(PY) -m pytest -q -n auto -m 'not lab and not long' --timeout 120

# What boots the lab needs root.
bench: setup
	$(PY) tests/bench_suite.py
	$(PY) tests/bench_lab.py
	$(PY) tests/bench_cost.py

docs: setup
	.venv/bin/dirtune explain --format markdown > docs/checks.md
	$(PY) -m dirtune.schemas docs/schema
