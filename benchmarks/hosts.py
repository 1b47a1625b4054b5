"""Hosts that this machine pretends to have: network namespaces joined by a switch, each link shaped to one speed.

A host is a process that sleeps in namespaces of its own (network, host name, mounts), and the switch another. Nothing is
written outside them but one folder of scratch, so that with these processes everything is gone: links, addresses, names,
mounts. They die with the process that made them, even if that is killed. Linux, root's rights, ip, tc, unshare, nsenter.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from strongscale.jobs.launch import die_with_parent

TOOLS = ("ip", "tc", "unshare", "nsenter", "mount", "hostname", "mpirun")
NETWORK = "10.77.0"
LINK = "eth0"
SEGMENT_BYTES = 16_000
"""The most that travels in one piece: smaller than the burst, or the shaper cuts it up itself, which takes time."""
BURST_S = 0.5e-3
"""How long a link may catch up after it stood idle: shorter, and bytes are lost to timers that come late."""
QUEUE = "50ms"
NAMESPACES = ("--net", "--uts", "--mount")
PROBE = (
    "ip link add name a type bridge && ip link add name b type veth peer name c && "
    "tc qdisc add dev b root tbf rate 1gbit burst 64kb latency 50ms && mount -t tmpfs tmpfs /mnt"
)
AGENT = """\
#!/bin/sh
# What mpirun takes for ssh: options are dropped, a host is a process whose namespaces are entered.
while case "$1" in -*) true ;; *) false ;; esac; do shift; done
host=$1
shift
exec nsenter --target "$(cat {folder}/$host.pid)" --net --uts --mount sh -c "cd {here}; export TMPDIR={folder}/own; $*"
"""


def obstacle() -> str | None:
    """Why there can be no such hosts here; None where there can."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "it takes root's rights"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"there is no {', '.join(missing)}"
    probe = subprocess.run(["unshare", *NAMESPACES, "sh", "-c", PROBE], capture_output=True, text=True)
    if probe.returncode:
        return f"this system allows no shaped network namespaces ({probe.stderr.strip().rpartition(chr(10))[2]})"
    return None


@dataclass
class Hosts:
    """Some hosts and the switch that joins them."""

    folder: Path
    switch: "subprocess.Popen[bytes]"
    hosts: "dict[str, subprocess.Popen[bytes]]" = field(default_factory=dict)

    def shape(self, bits_per_s: float | None) -> None:
        """Give every link that speed in each direction; None: as fast as the cores can."""
        for number, host in enumerate(self.hosts.values(), 1):
            for process, link in ((host, LINK), (self.switch, f"port{number}")):
                subprocess.run(_inside(process, "tc", "qdisc", "del", "dev", link, "root"), capture_output=True)
                if bits_per_s is not None:
                    burst = max(2 * SEGMENT_BYTES, round(bits_per_s / 8 * BURST_S))
                    words = f"tc qdisc add dev {link} root tbf rate {bits_per_s:.0f} burst {burst} latency {QUEUE}"
                    _run(process, *words.split())

    def mpirun(self, *program: str, variables: Mapping[str, str]) -> list[str]:
        """The words that start a program on all hosts, one rank each."""
        first = next(iter(self.hosts.values()))
        subnet = f"{NETWORK}.0/24"
        settings = {**variables, "TMPDIR": str(self.folder / "own")}
        told = [f"{name}={value}" for name, value in variables.items()]
        return [
            *_inside(first, "env", f"--chdir={Path.cwd()}", *(f"{key}={value}" for key, value in settings.items())),
            *("mpirun", "--allow-run-as-root", "-n", str(len(self.hosts)), "--bind-to", "none"),
            *("--hostfile", str(self.folder / "hostfile"), "--prtemca", "plm_ssh_agent", str(self.folder / "agent")),
            *("--prtemca", "prte_if_include", subnet, "--mca", "btl_tcp_if_include", subnet),
            *("--mca", "btl", "tcp,self", "--mca", "pml", "ob1"),
            *("env", *told, *program),
        ]

    def end(self) -> None:
        """End what runs on the hosts, and then the hosts."""
        holders = [self.switch, *self.hosts.values()]
        rooms = {_network_of(holder.pid) for holder in holders} - {_network_of(os.getpid()), ""}
        for folder in Path("/proc").glob("[0-9]*"):
            if _network_of(int(folder.name)) in rooms:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(folder.name), signal.SIGKILL)
        for holder in holders:
            holder.kill()
            holder.wait()


