"""
A head of which the answer is known
===================================

Before an analysis is believed, it is asked about a model whose weights were written by hand: here head L2H4 looks at the P wave of the
cycle before, and no other head looks at any wave. The scan must find that head and no other.
"""

import heartlens as hl
from heartlens.models.planted import Wave
from heartlens.signals.simulate.regular import regular

windows = regular("ecg", n_records=10)
model = hl.planted({(1, 3): Wave("P", lag=1)}, windows)
scan = hl.HeadScan(n_twins=19, twin_windows=5, n_permutations=199)
summary = hl.run(scan, model, windows)
figure = scan.plot(summary)
for line in scan.findings(summary).verdict[:2]:
    print(line)
