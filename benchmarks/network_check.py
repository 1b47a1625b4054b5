"""The modelled network against a real one: all-reduces between hosts that this machine pretends to have, links shaped."""

import csv
import json
import logging
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Literal

from benchmarks import frame, hosts
from benchmarks.network_rank import END, GO, GRADIENT_BYTES, OURS
from strongscale.common.command import run
from strongscale.common.errors import RunError
from strongscale.common.files import atomic, write_text
from strongscale.jobs import all_reduce, launchers
from strongscale.jobs.launch import die_with_parent
from strongscale.settings.config import NETWORKS, Network
from strongscale.timing.network import all_reduce_s

log = logging.getLogger(__name__)

HOSTS, QUICK_HOSTS = (2, 3, 4, 8), (2,)
PRESETS = {"gigabit": 1e9, "ten_gigabit": 1e10}
UNSHAPED = "unshaped"
LIMIT_S = 180.0
PACKAGES = ("torch", "mpi4py", "openmpi")
ALLOWED = 0.15

Model = Literal["two_level", "ring", "halving_doubling", "recursive_doubling", "direct"]
CHOICE = "auto"
MODEL_OF: dict[str, Model] = {
    OURS: "direct",
    CHOICE: "halving_doubling",
    "ring": "ring",
    "recursive_doubling": "recursive_doubling",
    "halving_doubling": "halving_doubling",
}
"""What each contender is compared with."""
SAYS = {
    OURS: "ours, of `reduction: exact`: `tree.add_up`, in which each rank gives every other its segment, and later the sum",
    CHOICE: "Open MPI's own choice, against the model of `halving_doubling`, which its rules take for large sums",
    "ring": "Open MPI's ring, as `training.all_reduce: ring` asks for it",
    "recursive_doubling": "Open MPI's recursive doubling, likewise",
    "halving_doubling": "Open MPI's halving and doubling (Rabenseifner's), likewise",
}
AS_IT_COMES, IN_PIECES = "as it comes", "in pieces"
TRANSPORTS: dict[str, dict[str, str]] = {
    AS_IT_COMES: {},
    IN_PIECES: {"OMPI_MCA_btl_tcp_flags": "send,inplace", "OMPI_MCA_btl_tcp_sndbuf": "131072"},
}
YIELDING = {"OMPI_MCA_mpi_yield_when_idle": "1"}
CAVEATS = (
    "All hosts share this machine's cores. *Cores* is the same sum with links as fast as the cores can make them: where that "
    "is not small beside what is measured, a row tells of the cores, and not of the network.",
    "Shaped links have this machine's latency, which is below that of real network cards and switches: the presets' latency "
    "isn't checked here. Their loss, congestion and distance aren't either.",
    "Ranks that share cores come further apart than those with cores of their own, so messages as they come may cost less on "
    "real hosts; that can't be told here.",
    "One rank a host: how workers of one host share its link is modelled, and not measured here.",
)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One all-reduce at one speed of the links."""

    network: str
    """A preset's name, or UNSHAPED."""
    hosts: int
    algorithm: str
    transport: str
    num_bytes: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured of a setting, and what the model says: of the preset, and with the latency measured here."""

    setting: Setting
    quartiles_ms: tuple[float, float, float]
    cores_ms: float
    modelled_ms: float
    with_latency_ms: float

    @property
    def error(self) -> float:
        """By how much of the measured time the preset's model is too long."""
        return self.modelled_ms / self.quartiles_ms[1] - 1

    @property
    def error_beyond_cores(self) -> float:
        """How far the model is outside of what may be the network's part: all that was measured, or that less the cores'."""
        measured_ms = self.quartiles_ms[1]
        least_ms = max(measured_ms - self.cores_ms, 0.0)
        return (self.modelled_ms - min(max(self.modelled_ms, least_ms), measured_ms)) / measured_ms

    @property
    def error_with_latency(self) -> float:
        """The same with the latency that was measured."""
        return self.with_latency_ms / self.quartiles_ms[1] - 1


Measured = dict[Setting, list[float]]
Latencies = dict[str, list[float]]


