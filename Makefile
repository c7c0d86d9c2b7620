# Every target makes what it needs: a virtual environment in .venv, by pip, from pyproject.toml.
# A machine needs only Python 3.11 or later. `make PYTHON=python3.13 test` chooses another one.

PYTHON ?= python3
VENV ?= .venv
ADDR ?= 127.0.0.1:8000
BENCH ?= fanout owngroups latency memory opening growth publishing replay saving registry workers quick
PYTEST_ARGS ?=
BENCH_ARGS ?=
NOX_ARGS ?=

BIN := $(VENV)/bin
TEMPLATES = $$(find django_sse demo_project templates -name '*.html')
SCRIPTS = $$(find django_sse demo_project templates tests benchmarks \
	-name node_modules -prune -o -name '*.js' -print -o -name '*.mjs' -print)
# node --check takes a file ending in .js for CommonJS; from stdin it can be told that it is a module.
CHECK_JS = for file in $(SCRIPTS); do \
	node --input-type=module --check < "$$file" || { echo "in $$file" >&2; exit 1; }; done

ESLINT = tests/javascript/node_modules/.bin/eslint
CHECK_STYLE = $(ESLINT) --config tests/javascript/eslint.config.js django_sse/static tests/javascript

.DEFAULT_GOAL := help
# Targets share one environment, and pip is not made to be run twice on it at once.
.NOTPARALLEL:
.PHONY: help demo test lint format types client docs matrix bench bench-quick clean

help:  ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.installed-demo  ## Run the demo project on ADDR (127.0.0.1:8000)
	$(BIN)/python manage.py migrate --no-input
	$(BIN)/python manage.py demo_data
	$(BIN)/python manage.py runserver $(ADDR)

test: $(VENV)/.installed-tests  ## Run the tests with branch coverage; PYTEST_ARGS="-k hub" narrows
	rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest $(PYTEST_ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report $(if $(filter true,$(CI)),,--fail-under=0)

lint: $(VENV)/.installed-lint  ## Check code, templates and scripts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/djade --check --target-version 5.2 $(TEMPLATES)
	@if command -v node > /dev/null; then $(CHECK_JS); else echo "node is not here: scripts not checked"; fi
	@if test -x $(ESLINT); then $(CHECK_STYLE); else echo "eslint is not here: npm install --prefix tests/javascript"; fi

format: $(VENV)/.installed-lint  ## Rewrite code and templates in their common form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/djade --target-version 5.2 $(TEMPLATES)

types: $(VENV)/.installed-tests $(VENV)/.installed-lint  ## Check types with mypy
	$(BIN)/mypy

client:  ## Build the *.min.js of the element from its modules, with Node.js
	npm install --prefix tests/javascript --no-audit --no-fund --silent
	node tests/javascript/build.js

docs: $(VENV)/.installed-docs  ## Build the documentation into docs/_build/html
	$(BIN)/sphinx-build -W --keep-going --quiet -b html docs docs/_build/html

matrix: $(VENV)/.installed-matrix  ## Run the tests on every supported Python and Django that is here
	$(BIN)/nox --session tests $(NOX_ARGS)

bench: $(VENV)/.installed-bench benchmarks/servers/node_modules  ## Run the benchmarks; BENCH=replay runs one, BENCH_ARGS=--help
	@failed=; for name in $(basename $(notdir $(BENCH))); do echo "== $$name"; \
	$(BIN)/python -m benchmarks.$$name $(BENCH_ARGS) || failed="$$failed $$name"; done; \
	test -z "$$failed" || { echo "failed:$$failed" >&2; exit 1; }

bench-quick: $(VENV)/.installed-bench  ## Compare with the last kept run, in under two minutes
	$(BIN)/python -m benchmarks.quick --compare $(BENCH_ARGS)

# Of the peers one runs on Node.js; without npm it is left out.
benchmarks/servers/node_modules: benchmarks/servers/package.json
	@if command -v npm > /dev/null; then \
	npm install --prefix benchmarks/servers --no-audit --no-fund --silent && touch $@; \
	else echo "npm is not here: without better-sse"; fi

clean:  ## Remove what the targets made, the environment and the demo's database included
	rm -rf $(VENV) .nox .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist docs/_build htmlcov
	rm -f .coverage .coverage.* db.sqlite3 demo_project/db.sqlite3
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The pip that comes with an older Python knows no dependency groups: 25.1 is the first that does.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit("django_sse needs Python 3.11 or later, and this is %s: try make PYTHON=python3.13" % sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@touch $@

# One stamp for each dependency group: installed once, and again when pyproject.toml changes.
$(VENV)/.installed-%: pyproject.toml $(VENV)/.created
	$(BIN)/python -m pip install --quiet --editable . --group $*
	@touch $@
