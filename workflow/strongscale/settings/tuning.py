"""How the learning rate of every batch size, and of every line that differs by more, is looked for: the settings."""

from dataclasses import dataclass
from typing import Annotated, Literal

from strongscale.common.schema import AT_LEAST_0, AT_LEAST_1, POSITIVE, SEED, NonEmpty


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """For learning_rate: tuned: every batch size, and every line that differs by more than that, has rate and warm-up of its own,
    found with the same budget for each."""

    around: Annotated[
        Annotated[float, POSITIVE] | None,
        "eta, about which is searched: for a minibatch of n·B samples from eta/4 to 4·n·eta, and beyond where the best lies "
        "at the border",
    ] = None
    trials: Annotated[
        Literal[2, 4, 8, 16, 32, 64],
        "pairs of rate and warm-up that are tried for each; a quarter of a full run decides which half goes on, "
        "half a run which quarter is trained to the end",
    ] = 8
    extensions: Annotated[int, AT_LEAST_0, "further pairs beyond the border, at most, each rate twice the last"] = 3
    epochs: Annotated[int, AT_LEAST_1, "of a full run of the sequential minibatch"] = 20
    budget: Annotated[
        Literal["epochs", "steps"],
        "what a full run of a larger minibatch has as many of as that: epochs, so samples; or steps, so updates of weights",
    ] = "epochs"
    seeds: Annotated[
        tuple[Annotated[int, SEED], ...],
        NonEmpty(),
        "seeds outside the comparison, with which each pair is tried; their mean decides",
    ] = (201,)
