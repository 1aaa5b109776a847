# Everything a newcomer needs. Each target makes what it lacks; a second run finds it and does not ask the network.
PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin/python
SETUP  := $(PYTHON) tests/provision_venv.py

.DEFAULT_GOAL := help
.PHONY: help demo lab test check bench soak labextension clean

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*##  *\(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

demo:  ## the whole story on this machine: two small models, failover, sandbox; needs no Ollama, Docker or Node
	@$(SETUP) demo
	@$(RUN) notebooks/demo.py

lab:  ## the same notebook, live in JupyterLab with the side panel
	@$(SETUP) demo labextension
	@$(RUN) labextension/build.py link || echo "The side panel could not be built; the notebook works without it."
	@$(RUN) notebooks/demo.py --lab

test:  ## set up what is missing (Docker, Chromium, model …) and run the whole suite
	@$(SETUP) dev
	@$(RUN) tests/provision.py

check:  ## lint, formatting, types (Python and TypeScript), import direction
	@$(SETUP) dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(RUN) -m pytest -q tests/test_imports.py
	$(RUN) labextension/build.py check

bench:  ## ratios against a control of the same run
	@$(SETUP) dev
	@$(RUN) -m bench.run

soak:  ## ten minutes of a pool on servers that fail in every way; ends with nothing left
	@$(SETUP) dev
	@$(RUN) -W error -m tests.soak --seconds 600

labextension:  ## build the side panel and link it into this environment's JupyterLab
	@$(SETUP) demo labextension
	@$(RUN) labextension/build.py link

clean:  ## remove what make and the builds made
	rm -rf $(VENV) .cache build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -rf gleitzeit_nb/labextension labextension/lib labextension/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
