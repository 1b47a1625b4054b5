# Thin: each target is one line of what you could type yourself.
.DELETE_ON_ERROR:
.PHONY: run test test-all test-slurm check format docs faults bench network-check gpu status
STUDY ?= quick
export PYTHONUTF8 := 1
export PATH := $(CURDIR)/.venv/bin:$(PATH)

run: .venv/complete  ## rebuild a study, and its report where something changed; one's own: STUDY=mine CONFIG=mine.yaml
	snakemake --profile local $(if $(CONFIG),--configfile "$(CONFIG)") --config "study=$(STUDY)"
	workflow/make_report.sh "$(STUDY)" $(if $(CONFIG),"$(CONFIG)")

test: .venv/for-tests check  ## lint, types, and the tests that take seconds each
	python -m pytest --numprocesses 2 --dist worksteal -m "not slow and not slurm"

test-all: .venv/for-tests check  ## the same with the slow ones: whole studies and campaigns
	python -m pytest --numprocesses 2 --dist worksteal -m "not slurm" --ignore tests/test_lsf.py
	python -m pytest tests/test_lsf.py  # its pretended cluster has time limits, so nothing else runs beside it

test-slurm: .venv/complete  ## the workflow on a real Slurm of this machine; as root it installs what that needs
	-python tests/slurm/cluster.py install
	python -m pytest -m slurm -rs tests/test_slurm.py

check: .venv/complete
	ruff check . && ruff format --check . && snakefmt --check Snakefile workflow/rules && mypy

format: .venv/complete
	ruff check --fix . && ruff format . && snakefmt Snakefile workflow/rules

.venv/complete: envs/requirements.txt envs/lock.txt envs/setup.sh
	envs/setup.sh

.venv/for-tests: .venv/complete envs/test.txt
	python -c 'import triton' 2>/dev/null || pip install --quiet --disable-pip-version-check --no-deps --requirement envs/test.txt
	touch $@

docs: .venv/complete  ## the pages that are made from the code: settings, rooms, and what editors check config.yaml by
	PYTHONPATH=workflow python -m strongscale.settings.page docs/settings.md
	PYTHONPATH=workflow python -m strongscale.common.rooms docs/rooms.md
	PYTHONPATH=workflow python -m strongscale.settings.editor_schema config.schema.json

faults: .venv/complete  ## kill training at least 100 times in fifteen ways, and compare every result
	PYTHONPATH=workflow:tests python tests/faults.py --output docs/faults.md

bench: .venv/complete  ## against what others use, as ratios: docs/benchmarks
	pip install --quiet --disable-pip-version-check --no-deps --requirement envs/bench.txt
	PYTHONPATH=workflow python -m benchmarks.cubes --scans 4 --repeats 5
	PYTHONPATH=workflow python -m benchmarks.training
	PYTHONPATH=workflow python -m benchmarks.unet
	PYTHONPATH=workflow python -m benchmarks.learners
	PYTHONPATH=workflow python -m benchmarks.ranks
	PYTHONPATH=workflow python -m benchmarks.workflow
	PYTHONPATH=workflow python -m benchmarks.verdicts

gpu: .venv/complete  ## where there is a GPU: checks, the step, timings, the matrix at the paper's size, in 9 minutes
	PYTHONPATH=workflow python -m benchmarks.gpu --output results/gpu

network-check: .venv/complete  ## the modelled network against shaped links between hosts that this machine pretends to have, as root
	PYTHONPATH=workflow python -m benchmarks.network_check

status:  ## what is going on in a study
	@PYTHONPATH=workflow python3 -m strongscale.status results/$(STUDY)
