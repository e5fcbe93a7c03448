"""One window's attention: the map of who asks and who is attended to, and one asking token's row on the signal."""

from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes

from heartlens.figures.layout import PALETTE

SHOWN = 0.995  # of a map's weights lie within its scale
N_SINK = 24  # first tokens that no scale is taken of, as in the published program: the first is an attention sink

Times = Float[np.ndarray, " time"]


def attention_map(axes: Axes, weight: Float[np.ndarray, "asking key"], time_s: Times) -> Any:
    """Attention by asking token (down) and key (across); white at 0, changes of either sign on two colours. Returns the image.

    The few weights beyond the scale have its darkest colour.
    """
    behind = np.abs(weight[:, N_SINK:])[np.tri(*weight.shape)[:, N_SINK:] > 0]
    reach = max(float(np.quantile(behind, SHOWN)), 1e-9)
    is_change = weight.min() < 0
    look: dict[str, Any] = {"cmap": "PuOr_r", "vmin": -reach} if is_change else {"cmap": "Purples", "vmin": 0}
    extent = (time_s[0], time_s[-1], time_s[-1], time_s[0])
    image = axes.imshow(weight, vmax=reach, extent=extent, interpolation="nearest", **look)
    axes.set(xlabel="attended to (s)", ylabel="asking (s)")
    return image


def asked_signal(axes: Axes, time_s: Times, token: UInt8[np.ndarray, " time"], row: Times, asking: int) -> Axes:
    """A window's tokens as a line, behind it the attention that the token `asking` (an index) pays to each. Returns the right axes."""
    right = axes.twinx()
    for sign, colour in ((1, PALETTE[4]), (-1, PALETTE[0])):
        right.fill_between(time_s, np.where(sign * row > 0, row, 0.0), step="mid", color=colour, alpha=0.75, linewidth=0)
    reach = max(float(np.abs(row[N_SINK:]).max(initial=0.0)), 1e-9) * 1.05 if asking >= N_SINK else float(np.abs(row).max()) * 1.05
    right.set_ylim(-reach if row.min() < 0 else 0, reach)
    right.spines["right"].set_visible(True)
    axes.set_zorder(right.get_zorder() + 1)
    axes.patch.set_visible(False)
    axes.plot(time_s, token, color="black", linewidth=0.8)
    axes.scatter([time_s[asking]], [token[asking]], s=22, color=PALETTE[1], zorder=3, label=f"asking token {asking + 1}")
    axes.set(xlim=(time_s[0], time_s[-1]), ylim=(-5, 104), xlabel="time (s)", ylabel="token")
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)
    return right


def cosine_map(axes: Axes, cosine: Float[np.ndarray, "level key"], time_s: Times) -> Any:
    """Cosine to a reference token by level (the embedding above) and token. Returns the image."""
    extent = (time_s[0], time_s[-1], len(cosine) - 0.5, -0.5)
    image = axes.imshow(cosine, vmin=-1, vmax=1, cmap="PuOr_r", extent=extent, aspect="auto", interpolation="nearest")
    axes.set_yticks(range(len(cosine)), ["emb.", *map(str, range(1, len(cosine)))])
    axes.set(xlabel="time (s)", ylabel="after block")
    return image
