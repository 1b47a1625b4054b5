"""What starts a job's ranks, by where it runs: one small class a place."""

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

PACKAGE = str(Path(__file__).resolve().parents[2])
Environment = Mapping[str, str]


@dataclass(frozen=True)
class Local:
    """This machine: more ranks than cores are allowed, and none is bound to a core, for other cells share it."""

    def command(self, ranks: int, environment: Environment) -> list[str]:
        """The words before the program's."""
        return ["mpirun", "-n", str(ranks), "--oversubscribe", "--bind-to", "none", *_as_root()]

    def environment(self, environment: Environment) -> dict[str, str]:
        """Variables to set besides."""
        return {}


@dataclass(frozen=True)
class Slurm:
    """A Slurm allocation, which Open MPI knows by its variables."""

    def command(self, ranks: int, environment: Environment) -> list[str]:
        """The words before the program's."""
        return ["mpirun", "-n", str(ranks), "--bind-to", "none", *_as_root()]

    def environment(self, environment: Environment) -> dict[str, str]:
        """The allocation's variables, where a step in between has taken them away: from the batch script's process."""
        if "SLURM_NODELIST" in environment:
            return {}
        for variables in _of_ancestors():
            if "SLURM_NODELIST" in variables and variables.get("SLURM_JOB_ID") == environment.get("SLURM_JOB_ID"):
                return {name: value for name, value in variables.items() if name.startswith("SLURM_")}
        return {}


@dataclass(frozen=True)
class Lsf:
    """An LSF allocation. Open MPI from PyPI doesn't know LSF: it is given the hosts, and blaunch to reach them."""

    def command(self, ranks: int, environment: Environment) -> list[str]:
        """The words before the program's."""
        hosts = ["--hostfile", environment["LSB_DJOB_HOSTFILE"]] if "LSB_DJOB_HOSTFILE" in environment else []
        reach = ["--prtemca", "plm_ssh_agent", "blaunch"] if hosts else []
        return ["mpirun", "-n", str(ranks), *hosts, *reach, "--bind-to", "none", *_as_root()]

    def environment(self, environment: Environment) -> dict[str, str]:
        """Variables to set besides."""
        return {}


@dataclass(frozen=True)
class Own:
    """What the site's own file says, its variables filled in where the job runs."""

    words: str

    def command(self, ranks: int, environment: Environment) -> list[str]:
        """The words before the program's."""
        return [*(os.path.expandvars(word) for word in shlex.split(self.words)), "-n", str(ranks)]

    def environment(self, environment: Environment) -> dict[str, str]:
        """Variables to set besides: srun too needs the allocation's."""
        return Slurm().environment(environment) if "SLURM_JOB_ID" in environment else {}


Launcher = Local | Slurm | Lsf | Own


def choose(environment: Environment, own: str | None) -> Launcher:
    """The launcher for a job with these variables."""
    if own:
        return Own(own)
    if "SLURM_JOB_ID" in environment:
        return Slurm()
    return Lsf() if "LSB_JOBID" in environment else Local()


def command_line(
    launcher: Launcher,
    ranks: int,
    environment: Environment,
    module: str,
    *arguments: str,
    variables: Environment = MappingProxyType({}),
) -> list[str]:
    """The whole command line of a module of this package on so many ranks: one needs no MPI.

    The `variables` are set within it, so that they reach the ranks on every host, whatever the launcher hands on.
    """
    if ranks == 1:
        return [sys.executable, "-m", module, *arguments]
    program = [sys.executable, "-m", "mpi4py", "-m", module, *arguments]
    settings = [f"{name}={value}" for name, value in {"PYTHONPATH": PACKAGE, **variables}.items()]
    return [*launcher.command(ranks, environment), "env", *settings, *program]


def run_on(ranks: int, module: str, *arguments: str) -> None:
    """Run a module of this package on so many ranks; leave with its status if it fails."""
    launcher = choose(os.environ, None)
    environment = os.environ | {"PYTHONPATH": PACKAGE} | launcher.environment(os.environ)
    status = subprocess.run(command_line(launcher, ranks, os.environ, module, *arguments), env=environment).returncode
    if status:
        sys.exit(status)


def _as_root() -> list[str]:
    return ["--allow-run-as-root"] if os.geteuid() == 0 else []


def _of_ancestors() -> list[dict[str, str]]:
    """The variables that each ancestor of this process was started with, the nearest first."""
    found = []
    process = os.getppid()
    while process > 1:
        folder = Path("/proc", str(process))
        try:
            content = (folder / "environ").read_bytes()
            process = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # another user's process: the batch script was ours
            break
        pairs = [pair.partition("=") for pair in content.decode(errors="replace").split("\0")]
        found.append({name: value for name, _, value in pairs})
    return found
