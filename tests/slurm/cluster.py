"""A real Slurm of several pretended nodes on this one machine, without systemd: `python cluster.py start|stop|...`."""

import argparse
import contextlib
import os
import secrets
import shutil
import signal
import stat
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "slurm-wlm-basic-plugins", "munge")
COMMANDS = ("slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "munged")
ETC = Path("/etc/slurm")
MARKER = "# made by tests/slurm/cluster.py in "
TEMPLATES = Path(__file__).parent
DEADLINE_S = 60


class ClusterError(RuntimeError):
    """What keeps the cluster from starting, in one line."""


@dataclass(frozen=True)
class Cluster:
    """Nodes n1, n2, ..., whose cores and GPUs are pretended; partitions debug, high and low."""

    folder: Path = Path(tempfile.gettempdir()) / "strongscale-slurm"
    num_nodes: int = 2
    cpus: int = 64
    gpus: int = 4
    kill_wait_s: int = 5
    control_port: int = 16817

    @property
    def nodes(self) -> list[str]:
        return [f"n{number}" for number in range(1, self.num_nodes + 1)]

    def start(self) -> None:
        """Start from whatever a former run left (a running cluster is stopped first); return when all nodes are idle."""
        if reason := missing():
            raise ClusterError(reason)
        stop()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)  # munged wants it safe from others
        for name in ("state", *(f"spool.{node}" for node in self.nodes)):
            (self.folder / name).mkdir(exist_ok=True)
        self._write_configuration()
        self._start_munged()
        run("slurmctld", "-c")  # -c: forget the jobs of a former run
        for node in self.nodes:
            self._start_slurmd(node)
        wait_until(lambda: self.states() == ["idle"] * self.num_nodes, "nodes are not idle", self.folder)

    def states(self) -> list[str]:
        """Each node's state in Slurm's long words, as 'idle', 'mixed' or 'down'; empty while the controller is away."""
        done = subprocess.run(["sinfo", "-h", "-N", "-p", "debug", "-o", "%T"], capture_output=True, text=True)
        return done.stdout.split()

    def kill_node(self, node: str) -> None:
        """Lose a node with all that runs on it, as by a power cut; Slurm is told at once instead of after a time-out."""
        steps = step_daemons(self.folder / f"slurmd.{node}.log")
        doomed = [*running(self.folder, f"slurmd.{node}.pid"), *steps]
        for process in [*doomed, *(child for step in steps for child in descendants(step))]:
            kill(process)
        run("scontrol", "update", f"nodename={node}", "state=down", "reason=test")

    def restore_node(self, node: str) -> None:
        """Start a lost node's daemon; return when the node is up."""
        self._start_slurmd(node)
        with contextlib.suppress(ClusterError):  # the daemon's registration may already have resumed it
            run("scontrol", "update", f"nodename={node}", "state=resume")
        wait_until(lambda: "down" not in " ".join(self.states()), f"{node} stays down", self.folder)

    def _write_configuration(self) -> None:
        for index in range(self.gpus):
            device = self.folder / f"gpu{index}"
            if not device.exists():
                os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        values = {
            **vars(self),
            "marker": MARKER + str(self.folder),
            "first_port": self.control_port + 1,
            "last_port": self.control_port + self.num_nodes,
            "last_gpu": self.gpus - 1,
        }
        ETC.mkdir(exist_ok=True)
        for name in ("slurm.conf", "gres.conf"):
            template = string.Template((TEMPLATES / f"{name}.template").read_text())
            (ETC / name).write_text(template.substitute(values))

    def _start_munged(self) -> None:
        key = self.folder / "munge.key"
        if not key.exists():
            key.write_bytes(secrets.token_bytes(128))
            key.chmod(0o400)
        names = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        run("munged", "--force", *(f"--{option}={self.folder}/munge.{name}" for option, name in names.items()))

    def _start_slurmd(self, node: str) -> None:
        run("slurmd", "-N", node)


def missing() -> str:
    """What this machine lacks for a cluster, in one line; empty if nothing."""
    lacking = [name for name in COMMANDS if shutil.which(name) is None]
    if os.geteuid() != 0:
        return "Slurm's daemons need root: run as root"
    if lacking:
        return f"{', '.join(lacking)} not found: they come with Debian's packages {', '.join(PACKAGES)}"
    if foreign := [
        name for name in ("slurm.conf", "gres.conf") if (ETC / name).exists() and not made_by_us(ETC / name)
    ]:
        return f"{ETC / foreign[0]} belongs to another Slurm: left alone; use a machine without one"
    return ""


