"""How long does a full patching map take: every head at every wave, the stream by level, paths, controls, over 8 pairs?

`python benchmarks/patching.py [CHECKPOINT] [WINDOWS]`, on simulated recordings. Compared with the same map of heads by wave made of plain
TransformerLens runs, one hooked run for each head and wave, of which a few are timed. Wall and CPU seconds of this process.
"""

import sys
import time

import numpy as np
import torch

import heartlens as hl
from heartlens.analyses.patching import Patching
from heartlens.analyses.patching_pairs import able_for, pairs_of
from heartlens.analysis import fold, silent
from heartlens.models import hooks
from heartlens.models.edit import patched
from heartlens.models.subject import subject_of

TIMED = 4  # hooked runs


def hooked_s(model, pairs):
    """CPU seconds of one hooked run over all pairs, the median of TIMED."""
    clean, corrupt = (torch.from_numpy(side.tokens.astype(np.int64)) for side in (pairs.clean, pairs.corrupt))
    name = hooks.z(4)
    known, times = hooks.activations(model, clean, [name]), []
    for head in range(TIMED):
        start = time.process_time()
        with torch.inference_mode(), patched(model, known, heads=[(4, head)], at=pairs.clean.inside("QRS")):
            model(corrupt)
        times.append(time.process_time() - start)
    return float(np.median(times))


def main():
    name, n_windows = (sys.argv[1:] + ["ecg-af", "8"][len(sys.argv) - 1 :])[:2]
    model = hl.load(name)
    windows = hl.simulated(model.origin.kind, n_records=2 * int(n_windows), windows_per_record=1)
    windows = windows[able_for(windows, "irregular")][: int(n_windows)]
    analysis = Patching(n_twins=0, base="none")
    wall, cpu = time.perf_counter(), time.process_time()
    tally = fold(analysis, subject_of(model), windows, silent)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    n_maps = model.cfg.n_layers * model.cfg.n_heads * tally.sums.sizes["place"]
    plain = n_maps * hooked_s(model, pairs_of(windows, "irregular", 0, with_control=False))
    print(f"{model.origin.checkpoint}, {len(windows)} pairs, {n_maps} heads at places; stream by level, wave and cycle; control")
    print(f"heartlens, all of it              {wall:7.1f} s wall {cpu:7.1f} s CPU")
    print(f"hooked runs, heads at places only                {plain:7.1f} s CPU ({n_maps} runs, {TIMED} timed)")
    print(f"ratio                             {plain / cpu:7.1f}")


if __name__ == "__main__":
    main()
