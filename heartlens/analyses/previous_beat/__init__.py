"""Which heads look one beat back? The attention that falls on the token one cycle before the asking one, over what even attention gives."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import xarray as xr

from heartlens.inference.verdict import Claim
from heartlens.parts import ATTENTION
from heartlens.standard import Standard, lift_among_twins
from heartlens.tally import Tally, tallied
from heartlens.windows import Windows

CLAIM = Claim("looks_back", "the head looks one beat back more than models that learnt nothing", "lift", 0.25, "all heads", null=1.0)


@dataclass(frozen=True)
class PreviousBeat(Standard):
    """The options of a look at the previous beat."""

    reads: ClassVar[str] = ATTENTION
    width: Annotated[float, "cycles to both sides of one cycle back that count"] = 0.1

    def measure(self, model: Any, windows: Windows) -> Tally:
        """The attention on pairs of tokens one cycle apart, by record, and what even attention gives."""
        from heartlens.models.attended import attended

        cycles_back = windows.position[:, :, None] - windows.position[:, None, :]
        share, even_share = attended(model, windows, abs(cycles_back - 1) <= self.width)
        return tallied(windows, share=share, even_share=even_share)

    def summarize(self, tally: Tally, twins: Mapping[str, Tally]) -> xr.Dataset:
        """The lift of every head, and whether it looks one beat back."""
        return lift_among_twins(CLAIM, tally, twins)
