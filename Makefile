# make demo   environment, index of the molecules that come with RDKit, a 13C line to its molecule
# make test   environment with development tools, all tests
# make page   the structure editor of the page of acml-search serve; needs npm
#
# Both work in a fresh clone with nothing but Python >= 3.11. Other Python:  make test PYTHON=python3.12
# torch without CUDA, by uv:
#   make demo INSTALL="uv pip install --python .venv/bin/python --torch-backend cpu"

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALL ?= $(BIN)/python -m pip install --disable-pip-version-check --quiet
WANTED = pyproject.toml constraints.txt
INDEX ?= indexes/default
SPECTRUM ?= 13C NMR (151 MHz, DMSO-d6) δ 167.6, 153.2, 131.1, 120.9, 115.0, 39.5, 23.8
MOLECULE ?= CC(=O)Nc1ccc(O)cc1
PYTEST ?=
JOBS ?= 2

.PHONY: help demo introduction test page lint clean

help:
	@sed -n 's/^# \{0,1\}//p;/^$$/q' Makefile

demo: introduction $(VENV)/.installed
	@echo "==> 2/3 index of the 15,000 molecules that come with RDKit: $(INDEX) (nothing to do if it exists)"
	$(BIN)/acml-search build-index --out $(INDEX)
	@echo "==> 3/3 which molecule gives this spectrum?  $(SPECTRUM)"
	$(BIN)/acml-search query $(INDEX) --c-nmr "$(SPECTRUM)" -k 5
	@echo "    and what is like paracetamol?  $(MOLECULE)"
	$(BIN)/acml-search query $(INDEX) --smiles "$(MOLECULE)" -k 5
	@echo
	@echo "The same in a browser, with structures and peaks:  $(BIN)/acml-search serve $(INDEX)"
	@echo "Then open http://127.0.0.1:8000"

introduction:
	@echo "acml-search: which molecule gives this spectrum?"
	@echo
	@echo "  1. install the package into $(VENV), versions pinned by constraints.txt"
	@echo "  2. embed the 15,000 molecules that come with RDKit and index them in $(INDEX) (about a minute)"
	@echo "  3. search them by a printed 13C line, whose solvent peak is left out: paracetamol should be first"
	@echo "  4. search molecules like paracetamol, and the records it would give, by its SMILES"
	@echo
	@echo "Then ask with a line of your own:  $(BIN)/acml-search query $(INDEX) --c-nmr \"...\""
	@echo "A page with structures and peaks:  $(BIN)/acml-search query $(INDEX) --c-nmr \"...\" --out hits.html"
	@echo "The same in a browser:             $(BIN)/acml-search serve $(INDEX)"

test: $(VENV)/.installed-dev
	@echo "==> 2/2 tests"
	$(BIN)/python -m pytest -n $(JOBS) $(PYTEST)

page:
	npm --prefix editor ci --ignore-scripts --no-audit --no-fund
	npm --prefix editor run build

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# an environment with a pip that knows dependency groups
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "acml-search needs Python 3.11 or newer; name one with PYTHON=python3.12" >&2; exit 1; }
	@echo "==> environment in $(VENV)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt pip

$(VENV)/.installed: $(WANTED) | $(BIN)/python
	@echo "==> 1/3 install acml-search and what it needs, pinned by constraints.txt"
	$(INSTALL) --constraint constraints.txt --editable ".[serve]"
	@touch $@

$(VENV)/.installed-dev: $(WANTED) | $(BIN)/python
	@echo "==> 1/2 install acml-search, what it needs and the development tools, pinned by constraints.txt"
	$(INSTALL) --constraint constraints.txt --editable ".[properties,train,bench,maps,serve]" \
		--editable weights/acml-research --group dev
	@touch $@ $(VENV)/.installed
