# NNSS: `make` lists the verbs.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help setup run test coverage reproduce bench lab app lock clean notebooks

help:  ## list the verbs
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /make \1\t/' | expand -t 18

setup: $(READY)  ## the environment alone, in .venv

$(READY): requirements.lock.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "error: Python's venv is missing: apt-get install python3-venv" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode -r requirements.lock.txt -e .
	@touch $@

run: $(READY)  ## from nothing to Bach by a network, by notebooks 01, 05, 06 (PRETRAINED=1: no training; MIDI=PATH: any piece)
	$(BIN)/python -m nnss_utils.maintenance.pipeline $(if $(filter-out 0,$(PRETRAINED)),--pretrained) $(if $(MIDI),"$(MIDI)")

test: $(READY)  ## ruff, pytest and every notebook with fast parameters
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python -m pytest
	$(BIN)/python tests/prepare_notebooks.py build/notebooks
	cd build/notebooks && NNSS_HOME=$(CURDIR)/build ../../$(BIN)/python -m pytest -c ../../pyproject.toml --rootdir=. -p no:cacheprovider --nbval-lax --nbval-current-env --nbval-cell-timeout=300 .

coverage: $(READY)  ## lines of nnss_utils that the tests run (without browser tests)
	$(BIN)/coverage run --source=nnss_utils -m pytest -m "not browser"
	$(BIN)/coverage report --skip-covered --fail-under=90

reproduce: $(READY)  ## make the committed results again and list what differs by more than its spread (ALL=1: train everything)
	$(BIN)/python -m nnss_utils.maintenance.reproduce $(if $(filter-out 0,$(ALL)),--all) $(MIDI)

lab: $(READY)  ## JupyterLab on the notebooks
	$(BIN)/jupyter lab --ServerApp.ip=127.0.0.1 $$([ "$$(id -u)" != 0 ] || echo --allow-root) --notebook-dir=. notebooks/01_codification.ipynb

app: $(READY)  ## notebook 10_play as a local web page: a piano played by the network
	$(BIN)/voila notebooks/10_play.ipynb --token --Voila.ip=127.0.0.1 --VoilaConfiguration.file_allowlist='(?!)' --VoilaConfiguration.show_tracebacks=False --VoilaConfiguration.multi_kernel_manager_class=nnss_utils.notebook.visitors.VisitorKernels $(if $(VISITORS),--VisitorKernels.most=$(VISITORS)) $(if $(PORT),--port=$(PORT))

bench: $(READY)  ## benchmark against hardware limits, under 10 minutes
	$(BIN)/python -m nnss_utils.maintenance.benchmarks

notebooks: $(READY)  ## run every notebook with its defaults and keep figures, not sounds (after `make run`)
	$(BIN)/python tests/execute_notebooks.py

lock: $(READY)  ## resolve the newest versions into requirements.lock.txt
	$(BIN)/uv pip compile --quiet --upgrade --universal --no-header --no-annotate --no-emit-index-url --no-emit-find-links -p 3.11 --extra app --extra dev --extra soundfont pyproject.toml -o requirements.lock.txt

clean:  ## remove the environment and caches, but no trained model and no rendered piece
	rm -rf .venv build data/cache .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