def measure(cluster: hosts.Hosts, algorithm: str, transport: str, *, quick: bool) -> tuple[Measured, Latencies]:
    """One contender's sums on these hosts at all speeds, in ranks of its own."""
    asked = all_reduce.variables(algorithm) if algorithm != OURS else {}
    package = os.pathsep.join([launchers.PACKAGE, str(Path.cwd())])
    variables = {"PYTHONPATH": package, **YIELDING, **TRANSPORTS[transport], **asked}
    program = [sys.executable, "-m", "mpi4py", "-m", "benchmarks.network_rank", algorithm]
    command = cluster.mpirun(*program, *["--quick"] * quick, variables=variables)
    measured: Measured = {}
    latencies: Latencies = {}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(  # noqa: PLW1509 - Linux alone
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True, preexec_fn=die_with_parent
        )
        assert process.stdin and process.stdout
        overdue = threading.Timer(LIMIT_S, process.kill)
        overdue.start()
        try:
            for network, bits_per_s in {**PRESETS, UNSHAPED: None}.items():
                cluster.shape(bits_per_s)
                process.stdin.write(GO)
                process.stdin.flush()
                told: dict[str, list[float]] = json.loads(process.stdout.readline() or "{}")
                if not told:
                    process.wait()
                    said.seek(0)
                    raise RunError(f"{algorithm}, {len(cluster.hosts)} hosts: {said.read().decode()}")
                latencies[network] = told.pop("latency")
                for num_bytes, times_ms in told.items():
                    one = Setting(
                        network=network,
                        hosts=len(cluster.hosts),
                        algorithm=algorithm,
                        transport=transport,
                        num_bytes=int(num_bytes),
                    )
                    measured[one] = times_ms
            process.stdin.write(END)
            process.stdin.close()
            process.wait()
        finally:
            overdue.cancel()
            process.kill()
    return measured, latencies


def measure_all(repeats: int, *, quick: bool) -> tuple[Measured, dict[str, float]]:
    """All contenders in turn on all numbers of hosts; and the links' latency in seconds, between two hosts."""
    times_ms: defaultdict[Setting, list[float]] = defaultdict(list)
    latencies_ms: defaultdict[str, list[float]] = defaultdict(list)
    for count in QUICK_HOSTS if quick else HOSTS:
        with hosts.joined(count) as cluster:
            for _ in range(repeats):
                for algorithm in MODEL_OF:
                    for transport in TRANSPORTS:
                        measured, latencies = measure(cluster, algorithm, transport, quick=quick)
                        log.info(
                            "%d hosts, %s, %s: %s",
                            count,
                            algorithm,
                            transport,
                            ", ".join(
                                f"{setting.network} {setting.num_bytes} bytes {statistics.median(times):.3g} ms"
                                for setting, times in measured.items()
                            ),
                        )
                        for setting, times in measured.items():
                            times_ms[setting] += times
                        for network, times in latencies.items() if count == 2 else ():
                            latencies_ms[network] += times
    return dict(times_ms), {network: statistics.median(times) / 1000 for network, times in latencies_ms.items()}


def compare(measured: Measured, latencies_s: Mapping[str, float]) -> list[Row]:
    """Each setting on shaped links beside what the cores take, and what the model says."""
    rows = []
    for setting, times_ms in measured.items():
        if setting.network == UNSHAPED:
            continue
        preset = _preset(setting.network, MODEL_OF[setting.algorithm])
        here = replace(preset, latency_s=latencies_s[setting.network])
        rows.append(
            Row(
                setting=setting,
                quartiles_ms=frame.quartiles(times_ms),
                cores_ms=statistics.median(measured[replace(setting, network=UNSHAPED)]),
                modelled_ms=_modelled_ms(preset, setting),
                with_latency_ms=_modelled_ms(here, setting),
            )
        )
    return sorted(rows, key=lambda row: (PRESETS[row.setting.network], row.setting.hosts))


def _preset(name: str, model: Model) -> Network:
    """Of hosts of one worker."""
    return replace(NETWORKS[name], workers_per_host=1, all_reduce=model)


