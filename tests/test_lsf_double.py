"""The stand-in for LSF: it does what is known of LSF, and refuses the rest."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

BIN = Path(__file__).parent / "lsf" / "bin"
DEADLINE_S = 30


class Lsf:
    """The commands of a stand-in with a state folder of its own."""

    def __init__(self, folder, *settings):
        self.folder = folder
        self.environment = {
            **os.environ,
            "LSF_DOUBLE_STATE": str(folder / "state"),
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "GIVEN": "yes",
        }
        self.call(
            "lsf_double", "start", "--minute-s", "0.5", "--kill-delay-s", "0.5", "--limit-delay-s", "0.2", *settings
        )

    def call(self, *command, status=0, seconds=None):
        done = subprocess.run(
            command, capture_output=True, text=True, env=self.environment, cwd=self.folder, timeout=seconds
        )
        assert done.returncode == status, done
        return done.stdout if status == 0 else done.stderr

    def submit(self, command, *options):
        return self.call("bsub", "-J", "name___(uuid)", *options, command).split("<")[1].split(">")[0]

    def state(self, job, field="stat"):
        return self.call("bjobs", "-noheader", "-a", "-o", field, job).strip()

    def wait(self, job, *states):
        wait_for(lambda: self.state(job) in states)
        return self.state(job, "exit_code")

    def file(self, name):
        return self.folder / name


def wait_for(condition):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_alive(process):
    """Whether a process runs; one that is dead and waits for its parent has no command line."""
    try:
        return bool(Path(f"/proc/{process}/cmdline").read_bytes())
    except FileNotFoundError:
        return False


def first_word(path):
    wait_for(lambda: path.exists() and path.read_text().strip())
    return path.read_text().split()[0]


@pytest.fixture
def lsf(tmp_path):
    cluster = Lsf(tmp_path)
    yield cluster
    cluster.call("lsf_double", "stop")


@pytest.fixture
def small_lsf(tmp_path):
    cluster = Lsf(tmp_path, "--slots", "4", "--gpus", "2")
    yield cluster
    cluster.call("lsf_double", "stop")


NOTE_SIGNALS = """exec python3 -c '
import signal, sys, time
def note(number, frame):
    open("signals", "a").write(signal.Signals(number).name + " ")
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2): signal.signal(number, note)
open("ready", "w").close()
while True: time.sleep(0.01)
'"""


def test_a_job_runs_and_stays_in_bjobs(lsf):
    job = lsf.submit("echo $GIVEN > made", "-env", "all")
    assert lsf.wait(job, "DONE") == "-"
    assert lsf.file("made").read_text() == "yes\n"
    assert lsf.call("bjobs", "-noheader", "-o", "jobid stat", "-aJ", "*(uuid)*") == f"{job} DONE\n"


def test_a_failed_job_keeps_its_exit_code(lsf):
    assert lsf.wait(lsf.submit("exit 3"), "EXIT") == "3"


def test_a_job_of_another_name_is_not_found(lsf):
    lsf.submit("true")
    assert "is not found" in lsf.call("bjobs", "-aJ", "*other*", status=255)


def test_bsub_says_what_the_plugin_reads(lsf):
    assert lsf.call("bsub", "-q", "normal", "true") == "Job <1> is submitted to queue <normal>.\n"


def test_output_is_appended_below_a_report(lsf):
    for word in ("first", "second"):
        lsf.wait(lsf.submit(f"echo {word}; echo {word}-error >&2", "-o", "log", "-e", "log"), "DONE")
    lines = lsf.file("log").read_text().splitlines()
    assert [line for line in lines if line in ("first", "second", "first-error", "second-error")] == [
        "first",
        "first-error",
        "second",
        "second-error",
    ]
    assert lines.count("Successfully completed.") == 2


def test_the_job_is_told_its_hosts(lsf):
    job = lsf.submit(
        "env > env; cat $LSB_DJOB_HOSTFILE > hosts", "-n", "6", "-R", "span[ptile=4]", "-R", "rusage[mem=25.0]"
    )
    lsf.wait(job, "DONE")
    assert lsf.file("hosts").read_text().split() == ["h1"] * 4 + ["h2"] * 2
    found = dict(line.split("=", 1) for line in lsf.file("env").read_text().splitlines() if line.startswith("LSB"))
    assert found["LSB_MCPU_HOSTS"] == "h1 4 h2 2"
    assert found["LSB_HOSTS"] == "h1 h1 h1 h1 h2 h2"
    assert (found["LSB_DJOB_NUMPROC"], found["LSB_JOBID"], found["LSB_JOBINDEX"]) == ("6", job, "0")


