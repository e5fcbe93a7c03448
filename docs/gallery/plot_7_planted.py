"""
A head of which the answer is known
===================================

Before an analysis is believed, it is asked about a model whose weights were written by hand: here head L2H4 looks at the P wave of the
cycle before, and no other head looks at any wave. The scan must find that head and no other.
"""

from dataclasses import replace

import heartlens as hl
from heartlens.models.planted import Wave
from heartlens.signals.simulate.regular import regular

windows = regular("ecg", n_records=8)
model = hl.planted({(1, 3): Wave("P", lag=1)}, windows)
model.origin = replace(model.origin, checkpoint="a planted model")
scan = hl.HeadScan(n_twins=59, twin_windows=8, n_permutations=999)
summary = hl.run(scan, model, windows)
figure = scan.plot(summary)

answers = summary.attends_verdict.sel(query="all").to_series()
yes = list(answers[answers == "yes"].index)
print("yes:", yes)
assert yes == [("P", 1, 3)]  # layers and heads count from 0 here
