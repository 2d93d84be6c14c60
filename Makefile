# `make demo` and `make test` set up everything they need in .venv on their first run, in the exact
# versions of constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NEWEST := .venv-newest
# Tests of code that runs on every backend.
ON_EVERY_BACKEND := tests/backbones/test_hub.py tests/losses tests/heads tests/miners tests/regularizers tests/reductions tests/evaluation/test_device_search.py tests/ops tests/training/test_chunks.py tests/training/test_feature_batches.py tests/training/test_learner.py tests/training/test_sampled.py tests/training/test_statistics.py tests/training/test_view_features.py
# Runs are tested on PyTorch, which computes at once what TensorFlow traces first, in half the time; on
# TensorFlow by tests of workflows and commands, of the site's code, and of notebooks.
RUNS := $(filter-out tests/runs/test_cluster.py tests/runs/test_workflow.py, $(wildcard tests/runs/test_*.py)) $(wildcard tests/tuning/test_*.py) tests/test_every_option.py
# Tests of what differs on PyTorch are run on both.
BOTH := tests/runs/test_export.py tests/training/test_optimizers.py
# Tests that start a cluster have the machine to themselves.
ALONE := tests/encoding/test_ray_engine.py tests/runs/test_cluster.py tests/test_ray.py
AT_ONCE := -n 2 --dist worksteal
# Each of the two processes computes with one thread: with two they would wait for each other.
ONE_THREAD := OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1
# Compiling takes most of the time: code that runs once is not optimized, and as both processes compile
# much the same, they share a cache.
JAX_FAST := NPROC=1 JAX_DISABLE_MOST_OPTIMIZATIONS=1 XLA_FLAGS=--xla_cpu_use_fusion_emitters=false JAX_COMPILATION_CACHE_DIR=$(CURDIR)/$(VENV)/jax JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES=-1
export TF_CPP_MIN_LOG_LEVEL ?= 3
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo docs notebooks results test test-quick coverage check mutants constraints try-newest dist try-installs clean bench-loader bench-retrieval bench-gains bench-losses bench-index bench-load bench-chunks bench-losses-omniglot bench-head-losses bench-intervals bench-features bench-adaptation bench-convergence bench-dml-tf bench-many-classes bench-sampled-classes bench-gpu

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[train,serve]'
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

demo: $(VENV)/installed  ## from training to a search page, on the built-in data set
	$(BIN)/dml demo

test: check  ## every test; the backend-dependent ones on TensorFlow, JAX and PyTorch
	KERAS_BACKEND=tensorflow $(BIN)/python -m pytest -q $(ALONE)
	$(ONE_THREAD) KERAS_BACKEND=tensorflow $(BIN)/python -m pytest -q $(AT_ONCE) $(ALONE:%=--ignore=%) $(patsubst %,--ignore=%,$(filter-out $(BOTH), $(RUNS)))
	$(ONE_THREAD) $(JAX_FAST) KERAS_BACKEND=jax $(BIN)/python -m pytest -q -m "not slow" $(AT_ONCE) $(ON_EVERY_BACKEND)
	$(ONE_THREAD) KERAS_BACKEND=torch $(BIN)/python -m pytest -q -m "not slow" $(AT_ONCE) $(ON_EVERY_BACKEND)
	$(ONE_THREAD) KERAS_BACKEND=torch $(BIN)/python -m pytest -q $(AT_ONCE) $(sort $(RUNS) $(BOTH))

test-quick: $(VENV)/installed-test  ## the fast tests on one backend
	$(ONE_THREAD) $(BIN)/python -m pytest -q -m "not slow" $(AT_ONCE)

coverage: $(VENV)/installed-test  ## the same; ends with the least covered files
	$(ONE_THREAD) $(BIN)/python -m pytest -q -m "not slow" --cov --cov-report= $(AT_ONCE)
	@$(BIN)/coverage report --sort=-cover | tail -n 16

check: docs  ## format, lint, import layers, types of what is public, the site
	$(BIN)/ruff format --check src tests benchmarks tools docs
	$(BIN)/ruff check src tests benchmarks tools docs
	$(BIN)/lint-imports
	$(BIN)/pyright --project .

docs: $(VENV)/installed-test  ## the site, in site/; open site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

notebooks: $(VENV)/installed  ## runs docs/notebooks and stores what they show (ARGS: files)
	$(BIN)/python tools/notebooks.py $(ARGS)

