# Everything here is a freezebench command; the environment is made in .venv on first use.
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
SWEEP_ARGS = --profile $(PROFILE) $(if $(filter-out 0 no off false No Off False,$(CONTROLS)),--controls) \
	$(if $(DATA_ROOT),--data-root $(DATA_ROOT)) $(ARGS)
MADE_BY = --launcher $(LAUNCHER)

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

# make table2, make table4, …: its missing runs, then its report.
$(TABLES): $(READY)
	$(RUN) sweep $@ $(MADE_BY) $(SWEEP_ARGS)

# All strategies at equal cost with simple controls, about 6 hours on two cores, and its page.
leaderboard: $(READY)
	$(RUN) sweep leaderboard --page $(MADE_BY) $(SWEEP_ARGS)

figures: $(READY)
	$(RUN) sweep curves $(MADE_BY) $(SWEEP_ARGS)

# make sweep SWEEP=window LAUNCHER=slurm ARGS='--cluster gpu.toml'
sweep: $(READY)
	$(RUN) sweep $(SWEEP) $(MADE_BY) $(SWEEP_ARGS)

# All tables and figures: one plan, in which a run that several of them show is made once; then
# their files and the page. What the runs that are there say, without making any: make page
report: $(READY)
	$(RUN) sweep all --page $(MADE_BY) $(SWEEP_ARGS)

page: $(READY)
	$(RUN) page $(SWEEP_ARGS)

plan: $(READY)
	$(RUN) plan $(SWEEP_ARGS)

flops: $(READY)
	$(RUN) flops --profile $(PROFILE)

list: $(READY)
	$(RUN) list

# make perf ARGS='--only step,realised --seconds 20'
perf: $(READY)
	$(RUN) perf $(ARGS)

# The predictor that smartfrz uses and the one as published; with ARGS=--all those of Tables 4 and 5.
predictor: $(READY)
	$(RUN) predictor train --shipped --profile $(PROFILE) $(if $(DATA_ROOT),--data-root $(DATA_ROOT)) $(ARGS)

# The pretrained weights of the laptop profile's models.
backbones: $(READY)
	$(RUN) backbones $(ARGS)

test: $(READY)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 $(ARGS)

# On a Slurm of its own, brought up on this machine for the time of the tests.
slurm-test: $(READY)
	$(VENV)/bin/python -m tests.slurm.run $(ARGS)

# Tiny runs of all strategies that are killed, stopped and starved of disk space at random, here and
# on a Slurm of its own. To repeat a failure: make soak ARGS='--seed N --round K'
HOURS ?= 0.15
soak: $(READY)
	$(VENV)/bin/python -m tests.soak.run --hours $(HOURS) $(ARGS)

# The page in Debian's Chromium, as its readers meet it.
page-test: $(READY)
	$(VENV)/bin/python -m tests.page.run $(ARGS)

# The wheel of the files as they are, in dist/.
wheel: $(READY)
	$(VENV)/bin/python -m tests.support.wheel dist

# The wheel in an environment without the checkout, and the container's steps in a fresh Debian.
wheel-test: $(READY)
	FREEZEBENCH_WHEEL=1 OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest tests/wheel -rs $(ARGS)

# The documentation site, in site/. It needs no network.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --clean --quiet

# Every command, code block and example of the documentation.
docs-test: $(READY)
	FREEZEBENCH_DOCS=1 OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 --dist worksteal tests/docs $(ARGS)

# Checks and measurements on a GPU in eight minutes (docs/gpu.md). It uses the interpreter given and
# needs no .venv: make cuda OUT=results/cuda PYTHON=python3
OUT ?= results/cuda
DEVICE ?= cuda
BUNDLE ?= bundle
cuda:
	$(PYTHON) -m tests.cuda.run $(OUT) --device $(DEVICE) --bundle $(BUNDLE) $(ARGS)

# What a GPU machine without a network lacks: make cuda-bundle DATA=cifar10 DATA_ROOT=DIR WEIGHTS=FILE
DATA ?=
WEIGHTS ?=
cuda-bundle: $(READY)
	$(VENV)/bin/python -m tests.cuda.bundle $(BUNDLE) $(if $(DATA),--data $(DATA)) \
		$(if $(DATA_ROOT),--data-root $(DATA_ROOT)) $(if $(WEIGHTS),--weights $(WEIGHTS))

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
