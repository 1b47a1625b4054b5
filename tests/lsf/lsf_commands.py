"""The commands of the stand-in for LSF, as a user or the Snakemake plugin calls them."""

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from lsf_jobs import Settings

FAILURE = 255
START_DEADLINE_S = 20


def main(command: str) -> None:
    """Be the command of this name."""
    arguments = sys.argv[1:]
    if command == "lsf_double":
        control(arguments)
    elif command == "blaunch":
        blaunch(arguments)
    else:
        reply(
            ask({"command": command, "arguments": arguments, "environment": dict(os.environ), "cwd": str(Path.cwd())})
        )


def state_folder() -> Path:
    """The folder of the stand-in's state."""
    if "LSF_DOUBLE_STATE" not in os.environ:
        sys.exit("lsf double: set LSF_DOUBLE_STATE to a folder for its state")
    return Path(os.environ["LSF_DOUBLE_STATE"])


def reply(answer: dict[str, Any]) -> None:
    """Say what the daemon said, with its exit status."""
    time.sleep(answer.get("delay_s", 0.0))
    sys.stdout.write(answer.get("output", ""))
    sys.stderr.write(answer.get("errors", ""))
    sys.exit(answer.get("status", 0))


def ask(request: dict[str, Any], start: bool = True) -> dict[str, Any]:
    """Ask the daemon, and start it first if there is none."""
    folder = state_folder()
    if not (folder / "socket").exists():
        if not start:
            return {"status": FAILURE, "errors": "lsf double: not running\n"}
        start_daemon(folder, Settings())
    with socket.socket(socket.AF_UNIX) as connection:
        here = Path.cwd()
        os.chdir(folder)  # a socket's path may have 107 letters only
        connection.connect("socket")
        os.chdir(here)
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile() as lines:
            return dict(json.loads(lines.readline() or '{"status": 255, "errors": "lsf double: no answer\\n"}'))


def start_daemon(folder: Path, settings: Settings) -> None:
    """Start the daemon; return when it listens."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        (folder / "socket").unlink()
    program = Path(__file__).with_name("lsf_daemon.py")
    with (folder / "daemon.log").open("a") as log:
        subprocess.Popen(
            [sys.executable, str(program), str(folder.resolve()), json.dumps(asdict(settings))],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_DEADLINE_S
    while not (folder / "socket").exists():
        if time.monotonic() > deadline:
            sys.exit(f"lsf double: does not start, see {folder}/daemon.log")
        time.sleep(0.02)


def blaunch(arguments: list[str]) -> None:
    """Run a command 'on' a host of the job: here, as that host."""
    rest = list(arguments)
    while rest and rest[0] in ("-n", "-x"):  # as ssh's, for which mpirun takes it
        rest.pop(0)
    if len(rest) < 2 or rest[0].startswith("-"):
        sys.exit("blaunch: the stand-in knows: blaunch HOST COMMAND")
    host, environment = rest[0], dict(os.environ)
    if host not in environment.get("LSB_HOSTS", "").split():
        sys.stderr.write(f"Host <{host}> is not allocated to this job.\n")
        sys.exit(FAILURE)
    environment["LSF_DOUBLE_HOST"] = host
    gpus = json.loads(environment.get("LSF_DOUBLE_GPUS", "{}"))
    if host in gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(str(gpu) for gpu in gpus[host])
    os.execve("/bin/sh", ["sh", "-c", " ".join(rest[1:])], environment)


def control(arguments: list[str]) -> None:
    """Start, stop or disturb the stand-in."""
    parser = argparse.ArgumentParser(prog="lsf_double", description=control.__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    start = actions.add_parser("start", help="start the daemon with settings other than the usual")
    for setting in fields(Settings):
        kind = json.loads if setting.name == "queues" else type(getattr(Settings(), setting.name))
        option = "--" + setting.name.replace("_", "-")
        start.add_argument(option, type=kind, default=getattr(Settings(), setting.name), help="(%(default)s)")
    actions.add_parser("stop", help="kill all jobs and end the daemon")
    fault = actions.add_parser(
        "fault", help="let a command fail, say nothing, block, or lose its answer, a number of times"
    )
    fault.add_argument(
        "victim", choices=("bsub", "bjobs", "bkill", "bhist", "badmin", "lsclusters", "bqueues", "bparams")
    )
    fault.add_argument("kind", choices=("fail", "empty", "block", "lose"))
    fault.add_argument("count", type=int)
    fault.add_argument("seconds", type=float, nargs="?", default=0.0)
    show = actions.add_parser("show", help="let bjobs pretend a state of a job; 'real' ends it")
    show.add_argument("job", type=int)
    show.add_argument(
        "state", choices=("PEND", "RUN", "DONE", "EXIT", *["PSUSP", "USUSP", "SSUSP", "UNKWN", "ZOMBI", "real"])
    )
    more = (
        ("suspend", "stop a job's processes"),
        ("resume", "let them go on"),
        ("expire", "end a job's run limit now"),
    )
    for name, what in more:
        actions.add_parser(name, help=what).add_argument("job", type=int)
    for name, what in (("lose", "lose a host with all that runs on it"), ("restore", "have it back")):
        actions.add_parser(name, help=what).add_argument("host")
    options = vars(parser.parse_args(arguments))
    action = options.pop("action")
    if action == "start":
        if (state_folder() / "socket").exists():
            reply(ask({"command": "stop"}, start=False))
        start_daemon(state_folder(), Settings(**options))
    else:
        reply(ask({"command": action, **options}, start=action != "stop"))
