# `make scan` and `make test`: both make .venv with the tested versions first. Nothing but Python >= 3.11 is needed.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

# The published checkpoints are found by themselves where they lie beside the repository; name their folder otherwise.
HEARTLENS_CHECKPOINTS ?= $(wildcard $(CURDIR)/../shared/heartgpt/Model_files)
export HEARTLENS_CHECKPOINTS

.PHONY: scan test embedded embedded-ecg embedded-ppg clean

scan: $(INSTALLED)
	$(BIN)/python -m heartlens.analyses.head_scan ecg --overwrite

test: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest

# Two hours on two cores (`make -j2 embedded`); what was stopped goes on. Real recordings are measured where they lie beside the repository.
RECORDINGS := $(wildcard $(CURDIR)/../shared/data)

embedded: embedded-ecg embedded-ppg

embedded-ecg embedded-ppg: embedded-%: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m heartlens.training.embedded $* $(if $(RECORDINGS),--data $(RECORDINGS))

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "heartlens needs Python 3.11 or newer; set PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt 'torch==2.13.0'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $(INSTALLED)

clean:
	rm -rf .venv out
