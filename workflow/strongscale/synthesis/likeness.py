"""Do the new nodules look like nodules? Their measures beside those of others, and a classifier's attempt to tell them apart.

A mixture of normal densities is smoother than any scan, which gives new nodules away beside the data set's own cubes as
it does reconstructions. Whether they are drawn well is seen beside reconstructions by the same model.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from strongscale.synthesis.measures import TITLES, measure
from strongscale.synthesis.telling_apart import FEWEST, Attempt, tell_apart

Cubes = NDArray[np.float32]

NEW = "new"
OWN = "validation"
RECONSTRUCTED = "validation_reconstruction"
OTHER_OWN = "training"
OTHER_RECONSTRUCTED = "training_reconstruction"
COMPARED = (OWN, RECONSTRUCTED, NEW)
QUARTILES = (0.25, 0.5, 0.75)
ATTEMPTS = (
    (NEW, OWN, "new against the data set's own"),
    (OTHER_RECONSTRUCTED, OWN, "reconstructions against the data set's own"),
    (OTHER_OWN, OWN, "the data set's own: training against validation"),
    (NEW, RECONSTRUCTED, "new against reconstructions"),
    (OTHER_RECONSTRUCTED, RECONSTRUCTED, "reconstructions: training against validation"),
)


def nodules_of(provenance: str) -> str:
    """What the cubes of a data set show: artificial nodules are never called otherwise."""
    return "phantom nodules" if provenance.startswith("phantom scans") else "nodules of the data set"


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """The measures of each set of cubes, a row a cube, and what came of telling sets apart; nothing of too few."""

    measures: dict[str, pd.DataFrame]
    attempts: dict[tuple[str, str], Attempt | None]

    def distance(self, name: str, other: str) -> tuple[float, float]:
        """The Kolmogorov-Smirnov distance of the new nodules to another set in one measure, and its p-value."""
        found = stats.ks_2samp(self.measures[NEW][name], self.measures[other][name])
        return float(found.statistic), float(found.pvalue)


def check(sets: Mapping[str, Cubes]) -> Likeness:
    """Compare sets of cubes, named as above, (N, W, W, W) each."""
    measures = {name: measure(cubes) for name, cubes in sets.items()}
    attempts = {
        (one, other): tell_apart(
            *(sets[name].reshape(len(sets[name]), -1) for name in (one, other)),
            *(measures[name].to_numpy() for name in (one, other)),
        )
        for one, other, _ in ATTEMPTS
    }
    return Likeness(measures=measures, attempts=attempts)


def attempt_in_words(attempt: Attempt | None) -> str:
    """The verdict, or why there is none."""
    return attempt.in_words() if attempt else f"fewer than {FEWEST} nodules in a set: not tried"


def in_words(likeness: Likeness, nodules: str, fault: str) -> str:
    """Whether they look alike, by the classifier; not where a fault of the model leaves nothing to judge."""
    if fault:
        return f"The drawing isn't judged: {fault}."
    to_own, by_smoothness, to_reconstructions = (
        likeness.attempts[pair] for pair in ((NEW, OWN), (OTHER_RECONSTRUCTED, OWN), (NEW, RECONSTRUCTED))
    )
    if to_own is None or by_smoothness is None or to_reconstructions is None:
        return f"Too few {nodules} to judge by a classifier whether the new ones look like them."
    judged = "passes" if not to_reconstructions.succeeds else "fails"
    words = f"The drawing {judged}: of new nodules and the model's reconstructions a classifier {_outcome(to_reconstructions)}."
    chance = likeness.attempts[OTHER_RECONSTRUCTED, RECONSTRUCTED]
    if to_reconstructions.succeeds and chance is not None and chance.succeeds:
        words += f" But so it does of reconstructions of training and of validation nodules (AUC {chance.auc:.2f})."
    words += f" Of new nodules and {nodules} it {_outcome(to_own)}"
    if to_own.succeeds and by_smoothness.succeeds:
        return f"{words}; so it does of reconstructions and {nodules} (AUC {by_smoothness.auc:.2f}): the model's own limit."
    return f"{words}."


def _outcome(attempt: Attempt) -> str:
    can = "can" if attempt.succeeds else "can't"
    return f"{can} tell which is which (AUC {attempt.auc:.2f})"


def measures_table(likeness: Likeness) -> pd.DataFrame:
    """likeness.csv: the quartiles of each measure in each set, and how far the new nodules are from the set."""
    rows = []
    for name, title in TITLES.items():
        for group in COMPARED:
            values = likeness.measures[group][name]
            lower, median, upper = values.quantile(QUARTILES)
            statistic, p_value = likeness.distance(name, group) if group != NEW else (np.nan, np.nan)
            rows.append(
                {
                    "measure": name,
                    "meaning": title,
                    "set": group,
                    "number": len(values),
                    "lower_quartile": lower,
                    "median": median,
                    "upper_quartile": upper,
                    "ks_distance_of_new": statistic,
                    "ks_p_value": p_value,
                }
            )
    return pd.DataFrame(rows)


def readable_measures(likeness: Likeness, nodules: str) -> pd.DataFrame:
    """The same for a reader: a row a measure."""
    titles = {OWN: nodules, RECONSTRUCTED: "their reconstructions", NEW: "new nodules"}
    rows = []
    for name, title in TITLES.items():
        row = {"median (quartiles)": title}
        for group, heading in titles.items():
            lower, median, upper = likeness.measures[group][name].quantile(QUARTILES)
            row[heading] = f"{median:.3f} ({lower:.3f} to {upper:.3f})"
        for group, heading in ((OWN, nodules), (RECONSTRUCTED, "reconstructions")):
            statistic, p_value = likeness.distance(name, group)
            row[f"new against {heading}"] = f"{statistic:.2f} (p = {p_value:.2g})"
        rows.append(row)
    return pd.DataFrame(rows)


def attempts_table(likeness: Likeness) -> pd.DataFrame:
    """What the classifier came to, for a reader."""
    rows = []
    for one, other, title in ATTEMPTS:
        attempt = likeness.attempts[one, other]
        counts = " and ".join(str(len(likeness.measures[name])) for name in (one, other))
        rows.append({"compared": title, "nodules": counts, "a classifier": attempt_in_words(attempt)})
    return pd.DataFrame(rows)


HOW_APART = (
    "A classifier (logistic regression on the measures above and on principal components of the voxels, five-fold "
    "cross-validation) tells two sets apart if its AUC is above the interval in which 95 % of its AUCs lie when the names "
    "are permuted. The new nodules are drawn well if it can't tell them from reconstructions by the same model, whose "
    "smoothness they share; training against validation shows what two sets of one kind come to."
)
HOW_MEASURED = "Distances are Kolmogorov-Smirnov's; their p-values are of one measure at a time, and take the nodules as independent."


def page(likeness: Likeness, nodules: str, fault: str) -> str:
    """The part of novelty.md that tells of it."""
    tables = [
        table.to_markdown(index=False, disable_numparse=True)
        for table in (readable_measures(likeness, nodules), attempts_table(likeness))
    ]
    return "\n\n".join(
        [
            "## Do they look like nodules?",
            in_words(likeness, nodules, fault),
            HOW_MEASURED,
            tables[0],
            HOW_APART,
            tables[1],
        ]
    )


def summary(likeness: Likeness, nodules: str, fault: str) -> dict[str, Any]:
    """The same for a program: a part of novelty.json."""
    measures = measures_table(likeness).drop(columns="meaning")
    return {
        "verdict": in_words(likeness, nodules, fault),
        "measures": [
            {key: value for key, value in row.items() if not pd.isna(value)} for row in measures.to_dict("records")
        ],
        "attempts": [
            {
                "ones": one,
                "others": other,
                "auc": attempt.auc if attempt else None,
                "guessing": [attempt.low, attempt.high] if attempt else None,
                "told_apart": attempt.succeeds if attempt else None,
            }
            for (one, other), attempt in likeness.attempts.items()
        ],
    }