def test_blaunch_runs_on_the_jobs_hosts_only(lsf):
    command = "blaunch h2 echo '$LSF_DOUBLE_HOST' > made; blaunch h9 true 2> refused"
    lsf.wait(lsf.submit(command, "-n", "2", "-R", "span[ptile=1]"), "EXIT")
    assert lsf.file("made").read_text() == "h2\n"
    assert "not allocated" in lsf.file("refused").read_text()


def test_two_jobs_get_different_gpus(small_lsf):
    command = "echo $CUDA_VISIBLE_DEVICES >> gpus; until [ -e go ]; do sleep 0.05; done"
    jobs = [small_lsf.submit(command, "-gpu", "num=2", "-R", "span[hosts=1]") for _ in range(3)]
    wait_for(lambda: [small_lsf.state(job) for job in jobs] == ["RUN", "RUN", "PEND"])
    assert [small_lsf.state(job, "exec_host") for job in jobs] == ["1*h1", "1*h2", "-"]
    small_lsf.file("go").touch()
    small_lsf.wait(jobs[2], "DONE")
    assert small_lsf.file("gpus").read_text().split() == ["0,1"] * 3


def test_a_job_pends_while_slots_are_short(small_lsf):
    first = small_lsf.submit("until [ -e go ]; do sleep 0.05; done", "-n", "8")
    second = small_lsf.submit("true")
    small_lsf.wait(first, "RUN")
    assert small_lsf.state(second) == "PEND"
    small_lsf.file("go").touch()
    small_lsf.wait(second, "DONE")


def test_bkill_interrupts_then_terminates_then_kills_every_process(lsf):
    job = lsf.submit(NOTE_SIGNALS)
    wait_for(lsf.file("ready").exists)
    assert lsf.call("bkill", job) == f"Job <{job}> is being terminated\n"
    assert lsf.wait(job, "EXIT") == "137"
    assert lsf.file("signals").read_text().split() == ["SIGINT", "SIGTERM"]


def test_bkill_reaches_a_process_in_a_session_of_its_own(lsf):
    job = lsf.submit("setsid sh -c 'echo $$ > sleeper; sleep 1000' & wait")
    sleeper = first_word(lsf.file("sleeper"))
    lsf.call("bkill", job)
    lsf.wait(job, "EXIT")
    wait_for(lambda: not is_alive(sleeper))


def test_bkill_of_a_finished_job_fails_and_kills_the_others(lsf):
    done, running = lsf.submit("true"), lsf.submit("sleep 1000")
    lsf.wait(done, "DONE")
    lsf.wait(running, "RUN")
    assert "already finished" in lsf.call("bkill", done, running, status=255)
    lsf.wait(running, "EXIT")


def test_the_run_limit_sends_usr2_and_ends_with_140(lsf):
    job = lsf.submit("sleep 1000", "-W", "1", "-o", "log")
    assert lsf.wait(job, "EXIT") == "140"
    assert "TERM_RUNLIMIT" in lsf.file("log").read_text()


def test_the_run_limit_kills_who_ignores_usr2(lsf):
    assert lsf.wait(lsf.submit(NOTE_SIGNALS, "-W", "1"), "EXIT") == "140"
    assert lsf.file("signals").read_text().split() == ["SIGUSR2", "SIGINT", "SIGTERM"]


def test_a_warning_comes_before_the_limit(lsf):
    lsf.wait(lsf.submit(NOTE_SIGNALS, "-W", "3", "-wt", "1", "-wa", "USR1"), "EXIT")
    assert lsf.file("signals").read_text().split() == ["SIGUSR1", "SIGUSR2", "SIGINT", "SIGTERM"]


def test_a_lost_host_is_unknown_until_it_is_back(lsf):
    job = lsf.submit("sleep 1000")
    lsf.wait(job, "RUN")
    lsf.call("lsf_double", "lose", "h1")
    assert lsf.state(job) == "UNKWN"
    lsf.call("lsf_double", "restore", "h1")
    assert lsf.wait(job, "EXIT") == "137"


def test_a_rerunnable_job_starts_again_elsewhere(lsf):
    job = lsf.submit("echo ${LSB_RESTART:-first} >> starts; until [ -e go ]; do sleep 0.05; done", "-r")
    wait_for(lsf.file("starts").exists)
    lsf.call("lsf_double", "lose", "h1")
    wait_for(lambda: lsf.file("starts").read_text().split() == ["first", "Y"])
    assert lsf.state(job, "exec_host") == "1*h2"
    lsf.file("go").touch()
    lsf.wait(job, "DONE")


def test_a_suspended_job_goes_on_later(lsf):
    job = lsf.submit("until [ -e go ]; do sleep 0.05; done")
    lsf.wait(job, "RUN")
    lsf.call("lsf_double", "suspend", job)
    lsf.file("go").touch()
    assert lsf.state(job) == "USUSP"
    lsf.call("lsf_double", "resume", job)
    lsf.wait(job, "DONE")