@contextlib.contextmanager
def joined(count: int) -> Iterator[Hosts]:
    """So many hosts, host1, host2, ..., not yet shaped; gone in the end, whatever happens."""
    with tempfile.TemporaryDirectory(prefix="hosts-") as name:
        cluster = Hosts(Path(name), _hold())
        try:
            for number in range(1, count + 1):
                cluster.hosts[f"host{number}"] = _hold()
            _write_files(cluster)
            _run(cluster.switch, *["ip", "link", "add", "name", "switch", "type", "bridge"])
            _run(cluster.switch, *["ip", "link", "set", "switch", "up"])
            for number, (host, process) in enumerate(cluster.hosts.items(), 1):
                _join(cluster, number, host, process)
            yield cluster
        finally:
            cluster.end()


def _write_files(cluster: Hosts) -> None:
    """Where hosts find one another, and how mpirun reaches them."""
    folder = cluster.folder
    (folder / "own").mkdir()
    names = [f"{NETWORK}.{number} {host}\n" for number, host in enumerate(cluster.hosts, 1)]
    (folder / "hosts").write_text("".join(["127.0.0.1 localhost\n", *names]))
    (folder / "hostfile").write_text("".join(f"{host} slots=1\n" for host in cluster.hosts))
    for host, process in cluster.hosts.items():
        (folder / f"{host}.pid").write_text(str(process.pid))
    (folder / "agent").write_text(AGENT.format(folder=folder, here=Path.cwd()))
    (folder / "agent").chmod(0o700)


def _join(cluster: Hosts, number: int, host: str, process: "subprocess.Popen[bytes]") -> None:
    """A link from the switch to a host, and the host's own name, names of others, and scratch."""
    port = f"port{number}"
    _run(cluster.switch, *f"ip link add name {port} type veth peer name {LINK} netns {process.pid}".split())
    _run(cluster.switch, *f"ip link set {port} gso_max_size {SEGMENT_BYTES} master switch up".split())
    for words in (
        f"hostname {host}",
        "ip link set lo up",
        f"ip address add {NETWORK}.{number}/24 dev {LINK}",
        f"ip link set {LINK} gso_max_size {SEGMENT_BYTES} up",
        f"mount --bind {cluster.folder}/hosts /etc/hosts",
        f"mount -t tmpfs tmpfs {cluster.folder}/own",
        "mount -t tmpfs tmpfs /dev/shm",  # noqa: S108 - the host's own
    ):
        _run(process, *words.split())
    with contextlib.suppress(subprocess.CalledProcessError):  # the one that every Linux has, and allows
        _run(process, "sh", "-c", "echo reno > /proc/sys/net/ipv4/tcp_congestion_control")


def _hold() -> "subprocess.Popen[bytes]":
    """A process that sleeps in namespaces of its own."""
    process = subprocess.Popen(["unshare", *NAMESPACES, "sleep", "infinity"], preexec_fn=die_with_parent)  # noqa: PLW1509
    own = Path("/proc", str(process.pid), "comm")
    while process.poll() is None and own.read_text() != "sleep\n":
        time.sleep(0.005)
    return process


def _network_of(process: int) -> str:
    """The network namespace of a process; empty where there is none."""
    try:
        return str(Path("/proc", str(process), "ns", "net").readlink())
    except OSError:
        return ""


def _inside(process: "subprocess.Popen[bytes]", *words: str) -> list[str]:
    return ["nsenter", "--target", str(process.pid), *NAMESPACES, *words]


def _run(process: "subprocess.Popen[bytes]", *words: str) -> None:
    """Run a command on a host; what it says is only told where it fails."""
    done: Sequence[str] = _inside(process, *words)
    answer = subprocess.run(done, capture_output=True, text=True)
    if answer.returncode:
        raise subprocess.CalledProcessError(answer.returncode, done, answer.stdout, answer.stderr)
