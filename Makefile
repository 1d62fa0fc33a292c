# run: the pipeline, end to end     dev: the Dagster UI       serve: the inference server
# check: static checks              quick: check, and the tests that start no process
# test: check, and the whole suite  soak: the long tests      bench: figures against peers
# clean: forget the environment and all that was written
.PHONY: run dev serve check quick test soak bench clean
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export WINE_ASSETS_HOME ?= $(CURDIR)/.wine_assets
# Compiled modules are kept: without them, every process compiles its libraries anew and starts in twice the time.
unexport PYTHONDONTWRITEBYTECODE
UV_FLAGS := --quiet --python $(BIN)/python --constraints constraints.txt --editable

run: $(VENV)/.pipeline
	@$(BIN)/wine-assets run $(ARGS)

dev: $(VENV)/.pipeline
	DAGSTER_HOME="$$($(BIN)/wine-assets home)" $(BIN)/dagster dev

serve: $(VENV)/.pipeline
	@$(BIN)/wine-assets serve $(ARGS)

check: $(VENV)/.all
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

quick: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not process and not soak" $(ARGS)

test: check $(VENV)/.gp
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup --cov --cov-report=term $(ARGS)

soak: $(VENV)/.all $(VENV)/.gp
	SOAK=1 $(BIN)/python -m pytest -m soak $(ARGS)

bench: $(VENV)/.all
	$(BIN)/python benchmarks $(ARGS)

clean:
	rm -rf $(VENV) .wine_assets .mypy_cache .pytest_cache .ruff_cache .hypothesis

# Each environment is made once, and again when what it is made of changes.
$(BIN)/python:
	@echo "Making $(VENV)"
	@if command -v uv > /dev/null; then uv venv --quiet --seed --python $(PYTHON) $(VENV); \
	else $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet --constraint constraints.txt uv; fi

$(VENV)/.pipeline: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing the pipeline from constraints.txt"
	@$$(command -v uv || echo $(BIN)/uv) pip install $(UV_FLAGS) '.[pipeline,serve,search]'
	@touch $@

$(VENV)/.all: $(VENV)/.pipeline
	@echo "Installing every extra and the tools of the tests from constraints.txt"
	@$$(command -v uv || echo $(BIN)/uv) pip install $(UV_FLAGS) '.[pipeline,serve,telemetry,postgres,kubernetes,ray,search,dask]' --group dev
	@touch $@

# pip prefers a build for CPUs where its configuration names one; uv would download ten times as much, for CUDA.
$(VENV)/.gp: $(VENV)/.all
	@echo "Installing PyTorch from constraints.txt"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	@touch $@
