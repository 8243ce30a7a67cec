# Each target creates what it needs, so `make demo` and `make test` work in a fresh clone.
#
#   make demo      run the chat site and its Hookbox process (Ctrl-C stops both); with
#                  ARGS="--workers 2 --redis" two of them, which share a Redis
#   make test      run all tests once, on this Python, and print what was skipped and why
#   make matrix    run the fast tests on each supported Python and Django that is installed,
#                  and the database tests on PostgreSQL and MariaDB (with tox)
#   make coverage  run `make test`, and show the lines and branches of djhookbox that no test ran
#   make bench     run the benchmark
#   make resume    test whether clients lose messages: network cuts, a killed server (needs Node)
#   make durable   kill processes while publications are stored: is any lost or doubled?
#   make fuzz      send a million random and mutated frames and requests to a running server
#   make genuine   install Hookbox 0.3.3 for the tests that need it (needs Python 2.7)
#   make lint      run ruff: rules and formatting
#   make check     check lint, types, migrations, documents, packages, translations, the client
#   make docs      build the documentation in docs/_build/html
#   make messages  extract the texts, and compile the translations (needs gettext)
#   make client    generate files of the browser client (needs Node and npm)
#   make clean     remove everything that the other targets created
#
# To use a specific Python:  make PYTHON=/path/to/python3 demo

MINIMUM := 3.10
VENV := .venv
BIN := $(VENV)/bin

# pyenv's commands find only the enabled versions, but tox needs all of them. They come last on
# PATH, so that `python3` remains the one of the shell.
PYENV_ROOT ?= $(HOME)/.pyenv
PYENV_BINS := $(wildcard $(PYENV_ROOT)/versions/3.1[0-9].*/bin $(PYENV_ROOT)/versions/3.1[0-9]/bin)
EMPTY :=
SPACE := $(EMPTY) $(EMPTY)
export PATH := $(PATH)$(if $(PYENV_BINS),:$(subst $(SPACE),:,$(strip $(PYENV_BINS))))

# The tests start some hundreds of processes, each of which would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE

# tox installs its environments with uv, which must not download what is missing.
export UV_PYTHON_DOWNLOADS := never

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo $$python && break; \
	done)

SIDE_BY_SIDE = $(shell $(BIN)/python -c 'import os; print(len(os.sched_getaffinity(0)) + 1)' 2>/dev/null || echo 2)

PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip --quiet

# Locally, tox skips missing interpreters; if CI is set, they are failures.
TOX_FLAGS := $(if $(filter true 1,$(CI)),--skip-missing-interpreters=false)

# Each test module runs in one worker, which starts its processes and browsers once.
PYTEST := -m pytest -n auto --dist loadfile --no-loadscope-reorder

.PHONY: demo test matrix environments coverage partners bench resume durable fuzz genuine lint format check types migrations documents docs package messages messages-check clean client client-check client-size
.DEFAULT_GOAL := demo

demo: $(VENV)/.site $(if $(findstring --redis,$(ARGS)),$(VENV)/.redis)
	@exec $(BIN)/python example/demo.py $(ARGS)

test: $(VENV)/.test partners
	@exec $(BIN)/python $(PYTEST) $(ARGS)

# Several environments side by side, most of them in one process: each worker would collect all tests.
# One more than there are processors, because some tests wait. To run a part of the matrix, with
# workers: make matrix ENV=py312-django60 ARGS="-n auto"
matrix: $(VENV)/.tox
	@exec $(BIN)/tox run-parallel --parallel $(SIDE_BY_SIDE) --parallel-no-spinner $(TOX_FLAGS) $(if $(ENV),-e "$(ENV)") $(if $(ARGS),-- $(ARGS))

# Install the environments of the matrix without running tests.
environments: $(VENV)/.tox
	@exec $(BIN)/tox run --notest $(TOX_FLAGS) $(if $(ENV),-e "$(ENV)")

# Coverage is reported even if a test fails; the exit status is still that of the failure.
coverage: $(VENV)/.test partners
	@rm -f .coverage .coverage.*
	@$(BIN)/coverage run $(PYTEST) $(ARGS); status=$$?; \
	$(BIN)/coverage combine --quiet && $(BIN)/coverage report || status=1; \
	exit $$status

