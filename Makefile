# Two commands matter: `make reproduce` and `make test`. Both make .venv first where it is missing.
PYTHON ?= python3
OUT ?=
PROFILE ?= quick
DATA ?= phantom
PY = .venv/bin/python
MEDISYN = .venv/bin/medisyn
PYTEST = $(PY) -m pytest
# The tests keep their artifacts apart from the user's own, so that a clean clone tests itself.
TEST_STORE = $${MEDISYN_STORE:-$(CURDIR)/build/store}
STAMP = { pwd; cat requirements.lock requirements.hashes pyproject.toml; }

.PHONY: help reproduce test lint unit notebooks runs test-full figures site lab env publish refresh

help:
	@echo "make reproduce [PROFILE=quick] [DATA=phantom] [OUT=folder]   run the notebooks, write the scorecard"
	@echo "make test | test-full        all checks | those under other thread counts and processors too"
	@echo "make figures | lab | env     redraw figures | open JupyterLab | create .venv only"
	@echo "make site [OUT=build/site]   write committed results, figures and notebooks as web pages for a static host"
	@echo "make refresh                 run the stored notebooks anew and keep their outputs"
	@echo "make publish OUT=folder [NOTEBOOKS='01 05']   copy a finished full run, or a part, into results/, figures/ and README"

reproduce: env
	$(MEDISYN) reproduce --profile "$(PROFILE)" --data "$(DATA)" $(if $(OUT),--out "$(OUT)")

# In this order, cheapest first, whatever -j says.
.NOTPARALLEL:
test: lint unit notebooks runs

lint: env
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

unit: env
	OMP_NUM_THREADS=1 MEDISYN_STORE="$(TEST_STORE)" $(PYTEST) tests -n 2 --dist loadfile --timeout 600

# Three at a time and in this order, each with one thread, as `medisyn reproduce` does on two cores: one may wait for what
# another trains. Then the scorecard, which reads what they wrote.
STORED = $(foreach n,00 01 05 02 07 03 04 06,$(wildcard notebooks/$(n)_*.ipynb))
AT_A_TIME = -n 3 --dist loadscope --no-loadscope-reorder
notebooks: env
	OMP_NUM_THREADS=1 MEDISYN_STORE="$(TEST_STORE)" $(PYTEST) --nbval $(STORED) $(AT_A_TIME)
	OMP_NUM_THREADS=1 MEDISYN_STORE="$(TEST_STORE)" $(PYTEST) --nbval notebooks/99*.ipynb

runs: env
	$(PYTEST) tests/test_tiny_runs.py tests/test_parts.py -m runs

test-full: test
	OMP_NUM_THREADS=2 MEDISYN_STORE="$(CURDIR)/build/store-two-threads" $(PYTEST) --nbval notebooks
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MEDISYN_STORE="$(CURDIR)/build/store-avx2" \
	    $(PYTEST) --nbval notebooks
	MEDISYN_STORE="$(TEST_STORE)" $(PYTEST) tests -m full
	$(PY) benchmarks/mutants.py --n 200 --seed 0

figures: env
	$(MEDISYN) figures

site: env
	$(MEDISYN) site $(if $(OUT),--out "$(OUT)")

lab: env
	$(PY) -m jupyter lab notebooks

publish: env
	$(PY) notebooks/maintain.py publish "$(or $(OUT),$(error make publish needs OUT=folder of a finished full run))" $(NOTEBOOKS)
	$(MEDISYN) figures >/dev/null

refresh: env
	$(PY) notebooks/maintain.py refresh

# The stamp holds what .venv was made from and where, so an unchanged one needs neither time nor network.
env:
	@$(STAMP) | cmp -s - .venv/.lock-stamp || { \
	    "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11, 5))' 2>/dev/null || \
	        { echo "make: $(PYTHON) is missing or older than 3.11.5: install Python 3.11 or name one with PYTHON=" >&2; exit 2; }; \
	    echo "making .venv from requirements.hashes (a few minutes, once)"; \
	    "$(PYTHON)" -m venv .venv && \
	    $(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.hashes && \
	    $(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . && \
	    $(STAMP) > .venv/.lock-stamp; }
