# Everything below makes its own environment first: a machine needs Python 3.11 or newer and nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= runs/demo
CONFIG := configs/subvp_digits.py
ROOMS := configs data devices evaluation features foreign_weights generation guidance likelihood measurements models modes quality reports restoration samplers sde_lib spaces training

.PHONY: help demo check test test-all docs docs-serve mutants endurance format clean

help:
	@echo "make demo      train on 8x8 digits, sample with two samplers, measure bits/dim (minutes, CPU)"
	@echo "make check     formatter check, linter, type check"
	@echo "make test      formatter check, linter, type check, tests"
	@echo "make test-all  the same with the slow tests"
	@echo "make docs      build the documentation into build/site; a broken link or a page outside of the navigation fails"
	@echo "make docs-serve  show it at http://127.0.0.1:8000, built anew as pages change"
	@echo "make mutants   put mistakes into copies of the code and see that the tests notice each"
	@echo "make endurance kill, signal, damage and starve training runs, and compare what comes out to the last bit"
	@echo "make format    reformat and fix what can be fixed"
	@echo "make clean     remove the environment and the demo's results"

$(BIN)/.ready: requirements.txt requirements-dev.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; this is %d.%d. Try: make PYTHON=python3.12" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	touch $@

demo: $(BIN)/.ready
	$(BIN)/python main.py --config $(CONFIG) --workdir $(DEMO) --mode train
	$(BIN)/python main.py --config $(CONFIG) --workdir $(DEMO) --mode sample --sampler ode
	$(BIN)/python main.py --config $(CONFIG) --workdir $(DEMO) --mode sample --sampler pc
	$(BIN)/python main.py --config $(CONFIG) --workdir $(DEMO) --mode likelihood

check: $(BIN)/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell
	rm -rf .mypy_path && mkdir -p .mypy_path/score_sde
	for part in score_sde/*.py $(ROOMS); do ln -s ../../$$part .mypy_path/score_sde/; done
	$(BIN)/mypy

test: check
	$(BIN)/python -m pytest

test-all: check
	$(BIN)/python -m pytest -m "slow or not slow"

# The variable: no advertisement of Material's authors in the output.
docs: $(BIN)/.ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

docs-serve: $(BIN)/.ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve

mutants: $(BIN)/.ready
	$(BIN)/python -m tests.mutants --jobs 2

endurance: $(BIN)/.ready
	$(BIN)/python -m tests.endurance

format: $(BIN)/.ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) $(DEMO)
