# The commands of the house. Each makes .venv and installs into it when needed.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed

.PHONY: demo test check bench figures clean

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

demo: $(READY)  ## plan, launch, fit, draw and report on the embedded sample: minutes on a laptop
	$(BIN)/ecgscale demo

test: $(READY)  ## the whole test suite
	$(BIN)/python -m pytest -n 2 --dist loadgroup

check: $(READY)  ## format, lint, types, fast tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow"

bench: $(READY)  ## performance as ratios against a peer, both measured in the same run
	$(BIN)/python -m tests.benchmarks

figures: $(READY)  ## redraw every figure from the rows in results
	$(BIN)/ecgscale figures

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
