# make demo        train a binary network on real digits, analyse it, draw its figures (runs/demo)
# make test        run the test suite
# make lint        check style
# make notebooks   execute both notebooks in clean kernels, on runs/demo; any error or warning fails
# make report      write both notebooks, as they were last executed, as pages that open offline (report/)
# make bench       measure the training speed; LARQ=PYTHON: beside Larq's, installed in that interpreter's environment
# Each target first makes .venv and installs the pinned requirements, if that has not been done.

PYTHON ?= python3
PY := .venv/bin/python

.PHONY: demo test lint notebooks report bench setup clean

setup: .venv/.installed

.venv/.installed: requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "expected Python 3.11 or newer, received $$($(PYTHON) --version 2>&1): try make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

demo: setup
	rm -rf runs/demo
	$(PY) train.py --data_set mnist-5k --run_dir runs/demo --log_geometry 1
	$(PY) analyze.py runs/demo

test: setup
	$(PY) -m pytest

lint: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

runs/demo/metrics.json:
	$(MAKE) demo

notebooks: setup runs/demo/metrics.json
	$(PY) tools/notebooks.py check --run runs/demo

report: setup
	$(PY) tools/notebooks.py html

bench: setup
	$(PY) benchmarks/training_speed.py $(if $(LARQ),--larq $(LARQ))

clean:
	rm -rf .venv runs/demo report .pytest_cache .ruff_cache .hypothesis