# Some tests need tools from npm, or Hookbox 0.3.3. If these cannot be installed (no npm, no
# Python 2.7), pytest prints which tests were skipped and why; if CI is set, those tests fail.
partners: | $(VENV)/.created
	@! command -v npm >/dev/null || $(MAKE) --no-print-directory node_modules/.installed || true
	@$(BIN)/python -m tests.interop.genuine >/dev/null 2>&1 || true

bench: $(VENV)/.bench
	@exec $(BIN)/python -m bench.run $(ARGS)

resume: $(VENV)/.dev
	@exec $(BIN)/python -m bench.resume $(ARGS)

durable: $(VENV)/.test
	$(BIN)/python -m tests.integration.durable_proof $(ARGS)
	$(BIN)/python -m tests.integration.durable_proof --database postgresql $(ARGS)

fuzz: $(VENV)/.dev
	@exec $(BIN)/python -m bench.fuzz $(ARGS)

genuine: | $(VENV)/.created
	@$(BIN)/python -m tests.interop.genuine

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: lint types migrations documents docs package messages-check client-check

types: $(VENV)/.dev
	$(BIN)/mypy

migrations: $(VENV)/.dev
	DJANGO_SETTINGS_MODULE=tests.settings $(BIN)/python -m django makemigrations --check --dry-run

messages: $(VENV)/.dev
	$(BIN)/python -m tests.messages

messages-check: $(VENV)/.dev
	$(BIN)/python -m tests.messages --check

documents: $(VENV)/.dev docs
	for file in README.rst CHANGELOG.rst $(wildcard bench/*.rst); do \
		$(BIN)/python -m docutils --strict --writer=null $$file || exit 1; \
	done

docs: $(VENV)/.dev
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -b html docs docs/_build/html

package: $(VENV)/.dev
	rm -rf build dist
	$(BIN)/python -m build --quiet
	$(BIN)/twine check --strict dist/*

client: node_modules/.installed
	node js/build.mjs

client-check: node_modules/.installed client-size
	node js/build.mjs --check

client-size: node_modules/.installed
	node js/size.mjs

clean:
	rm -rf node_modules tests/npm/node_modules docs/_build $(VENV) .hookbox27 .tox build dist demo *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -f tests/*.sqlite3* .coverage .coverage.*
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

# ---- prerequisites: one stamp file for each set of packages ----------------

$(VENV)/.created:
	@if [ -z "$(PYTHON)" ]; then \
		echo "django-hookbox requires Python $(MINIMUM) or newer, which was not found" \
			"(found: $$(python3 --version 2>/dev/null || echo 'no python3'))." \
			"Install it, or run: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 1; fi
	@if ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then \
		echo "$(PYTHON) is not Python $(MINIMUM) or newer. Run: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 1; fi
	@if ! $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null; then \
		echo "$(PYTHON) cannot create virtual environments because its venv module is missing" \
			"(Debian and Ubuntu: apt install python3-venv)." >&2; exit 1; fi
	@echo "Creating $(VENV) with $$($(PYTHON) --version)."
	@$(PYTHON) -m venv $(VENV)
	@touch $@

node_modules/.installed: package.json package-lock.json
	@echo "Installing the tools for the browser client."
	@npm ci --silent --no-audit --no-fund
	@touch $@

# $(call install,what it is for,arguments of pip)
define install
@echo "Installing $(1)."
@$(PIP) install --log $(VENV)/pip.log $(2) >/dev/null 2>&1 || { \
	echo "The packages could not be installed. Check the network connection, and read" \
		"the output of pip in $(VENV)/pip.log." >&2; exit 1; }
@touch $@
endef

$(VENV)/.site: pyproject.toml | $(VENV)/.created
	$(call install,the site and its server,-e .)

$(VENV)/.redis: pyproject.toml | $(VENV)/.site
	$(call install,the client of Redis,-e ".[redis]")

$(VENV)/.tox: pyproject.toml | $(VENV)/.created
	$(call install,tox,"tox>=4.25" "tox-uv>=1.20")

$(VENV)/.test: pyproject.toml | $(VENV)/.created
	$(call install,the tests,-e ".[test]" -e ".[uvloop]")

$(VENV)/.dev: pyproject.toml | $(VENV)/.created
	$(call install,the development tools,-e ".[dev]")

$(VENV)/.bench: pyproject.toml | $(VENV)/.created
	$(call install,the requirements of the benchmark,-e ".[bench]")
