# `make train` and `make test` set up everything they need in .venv; pip's own commands stand beside each in README.md.
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV ?= .venv
CONFIG ?= configs/synthetic.toml
ARGS ?=
MINUTES ?= 5
SEED ?= 0
BIN := $(VENV)/bin
# One stamp for each set of extras and choice of torch: change TORCH and the next call installs it.
stamp = $(VENV)/installed-$(1)-$(subst /,_,$(TORCH))

# Each process begins with a stretch of the files, so that fixtures are seldom made twice, and takes from others at the end.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal

.PHONY: train test fast test-full fuzz lint clean
.DELETE_ON_ERROR:

train: $(call stamp,train)
	$(BIN)/python scripts/train.py --config $(CONFIG) $(ARGS)

test: $(call stamp,dev)
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/pyright
	$(PYTEST) -m "not full and not gpu" $(ARGS)

fast: $(call stamp,dev)
	$(PYTEST) -m "fast and not gpu" $(ARGS)

test-full: $(call stamp,dev)
	$(PYTEST) -m "not gpu" $(ARGS)

fuzz: $(call stamp,dev)
	OMP_NUM_THREADS=1 $(BIN)/python scripts/fuzz/run.py --minutes $(MINUTES) --seed $(SEED) $(ARGS)

lint: $(call stamp,dev)
	$(BIN)/ruff check --fix . && $(BIN)/ruff format . && $(BIN)/pyright

$(call stamp,train): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet "$(TORCH)" -e ".[demo,plot,tensorboard]"
	@touch "$@"

$(call stamp,dev): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet "$(TORCH)" -e ".[dev]"
	@touch "$@"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) build dist *.egg-info
