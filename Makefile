# Every target creates and uses its own virtual environment (.venv). `make help` lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test lint format bench image clean docs

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

$(VENV)/.run: pyproject.toml constraints.txt scripts/setup.sh weights/pyproject.toml
	PYTHON=$(PYTHON) scripts/setup.sh $(VENV) run
$(VENV)/.dev: pyproject.toml constraints.txt scripts/setup.sh weights/pyproject.toml tests/stranger/pyproject.toml
	PYTHON=$(PYTHON) scripts/setup.sh $(VENV) dev

# Ray's libraries and OpenVINO's in one process once ended in a crash: these tests have a process of their own.
RAY := tests/gallery/test_shards.py tests/fleet/test_ray.py

demo: $(VENV)/.run ## three synthetic cameras, eight people, identities on the screen, report.html
	$(BIN)/gaitstream demo --out out/demo $(DEMO_ARGS)

# One more than there are cores: many tests wait, for processes and for clocks.
WORKERS ?= $(shell expr $$(nproc) + 1)

# Each of them with a single thread of PyTorch's and NumPy's: more would wait for each other, and busily.
test: $(VENV)/.dev ## all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 5 --dist loadfile --no-loadscope-reorder --max-worker-restart 0 $(RAY:%=--ignore=%) $(PYTEST_ARGS)
	$(BIN)/python -m pytest $(RAY)

lint: $(VENV)/.dev ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev ## rewrite the files in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev ## quick benchmarks of this machine, into out/bench
	$(BIN)/python -m benchmarks all --quick --out out/bench

image: ## container images: gaitstream:cpu and gaitstream:gpu
	scripts/docker/build-images.sh

clean: ## remove the environment and everything generated
	rm -rf $(VENV) out dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
