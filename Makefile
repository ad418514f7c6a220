# make install | demo | test | lint | clean; choose another interpreter with PYTHON=python3.11.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Test processes side by side; each needs up to 2 GB.
WORKERS ?= 2

export TF_CPP_MIN_LOG_LEVEL ?= 2
# Old versions of pip build source distributions in the old way, which no longer finds what it needs.
export PIP_USE_PEP517 := 1

.PHONY: install demo test test-fast test-slow lint format lock clean

install: $(STAMP)
	@$(BIN)/kerasft fetch minilm > /dev/null

demo: install
	$(BIN)/python examples/demo.py

test: test-fast test-slow

test-fast: install
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow" --durations=10

# pytest exits with 5 when it selects no test, which is fine here.
test-slow: install
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "slow" --durations=10 || [ $$? -eq 5 ]

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Needs PYTHONS="python3.10 python3.11 python3.12"; takes some minutes.
lock:
	$(PYTHON) tools/lock.py $(PYTHONS)

clean:
	rm -rf $(VENV) build dist runs *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' || { \
	  echo "kerasft needs Python 3.10, 3.11 or 3.12; choose one: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 2; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV) || { \
	  $(PYTHON) -m venv --clear --without-pip $(VENV) && \
	  $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; } || { \
	  echo "cannot create $(VENV): install the package python3-venv (apt-get install python3-venv)" >&2; exit 2; }
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	@touch $@
