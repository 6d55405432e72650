# lossatlas: every target builds its own environment first; the demo's is small, and the others add to it.
#
#   make demo    train two networks, draw their landscapes, open the page (about two minutes)
#   make bench   time a point against the other ways there are, in an environment of its own (about half an hour);
#                DATA=FOLDER names the folder with the authors' network, see benchmarks/README.md
#   make test    lint, types, layers, documentation, tests; `make -j2 -O checks` makes all but the tests, two at a time
#   make coverage      the tests, counting the lines that they execute; it takes more than half as long again
#   make test-bare     a part of the tests in an environment without extras
#   make test-lowest   a part of the tests with the lowest versions that pyproject.toml declares; torch is that of .venv,
#                      since the oldest build of an index may be gigabytes of CUDA. Another one:
#                      make test-lowest LOWEST_TORCH="torch==2.6.0 --index-url <an index of CPU builds>"
#   make page    build the interactive page again after a change in web/
#
# TORCH chooses the build of PyTorch, for instance: make setup TORCH="torch --index-url <a CUDA index>"

PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO_READY := $(VENV)/.ready-demo
JOBS ?= 2
BENCH := .bench
BENCH_READY := $(BENCH)/.ready
DATA ?=
DEVICE ?= cpu
RESULTS ?= benchmarks/results
BARE := .bare
BARE_READY := $(BARE)/.ready
LOWEST := .lowest
LOWEST_READY := $(LOWEST)/.ready
LOWEST_TORCH ?=
COUNTING :=
TESTERS := 'pytest>=8.2' 'hypothesis>=6.100' 'sybil>=8'

.PHONY: setup demo test checks test-bare test-lowest lint types layers tests coverage web page docs wheel bench soak clean

setup: $(READY)

# torch comes first and alone: what depends on it must not choose another build. The demo needs little beside it.
$(DEMO_READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lossatlas needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet -e '.[draw,zoo]'
	touch $@

$(READY): $(DEMO_READY) studies/pyproject.toml
	$(BIN)/pip install --quiet --group dev -e '.[all]'
	$(BIN)/pip install --quiet --no-deps -e ./studies
	$(BIN)/pip install --quiet --no-deps --upgrade --target $(VENV)/oracles --group oracles
	touch $@

demo: $(DEMO_READY)
	$(BIN)/lossatlas demo

# web and docs come before tests: some of these take axe-core from its node_modules, others read the site.
test: checks
	LOSSATLAS_SITE=$(CURDIR)/site $(MAKE) tests

checks: docs types web lint layers

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

layers: $(READY)
	$(BIN)/lint-imports

# One thread to a process: workers whose threads outnumber the cores wait for each other, and take twice the time.
# A page of the documentation is one file: its blocks follow each other in one worker. A test that hangs fails after ten
# minutes and says where; one that hangs where no signal is answered ends its worker. That test is given to another worker
# then, so a second such end ends the session.
tests: $(READY)
	rm -f .coverage .coverage.*
	OMP_NUM_THREADS=1 $(BIN)/pytest $(COUNTING) -n $(JOBS) --dist loadfile --timeout 600 \
		--timeout-method signal -o faulthandler_timeout=660 -o faulthandler_exit_on_timeout=true \
		--max-worker-restart 1 -m "not soak"

coverage: COUNTING := --cov --cov-report=term
coverage: tests

# One thread here too: networks and the examples of the gallery are so small that a second one only waits.
docs test-bare test-lowest: export OMP_NUM_THREADS = 1

$(BARE_READY): $(DEMO_READY)
	$(PYTHON) -m venv --clear $(BARE)
	.ci/borrow $(VENV) $(BARE)
	$(BARE)/bin/pip install --quiet -e . $(TESTERS)
	touch $@

# What is asked of the core: that it can be imported, samples, goes on, keeps, reads, and names what a picture needs.
test-bare: $(BARE_READY)
	$(BARE)/bin/python -m pytest -m "not soak and not slow and not browser" tests/test_bare.py tests/test_extras.py \
		tests/results/test_landscape.py tests/results/test_store.py tests/sampling/test_sample.py \
		tests/sampling/test_samplers.py tests/space/test_charts.py tests/space/test_directions.py

$(LOWEST_READY): $(DEMO_READY)
	$(PYTHON) -m venv --clear $(LOWEST)
	.ci/lowest draw zoo >$(LOWEST)/pins.txt
	$(if $(LOWEST_TORCH),$(LOWEST)/bin/pip install --quiet $(LOWEST_TORCH),.ci/borrow $(VENV) $(LOWEST))
	$(LOWEST)/bin/pip install --quiet --constraint $(LOWEST)/pins.txt -e '.[draw,zoo]' $(TESTERS)
	touch $@

# What leans on the libraries the most: arrays, netCDF and HDF5, the command line, and pictures in two and three dimensions.
# Extreme fields are drawn as maps; as reliefs, ten seconds each, they ask nothing more of a library than others do.
test-lowest: $(LOWEST_READY)
	$(LOWEST)/bin/python -m pytest -W ignore::DeprecationWarning -m "not soak and not slow and not browser" \
		tests/test_bare.py tests/results/test_landscape.py tests/results/test_store.py tests/sampling/test_sample.py \
		tests/sampling/test_samplers.py tests/space/test_charts.py tests/figure/test_plot.py tests/draw/test_view.py \
		tests/draw/test_static.py tests/cli/test_any_click.py -k "not overlaps and not (extreme_fields and surface)"

# The page's own checks: types, ESLint, vitest, and whether the page in the package was built from web/.
web: $(READY)
	$(BIN)/python web/bundle.py --test

page: $(READY)
	$(BIN)/python web/bundle.py

docs: $(READY)
	$(BIN)/sphinx-build --fail-on-warning --quiet --builder html $(if $(REPOSITORY),-D notebook_repository=$(REPOSITORY)) docs site

# It packs what lies in the tree, where docs and web leave files while they run: after them, where several run at once.
wheel: docs web
	.ci/clean

# The packages we compare with have pins that would choose another torch, and libraries that play no part in a timing.
$(BENCH_READY): pyproject.toml
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/pip install --quiet --upgrade "pip>=25.1"
	$(BENCH)/bin/pip install --quiet $(TORCH)
	$(BENCH)/bin/pip install --quiet -e '.[draw,zoo]'
	$(BENCH)/bin/pip install --quiet adaptive
	$(BENCH)/bin/pip install --quiet --no-deps --group rivals
	touch $@

bench: $(BENCH_READY)
	$(BENCH)/bin/python -m benchmarks whole $(DATA) --out $(RESULTS)/whole.json $(if $(ROWS),--rows $(ROWS))
	$(BENCH)/bin/python -m benchmarks points $(DATA) --device $(DEVICE) --out $(RESULTS)/points.json $(BENCH_FLAGS)
	$(BENCH)/bin/python -m benchmarks growth --device $(DEVICE) --out $(RESULTS)/growth.json

soak: export HYPOTHESIS_PROFILE = new
soak: $(READY)
	$(BIN)/pytest -m "soak or slow" -s --count-kills 50 tests/sampling
	$(BIN)/pytest -m soak -s tests/test_hostile_files.py tests/results tests/test_cases.py
	$(BIN)/pytest -m soak tests/paths tests/curvature tests/flatness tests/connect tests/zoo studies/tests/test_verdicts.py

clean:
	rm -rf web/node_modules $(VENV) $(BENCH) $(BARE) $(LOWEST) site .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis
