# One command each to try, test and check. Works with GNU Make 3.81; installs nothing outside .venv.

VENV = .venv
VENV_CUPY = $(VENV)/cupy
PY = $(VENV)/bin/python
PIP = $(PY) -m pip --disable-pip-version-check install --quiet
METADATA = setup.cfg pyproject.toml
# The version is exact, because the tests replace CuPy's CUDA calls by host ones.
CUPY = cupy-cuda13x==14.2.0 nvidia-cuda-runtime nvidia-cuda-crt ml_dtypes

export PYTHON

# A .venv whose Python is gone is no .venv: its stamps are dropped, and it is made anew.
STAMPS = $(VENV)/.made $(VENV)/.installed-* $(VENV_CUPY)/.made $(VENV_CUPY)/.installed-*
DROPPED := $(shell test -x $(PY) || rm -f $(STAMPS))

help:
	@echo "make demo         train a small language model on real text, draw it, leave everything in out/"
	@echo "make test         run all tests"
	@echo "make check        lint, formatting and types"
	@echo "make test-cupy    run the GPU code of the real CuPy on the CPU (needs g++ and Python's headers)"
	@echo "make kill-test    kill trainings hundreds of times, at any moment, and compare what they come to; takes minutes"
	@echo "make bench        measure speed and memory beside other libraries; PyTorch is not installed by it"
	@echo "make bench-quick  the same of a few models beside PyTorch alone, in less than 3 minutes"
	@echo "make gallery      draw all pictures of docs/gallery anew"
	@echo "make experiments  measure all claims of the chapter and write docs/experiments.md anew; takes long"
	@echo "make clean        remove what these made, except out/"

demo: $(VENV)/.installed-all
	$(VENV)/bin/tinygrad-seq demo

# A process for each core; each computes with threads of its own, so more than four gain little.
test: $(VENV)/.installed-test
	$(PY) -m pytest -q -n auto --maxprocesses 4 --dist worksteal

check: $(VENV)/.installed-check
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy

# First what the wheel itself raises where there is no driver; then its code, with the CUDA calls replaced.
test-cupy: $(VENV_CUPY)/.installed-cupy
	$(VENV_CUPY)/bin/python -m pytest -q tests/backend/test_missing_gpu.py
	HOSTCUDA_CACHE="$${HOSTCUDA_CACHE:-$(CURDIR)/$(VENV_CUPY)/kernels}" $(VENV_CUPY)/bin/python tests/gpu/run_real_cupy.py

kill-test: $(VENV)/.installed-test
	$(PY) scripts/kill_test.py

bench: $(VENV)/.installed-bench
	$(PY) -m benchmarks

bench-quick: $(VENV)/.installed-bench
	$(PY) -m benchmarks --quick

gallery: $(VENV)/.installed-all
	$(PY) scripts/make_gallery.py

experiments: $(VENV)/.installed-all
	$(PY) -m experiments

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find tinygrad_seq models tests benchmarks experiments -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

venv: $(VENV)/.made

# A stamp is a file that says what its folder has installed; it is old as soon as the metadata is newer.
$(VENV)/.made:
	@sh scripts/make_venv.sh $(@D)
	@touch $@

$(VENV_CUPY)/.made: $(VENV)/.made
	$(PY) -m venv --clear $(@D)
	@touch $@

$(VENV)/.installed-all: $(VENV)/.made $(METADATA)
	$(PIP) -e '.[all]'
	@touch $@

$(VENV)/.installed-test: $(VENV)/.made $(METADATA)
	$(PIP) -e '.[all,test]'
	@touch $@

$(VENV)/.installed-check: $(VENV)/.made $(METADATA)
	$(PIP) -e '.[check]'
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.made $(METADATA)
	$(PIP) -e '.[all,bench]'
	@touch $@

$(VENV_CUPY)/.installed-cupy: $(VENV_CUPY)/.made $(METADATA)
	$(VENV_CUPY)/bin/python -m pip --disable-pip-version-check install --quiet -e '.[test]' $(CUPY)
	@touch $@

.PHONY: help demo test check test-cupy kill-test bench bench-quick gallery experiments clean venv