results: $(VENV)/installed-test  ## measures the tables of docs/*.md again (DML_DATA; ARGS: words of commands)
	$(BIN)/python tools/results.py $(ARGS)

mutants: $(VENV)/installed-test  ## puts small errors into the code, which tests must notice (ARGS: names)
	$(BIN)/python tools/mutants.py $(ARGS)

constraints:  ## constraints.txt: the newest versions within the bounds of pyproject.toml
	$(PYTHON) -m venv --clear .venv-constraints
	.venv-constraints/bin/pip install --quiet --editable '.[test]'
	.venv-constraints/bin/pip freeze --exclude-editable | sed 's/+.*//' > constraints.txt
	rm -r .venv-constraints

try-newest:  ## the quick tests with the newest of every package, beyond the bounds of pyproject.toml
	$(PYTHON) -m venv --clear $(NEWEST)
	$(NEWEST)/bin/python tools/newest.py
	touch $(NEWEST)/installed
	touch $(NEWEST)/installed-test
	$(MAKE) test-quick VENV=$(NEWEST)

dist: $(VENV)/installed-test  ## the wheel and the source distribution, in dist/
	rm -rf dist
	$(BIN)/python -m build --quiet
	$(BIN)/python tools/try_installs.py --contents

try-installs: dist  ## the wheel with each extra in a clean environment (ARGS: --python, --extras)
	$(BIN)/python tools/try_installs.py $(ARGS)

bench-loader: $(VENV)/installed  ## training from files against one batch in memory (DML_DATA)
	$(BIN)/python benchmarks/loader.py

bench-retrieval: $(VENV)/installed  ## all metrics and all pairs at the size of Online Products
	$(BIN)/python benchmarks/retrieval.py $(ARGS)

bench-gains: $(VENV)/installed  ## what re-ranking gains (ARGS: an evaluation's folder)
	$(BIN)/python benchmarks/gains.py $(ARGS)

bench-index: $(VENV)/installed  ## each kind of index against bare FAISS (ARGS: --vectors FILE)
	$(BIN)/python benchmarks/index.py $(ARGS)

bench-load: $(VENV)/installed-test  ## the service under load (ARGS: INDEX PHOTOS)
	$(BIN)/python benchmarks/load.py $(ARGS)

bench-losses: $(VENV)/installed  ## time and memory of losses against their matrix products
	$(BIN)/python benchmarks/losses.py $(ARGS)

bench-chunks: $(VENV)/installed  ## memory and time of a large batch, whole and in chunks
	$(BIN)/python benchmarks/chunks.py $(ARGS)

bench-features: $(VENV)/installed  ## the embedding on cached features against a frozen backbone (DML_DATA)
	$(BIN)/python benchmarks/features.py $(ARGS)

bench-adaptation: $(VENV)/installed  ## frozen network, head, full fine-tuning and the default (DML_DATA)
	$(BIN)/python benchmarks/adaptation.py $(ARGS)

bench-convergence: $(VENV)/installed  ## dml-tf's faults, one at a time (DML_DATA)
	$(BIN)/python benchmarks/convergence.py $(ARGS)

bench-dml-tf: $(VENV)/installed  ## dml-tf's first table, beside its published figures (DML_DATA)
	$(BIN)/python benchmarks/dml_tf_table.py $(ARGS)

bench-many-classes: $(VENV)/installed  ## time and memory of a step with a million classes
	$(BIN)/python benchmarks/many_classes.py $(ARGS)

bench-sampled-classes: $(VENV)/installed  ## quality with a sample of the classes against all of them (DML_DATA)
	$(BIN)/python benchmarks/sampled_classes.py $(ARGS)

bench-gpu: $(VENV)/installed-test  ## losses, search and training on a GPU, with each backend
	$(BIN)/python benchmarks/gpu.py $(ARGS)

bench-intervals: $(VENV)/installed  ## coverage of 95 % intervals, by simulation
	$(BIN)/python benchmarks/intervals.py $(ARGS)

bench-losses-omniglot: $(VENV)/installed  ## every loss on Omniglot (DML_DATA)
	$(BIN)/python benchmarks/omniglot_losses.py $(ARGS)

bench-head-losses: $(VENV)/installed  ## losses on cached features, beside pytorch-metric-learning (DML_DATA)
	$(BIN)/python benchmarks/head_losses.py $(ARGS)

clean:
	rm -rf $(VENV) $(NEWEST) .coverage build dist site src/*.egg-info
