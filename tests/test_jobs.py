"""One description of a job becomes what each scheduler's plugin must be told."""

import math

import pytest

from strongscale.jobs import request
from strongscale.jobs.request import Job
from strongscale.settings.site import Site

SITE = Site(gpus_per_host=2, cores_per_host=16)
ONE_GPU = Site(gpus_per_host=1, cores_per_host=16)


@pytest.mark.parametrize(
    ("job", "site", "hosts", "per_host"),
    [
        (Job(), SITE, 1, 1),
        (Job(gpus=1), SITE, 1, 1),
        (Job(ranks=2, gpus=1), SITE, 1, 2),
        (Job(ranks=3, gpus=1), SITE, 2, 2),
        (Job(ranks=4, gpus=1), SITE, 2, 2),
        (Job(ranks=32, gpus=1), SITE, 16, 2),
        (Job(ranks=4, gpus=1), ONE_GPU, 4, 1),
        (Job(ranks=16), SITE, 1, 16),
        (Job(ranks=17), SITE, 2, 9),
        (Job(ranks=32, threads=4), SITE, 8, 4),
        (Job(ranks=2, threads=32), SITE, 2, 1),
        (Job(ranks=4, gpus=4), SITE, 4, 1),
    ],
    ids=str,
)
def test_ranks_are_spread_evenly_over_as_few_hosts_as_gpus_and_cores_allow(job, site, hosts, per_host):
    assert (job.hosts(site), job.ranks_per_host(site)) == (hosts, per_host)


COMMON = {"cpus_per_task": 1, "runtime": 10}


def memory(job, site):
    """A host's, and a core's."""
    return {"mem_mb": 1000 * job.ranks_per_host(site), "mem_mb_per_cpu": 1000}


@pytest.mark.parametrize(
    ("job", "site", "expected"),
    [
        (Job(), SITE, {"mpi": ""}),
        (Job(gpus=1), SITE, {"mpi": "", "tasks_per_gpu": 0, "gpu": 1}),
        (
            Job(ranks=3, gpus=1),
            SITE,
            {"mpi": "mpirun", "nodes": 2, "tasks_per_node": 2, "tasks_per_gpu": 0, "gres": "gpu:2"},
        ),
        (
            Job(ranks=32, gpus=1),
            SITE,
            {"mpi": "mpirun", "nodes": 16, "tasks_per_node": 2, "tasks_per_gpu": 0, "gres": "gpu:2"},
        ),
        (
            Job(ranks=4, gpus=1),
            ONE_GPU,
            {"mpi": "mpirun", "nodes": 4, "tasks": 4, "tasks_per_gpu": 0, "gres": "gpu:1"},
        ),
        (Job(ranks=17), SITE, {"mpi": "mpirun", "nodes": 2, "tasks_per_node": 9}),
    ],
    ids=str,
)
def test_slurm_is_asked_for_hosts_and_ranks_and_gpus_of_each(job, site, expected):
    assert request.for_slurm(job, site) == COMMON | memory(job, site) | expected


PROJECT = {"lsf_project": "strongscale", "runtime": 10}


@pytest.mark.parametrize(
    ("job", "site", "expected"),
    [
        (Job(), SITE, {"mpi": "", "cpus_per_task": 1}),
        (Job(gpus=1), SITE, {"mpi": "", "cpus_per_task": 1, "lsf_extra": "-gpu num=1"}),
        (
            Job(ranks=4, gpus=1),
            SITE,
            {"mpi": "mpirun", "ptile": 2, "cpus_per_task": 4, "lsf_extra": "-gpu num=2"},
        ),
        (
            Job(ranks=32, gpus=1),
            SITE,
            {"mpi": "mpirun", "ptile": 2, "cpus_per_task": 32, "lsf_extra": "-gpu num=2"},
        ),
        (Job(ranks=4, gpus=1), ONE_GPU, {"mpi": "mpirun", "ptile": 1, "cpus_per_task": 4, "lsf_extra": "-gpu num=1"}),
        (Job(ranks=17), SITE, {"mpi": "mpirun", "ptile": 9, "cpus_per_task": 17}),
    ],
    ids=str,
)
def test_lsf_is_asked_for_slots_and_how_many_of_them_on_a_host(job, site, expected):
    assert request.for_lsf(job, site) == PROJECT | memory(job, site) | expected


