"""A device with round seconds, and what the emulated clock makes of a run on it."""

from strongscale.settings.config import NETWORKS, Network
from strongscale.timing.emulation import Emulation
from strongscale.timing.steps import read_steps
from strongscale.timing.timings import Duration, Timings

NO_NETWORK = Network(latency_s=0, bandwidth_bytes_per_s=1e300, host_latency_s=0, host_bandwidth_bytes_per_s=1e300)


def timings(**changes):
    """A step takes 1 s, and 0.5 s more for each sample; of those 0.25 s are the update's."""
    values = {
        "origin": "assumed",
        "device": "round seconds",
        "steps": tuple(Duration(samples=size, seconds=1 + 0.5 * size) for size in (1, 2, 4, 8, 16)),
        "update": Duration(seconds=0.25),
        "evaluation": (Duration(samples=1, seconds=2.0), Duration(samples=4, seconds=5.0)),
        "epoch": Duration(seconds=0.125),
    }
    return Timings(**values | changes)


def emulation(network=NO_NETWORK, **changes):
    return Emulation(**{"timings": timings(), "network": network} | changes)


def seconds_of(folder, network=NETWORKS["gigabit"]):
    """What a trained cell takes in all on the device with round seconds."""
    return list(emulation(network).clock(read_steps(folder / "steps.json")))[-1]
