"""
Which heads attend to which wave
================================

A head scan of a small model on simulated people, and how to read its figure.
"""

import heartlens as hl

model = hl.load("ecg-sim")  # a plain HookedTransformer of TransformerLens
windows = hl.simulated("ecg", n_records=12, windows_per_record=1)
scan = hl.HeadScan(n_twins=19, twin_windows=12, n_permutations=199)
summary = hl.run(scan, model, windows)
figure = scan.plot(summary)

# %%
# Colour is the lift: the share of a token's attention that falls on a wave, over what even attention would give it. A frame means *yes*:
# the interval over records lies above 1, the lift is at least 1.25, and neither rotated waves nor twins, models with the same weights in
# random order, reach it.

for line in scan.findings(summary).verdict:
    print(line)

# %%
# The same numbers, to go on with:

print(summary.lift.sel(query="all", wave="QRS").round(2).to_pandas())
