# warmstore: `make canonicalize preprocess train` from a fresh clone. `make help` lists the targets.
CONFIG ?= synthetic
SPLIT ?=
SET ?=
N_TRAIN ?=
N_VAL ?=
CHECKPOINT ?=
RESUME ?=
TEST ?= -n auto
CHAOS ?= 60
FUZZ ?= 20000
QUICK ?=
ONLY ?=
RECEIPTS ?=
MINUTES ?= 10
SEED ?= 0
ENVIRONMENT ?=

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.NOTPARALLEL:
.DEFAULT_GOAL := help

BIN := .venv/bin
READY := .venv/.ready
DEV_READY := .venv/.ready-dev
DOCS_READY := .venv/.ready-docs
LIBRARIES_READY := build/libraries/.ready
WARMSTORE := $(BIN)/warmstore
RUN := --config $(CONFIG) $(addprefix --split ,$(SPLIT)) $(SET)

.PHONY: help setup data canonicalize decode maps tensors preprocess train validate test check lint types docs bench gpu report chaos soak coverage clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile
	@echo "  variables: CONFIG=<run in configs/> SPLIT=val SET=\"key=value …\""

setup: $(READY) ## make .venv and install what warmstore needs; what tests and checks need is added by them

$(READY): pyproject.toml constraints.txt scripts/setup.sh
	@bash scripts/setup.sh
	@touch $@

$(DEV_READY): $(READY) tests/referees.txt
	@bash scripts/setup.sh dev
	@touch $@

$(DOCS_READY): $(READY)
	@bash scripts/setup.sh docs
	@touch $@

$(LIBRARIES_READY): $(DEV_READY) $(wildcard benchmarks/requirements*.txt)
	@bash scripts/setup.sh libraries
	@touch $@

data: $(READY) ## draw the embedded synthetic receipts (N_TRAIN=48 N_VAL=24)
	@$(WARMSTORE) data --config $(CONFIG) $(addprefix --train ,$(N_TRAIN)) $(addprefix --val ,$(N_VAL)) $(SET)

canonicalize decode maps tensors: $(READY)
	@$(WARMSTORE) run $@ $(RUN)

canonicalize: ## make images upright, polygons in one frame
decode: ## decode images onto the canvas
maps: ## build DBNet's ground truth maps
tensors: ## bring everything into the layout that training reads

preprocess: $(READY) ## decode, maps and tensors
	@$(WARMSTORE) run decode maps tensors $(RUN)

train: $(READY) ## train the detector and validate it (RESUME=1 goes on with the newest that was stopped, RESUME=<run> with one)
	@$(WARMSTORE) train $(RUN) $(if $(RESUME),--resume=$(filter-out 1,$(RESUME)))

validate: $(READY) ## validate a checkpoint (CHECKPOINT=…, the newest otherwise)
	@$(WARMSTORE) validate $(RUN) $(addprefix --checkpoint ,$(CHECKPOINT))

report: $(READY) ## write report.html about the work folder
	@$(WARMSTORE) report $(RUN)

lint: $(DEV_READY) ## format and lint checks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(DEV_READY) ## strict type checks
	$(BIN)/mypy

test: $(DEV_READY) ## run the tests
	$(BIN)/python -m pytest $(TEST)

check: lint types test ## what CI runs

chaos: $(DEV_READY) ## test properties on new examples, kill runs at random places, feed mutated files (CHAOS=60 seconds, FUZZ=20000 cases)
	$(BIN)/python -m pytest $(TEST) -m hypothesis --hypothesis-profile=default
	$(BIN)/python -m tests.chaos --seconds $(CHAOS)
	$(BIN)/python -m tests.chaos_cluster --seconds $(CHAOS)
	$(BIN)/python -m tests.fuzz_images --cases $(FUZZ)
	$(BIN)/python -m tests.fuzz_annotations --cases $(FUZZ)

soak: $(DEV_READY) ## edit, run, kill, train, check, repair and collect at random, and compare with a clean build (MINUTES=10, SEED=0)
	$(BIN)/python -m tests.soak --minutes $(MINUTES) --seed $(SEED)

coverage: $(DEV_READY) ## measure which branches of pipeline/ its tests take, in every process that they start (20 minutes)
	@bash scripts/coverage.sh

docs: $(DOCS_READY) ## build the documentation into build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "open build/site/index.html; its search wants a server: $(BIN)/python -m http.server --directory build/site"

bench: $(DEV_READY) $(LIBRARIES_READY) ## measure what the documentation says: results, tables, pictures (QUICK=1, ONLY="maps decode", RECEIPTS=<folder>)
	@$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY)) $(if $(RECEIPTS),--receipts "$(RECEIPTS)")

gpu: $(if $(ENVIRONMENT),,$(DEV_READY)) ## run all that wants a GPU, in eight minutes: build/gpu.json, build/gpu.md (ENVIRONMENT=<one that is there>)
	@$(or $(ENVIRONMENT),.venv)/bin/python3 -m benchmarks.gpu $(if $(RECEIPTS),--receipts "$(RECEIPTS)")

clean: ## remove the environment, the caches and the synthetic data; stores in work/ stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis data *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
