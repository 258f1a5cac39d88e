# One front door. Every target creates what it needs.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
MACHINES ?= a10 workstation
# The stack release of the demo; without it the default of the collection.
RELEASE ?=
BUILD := .build
VENV := $(BUILD)/venv
BIN := $(VENV)/bin
LINK := $(BUILD)/collections/ansible_collections/katagpu/cluster
# The virtual environment first, so that Ansible, its lookups and our scripts all use the same tools.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONDONTWRITEBYTECODE := 1
LAB := $(BIN)/python -m tests.lab
STAGE := $(BIN)/python tests/stages.py

.PHONY: help
help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.ready: requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else "setup: Python 3.11 or newer is needed, %s is %d.%d. Set PYTHON=..." % (sys.executable, v[0], v[1]))'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "setup: the Python module venv is missing. On Debian: apt-get install python3-venv"; exit 1; }
	@echo "setup | virtual environment in $(VENV) (about two minutes)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

$(LINK):
	@mkdir -p $(dir $(LINK))
	@ln -sfn "$(CURDIR)" $(LINK)

.PHONY: setup
setup: $(VENV)/.ready $(LINK) ## Virtual environment, collections, and the link that makes katagpu.cluster found

.PHONY: packages
packages: ## Install the Debian packages that the lab needs (root or sudo)
	@tests/lab/install_packages

.PHONY: lab-up
lab-up: setup packages ## Start the lab: control plane, stand-ins and MACHINES (a10 workstation)
	@$(if $(filter 23.9,$(RELEASE)),KATAGPU_LAB_CONTAINERD=1.7.24) $(LAB) up --machines $(MACHINES)

.PHONY: lab-down
lab-down: setup ## Stop the lab and forget its machines (caches stay)
	@$(LAB) down

.PHONY: lab-status
lab-status: setup ## Show what runs in the lab
	@$(LAB) status

.PHONY: demo
demo: lab-up ## Provision the lab with playbooks/site.yml and print the report (RELEASE=23.9 for the legacy stack)
	@tests/lab/demo $(if $(RELEASE),-e katagpu_release=$(RELEASE))

.PHONY: check
check: setup ## The quick part: lint, types, unit and contract tests (under 2 minutes)
	@$(STAGE) check

.PHONY: lint
lint: setup ## Linters only
	@$(STAGE) lint

.PHONY: sanity
sanity: setup ## ansible-test sanity
	@$(STAGE) sanity

.PHONY: test
test: setup packages ## Check, sanity, build, the end-to-end runs on the lab, and one kind of machine, chosen by the commit
	@$(STAGE) test

.PHONY: test-all
test-all: setup packages ## The same with every kind of machine instead of one
	@$(STAGE) test-all

.PHONY: profiles
profiles: setup packages ## Run on every kind of machine, or on PROFILE, each a guest of its own (the lab must be down)
	@$(STAGE) $(if $(PROFILE),profile-$(PROFILE),profiles)

.PHONY: molecule
molecule: lab-up ## The molecule scenarios against the running lab
	@$(STAGE) molecule

.PHONY: refusals
refusals: setup packages ## Bring about every refusal on a control plane of its own (the lab must be down)
	@$(STAGE) refusals

.PHONY: owner
owner: setup packages ## katagpu_vfio_owner: host on a machine of its own (the lab must be down)
	@$(STAGE) owner

.PHONY: faults
faults: setup packages ## Disturb a provisioning by kills and outages, and run it again after each (KILLS=20, the lab must be down)
	@$(BIN)/python -m tests.integration.faults --kills $(or $(KILLS),5)

.PHONY: power-cuts
power-cuts: setup packages ## Cut the power of a machine while it is prepared (CUTS=8 for each way, the lab must be down)
	@$(BIN)/python -m tests.integration.power_cuts --cuts $(or $(CUTS),8)

.PHONY: security
security: setup packages ## The shipped rights and planted secrets on a control plane of its own (the lab must be down)
	@$(STAGE) security

.PHONY: bench
bench: setup packages ## Compare speed and requests with the usual ways, on a control plane of its own (the lab must be down)
	@PYTHONPATH=$(BUILD)/collections KATAGPU_LAB_STATE=$(BUILD)/bench $(BIN)/python -m tests.bench

.PHONY: bench-pci
bench-pci: setup ## Only the speed of reading PCI functions, which needs no control plane
	@PYTHONPATH=$(BUILD)/collections KATAGPU_LAB_STATE=$(BUILD)/bench $(BIN)/python -m tests.bench pci

.PHONY: check-upstream
check-upstream: setup ## Compare with the real charts and controllers that you have (GIVEN=file.yml; the lab must be down)
	@KATAGPU_LAB_STATE=$(BUILD)/upstream $(if $(GIVEN),KATAGPU_UPSTREAM=$(GIVEN)) $(BIN)/python -m tests.upstream

.PHONY: coverage
coverage: setup ## Branch coverage of the code that decides, each module at least 95 %
	@$(BIN)/python -m tests.quality.branches

.PHONY: mutate
mutate: setup ## Mutants of the code that decides (MUTANTS=400 SEED=1, or ONLY="_vfio/plan _boot/tokens", TESTS=tests/unit/...)
	@$(BIN)/python -m tests.quality.mutants --sample $(if $(MUTANTS),$(MUTANTS),0) $(if $(SEED),--seed $(SEED)) $(if $(TESTS),--tests $(TESTS)) -- $(ONLY)

.PHONY: fuzz
fuzz: setup ## Parsers against bytes that nobody would write (SECONDS=600 for all together, ONLY="routes mounts")
	@$(BIN)/python -m tests.fuzz --seconds $(if $(filter command line environment,$(origin SECONDS)),$(SECONDS),600) -- $(ONLY)

.PHONY: docs
docs: setup ## Write the release matrix of the documentation and the manifests with our rights from the release data
	@$(BIN)/python -m tests.docs.releases
	@$(BIN)/python -m tests.docs.rbac

.PHONY: build
build: setup ## Build the collection tarball into .build/dist
	@mkdir -p $(BUILD)/dist
	@$(BIN)/ansible-galaxy collection build --force --output-path $(BUILD)/dist

.PHONY: clean
clean: ## Remove what make created here (not the caches of the lab)
	@if [ -x $(BIN)/python ]; then $(LAB) down || true; fi
	@rm -rf $(BUILD)
