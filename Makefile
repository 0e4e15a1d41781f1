# From a fresh clone, with Python >= 3.10 and nothing else: `make quickstart` and `make test`.

PYTHON ?= python3
OLDEST_PYTHON ?= python3.10
VENV ?= .venv
# Where the tests of tests/gpu run; `make test-gpu DEVICE=cpu` is a dry run of their logic.
DEVICE ?= cuda
BIN = $(VENV)/bin
# For networks as small as the bundled one, threads wait for each other longer than they compute; on a machine that has
# other work to do, fine-tuning took 9 s with one thread and 54 s with two.
export OMP_NUM_THREADS ?= 1

.PHONY: quickstart test test-oldest test-gpu lint counts bench docs docs-links release-check clean

quickstart: $(VENV)/.installed-plot
	$(BIN)/python docs/examples/quickstart.py

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n auto --dist loadgroup

# Every dependency at its declared lower bound, on the oldest Python declared. Fills 6.2 gigabytes of disk: old releases of
# torch come with CUDA's libraries. Not green yet: the tests of what trains and computes are, some of tables, sparse matrices
# and drawings ask for newer scikit-learn, numpy, scipy and matplotlib.
test-oldest:
	test -x .venv-oldest/bin/python || $(OLDEST_PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --constraint constraints-oldest.txt --editable ".[test]" \
		transformers torchvision
	.venv-oldest/bin/python -m pytest -n auto

# On a machine with a card, in an environment whose torch sees it (VENV=...); under ten minutes on one card.
test-gpu:
	SKTRANSFER_TEST_DEVICE=$(DEVICE) $(BIN)/python -m pytest tests/gpu

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/python tools/shared_parameters.py --check
	$(BIN)/python -m pytest -q tests/test_layers.py

# Counts and sizes, which must not grow; seconds.
counts: $(VENV)/.installed-test
	$(BIN)/python benchmarks/counts.py

# Speed beside other packages; most of an hour.
bench: $(VENV)/.installed-bench
	$(BIN)/python benchmarks/bench.py

docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx -W --keep-going $(SPHINXOPTS) -b html docs build/docs

# The links of the built pages that lead to built pages.
docs-links: docs
	$(BIN)/python tools/check_links.py build/docs

# What is committed, built and tried as someone would who has the wheel alone; minutes, and nothing is uploaded.
release-check: $(VENV)/.installed-release
	$(BIN)/python tools/release_check.py $(RELEASEOPTS)

# One stamp an extra, so that a second run installs nothing.
$(VENV)/.installed-%: setup.cfg pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[$*]"
	touch $@

clean:
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache docs/auto_examples docs/generated *.egg-info .venv .venv-oldest
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
