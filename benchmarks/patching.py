"""A full patching map: every head at every wave, the stream by level, wave and cycle, the control, over 8 pairs. All cores.

Against the same map of heads by wave made of hooked TransformerLens runs, one for each head and wave, of which one is timed.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import torch
from setting import Setting
from table import Row, at_most
from timing import Work, medians

import heartlens as hl
from heartlens.analyses.patching import Patching
from heartlens.analyses.patching.pairs import Pairs, able_for, pairs_of
from heartlens.analysis import fold, silent
from heartlens.models import hooks
from heartlens.models.edit import patched
from heartlens.models.subject import subject_of

COUNTERFACTUAL: Final = "irregular"
MOST_S = 15


def rows(setting: Setting) -> Iterator[Row]:
    """Wall and CPU time of the map."""
    model, n_pairs = hl.load(setting.tuned), 2 if setting.is_quick else 8
    windows = setting.windows(2 * n_pairs)
    windows = windows[able_for(windows, COUNTERFACTUAL)][:n_pairs]
    analysis, subject = Patching(n_twins=0, base="none", counterfactual=COUNTERFACTUAL), subject_of(model)
    n_places = fold(analysis, subject, windows[:2], silent).sums.sizes["place"]
    works: dict[str, Work] = {
        "map": lambda: fold(analysis, subject, windows, silent),
        "hooked": _hooked_run(model, pairs_of(windows, COUNTERFACTUAL, 0, with_control=False)),
    }
    taken = medians(works, 1 if setting.is_quick else 3, warm_up=False)
    n_runs = model.cfg.n_layers * model.cfg.n_heads * n_places
    faster = n_runs * taken["hooked"].cpu_s / taken["map"].cpu_s
    yield Row(
        f"patching map of {model.origin.checkpoint}, {len(windows)} pairs",
        f"{taken['map'].wall_s:.1f} s wall, {taken['map'].cpu_s:.1f} s CPU",
        f"{faster:.0f} times less CPU than {n_runs} hooked runs (one timed)",
        at_most(MOST_S, taken["map"].wall_s, " s wall"),
    )


def _hooked_run(model: Any, pairs: Pairs) -> Work:
    """One hooked run over all pairs: one head's activation put into the counterfactual's run at one wave."""
    clean, corrupt = (torch.from_numpy(side.tokens.astype(np.int64)) for side in (pairs.clean, pairs.corrupt))
    known, where = hooks.activations(model, clean, [hooks.z(0)]), pairs.clean.inside("QRS")

    def run() -> None:
        with torch.inference_mode(), patched(model, known, heads=[(0, 0)], at=where):
            model(corrupt)

    return run