def _modelled_ms(network: Network, setting: Setting) -> float:
    return 1000 * all_reduce_s(network, setting.hosts, setting.num_bytes)


# --- the page


def summary(rows: Sequence[Row]) -> str:
    """The answer: how far the model is from the gradient's sum on 1 Gbit/s."""
    told = []
    for transport in TRANSPORTS:
        chosen = [
            row
            for row in rows
            if row.setting.transport == transport
            and row.setting.network == "gigabit"
            and row.setting.num_bytes == GRADIENT_BYTES
        ]
        worst = max(chosen, key=lambda row: abs(row.error))
        near = sum(abs(row.error) <= ALLOWED for row in chosen)
        near_beyond = sum(abs(row.error_beyond_cores) <= ALLOWED for row in chosen)
        told.append(
            f"- Open MPI's messages *{transport}*: within {ALLOWED:.0%} in {near} of {len(chosen)} cases, in {near_beyond} "
            f"where the cores' part is left open; furthest off is `{worst.setting.algorithm}` between "
            f"{worst.setting.hosts} hosts, {worst.error:+.1%} ({worst.error_beyond_cores:+.1%} beyond the cores' part)."
        )
    title = f"What the model says of {GRADIENT_BYTES / 1e6:.1f} MB on 1 Gbit/s, against what was measured:"
    return f"{title}\n\n" + "\n".join(told)


def algorithms(rows: Sequence[Row]) -> str:
    """Which algorithm takes how long for the gradient, by hosts: measured and modelled."""
    chosen = {
        (row.setting.network, row.setting.hosts, row.setting.algorithm): row
        for row in rows
        if row.setting.transport == IN_PIECES and row.setting.num_bytes == GRADIENT_BYTES
    }
    header = ["links", "hosts", *(f"`{name}`, ms" for name in MODEL_OF), "modelled `two_level`, ms"]
    places = dict.fromkeys((network, count) for network, count, _ in chosen)
    lines = [
        [
            _speed(network),
            str(count),
            *(
                f"{frame.short(row.quartiles_ms[1])} (model {frame.short(row.modelled_ms)})"
                for row in (chosen[network, count, name] for name in MODEL_OF)
            ),
            frame.short(_modelled_ms(_preset(network, "two_level"), chosen[network, count, CHOICE].setting)),
        ]
        for network, count in places
    ]
    return frame.markdown_table(header, lines)


def table(rows: Sequence[Row]) -> str:
    """Every setting: measured, the cores' part, modelled, error."""
    header = [
        *("links", "hosts", "all-reduce", "messages", "bytes", "measured, ms", "cores, ms"),
        *("modelled, ms", "error", "error beyond cores", "with latency measured, ms", "its error"),
    ]
    return frame.markdown_table(header, [_line(row) for row in rows])


def _line(row: Row) -> list[str]:
    low, middle, high = (frame.short(number) for number in row.quartiles_ms)
    setting = row.setting
    return [
        *(_speed(setting.network), str(setting.hosts), f"`{setting.algorithm}`", setting.transport),
        *(str(setting.num_bytes), f"{middle} ({low} to {high})", frame.short(row.cores_ms)),
        *(frame.short(row.modelled_ms), f"{row.error:+.1%}", f"{row.error_beyond_cores:+.1%}"),
        *(frame.short(row.with_latency_ms), f"{row.error_with_latency:+.1%}"),
    ]


def _speed(network: str) -> str:
    return f"{PRESETS[network] / 1e9:.0f} Gbit/s"


