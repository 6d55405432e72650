# lossatlas: every target builds its own environment first.
#
#   make demo    train two networks, draw their landscapes, open the page (about two minutes)
#   make test    lint, types, layers, tests with coverage, documentation
#
# TORCH chooses the build of PyTorch, for instance: make setup TORCH="torch --index-url <a CUDA index>"

PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
JOBS ?= 2

.PHONY: setup demo test lint types layers tests docs bench soak clean

setup: $(READY)

# torch comes first and alone: what depends on it must not choose another build.
$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lossatlas needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet --group dev -e '.[all]'
	$(BIN)/pip install --quiet --no-deps --upgrade --target $(VENV)/oracles --group oracles
	touch $@

demo: $(READY)
	$(BIN)/lossatlas demo

test: lint types layers tests docs

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy src

layers: $(READY)
	$(BIN)/lint-imports

# A page of the documentation is one file: its blocks follow each other in one worker.
tests: $(READY)
	rm -f .coverage .coverage.*
	$(BIN)/pytest --cov --cov-report=term -n $(JOBS) --dist loadfile -m "not soak"

docs: $(READY)
	$(BIN)/mkdocs build --strict --quiet

bench: $(READY)
	$(BIN)/python -m benchmarks

soak: $(READY)
	$(BIN)/pytest -m "soak or slow" --count-kills 50 tests/sampling

clean:
	rm -rf $(VENV) site .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis
