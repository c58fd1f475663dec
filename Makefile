# Most targets call freezebench. The first call creates the environment in .venv.
PYTHON ?= python3
PROFILE ?= laptop
CONTROLS ?=
DATA_ROOT ?=
ARGS ?=
SWEEP ?= table2
LAUNCHER ?= local
VENV := .venv
READY := $(VENV)/ready
RUN := $(VENV)/bin/freezebench

# make table2 PROFILE=paper DATA_ROOT=~/data ARGS='--weights resnet50=FILE'
SWEEP_ARGS = --profile "$(PROFILE)" $(if $(filter-out 0 no off false none No Off False None,$(CONTROLS)),--controls) \
	$(if $(DATA_ROOT),--data-root "$(DATA_ROOT)") $(ARGS)
MADE_BY = --launcher $(LAUNCHER)
# The sweeps of `plan` and `page`: SWEEP if the user sets it, otherwise all tables and figures.
CHOSEN = $(if $(filter command environment,$(origin SWEEP)),$(SWEEP))

TABLES := table1 table2 table3 table4 table5 table6 table7 table8 table9

.PHONY: env $(TABLES) leaderboard figures sweep slurm-test soak page-test wheel wheel-test docs docs-test cuda cuda-bundle page predictor backbones report plan flops list perf test lint format clean

env: $(READY)

# compileall uses all cores, and pip only one. It fails on the files of packages for newer Pythons.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile \
		--constraint constraints.txt --editable '.[dev,docs]'
	$(VENV)/bin/python -m compileall -qq -j 0 $(VENV)/lib || true
	touch $@

# make table2, make table4, …: execute the missing runs of a table, then write its report.
$(TABLES): $(READY)
	$(RUN) sweep $@ $(MADE_BY) $(SWEEP_ARGS)

# Compare all strategies with controls at equal cost (about 6 hours on two cores); write the page.
leaderboard: $(READY)
	$(RUN) sweep leaderboard --page $(MADE_BY) $(SWEEP_ARGS)

figures: $(READY)
	$(RUN) sweep curves $(MADE_BY) $(SWEEP_ARGS)

# make sweep SWEEP=window LAUNCHER=slurm ARGS='--cluster gpu.toml'
sweep: $(READY)
	$(RUN) sweep $(SWEEP) $(MADE_BY) $(SWEEP_ARGS)

# Execute the missing runs of all tables and figures, each run once. Then write reports and page.
# `make page` writes the page without training.
report: $(READY)
	$(RUN) sweep all --page $(MADE_BY) $(SWEEP_ARGS)

page: $(READY)
	$(RUN) page $(CHOSEN) $(SWEEP_ARGS)

plan: $(READY)
	$(RUN) plan $(CHOSEN) $(SWEEP_ARGS)

flops: $(READY)
	$(RUN) flops --profile "$(PROFILE)" $(if $(DATA_ROOT),--data-root "$(DATA_ROOT)") $(ARGS)

list: $(READY)
	$(RUN) list $(ARGS)

# make perf ARGS='--only step,realised --seconds 20'
perf: $(READY)
	$(RUN) perf $(ARGS)

# Train the shipped predictors of smartfrz; with ARGS=--all also those of Tables 4 and 5.
predictor: $(READY)
	$(RUN) predictor train --shipped --profile "$(PROFILE)" \
		$(if $(DATA_ROOT),--data-root "$(DATA_ROOT)") $(ARGS)

# Train the pretrained weights of the laptop profile again.
backbones: $(READY)
	$(RUN) backbones $(ARGS)

test: $(READY)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 --dist worksteal $(ARGS)

# Start a temporary Slurm on this machine and test on it.
slurm-test: $(READY)
	$(VENV)/bin/python -m tests.slurm.run $(ARGS)

# Tiny runs of all strategies that are killed, stopped or run on a full disk at random, here and on
# a temporary Slurm. To repeat a failure: make soak ARGS='--seed N --round K'
HOURS ?= 0.15
soak: $(READY)
	$(VENV)/bin/python -m tests.soak.run --hours $(HOURS) $(ARGS)

# Test the HTML page in Debian's Chromium.
page-test: $(READY)
	$(VENV)/bin/python -m tests.page.run $(ARGS)

# Build the wheel of the present files in dist/.
wheel: $(READY)
	$(VENV)/bin/python -m tests.support.wheel dist

# Test the wheel without the checkout, and the steps of the container in a fresh Debian.
wheel-test: $(READY)
	FREEZEBENCH_WHEEL=1 OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest tests/wheel -rs $(ARGS)

# Build the documentation site in site/, without a network.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --clean --quiet

# Test every command, code block and example of the documentation.
docs-test: $(READY)
	FREEZEBENCH_DOCS=1 OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 --dist worksteal tests/docs $(ARGS)

# Checks and measurements on a GPU in eight minutes (docs/gpu.md). It uses the interpreter given and
# needs no .venv: make cuda OUT=results/cuda PYTHON=python3
OUT ?= results/cuda
DEVICE ?= cuda
BUNDLE ?= bundle
cuda:
	$(PYTHON) -m tests.cuda.run $(OUT) --device $(DEVICE) --bundle $(BUNDLE) $(ARGS)

# Collect what a GPU machine without a network lacks: make cuda-bundle DATA=cifar10 DATA_ROOT=DIR WEIGHTS=FILE
DATA ?=
WEIGHTS ?=
cuda-bundle: $(READY)
	$(VENV)/bin/python -m tests.cuda.bundle $(BUNDLE) $(if $(DATA),--data "$(DATA)") \
		$(if $(DATA_ROOT),--data-root "$(DATA_ROOT)") $(if $(WEIGHTS),--weights "$(WEIGHTS)")

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/python -m tests.support.layout

format: $(READY)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean:
	rm -rf $(VENV) site *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
