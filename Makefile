# Every target sets up what it needs: a virtual environment of its own, filled by one resolver call.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Make hands SIGTERM on to what it runs, and a terminal sends its signals to both; by this, SIGKILL of make is SIGTERM to it.
WITH_MAKE := $(shell setpriv --pdeathsig TERM true 2>/dev/null && echo setpriv --pdeathsig TERM)
RUN := exec $(WITH_MAKE) $(BIN)/python
# Tests and examples run offline.
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false
# Without bytecode every process compiles its imports anew, 20 seconds each; tests and examples start dozens.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo demo-vqa demo-crayon demo-sort demo-captions test test-all test-min test-max lint docs card rooms models sessions fuzz bench study clean

demo: $(VENV)/.installed
	$(RUN) examples/demo.py

demo-vqa: $(VENV)/.installed
	$(RUN) examples/demo_vqa.py

demo-crayon: $(VENV)/.installed
	$(RUN) examples/demo_crayon.py

demo-sort: $(VENV)/.installed
	$(RUN) examples/demo_sort.py

demo-captions: $(VENV)/.installed
	$(RUN) examples/demo_captions.py

# Files are run whole, in the order of their names: sorted by their number of tests, the few long ones would come last.
test test-all: export OMP_NUM_THREADS := 1

test: $(VENV)/.installed
	$(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-all: $(VENV)/.installed
	$(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# The core tests with the oldest versions that pyproject.toml allows, and with the newest there are, in environments of their
# own. Core are the rooms where the versions of others matter: what loads, steps, trains, measures and saves. Three minutes on
# two free cores.
CORE := tests/test_face.py tests/test_public_paths.py tests/attributions tests/common tests/contracts tests/data \
	tests/evaluation tests/forward tests/guidance tests/metrics tests/models tests/objectives tests/recipes tests/second_order \
	tests/views tests/families/test_families.py tests/families/test_closed_forms.py tests/families/test_region_families.py \
	tests/training/test_training.py tests/training/test_search.py tests/training/test_whole_checkpoints.py \
	tests/training/test_adapters.py tests/training/test_questions.py tests/dataset_scripts/test_datasets_contract.py

test-min: .venv-min/.installed
test-max: .venv-max/.installed
test-min test-max: export OMP_NUM_THREADS := 1
test-min test-max: test-%:
	exec $(WITH_MAKE) .venv-$*/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow" $(CORE)

.venv-min/.installed: RESOLUTION := lowest-direct
.venv-max/.installed: RESOLUTION := highest
.venv-min/.installed .venv-max/.installed: pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet uv
	$(@D)/bin/uv pip install --quiet --upgrade --resolution $(RESOLUTION) --python $(@D)/bin/python -e '.[test]'
	touch $@

# The documentation, into site/; a warning is an error.
docs: $(VENV)/.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# docs/card.png: the card of the model that make demo left, as a page shows it; needs chromium.
card: $(VENV)/.installed
	$(RUN) tests/tools/draw_card.py

# The picture of the rooms in docs/architecture.md, and the same as text.
rooms: $(VENV)/.installed
	$(RUN) tests/tools/draw_rooms.py docs/rooms.png

# Every architecture of timm and transformers, judged: docs/models.md. Half an hour; with ARGS=--resume a run that was cut off.
models: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python tests/tools/sweep_models.py $(ARGS)

# 100,000 broken documents: the table in docs/reliability.md. About ten minutes.
fuzz: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python tests/tools/fuzz.py $(ARGS)

# One session of each command of hf-guidance: docs/command-line.md.
sessions: $(VENV)/.installed
	$(RUN) tests/tools/write_cli_sessions.py

bench: $(VENV)/.installed
	$(RUN) tests/bench/step_ratio.py
	$(RUN) tests/bench/guide_every.py
	$(RUN) tests/bench/fused_kernels.py
	$(RUN) tests/bench/question_step.py
	$(RUN) tests/bench/attention_step.py
	$(RUN) tests/bench/compiled_step.py
	$(RUN) tests/bench/sort_step.py
	$(RUN) tests/bench/caption_step.py
	$(RUN) tests/bench/model_guidance.py
	$(RUN) tests/bench/bcos_layer.py
	$(RUN) tests/bench/explain.py
	$(RUN) tests/bench/crayon_step.py
	$(RUN) tests/bench/pruning.py
	$(RUN) tests/bench/extract_maps.py
	$(RUN) tests/bench/annotation_page.py

# Real photographs; DATA is a folder with cards_voc, bccd_voc and nuts_on_places.
study: $(VENV)/.installed
	$(RUN) tests/studies/real_photos.py --data $(DATA)
	$(RUN) tests/studies/model_guidance.py --data $(DATA)

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -e '.[test]'
	touch $@

clean:
	rm -rf $(VENV) .venv-min .venv-max runs dist build site
