# The two commands of a newcomer are `make run` and `make test`; both make the environment first.

PYTHON_VERSION := 3.10
VENV := .venv
TOOLS := .tools
ROOT ?= runs/demo
IMAGE ?= t2rec
BIN := $(VENV)/bin
# Two workers, which take folders in the order of `tests/conftest.py`.
PYTEST := $(BIN)/python -m pytest -q -n 2 --dist loadgroup --no-loadscope-reorder

export TF_CPP_MIN_LOG_LEVEL ?= 3



.PHONY: run test nightly-test lint check format bench image flink-test spark-test clean lock environment

run: environment ## Generate data, run the pipeline, push, and ask for recommendations.
	$(BIN)/t2rec run --root $(ROOT)
	$(BIN)/t2rec query --model $(ROOT) --exclude-seen --k 5

test: lint ## Lint, check types and run all tests.
	$(PYTEST)

nightly-test: environment ## Run the pipeline as Kubeflow would, over three spans, by two workers.
	$(PYTEST) -m nightly

lint: environment ## Lint, and check the format and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint ## Lint, check types and run the fast tests.
	$(PYTEST) -m "not slow and not nightly"

format: environment ## Rewrite the code in the house's format.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: environment ## Run the benchmarks; see benchmarks/README.md.
	$(BIN)/python -m benchmarks

image: ## Build the container image of Kubeflow's nodes and Beam's workers.
	docker build --file pipeline/deploy/Dockerfile --tag $(IMAGE) .

flink-test: environment ## Start Flink here and compare it with DirectRunner; fetches 150 MB.
	T2REC_TEST_ENGINE=flink $(BIN)/python -m pytest -q -n 0 tests/engines

spark-test: environment ## The same with Spark; fetches 300 MB.
	T2REC_TEST_ENGINE=spark $(BIN)/python -m pytest -q -n 0 tests/engines

clean: ## Remove the environment and everything that runs wrote.
	rm -rf $(VENV) $(TOOLS) runs build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .engines

lock: environment ## Pin the whole dependency tree anew.
	PATH="$$PATH:$(TOOLS)/bin" uv pip compile requirements.in --python-version $(PYTHON_VERSION) --output-file requirements.lock \
		--no-emit-index-url --no-header --quiet

environment: $(VENV)/.complete

# Only a finished installation counts: the mark is set last.
$(VENV)/.complete: requirements.lock setup.py .ci/environment
	bash .ci/environment $(VENV) $(TOOLS) $(PYTHON_VERSION)
	touch $@
