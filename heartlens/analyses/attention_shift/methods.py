"""What a reader of an attention shift must know: reasons to doubt it, and how every number was made."""

import json

import xarray as xr

from heartlens.findings import doubts

FEW_TWIN_RECORDS = 10
NAMES = {"irregular": "cycles of irregular interval", "no_p": "cycles without a P wave"}


def cautions(summary: xr.Dataset) -> tuple[str, ...]:
    """What to doubt."""
    n_twins = summary.sizes.get("twin", 0)
    reasons = doubts(summary.attrs, n_twins)
    for name, n in summary["n_twin_records_with"].to_series().items() if n_twins else ():
        if n < FEW_TWIN_RECORDS:
            reasons.append(f"The twins' limit for {NAMES[str(name)]} rests on {int(n)} records that show both kinds of cycle.")
    reasons.append("Attention shows where a head looks, not what the model uses; that takes an intervention.")
    reasons.append(
        "Small effects depend on what counts as irregular: try --irregular-from 0, --interval after and other windows of the same records."
    )
    reasons.append("A long cycle has more tokens between its waves: effects are per token, and the waves' shifts stand beside them.")
    return tuple(reasons)


def methods(summary: xr.Dataset) -> tuple[str, ...]:
    """What every number means."""
    options = json.loads(summary.attrs.get("options", "{}"))
    row = "the last token's row" if summary.attrs["row"] == "last" else "the mean of the rows of all tokens whose cycle is known"
    counts = ", ".join(f"{NAMES[str(name)]}: {int(n)}" for name, n in summary["n_records_with"].to_series().items())
    return (
        f"Attention: {row}, fine-tuned minus base, the model as it runs (causal); nothing is clipped.",
        "Shift: the change of the part of a row that falls on a wave; mean over a record's windows, then over records.",
        "Moved: the sum of a row's positive changes. Rows sum to 1, so the negative ones sum to the same.",
        f"Irregularity of a beat: the interval {options.get('interval', 'before')} it against the median of the two on either side, "
        f"relative. Irregular: above the window's median and above {options.get('irregular_from')}.",
        "Effect: the change on the whole cycles with the feature minus that on those without, each over what even attention gives "
        "them (1 even share: 1/500 of the last token's row a token), less what the mean change at the same lags in the other records would "
        "give. "
        f"Records with both kinds of cycle: {counts}.",
        f"p: two-sided; shifts: wave labels rotated within the cycle by one of {options.get('n_rotations')} fractions; effects: which "
        f"cycles have the feature shuffled within each window, {options.get('n_shuffles')} shuffles; records independently, "
        f"{options.get('n_permutations')} times. q: Benjamini-Hochberg over all heads that changed x waves, or x features.",
        "Interval: 95 %, t interval over records.",
        f"Twins: {summary.sizes.get('twin', 0)} copies of the base with every changed tensor changed at random by the same norm, compared "
        f"with the model on the same {options.get('twin_windows')} windows by how far the interval lies from 0, of a twin the largest of "
        "any head at any wave (or feature). Yes: the interval excludes 0, q < 0.05 and p among twins at most 0.05.",
        "Weights: |new - old| / |old|, Frobenius. Heads are numbered from 1: L8H5 is layer 7, head 4 in the data.",
    )
