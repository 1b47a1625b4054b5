"""The stand-in's daemon: it really runs the jobs, on pretended hosts, and answers the commands over a socket."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from lsf_answers import bhist, bjobs, lines_of_badmin, lines_of_bparams, lines_of_bqueues, lines_of_lsclusters
from lsf_files import Events, append_output, write_configuration
from lsf_jobs import Job, Refused, Settings, parse_bsub

TICK_S = 0.05
FAILURE = 255


class Daemon:
    """All state: jobs, lost hosts, and the faults still to come."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder = folder
        self.settings = settings
        self.jobs: dict[int, Job] = {}
        self.children: dict[int, subprocess.Popen[bytes]] = {}
        self.hosts = [f"h{number}" for number in range(1, settings.hosts + 1)]
        self.lost: set[str] = set()
        self.faults: dict[str, list[dict[str, Any]]] = {}
        self.events = Events(folder)
        self.stopping = False

    def serve(self) -> None:
        """Answer and run jobs until told to stop, or until the folder is gone."""
        write_configuration(self.folder, self.settings)
        listener = socket.socket(socket.AF_UNIX)
        os.chdir(self.folder)
        listener.bind("new-socket")
        listener.listen(64)
        Path("new-socket").rename("socket")  # there only when it listens
        while not self.stopping and (self.folder / "socket").exists():
            if select.select([listener], [], [], TICK_S)[0]:
                connection = listener.accept()[0]
                with connection, connection.makefile() as lines, contextlib.suppress(OSError, json.JSONDecodeError):
                    answer = self.answer(json.loads(lines.readline()))
                    connection.sendall(json.dumps(answer).encode() + b"\n")
            self.step()
        for job in self.jobs.values():
            self.send(job, signal.SIGKILL)
        with contextlib.suppress(FileNotFoundError):
            Path("socket").unlink()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what a command asks."""
        command = request.pop("command")
        waiting = self.faults.get(command, [])
        delay_s = 0.0
        if waiting:
            fault = waiting[0]
            fault["count"] -= 1
            if fault["count"] == 0:
                waiting.pop(0)
            if fault["kind"] == "fail":
                return {"status": FAILURE, "errors": "Failed in an LSF library call: LIM is down; try later.\n"}
            if fault["kind"] == "empty":
                return {}
            if fault["kind"] == "lose":  # it is done, but the answer doesn't arrive
                getattr(self, f"do_{command}")(**request)
                return {"status": FAILURE, "errors": "Failed in an LSF library call: Connection reset by peer.\n"}
            delay_s = fault["seconds"]
        try:
            return {"delay_s": delay_s, **getattr(self, f"do_{command}")(**request)}
        except Refused as refusal:
            return {"delay_s": delay_s, "status": FAILURE, "errors": f"{refusal}\n"}

    def do_bsub(self, arguments: list[str], environment: dict[str, str], cwd: str) -> dict[str, Any]:
        """Take a job."""
        request = parse_bsub(arguments, environment, cwd, self.settings)
        job = Job(len(self.jobs) + 1, request, time.time())
        self.jobs[job.number] = job
        self.events.new(job)
        default = "" if "-q" in arguments else "default "
        return {"output": f"Job <{job.number}> is submitted to {default}queue <{request.queue}>.\n"}

    def do_bjobs(self, arguments: list[str], **_: Any) -> dict[str, Any]:
        return bjobs(self.jobs, arguments)

    def do_bhist(self, arguments: list[str], **_: Any) -> dict[str, Any]:
        return bhist(self.jobs, arguments)

    def do_badmin(self, arguments: list[str], **_: Any) -> dict[str, Any]:
        return lines_of_badmin(self.folder, arguments)

    def do_lsclusters(self, arguments: list[str], **_: Any) -> dict[str, Any]:
        return lines_of_lsclusters(self.settings, arguments)

    def do_bqueues(self, arguments: list[str], **_: Any) -> dict[str, Any]:
        return lines_of_bqueues(self.settings, arguments)

    def do_bparams(self, arguments: list[str], **_: Any) -> dict[str, Any]:
        return lines_of_bparams(self.settings, arguments)

    def do_bkill(self, arguments: list[str], **_: Any) -> dict[str, Any]:
        """Tell jobs to end; exit 255 if any could not be told."""
        said, status = "", 0
        if not arguments or not all(text.isdigit() for text in arguments):
            raise Refused("bkill: this stand-in knows: bkill JOB_ID ...")
        for text in arguments:
            job = self.jobs.get(int(text))
            if job is None or job.finished:
                said += f"Job <{text}>: " + ("No matching job found\n" if job is None else "Job has already finished\n")
                status = FAILURE
                continue
            said += f"Job <{text}> is being terminated\n"
            if job.process is None:
                self.finish(job, 130)
            else:
                self.terminate(job, time.monotonic())
        return {"output" if status == 0 else "errors": said, "status": status}

    def do_stop(self) -> dict[str, Any]:
        self.stopping = True
        return {}

    def do_fault(self, victim: str, kind: str, count: int, seconds: float) -> dict[str, Any]:
        self.faults.setdefault(victim, []).append({"kind": kind, "count": count, "seconds": seconds})
        return {}

    def do_show(self, job: int, state: str) -> dict[str, Any]:
        self.job(job).shown_as = None if state == "real" else state
        return {}

    def do_suspend(self, job: int) -> dict[str, Any]:
        """Stop a job's processes, or hold a pending one."""
        victim = self.job(job)
        self.send(victim, signal.SIGSTOP)
        self.change(victim, {"RUN": "USUSP", "PEND": "PSUSP"}.get(victim.state, victim.state))
        return {}

    def do_resume(self, job: int) -> dict[str, Any]:
        """Let a suspended job go on."""
        victim = self.job(job)
        self.send(victim, signal.SIGCONT)
        self.change(victim, {"USUSP": "RUN", "PSUSP": "PEND"}.get(victim.state, victim.state))
        return {}

    def do_expire(self, job: int) -> dict[str, Any]:
        """Let a running job's limit be reached now."""
        victim = self.job(job)
        assert victim.request.limit is not None
        victim.started_s = time.monotonic() - victim.request.limit * self.settings.minute_s
        return {}

    def do_lose(self, host: str) -> dict[str, Any]:
        """Lose a host: its jobs are dead, and LSF knows nothing of them, or starts the rerunnable ones again."""
        self.lost.add(host)
        for job in self.jobs.values():
            if host in job.hosts and job.process is not None:
                self.send(job, signal.SIGKILL)
                self.children.pop(job.number).wait()
                job.process = None
                self.change(job, "PEND" if job.request.rerunnable else "UNKWN")
                job.hosts = {} if job.request.rerunnable else job.hosts
        return {}

    def do_restore(self, host: str) -> dict[str, Any]:
        """Have a host back: what was lost with it is seen to have ended."""
        self.lost.discard(host)
        for job in self.jobs.values():
            if job.state == "UNKWN" and not self.lost & set(job.hosts):
                self.finish(job, 137)
        return {}

    def job(self, number: int) -> Job:
        """A job by its number."""
        if number not in self.jobs:
            raise Refused(f"Job <{number}> is not found")
        return self.jobs[number]

    def step(self) -> None:
        """See which jobs ended, send due signals, start what fits."""
        now = time.monotonic()
        for job in self.jobs.values():
            if job.process is not None:
                self.watch(job, now)
            for when_s, number in [due for due in job.signals if due[0] <= now]:
                job.signals.remove((when_s, number))
                self.send(job, number)  # also to what is left of a job whose shell has gone
        for job in self.jobs.values():
            if job.state == "PEND" and (place := self.place(job)):
                self.start(job, place)

    def watch(self, job: Job, now: float) -> None:
        """A running job: has its shell ended, is its limit near?"""
        status = self.children[job.number].poll()
        if status is not None:
            del self.children[job.number]
            job.process = None
            killed_at_limit = job.limit_reached and status < 0
            self.finish(job, 140 if killed_at_limit else 128 - status if status < 0 else status)
            return
        request, minute_s = job.request, self.settings.minute_s
        if request.limit is not None:
            left_s = job.started_s + request.limit * minute_s - now
            if request.warning is not None and not job.warned and left_s <= request.warning * minute_s:
                job.warned = True
                self.send(job, request.warning_signal or signal.SIGURG)
            if left_s <= 0 and not job.limit_reached:
                job.limit_reached = True
                self.send(job, signal.SIGUSR2)
                self.terminate(job, now + self.settings.limit_delay_s)

    def terminate(self, job: Job, when_s: float) -> None:
        """Plan SIGINT, SIGTERM and, after a delay, SIGKILL."""
        job.signals += [(when_s, signal.SIGINT), (when_s + TICK_S, signal.SIGTERM)]
        job.signals.append((when_s + self.settings.kill_delay_s, signal.SIGKILL))

    def send(self, job: Job, number: int) -> None:
        """Send a signal to every process of a job, as LSF does, whatever group or session they made for themselves."""
        if job.starts == 0:
            return
        mark = f"LSF_DOUBLE_JOB={self.folder}:{job.number}\0".encode()
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes():
                    os.kill(int(entry.name), number)

    def place(self, job: Job) -> dict[str, int]:
        """Slots by host for a job, or nothing while it doesn't fit."""
        request, place = job.request, {}
        busy = [other for other in self.jobs.values() if other.process is not None or other.state == "UNKWN"]
        needed = request.slots
        for host in self.hosts:
            free = self.settings.slots - sum(other.hosts.get(host, 0) for other in busy)
            free_gpus = self.settings.gpus - sum(len(other.gpus.get(host, [])) for other in busy)
            if request.one_host and free < request.slots:
                continue
            if request.tasks_per_host is not None:
                free = min(request.tasks_per_host, needed) if free >= min(request.tasks_per_host, needed) else 0
            here = min(free, needed)
            gpus_here = request.gpus * (here if request.gpus_per_task else 1)
            if host not in self.lost and here and gpus_here <= free_gpus:
                place[host] = here
                needed -= here
            if needed == 0:
                return place
        return {}

    def start(self, job: Job, place: dict[str, int]) -> None:
        """Start a job's shell in a session of its own, in its folder."""
        job.gpus = {host: self.free_gpus(host, job, slots) for host, slots in place.items()}
        job.hosts = place
        job.starts += 1
        outputs = [(self.folder / f"{job.number}.{name}").open("wb") for name in ("out", "err")]
        self.change(job, "RUN")
        if not Path(job.request.cwd).is_dir():
            self.finish(job, 2)
            return
        with outputs[0] as out, outputs[1] as err:
            child = subprocess.Popen(
                ["/bin/sh", "-c", job.request.command],
                cwd=job.request.cwd,
                env=self.environment(job),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self.children[job.number], job.process, job.started_s = child, child.pid, time.monotonic()
        job.warned = job.limit_reached = False
        job.signals = []

    def free_gpus(self, host: str, job: Job, slots: int) -> list[int]:
        """The lowest free GPUs of a host, as many as a job wants there."""
        busy = {gpu for other in self.jobs.values() if other.process is not None for gpu in other.gpus.get(host, [])}
        free = [gpu for gpu in range(self.settings.gpus) if gpu not in busy]
        return free[: job.request.gpus * (slots if job.request.gpus_per_task else 1)]

    def environment(self, job: Job) -> dict[str, str]:
        """The submitter's environment, and what LSF adds."""
        words = [host for host, slots in job.hosts.items() for _ in range(slots)]
        hostfile = self.folder / f"{job.number}.hostfile"
        hostfile.write_text("".join(f"{word}\n" for word in words))
        added = {
            "LSB_JOBID": str(job.number),
            "LSB_BATCH_JID": str(job.number),
            "LSB_JOBINDEX": "0",
            "LSB_JOBNAME": job.request.name,
            "LSB_QUEUE": job.request.queue,
            "LSB_HOSTS": " ".join(words),
            "LSB_MCPU_HOSTS": " ".join(f"{host} {slots}" for host, slots in job.hosts.items()),
            "LSB_DJOB_HOSTFILE": str(hostfile),
            "LSB_DJOB_NUMPROC": str(len(words)),
            "LS_SUBCWD": job.request.cwd,
            "LSF_DOUBLE_HOST": words[0],
            "LSF_DOUBLE_JOB": f"{self.folder}:{job.number}",
            "LSF_DOUBLE_GPUS": json.dumps(job.gpus),
        }
        if job.request.gpus:
            added["CUDA_VISIBLE_DEVICES"] = ",".join(str(gpu) for gpu in job.gpus[words[0]])
        if job.starts > 1:
            added["LSB_RESTART"] = "Y"
        return {**job.request.environment, **added}

    def finish(self, job: Job, exit_code: int) -> None:
        """Note a job's end and hand out what it wrote."""
        job.exit_code = exit_code
        job.process = None
        append_output(self.folder, job)
        self.change(job, "EXIT" if exit_code else "DONE")

    def change(self, job: Job, state: str) -> None:
        """A new state of a job, also for lsb.events."""
        if job.state != state:
            job.state = state
            self.events.status(job)


def main() -> None:
    """Run the daemon: its folder and settings are given."""
    settings = Settings(**json.loads(sys.argv[2]))
    (Path(sys.argv[1]) / "new-socket").unlink(missing_ok=True)
    Daemon(Path(sys.argv[1]), settings).serve()


if __name__ == "__main__":
    main()
