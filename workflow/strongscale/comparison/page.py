"""Make a comparison: from several studies to one ranking each, who leads, where each strategy fails, and CROSSBOW's claims."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from strongscale.analysis.runs import in_words
from strongscale.common.command import run as run_command
from strongscale.common.output import number, write_csv, write_readable
from strongscale.comparison import crossbow
from strongscale.comparison.failures import failures
from strongscale.comparison.member import Member, add_options, member
from strongscale.comparison.standings import leaders, level_of
from strongscale.settings.margins import margins


def leader_rows(members: Sequence[Member]) -> Iterator[dict[str, Any]]:
    """Who is fastest, and who is tied with it."""
    for one in members:
        for network, by_workers in one.standings.items():
            for workers, found in by_workers.items():
                first, *tied = leaders(found) or ["none arrives"]
                gained = next((standing.speedup for standing in found if standing.line == first), "")
                yield {
                    "study": one.title,
                    "network": network,
                    "workers": workers,
                    "fastest": first,
                    "times as fast as one worker": gained,
                    "tied with it": in_words(tied),
                    "strategies": len(found),
                }


def ranking_rows(members: Sequence[Member]) -> Iterator[dict[str, Any]]:
    """Every strategy of every study at every number of workers, on every network."""
    for one in members:
        for network, by_workers in one.standings.items():
            for workers, found in by_workers.items():
                for standing in found:
                    yield {
                        "study": one.title,
                        "network": network,
                        "workers": workers,
                        "strategy": standing.line,
                        "arrive": standing.arrived,
                        "epochs": number(standing.epochs.median),
                        "samples": number(standing.samples.median),
                        "seconds": number(standing.time.median),
                        "times as fast as one worker": standing.speedup,
                        "times as long as the fastest": standing.to_fastest,
                        "decidedly slower": "yes" if standing.is_slower else "",
                    }


def failure_rows(members: Sequence[Member]) -> Iterator[dict[str, Any]]:
    """Where runs don't arrive."""
    for one in members:
        for failed in failures(one.runs):
            yield {
                "study": one.title,
                "strategy": failed.line,
                "workers": failed.workers,
                "minibatch": failed.batch,
                "don't arrive": f"{failed.num_failed} of {failed.num_runs}",
                "how they end": failed.endings,
            }


def crossbow_rows(members: Sequence[Member]) -> Iterator[dict[str, Any]]:
    """CROSSBOW's claims, study by study, on the first network."""
    for one in members:
        for judged in crossbow.judge(next(iter(one.by_network.values())), margins()):
            yield {
                "study": one.title,
                "claim": judged.claim,
                "verdict": judged.outcome,
                "why": judged.verdict.reason,
                "looked at": judged.verdict.data,
            }


def captions(members: Sequence[Member], networks: Sequence[str]) -> dict[str, str]:
    """What each table shows, and of what."""
    level = max(level_of(one.runs) for one in members)
    made_of = "; ".join(_made_of(one) for one in members)
    ranks = (
        "Each is held against the fastest, seed by seed, all tests of a ranking sharing the level "
        f"{level:g} (Holm); what isn't decidedly slower is tied with it. A run that doesn't arrive took at least as long as it was given."
    )
    clock = f"Seconds are emulated, on the networks {in_words(networks)}."
    return {
        "leaders": f"The fastest strategy, and all that aren't decidedly slower. {clock} {made_of}.",
        "ranking": f"Every strategy, fastest median first. {ranks} {clock} {made_of}.",
        "failures": f"Where runs don't reach their target within the epochs they are given. {made_of}.",
        "crossbow": (
            "The claims of CROSSBOW (Koliousis et al., 2019), judged by model averaging with small minibatches (line sma) against "
            f"one worker and against weak scaling with the same minibatch, seconds on {networks[0]}. Where rates aren't tuned, both take "
            f"one worker's. Whether learners raise a device's throughput is asked of GPUs alone. Margin: {margins().faster:g} times. "
            f"{made_of}."
        ),
    }


def _made_of(one: Member) -> str:
    """Where a study's numbers come from, and what is doubtful of them; its networks are named beside them."""
    runs = one.runs
    devices = dict.fromkeys(f"one worker's seconds: {timings.label}" for timings in runs.timings)
    told = [
        f"study {runs.name}",
        runs.num_seeds,
        runs.study.training.optimizer.kind,
        runs.data,
        *devices,
        *runs.remarks,
    ]
    return f"{one.title}: {', '.join(told)}"


def main(arguments: list[str]) -> None:
    """Read finished studies; write tables/ of their comparison."""
    parser = argparse.ArgumentParser(prog="strongscale.comparison.page", description=main.__doc__)
    add_options(parser, action="append")
    options = parser.parse_args(arguments)
    members = [member(title, Path(folder), options.networks) for title, folder in options.study]
    told = captions(members, options.networks)
    made = {"leaders": leader_rows, "ranking": ranking_rows, "failures": failure_rows, "crossbow": crossbow_rows}
    for name, rows_of in made.items():
        rows = list(rows_of(members))
        write_csv(options.output / "tables" / f"{name}.csv", rows, "emulated", columns=["study"])
        write_readable(options.output / "tables" / name, pd.DataFrame(rows), told[name])


if __name__ == "__main__":
    run_command(main)
