# `make scan`, `make test`, `make docs` and `make bench` make .venv with the tested versions first. Nothing but Python >= 3.11 is needed.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

# The published checkpoints are found by themselves where they lie beside the repository; name their folder otherwise.
HEARTLENS_CHECKPOINTS ?= $(wildcard $(CURDIR)/../shared/heartgpt/Model_files)
export HEARTLENS_CHECKPOINTS

.PHONY: scan app test timings chromium test-bridge docs pages pictures wheel bench fuzz kill calibrate embedded embedded-ecg embedded-ppg clean

scan: $(INSTALLED)
	$(BIN)/python -m heartlens.analyses.head_scan ecg --overwrite

# The browser app: prints its address; Ctrl-C ends it. `make app ARGS="my_recordings/"` offers one's own recordings.
app: $(INSTALLED)
	$(BIN)/python -m heartlens app --open $(ARGS)

test: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest

# How long the browser app takes, printed; on a machine that does nothing else.
timings: $(INSTALLED)
	$(BIN)/pytest -n0 -s tests/app/test_speed.py

# What the tests of the browser app need; without it they are skipped, and say so.
chromium:
	command -v chromium || apt-get install --yes --no-install-recommends chromium

# The site, in out/docs: every page's commands and every example of the gallery run, and a warning or a broken link is an error.
docs: .venv/docs
	HEARTLENS_CHECKPOINTS= $(BIN)/sphinx-build --fail-on-warning --keep-going --quiet docs out/docs
	@echo "out/docs/index.html"

.venv/docs: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch .venv/docs

# Pages that are made by what they tell of: which TransformerLens tools work.
pages: $(INSTALLED)
	cd tests && ../$(BIN)/python -m lens_tools

# The pictures of the app's and the live page's documentation, made in Chromium; look at them before they are kept.
pictures: $(INSTALLED)
	$(BIN)/python tests/app/pictures.py

# The package as users get it: a wheel, in an environment with nothing but what it asks for, used outside the checkout.
wheel:
	rm -rf build dist .venv-wheel
	$(PYTHON) -m venv .venv-wheel
	.venv-wheel/bin/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	.venv-wheel/bin/python -m pip install --quiet --no-compile --constraint constraints.txt dist/heartlens-*.whl
	.venv-wheel/bin/python tests/wheel.py dist
	rm -rf build .venv-wheel

# For a machine that does nothing else. `make bench ARGS=--quick`, `make bench ARGS="--only generation memory"`.
bench: $(INSTALLED)
	$(BIN)/python benchmarks/bench.py $(ARGS)

# A million damaged files at every door; goes on where it was stopped. `make fuzz ARGS="--inputs 20000 --doors edf mat5"` for less.
fuzz: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz.py $(ARGS)

# Kills scans, additions, trainings and the paper report at 40 random moments each, and goes on (`make kill ARGS="scan --n 5"`). Hours for all.
kill: $(INSTALLED)
	$(BIN)/python tests/kill.py $(ARGS)

# Puts every verdict rule on trial, on models that learnt nothing: docs/calibration.md. Hours for all, less for some (`ARGS="--analyses
# head_scan --models 60"`); what was stopped goes on, and what was measured is kept in the user's cache.
calibrate: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m heartlens.trial $(ARGS)

# TransformerLens 4 in an environment of its own (docs/transformer_lens_4.md): what exists on a TransformerBridge, tested there.
TL4 := .venv-tl4/bin

test-bridge: .venv-tl4/installed
	$(TL4)/pytest tests/bridge tests/converters tests/models/test_edit.py tests/models/test_twins.py tests/models/test_changes.py

.venv-tl4/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-tl4
	sed 's/^transformer-lens==.*/transformer-lens==4.3.0/' constraints.txt > .venv-tl4/requirements.txt
	$(TL4)/python -m pip install --quiet --requirement .venv-tl4/requirements.txt
	$(TL4)/python -m pip install --quiet --no-deps --editable .
	touch .venv-tl4/installed

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
	rm -rf .venv .venv-tl4 .venv-wheel build dist out docs/_made docs/api docs/gallery_pages
