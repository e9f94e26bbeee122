# `make demo` paints a first picture, `make test` runs the tests; both make their own environment in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

# The demo: an A6 print at 300 dpi, 1240 x 1748 pixels, in tiles.
DEMO_CONTENT := samples/contents/landscape.jpg
DEMO_STYLE := samples/styles/flow_strokes.jpg
DEMO_OUT := build/demo.png
DEMO_OPTIONS := --print A6 --dpi 300 --tile-size 512

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test check format docs docker-check samples bench gpu clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

install: $(VENV)/.installed ## make .venv with the program in it

demo: $(VENV)/.installed ## paint a sample photograph as an A6 print
	@mkdir -p $(dir $(DEMO_OUT))
	$(BIN)/hires-nst stylize $(DEMO_CONTENT) $(DEMO_STYLE) -o $(DEMO_OUT) $(DEMO_OPTIONS) --overwrite
	@echo "The picture is in $$PWD/$(DEMO_OUT)"

test: $(VENV)/.installed-dev ## run the tests
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile

check: $(VENV)/.installed-dev ## lint, formatting, types, and the project's own files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff

format: $(VENV)/.installed-dev ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-dev ## build the documentation into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "The documentation is in $$PWD/build/site/index.html"

docker-check: $(VENV)/.installed-dev ## build and run the image where Docker runs, else lint the Dockerfile
	$(BIN)/hadolint Dockerfile
	@if docker info >/dev/null 2>&1; then docker build --tag hires-nst . && docker run --rm hires-nst doctor; \
	else echo "Docker does not run here; the image was not built"; fi

samples: $(VENV)/.installed ## draw the sample pictures again, in about three minutes
	$(BIN)/python tools/make_samples.py --out samples

bench: ## list the benchmarks
	@for file in $(sort $(wildcard benchmarks/*.py)); do echo "$(BIN)/python $$file"; done

gpu: $(VENV)/.installed-dev ## on a GPU: its tests and benchmarks, in five minutes
	$(BIN)/python benchmarks/gpu.py

clean: ## remove build/ and caches, but not .venv
	rm -rf build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find hires_nst tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("Python is too old: make PYTHON=python3.10 or later")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install 'pip>=21.3'

$(VENV)/.installed: $(BIN)/python pyproject.toml
	$(PIP) install --editable .
	@touch $@

$(VENV)/.installed-dev: $(BIN)/python pyproject.toml
	$(PIP) install --editable '.[dev]'
	@touch $@ $(VENV)/.installed