def test_a_pretended_state_is_shown_while_the_job_runs(lsf):
    job = lsf.submit("until [ -e go ]; do sleep 0.05; done")
    lsf.wait(job, "RUN")
    lsf.call("lsf_double", "show", job, "ZOMBI")
    assert lsf.state(job) == "ZOMBI"
    lsf.call("lsf_double", "show", job, "real")
    assert lsf.state(job) == "RUN"


def test_bjobs_fails_says_nothing_and_blocks_on_demand(lsf):
    job = lsf.submit("true")
    lsf.wait(job, "DONE")
    for fault in (("fail", "1"), ("empty", "1"), ("block", "1", "0.7")):
        lsf.call("lsf_double", "fault", "bjobs", *fault)
    assert "LIM is down" in lsf.call("bjobs", "-a", status=255)
    assert lsf.call("bjobs", "-a") == ""
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(["bjobs", "-a"], env=lsf.environment, timeout=0.4)
    assert job in lsf.call("bjobs", "-a")


def test_the_plugin_finds_the_clusters_configuration(lsf):
    lines = lsf.call("badmin", "showconf", "mbd").strip().split("\n")[1:]
    settings = dict(line.strip().split(" = ") for line in lines)
    cluster = lsf.call("lsclusters", "-w").split("\n")[1].split()[0]
    parameters = Path(settings["LSF_CONFDIR"], "lsbatch", cluster, "configdir", "lsb.params")
    assert "DEFAULT_QUEUE = normal" in parameters.read_text()


def test_events_and_history_name_the_job(lsf):
    job = lsf.submit("true", "-P", "study")
    lsf.wait(job, "DONE")
    events = lsf.file("state/work/double/logdir/lsb.events").read_text().splitlines()
    assert events[0].split()[3] == job
    assert events[0].split()[41] == '"name___(uuid)"'
    assert [line.split()[4] for line in events[1:]] == ["4", "64"]
    assert "Project <study>" in lsf.call("bhist", "-l", "-a")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["-q", "none", "true"], "none: No such queue. Job not submitted."),
        (["-q", "short", "-W", "1:00", "true"], "RUNLIMIT: Cannot exceed queue's hard limit(s). Job not submitted."),
        (["-n", "0", "true"], "0: Bad argument for option -n. Job not submitted."),
        (["-K", "true"], "-K: Illegal option (unknown to this stand-in). Job not submitted."),
        (["-R", "select[fast]", "true"], "select[fast]: Bad resource requirement syntax. Job not submitted."),
        (["-gpu", "4", "true"], "4: Bad argument for option -gpu. Job not submitted."),
        (["-wt", "1", "true"], "-wt and -wa must be specified together. Job not submitted."),
        ([], "Command not specified. Job not submitted."),
    ],
)
def test_what_lsf_or_the_stand_in_does_not_take_is_refused(lsf, arguments, reason):
    assert lsf.call("bsub", *arguments, status=255).strip() == reason


def test_it_starts_on_demand_and_stop_leaves_no_process(tmp_path):
    lsf = Lsf(tmp_path)
    lsf.call("lsf_double", "stop")
    lsf.wait(lsf.submit("echo $$ > shell; sleep 1000"), "RUN")
    shell = first_word(lsf.file("shell"))
    lsf.call("lsf_double", "stop")
    wait_for(lambda: not is_alive(shell))
    assert "not running" in lsf.call("lsf_double", "stop", status=255)


def test_a_command_that_is_killed_before_it_asks_costs_no_other(lsf):
    with socket.socket(socket.AF_UNIX) as connection:
        here = Path.cwd()
        os.chdir(lsf.file("state"))
        connection.connect("socket")
        os.chdir(here)
    assert lsf.wait(lsf.submit("true"), "DONE") == "-"


RULE = """
rule:
    output: "made"
    resources: runtime=2400, mem_mb=9, lsf_project="x"
    shell: "touch {output}"
"""
SLOW = """
import runpy, sys, time
from snakemake_interface_executor_plugins.executors import remote
make = remote.Throttler
remote.Throttler = lambda **settings: time.sleep(1) or make(**settings)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_jobs_are_looked_after_though_the_executor_was_slow_to_be_made(lsf):
    """Its thread that looks after jobs starts first: what it needs may not be there yet."""
    lsf.file("Snakefile").write_text(RULE)
    quick = [sys.executable, "-c", SLOW, Path(__file__).with_name("quick_snakemake.py"), "--executor", "lsf"]
    lsf.call(*quick, "--jobs", "1", "--latency-wait", "5", seconds=200)
    assert lsf.file("made").exists()
