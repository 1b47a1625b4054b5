"""The paper's speed-up law, T(n) / T(1) = T_S + T_P / n + c log2(n): its fit, and the band in which it may lie.

On the few numbers of workers that a study has, T_S and c say nearly the same: both are what stays when n grows. So the law
is a curve with a band, and what its shares explain is told by their correlation. What seconds are made of is computed, on
the emulated clock, in speedup_parts.py.

Shapes: R resamples.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import nnls

MIN_POINTS = 3
RESAMPLES = 1000
SEED = 1
INTERVAL = (2.5, 97.5)
NOTHING = 1e-9  # a share below this is none

Numbers = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SpeedupLaw:
    """T(n) / T(1) in shares of the sequential time: none of them is negative."""

    serial: float
    parallel: float
    communication: float

    def time_ratio(self, workers: float) -> float:
        """T(n) / T(1)."""
        return self.serial + self.parallel / workers + self.communication * math.log2(workers)

    @property
    def saturation_workers(self) -> float:
        """The number of workers beyond which the law predicts no further gain; infinite without communication."""
        if self.communication == 0:
            return math.inf
        return max(1.0, self.parallel * math.log(2) / self.communication)

    @property
    def greatest_speedup(self) -> float:
        """The speed-up there; infinite if nothing limits it."""
        if self.communication > 0:
            return 1 / self.time_ratio(self.saturation_workers)
        return 1 / self.serial if self.serial > 0 else math.inf


def fit(time_ratios: Mapping[int, float]) -> SpeedupLaw | None:
    """Fit T(n) / T(1) by workers, relative errors weighing equally; None for fewer than three points."""
    if len(time_ratios) < MIN_POINTS:
        return None
    workers = np.array(list(time_ratios), dtype=float)
    observed = np.array(list(time_ratios.values()))
    terms = np.stack([np.ones_like(workers), 1 / workers, np.log2(workers)], axis=1)
    shares, _ = nnls(terms / observed[:, None], np.ones_like(observed))
    serial, parallel, communication = (float(share) for share in shares)
    return SpeedupLaw(serial=serial, parallel=parallel, communication=communication)


def time_ratios(efficiencies: Mapping[int, float]) -> dict[int, float]:
    """T(n) / T(1) from efficiencies in per cent, where there are any."""
    return {n: 100 / (n * value) for n, value in efficiencies.items() if math.isfinite(value)}


@dataclass(frozen=True, kw_only=True)
class Band:
    """A law, and those of resampled points."""

    law: SpeedupLaw
    spare_points: int
    """Beyond the parameters."""
    laws: tuple[SpeedupLaw, ...]
    over_seeds: bool
    """Whether seeds were resampled besides residuals."""

    def interval(self, workers: float) -> tuple[float, float]:
        """Where T(n) / T(1) lies, at 95 %.

        So few residuals don't tell how large errors are. Student's factor makes good for it, on the logarithm.
        """
        own = self.law.time_ratio(workers)
        shifts = np.log(np.percentile([law.time_ratio(workers) / own for law in self.laws], INTERVAL))
        factor = stats.t.ppf(0.975, self.spare_points) / stats.norm.ppf(0.975)
        low, high = own * np.exp(factor * shifts)
        return float(low), float(high)

    @property
    def correlation(self) -> float:
        """Of T_S and c; NaN where one of them is always the same."""
        serial, communication = np.array([(law.serial, law.communication) for law in self.laws]).T
        if min(serial.std(), communication.std()) < NOTHING:
            return math.nan
        return float(np.corrcoef(serial, communication)[0, 1])

    @property
    def share_without_communication(self) -> float:
        """Of laws with c = 0."""
        return sum(law.communication < NOTHING for law in self.laws) / len(self.laws)


def band(observed: Mapping[int, float], by_seed: Sequence[Mapping[int, float]] = ()) -> Band | None:
    """Resample the fit's relative residuals, and before that the seeds where these differ; None without residuals.

    A fit leaves residuals smaller than the points' own errors, by the root of the share of points beyond its three
    parameters: they are made larger by as much.
    """
    law = fit(observed)
    if law is None or len(observed) <= MIN_POINTS:
        return None
    random = np.random.default_rng(SEED)
    spare = (len(observed) - MIN_POINTS) / len(observed)
    residuals = [(ratio / law.time_ratio(n) - 1) / math.sqrt(spare) for n, ratio in observed.items()]
    over_seeds = any(not math.isclose(one[n], by_seed[0][n], rel_tol=1e-6) for one in by_seed for n in observed)
    laws = []
    for _ in range(RESAMPLES):
        errors = random.choice(residuals, size=len(observed))
        shifts = _seeds_shifts(observed, by_seed, random) if over_seeds else dict.fromkeys(observed, 1.0)
        points = {
            n: max(law.time_ratio(n) * shifts[n] * (1 + error), NOTHING)
            for n, error in zip(observed, errors, strict=True)
        }
        found = fit(points)
        assert found is not None
        laws.append(found)
    return Band(law=law, spare_points=len(observed) - MIN_POINTS, laws=tuple(laws), over_seeds=over_seeds)


def _seeds_shifts(
    observed: Mapping[int, float], by_seed: Sequence[Mapping[int, float]], random: np.random.Generator
) -> dict[int, float]:
    """By what the median of resampled seeds differs from that of all."""
    chosen = random.integers(len(by_seed), size=len(by_seed))
    return {n: float(np.median([by_seed[i][n] for i in chosen])) / ratio for n, ratio in observed.items()}