def made_by_us(path: Path) -> bool:
    """Whether a configuration file was written by this module."""
    return path.is_file() and path.read_text().startswith(MARKER)


def install() -> None:
    """Install Debian's packages, where commands are missing and this user may."""
    if all(shutil.which(name) for name in COMMANDS):
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ClusterError(missing())
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", *PACKAGES]):
        if subprocess.run(["apt-get", "-qq", *arguments], env=environment).returncode:
            raise ClusterError(f"apt-get {arguments[0]} failed: {', '.join(PACKAGES)} can't be installed here")


def stop() -> None:
    """Kill what a start left running, however it ended, and remove its configuration and folder; else do nothing."""
    if not made_by_us(ETC / "slurm.conf"):
        return
    folder = Path((ETC / "slurm.conf").read_text().splitlines()[0].removeprefix(MARKER))
    steps = [step for log in folder.glob("slurmd.*.log") for step in step_daemons(log)]
    jobs = [child for step in steps for child in descendants(step)]
    daemons = [process for name in ("slurmctld.pid", "slurmd.*.pid", "munge.pid") for process in running(folder, name)]
    doomed = [*daemons, *steps, *jobs]
    for process in doomed:
        kill(process)
    wait_until(lambda: not any(is_alive(process) for process in doomed), "a killed process stays", folder)
    for name in ("slurm.conf", "gres.conf"):
        if made_by_us(ETC / name):
            (ETC / name).unlink()
    shutil.rmtree(folder, ignore_errors=True)


def running(folder: Path, pattern: str) -> Iterator[int]:
    """The processes named by PID files, if they are still Slurm's or Munge's."""
    for path in folder.glob(pattern):
        text = path.read_text().strip()
        if text.isdigit() and command_name(int(text)) in ("slurmctld", "slurmscriptd", "slurmd", "munged"):
            yield int(text)


def step_daemons(log: Path) -> list[int]:
    """The slurmstepd of a node, by the log that they share with its slurmd: nothing else names the node."""
    found = []
    for process in processes():
        with contextlib.suppress(OSError):
            if command_name(process) == "slurmstepd":
                opened = [descriptor.readlink() for descriptor in Path(f"/proc/{process}/fd").iterdir()]
                found += [process] if log in opened else []
    return found


def descendants(process: int) -> list[int]:
    """All processes below one."""
    parents = {child: parent_of(child) for child in processes()}
    found = [process]
    for parent in found:
        found += [child for child, its_parent in parents.items() if its_parent == parent]
    return found[1:]


def processes() -> list[int]:
    """All processes of this machine."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def parent_of(process: int) -> int:
    """A process's parent, 0 if it is gone."""
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def command_name(process: int) -> str:
    """A process's name, empty if it is gone."""
    try:
        return Path(f"/proc/{process}/comm").read_text().strip()
    except OSError:
        return ""


def is_alive(process: int) -> bool:
    """Whether a process runs; one that is dead and not yet waited for by its parent doesn't."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill(process: int) -> None:
    """Kill a process without asking it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def run(*command: str) -> None:
    """Run a command that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ClusterError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")


def wait_until(condition: Callable[[], bool], complaint: str, folder: Path) -> None:
    """Ask again and again until it is true or the deadline has passed."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            raise ClusterError(f"{complaint} after {DEADLINE_S} s: see the logs in {folder}")
        time.sleep(0.2)


def main() -> None:
    """Do one of start, stop and install."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=("start", "stop", "install"))
    parser.add_argument("--folder", type=Path, default=Cluster.folder, help="state, logs and spool (%(default)s)")
    for name in ("num_nodes", "cpus", "gpus", "kill_wait_s"):
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=int, default=getattr(Cluster, name), help="(%(default)s)")
    options = vars(parser.parse_args())
    action = options.pop("action")
    try:
        if action == "start":
            Cluster(**options).start()
        elif action == "stop":
            stop()
        else:
            install()
    except ClusterError as error:
        sys.exit(f"cluster: {error}")


if __name__ == "__main__":
    main()
