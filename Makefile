# Everything below makes its own environment first: a machine needs Python 3.11 or newer and nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= runs/demo
CONFIG := configs/subvp_digits.py
ROOMS := configs data devices evaluation features foreign_weights generation guidance likelihood measurements models modes quality reports restoration samplers sde_lib spaces training

# What `make test-oldest` and `make test-newest` run: processes, data, the step, checkpoints, exact laws of samplers, modes, words.
BOUNDS_TESTS := tests/sde_lib tests/data tests/reports tests/models/test_networks.py tests/training/test_step.py \
  tests/training/test_checkpoints.py tests/samplers/test_finite_step_laws.py tests/modes/test_data.py tests/test_json_output.py \
  tests/test_help.py

.PHONY: help demo check test test-all test-oldest test-newest fields docs docs-serve mutants endurance format clean

help:
	@echo "make demo      train on 8x8 digits, sample with two samplers, measure bits/dim and quality (minutes, CPU)"
	@echo "make check     formatter check, linter, type check"
	@echo "make test      formatter check, linter, type check, tests"
	@echo "make test-all  the same with the slow tests"
	@echo "make docs      build the documentation into build/site; a broken link or a page outside of the navigation fails"
	@echo "make docs-serve  show it at http://127.0.0.1:8000, built anew as pages change"
	@echo "make test-oldest, test-newest   some of the tests with the oldest and the newest packages that requirements.txt allows"
	@echo "make fields    write score_sde/fields.json anew, after a field of the configuration has come or changed"
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
	$(BIN)/python main.py --config $(CONFIG) --workdir $(DEMO) --mode evaluate --config.evaluation.images=test
	$(BIN)/python main.py --config $(CONFIG) --workdir $(DEMO) --mode evaluate --sampler ode --config.sampling.num_images=500
	@echo "Next: . $(BIN)/activate (once in each shell), then python main.py says what else there is"

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

# In environments of their own, .venv-oldest and .venv-newest.
test-oldest test-newest: test-%:
	$(PYTHON) -m venv $(VENV)-$*
	$(PYTHON) -m tests.bounds $* requirements.txt requirements-dev.txt > $(VENV)-$*/constraints.txt
	$(VENV)-$*/bin/python -m pip install --quiet --upgrade pip
	$(VENV)-$*/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager -r requirements-dev.txt -c $(VENV)-$*/constraints.txt
	$(VENV)-$*/bin/python -m pip list --format=freeze > $(VENV)-$*/versions.txt
	$(VENV)-$*/bin/python -m pytest $(BOUNDS_TESTS)

fields: $(BIN)/.ready
	$(BIN)/python -m score_sde.fields

mutants: $(BIN)/.ready
	$(BIN)/python -m tests.mutants --jobs 2

endurance: $(BIN)/.ready
	$(BIN)/python -m tests.endurance

format: $(BIN)/.ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) $(VENV)-oldest $(VENV)-newest $(DEMO)
