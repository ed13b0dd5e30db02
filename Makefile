# make demo    train a binary network on real digits, analyse it, draw its figures (runs/demo)
# make test    run the test suite
# make lint    check style
# Each target first makes .venv and installs the pinned requirements, if that has not been done.

PYTHON ?= python3
PY := .venv/bin/python

.PHONY: demo test lint setup clean

setup: .venv/.installed

.venv/.installed: requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "expected Python 3.11 or newer, received $$($(PYTHON) --version 2>&1): try make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

demo: setup
	rm -rf runs/demo
	$(PY) train.py --data_set mnist-5k --run_dir runs/demo
	$(PY) analyze.py runs/demo

test: setup
	$(PY) -m pytest

lint: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

clean:
	rm -rf .venv runs/demo .pytest_cache .ruff_cache .hypothesis
