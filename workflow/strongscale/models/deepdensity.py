"""The DeepDensity autoencoder: convolutions, four dense heads, a mixture of normal densities. Its network: density/network.py."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from strongscale.common.errors import UserError
from strongscale.common.schema import AT_LEAST_1, POSITIVE
from strongscale.models.base import Model

if TYPE_CHECKING:
    from strongscale.models.density.network import DeepDensityNetwork


@dataclass(frozen=True, kw_only=True)
class DeepDensity(Model):
    """Every default is the paper's where the paper states it."""

    components: Annotated[int, AT_LEAST_1, "K, the number of normal densities"] = 50
    filters: Annotated[tuple[Annotated[int, AT_LEAST_1], ...], "filters of each convolution"] = (32, 32, 32)
    kernels: Annotated[tuple[Annotated[int, AT_LEAST_1], ...], "kernel width of each convolution"] = (7, 5, 3)
    padding: Annotated[Literal["valid", "same"], "valid: each convolution shrinks the cube"] = "valid"
    mass: Annotated[
        Annotated[float, POSITIVE] | Literal["unit", "paper", "learnt"],
        "of the mixture, its integral over all space; unit: 1; paper: as its equation 5 is printed, (2 pi)^((n-1)/2) in n "
        "dimensions; a number; learnt: of each cube, one more output, which the paper doesn't have",
    ] = "learnt"
    smallest_sigma: Annotated[float, POSITIVE, "least standard deviation of a component, in voxels"] = 0.5

    def __post_init__(self) -> None:
        if len(self.filters) != len(self.kernels):
            raise UserError(
                f"kernels: {list(self.kernels)} is not allowed; allowed: as many as there are filters, {len(self.filters)}"
            )
        if self.padding == "same" and any(kernel % 2 == 0 for kernel in self.kernels):
            raise UserError(f"kernels: {list(self.kernels)} is not allowed; allowed: odd widths, where padding is same")

    def code_width(self, voxels: int) -> int:
        """Voxels along each side that the convolutions leave."""
        shrinks = 0 if self.padding == "same" else sum(kernel - 1 for kernel in self.kernels)
        return voxels - shrinks

    def check(self, voxels: int) -> None:
        """The convolutions must leave something, and a deviation must fit into the cube."""
        if self.code_width(voxels) < 1:
            raise UserError(
                f"kernels: {list(self.kernels)} leave {self.code_width(voxels)} voxels of a cube; allowed: at least 1"
            )
        if self.smallest_sigma * 2 >= voxels - 1:
            raise UserError(
                f"smallest_sigma: {self.smallest_sigma:g} is not allowed; allowed: less than half of {voxels} voxels, "
                "for 1 is the largest deviation in a cube from -1 to 1"
            )

    def create(self, voxels: int) -> "DeepDensityNetwork":
        """The network for cubes of that many voxels a side."""
        from strongscale.models.density.network import DeepDensityNetwork

        self.check(voxels)
        return DeepDensityNetwork(self, voxels)