def test_an_uneven_gpu_job_asks_lsf_for_whole_hosts():
    assert request.for_lsf(Job(ranks=3, gpus=1), SITE)["cpus_per_task"] == 4


def test_jobs_that_may_share_an_allocation_ask_for_what_adds_up():
    job = Job(gpus=1, together=4)
    slurm, lsf = request.for_slurm(job, SITE), request.for_lsf(job, SITE)
    for asked in (slurm, lsf):
        assert asked["mem_mb"] == 1000
        assert asked["cpus_per_task"] == 1
        assert "mem_mb_per_cpu" not in asked
    assert slurm["gpu"] == 1
    assert "nodes" not in slurm
    assert lsf["lsf_extra"] == "-gpu num=4"


def test_threads_are_cores_of_a_rank_and_share_its_memory():
    job = Job(ranks=4, threads=4, memory_mb=1001)
    slurm, lsf = request.for_slurm(job, SITE), request.for_lsf(job, SITE)
    assert (slurm["cpus_per_task"], slurm["tasks_per_node"]) == (4, 4)
    assert (lsf["cpus_per_task"], lsf["ptile"]) == (16, 16)
    assert slurm["mem_mb_per_cpu"] == lsf["mem_mb_per_cpu"] == math.ceil(1001 / 4)


def test_queue_account_and_further_options_are_the_sites():
    site = Site(queue="long", account="physics", extra="--constraint=a100")
    slurm, lsf = request.for_slurm(Job(), site), request.for_lsf(Job(gpus=1), site)
    assert (slurm["slurm_partition"], slurm["slurm_account"]) == ("long", "physics")
    assert slurm["slurm_extra"] == "--constraint=a100"
    assert (lsf["lsf_queue"], lsf["lsf_project"]) == ("long", "physics")
    assert lsf["lsf_extra"] == "-gpu num=1 --constraint=a100"


@pytest.mark.parametrize("executor", ["slurm", "slurm-jobstep", "lsf"])
def test_a_scheduler_finds_the_key_mpi_even_for_one_rank(executor):
    assert request.resources_of(Job(), SITE, executor)["mpi"] == ""


def test_who_deals_out_the_tasks_of_an_array_finds_no_such_key():
    job, without = Job(ranks=2), request.resources_of(Job(ranks=2), SITE, "slurm-jobstep", deals_array=True)
    assert without | {"mpi": "mpirun"} == request.resources_of(job, SITE, "slurm-jobstep")
    assert "mpi" not in without


@pytest.mark.parametrize("executor", [None, "local", "dryrun"])
def test_this_machine_counts_gpus_and_memory(executor):
    assert request.resources_of(Job(ranks=3, gpus=1), SITE, executor) == {"gpu": 3, "mem_mb": 3000}
    assert request.resources_of(Job(ranks=3), SITE, executor) == {"mem_mb": 3000}


def test_every_resource_has_a_name_that_the_rules_ask_for():
    site = Site(queue="long", account="physics", constraint="a100", extra="-x")
    described = [Job(), Job(ranks=4, gpus=1), Job(ranks=4)]
    asked = {
        name
        for one in described
        for place in (SITE, ONE_GPU, site)
        for executor in ("slurm", "lsf", None)
        for name in request.resources_of(one, place, executor)
    }
    assert asked == set(request.NAMES)


def test_minutes_grow_with_attempts_and_stop_at_the_queues_limit():
    site = Site(longest_minutes=100)
    assert [request.minutes_of(60, attempt, site) for attempt in (1, 2, 3)] == [60, 90, 100]
    assert request.minutes_of(60, 3, Site()) == 120


def test_memory_grows_with_attempts():
    assert [request.grown(400, attempt) for attempt in (1, 2, 3)] == [400, 600, 800]


def test_the_prelude_quotes_what_a_shell_would_take_apart():
    site = Site(modules=("cuda/12.4", "a b"), environment={"NAME": "it's; $HOME"})
    assert request.prelude(site) == """module load cuda/12.4 'a b'; export NAME='it'"'"'s; $HOME'; """


def test_without_modules_and_variables_there_is_no_prelude():
    assert request.prelude(Site()) == ""