def page(rows: Sequence[Row], latencies_s: Mapping[str, float], facts: Mapping[str, str], command: str) -> str:
    """All of network.md."""
    said = "\n".join(f"- `{name}`: {SAYS[name]}." for name in MODEL_OF)
    pieces = ", ".join(f"`{name}={value}`" for name, value in TRANSPORTS[IN_PIECES].items())
    latency = "; ".join(f"{_speed(name)}: {latencies_s[name] * 1e6:.0f} µs" for name in PRESETS)
    presets = "; ".join(f"{_speed(name)}: {NETWORKS[name].latency_s * 1e6:.0f} µs" for name in PRESETS)
    parts = [
        "# The modelled network against a real one",
        f"Made by `{command}`; not written by hand.",
        summary(rows),
        f"## Which all-reduce\n\nThe gradient's {GRADIENT_BYTES / 1e6:.1f} MB, messages in pieces, median. "
        "A study's own default, `two_level`, is what the best of them can take: ring and direct exchange for any number of "
        f"hosts, halving and doubling for powers of two.\n\n{algorithms(rows)}",
        f"## What is compared\n\n{said}\n\nEach with Open MPI's messages over TCP *{AS_IT_COMES}*, and *{IN_PIECES}* "
        f"({pieces}). As it comes, a large message is one piece. The model takes links to carry both directions at once; what "
        "was measured as it comes fits hosts that send one after the other where they come a moment apart, for what a host "
        "says to let another begin waits behind the piece that it is sending.",
        "## How\n\nOne rank a host; hosts are network namespaces, joined by veth pairs and a bridge. Both ends of each link are "
        "shaped by a token bucket; TCP's congestion control is Reno. A time is the longest of all ranks' after a barrier; small "
        "sums are timed several at once, one after another. Ranks are of a real-time class while time is taken, and yield to "
        f"one another. The model is that of the presets, with one worker a host. Half a round trip of a byte took {latency} "
        f"(presets: {presets}); the last two columns are modelled with that. Error: by how much of the measured time the model "
        "is too long. *Cores*: the same sum with links that aren't shaped. Cores and links work side by side in part, so the "
        "network's part lies between what was measured and that less the cores'; *error beyond cores* is how far the model is "
        "outside of that, as a share of what was measured.",
        f"## Figures\n\nMedian (lower to upper quartile); all figures are in the csv.\n\n{table(rows)}",
        "## What these figures don't say\n\n" + "\n".join(f"- {caveat}" for caveat in CAVEATS),
        "## Measured on\n\n" + frame.markdown_table(["what", "which"], facts.items()),
    ]
    return "\n\n".join(parts) + "\n"


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """One line a setting."""
    with atomic(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        header = ["network", "hosts", "algorithm", "messages", "bytes", "lower_quartile_ms", "median_ms"]
        header += ["upper_quartile_ms", "cores_ms", "modelled_ms", "error", "error_beyond_cores"]
        writer.writerow([*header, "modelled_with_latency_ms", "error_with_latency"])
        for row in rows:
            setting, numbers = row.setting, [*row.quartiles_ms, row.cores_ms, row.modelled_ms, row.error]
            numbers += [row.error_beyond_cores, row.with_latency_ms, row.error_with_latency]
            where = [setting.network, setting.hosts, setting.algorithm, setting.transport, setting.num_bytes]
            writer.writerow([*where, *(f"{number:.6g}" for number in numbers)])


def _leave(number: int, interrupted: FrameType | None) -> None:
    """Leave so that the hosts are taken down, undisturbed by whoever asks again."""
    for other in (signal.SIGINT, signal.SIGTERM):
        signal.signal(other, signal.SIG_IGN)
    sys.exit(128 + number)


def main(arguments: list[str]) -> None:
    """Measure, and write network.md and network.csv; without root's rights or namespaces, say so and leave."""
    parser = frame.parser("network_check", main.__doc__, repeats=1)
    options = parser.parse_args(arguments)
    if reason := hosts.obstacle():
        sys.stderr.write(f"The network model was not checked, for {reason}.\n")
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    facts = frame.machine(PACKAGES)
    measured, latencies_s = measure_all(options.repeats, quick=options.quick)
    rows = compare(measured, latencies_s)
    command = f"python -m benchmarks.network_check --repeats {options.repeats}" + " --quick" * options.quick
    output = frame.folder_of(options)
    write_csv(output / "network.csv", rows)
    write_text(output / "network.md", page(rows, latencies_s, facts, command))


if __name__ == "__main__":
    run(main)
