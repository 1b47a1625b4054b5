# Thin: each target is one line of what you could type yourself.
.DELETE_ON_ERROR:
.PHONY: run test test-slurm check format docs faults bench status
STUDY ?= quick
export PYTHONUTF8 := 1
export PATH := $(CURDIR)/.venv/bin:$(PATH)

run: .venv/complete  ## rebuild a study, and its report where something changed; one's own: STUDY=mine CONFIG=mine.yaml
	snakemake --profile local $(if $(CONFIG),--configfile "$(CONFIG)") --config "study=$(STUDY)"
	workflow/make_report.sh "$(STUDY)" $(if $(CONFIG),"$(CONFIG)")

test: .venv/complete check  ## lint, types and all tests
	python -c 'import triton' 2>/dev/null || pip install --quiet --disable-pip-version-check --no-deps --requirement envs/test.txt
	python -m pytest

test-slurm: .venv/complete  ## the workflow on a real Slurm of this machine; as root it installs what that needs
	-python tests/slurm/cluster.py install
	python -m pytest -m slurm -rs tests/test_slurm.py

check: .venv/complete
	ruff check . && ruff format --check . && snakefmt --check Snakefile workflow/rules && mypy

format: .venv/complete
	ruff check --fix . && ruff format . && snakefmt Snakefile workflow/rules

.venv/complete: envs/requirements.txt envs/lock.txt envs/setup.sh
	envs/setup.sh

docs: .venv/complete  ## the page of settings, from the schema
	PYTHONPATH=workflow python -m strongscale.settings.page docs/settings.md

faults: .venv/complete  ## kill training at least 100 times in fifteen ways, and compare every result
	PYTHONPATH=workflow:tests python tests/faults.py --output docs/faults.md

bench: .venv/complete  ## against what others use, as ratios: docs/benchmarks
	pip install --quiet --disable-pip-version-check --no-deps --requirement envs/bench.txt
	PYTHONPATH=workflow python -m benchmarks.cubes --scans 4 --repeats 5
	PYTHONPATH=workflow python -m benchmarks.training
	PYTHONPATH=workflow python -m benchmarks.ranks
	PYTHONPATH=workflow python -m benchmarks.workflow

status:  ## what is going on in a study
	@PYTHONPATH=workflow python3 -m strongscale.status results/$(STUDY)
