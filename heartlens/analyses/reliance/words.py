"""What a reliance says: how much of the logit is rhythm, how much P wave, how much only both together; which heads; what to doubt."""

import numpy as np
import xarray as xr

from heartlens.axes import head_label
from heartlens.findings import Findings, doubts, n_units
from heartlens.inference.verdict import LEAST_UNITS, YES, is_yes
from heartlens.wording import interval_at, number, p_value, with_interval

NAMES = {"rhythm": "rhythm", "p_wave": "P wave", "interaction": "interaction", "rhythm_no_p": "rhythm, no own P"}
RIVALS = {"rhythm": "in order", "p_wave": "less T", "interaction": "less T, in order", "rhythm_no_p": "in order"}
ASKED = {
    "rhythm": "the irregular rhythm",
    "p_wave": "the absence of P waves",
    "interaction": "both together beyond their sum",
    "rhythm_no_p": "the irregular rhythm, in windows without P waves of their own",
}
COLUMNS = (
    "factor or head",
    "change of logit",
    "95 % interval",
    "p",
    "q",
    "sham",
    "another edit",
    "p among twins",
    "tokens changed by each",
)
N_NAMED = 5  # heads of each factor in the verdict
LEAST_DOSE = 0.8  # of the effect's dose; below it a control counts as weaker
MOST_LISTED = 12  # records whose windows were left out


def say(summary: xr.Dataset) -> Findings:
    """The findings; every number is in the summary."""
    factors = list(map(str, summary["factor"].values))
    return Findings(
        title=f"What the logit of {summary.attrs.get('checkpoint', 'a model')} relies on",
        question="How much of the AF logit is rhythm, how much P wave, and how much only both together?",
        verdict=(_before(summary), *_whole(summary), *(_of(summary.sel(factor=factor), factor) for factor in factors), *_heads(summary)),
        columns=COLUMNS,
        rows=(*(_row(summary.sel(factor=factor), NAMES[factor]) for factor in factors), *_head_rows(summary)),
        cautions=cautions(summary),
        methods=METHODS,
    )


def _before(summary: xr.Dataset) -> str:
    """The logits of the records as they are, and how many records and windows count."""
    logit = summary["record_logit"].dropna("record").values
    spread = f", SD {logit.std(ddof=1):.2f} between records" if len(logit) > 1 else ""
    out = int(summary["n_left_out"].sum())
    return (
        f"{summary.attrs['n_records']} records, {summary.attrs['n_windows']} windows; {out} were left out (beats not marked, or no room "
        f"between them). The logit as it is: mean {logit.mean():+.2f}{spread}. All other arms are synthetic: made from these windows."
    )


def _whole(summary: xr.Dataset) -> tuple[str, ...]:
    """The change from regular with P waves to irregular without, split."""
    factors = [str(name) for name in summary["factor"].values]
    if "p_wave" not in factors:
        return ("A pulse has no P wave: only the rhythm can be changed.",)
    if np.isnan(summary["effect"].sel(factor="p_wave")):
        return ("No window shows enough P waves to remove: only the rhythm was changed.",)
    rhythm, p_wave, both = (float(summary["effect"].sel(factor=name)) for name in ("rhythm", "p_wave", "interaction"))
    whole, n_records = rhythm + p_wave, int(summary["n_records_with"].sel(factor="p_wave"))
    parts = (("rhythm alone", rhythm - both / 2), ("the missing P wave alone", p_wave - both / 2), ("only both together", both))
    listed = ", ".join(f"{value:+.2f} {name} ({_share(value, whole)})" for name, value in parts)
    return (f"From regular with P waves to irregular without ({n_records} records): {whole:+.2f}, of which {listed}.",)


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if abs(whole) > 1e-9 else "no share: nothing changed"


def _of(of_factor: xr.Dataset, factor: str) -> str:
    """Whether the logit relies on a factor."""
    n_records = int(of_factor["n_records_with"])
    asked = f"Does the logit rely on {ASKED[factor]}?"
    if n_records == 0:
        return f"{asked} Not tested: no record has such windows."
    numbers = f"{with_interval(of_factor, 'effect', '+.3f')}, {n_records} record{'s' if n_records > 1 else ''}"
    sham, rival, twin_p = number(of_factor["sham"], "+.3f"), number(of_factor["rival"], "+.3f"), number(of_factor["relies_twin_p"], ".3f")
    controls = f"sham {sham}, {RIVALS[factor]} {rival}, p among twins {twin_p}{_slopes(of_factor)}{_on_scales(of_factor)}"
    answer = str(of_factor["relies_verdict"].values)
    way = (" (raises it)" if float(of_factor["effect"]) > 0 else " (lowers it)") if answer == YES else ""
    return f"{asked} {_capital(answer)}{way}: {numbers}, p {number(of_factor['p_value'], '.4f')}; {controls}."


def _slopes(of_factor: xr.Dataset) -> str:
    """Effect and sham per 100 tokens of change; nothing for the interaction, which has no dose."""
    effect, sham = (of_factor.sel(change=of) for of in ("effect", "sham"))
    if np.isnan(effect["slope_token"]):
        return ""
    per = [f"{100 * float(each['slope_token']):+.3f}" for each in (effect, sham)]
    return f"; per 100 summed tokens of change {per[0]}, sham {per[1]}"


def _on_scales(of_factor: xr.Dataset) -> str:
    """The effect and its sham on the other scales."""
    effects = (f"{scale} {number(of_factor['scaled_effect'].sel(scale=scale), '+.2f')}" for scale in map(str, of_factor["scale"].values))
    shams = " and ".join(number(of_factor["scaled_sham"].sel(scale=scale), "+.2f") for scale in map(str, of_factor["scale"].values))
    return f"; on other scales {', '.join(effects)} (shams {shams})"


def _heads(summary: xr.Dataset) -> tuple[str, ...]:
    """The heads that carry most of each effect."""
    return tuple(
        _carried(summary.sel(factor=name), str(name)) for name in summary["factor"].values if summary["n_swapped"].sel(factor=name) > 0
    )


def _carried(of_factor: xr.Dataset, factor: str) -> str:
    effect, kept = (values.transpose("layer", "head").values for values in (of_factor["head_effect"], is_yes(of_factor, "head_carries")))
    largest = np.argsort(-np.abs(effect), axis=None)[:N_NAMED]
    whole = (
        float(of_factor["head_whole"]) if bool(is_yes(of_factor, "relies")) else 0.0
    )  # a share of an effect that is not shown would mean nothing
    places = [(int(flat) // effect.shape[1], int(flat) % effect.shape[1]) for flat in largest]
    listed = ", ".join(_with_share(head_label(*place), float(effect[place]), whole, bool(kept[place])) for place in places)
    whole_effect = f"{_capital(NAMES[factor])} ({number(of_factor['head_whole'], '+.3f')} in {int(of_factor['n_swapped'])} windows)"
    return f"{whole_effect} is carried most by: {listed}."


def _with_share(head: str, effect: float, whole: float, is_sure: bool) -> str:
    share = f" ({_share(effect, whole)})" if whole else ""
    return f"{head} {effect:+.3f}{share}{'' if is_sure else ' (not shown)'}"


def cautions(summary: xr.Dataset) -> tuple[str, ...]:
    """What to doubt."""
    reasons = doubts(summary.attrs, summary.sizes.get("twin", 0))
    for name, n in summary["n_records_with"].to_series().items():
        if 0 < n < min(LEAST_UNITS, n_units(summary.attrs)):
            reasons.append(f"{_capital(NAMES[str(name)])} rests on {int(n)} of the records: fewer than {LEAST_UNITS} test nothing.")
    out = summary["n_left_out"].where(summary["n_left_out"] > 0, drop=True).to_series()
    if len(out):
        listed = [f"{name}: {int(n)}" for name, n in out.items()]
        more = f", and {len(out) - MOST_LISTED} more records" if len(out) > MOST_LISTED else ""
        reasons.append(f"Windows whose beats could not be moved were left out ({', '.join(listed[:MOST_LISTED])}{more}).")
    weak = [
        f"{NAMES[str(factor)]}, {name}: {float(part):.0%} of the effect's"
        for factor in summary["factor"].values
        for name in ("sham", "rival")
        if (part := _dose_of(summary, factor, name) / _dose_of(summary, factor, "effect")) < LEAST_DOSE
    ]
    if weak:
        reasons.append(f"Of these controls the change of tokens is smaller ({'; '.join(weak)}): compare slopes, not effects.")
    reasons.append("The arms are synthetic: no fibrillatory waves are added, pulses keep their height, diastole is stretched.")
    reasons.append("A logit saturates: where a first change has raised it, a second one adds less. See the other scales, and the sham.")
    reasons.append("P waves without a mark stay, and what is wrongly marked as one is removed; the detector finds fewer P waves in noise.")
    return tuple(reasons)


def _dose_of(summary: xr.Dataset, factor: object, change: str) -> float:
    return float(summary["dose_token"].sel(factor=factor, change=change))


METHODS = (
    "Irregular: intervals drawn anew above a refractory floor with the spread of simulated AF; regular: their mean. The first and the last "
    "beat, the mean rate and every QRS complex stay; diastole takes the change, T and P are compressed where it cannot.",
    "P waves removed: a stretch of the window's own baseline, its noise and drift, in the place of each, without a step. Edited windows "
    "are scaled to their own least and largest value, as the published tokeniser scales recordings (`scale_effect`: what that alone does).",
    "Rhythm: mean change from regular to irregular, with and without P waves. P wave: mean change when it is removed, in both rhythms. "
    "Interaction: the change by rhythm without P waves less that with them. Windows that show no P waves of their own count only in "
    "'rhythm, no own P'.",
    "Sham: of the rhythm, all inner beats moved together, the intervals between them equal; of the P wave, baseline beside P waves bent. "
    "Another edit: the same irregular intervals in order of length; T waves flattened. Shams, and the flattening, are as strong as changes "
    "the window's tokens as much as the edit, where they can (dose: summed change of tokens). All are measured in the same two states of "
    "the other factor as the effect; the interaction's are the mean of two, one factor replaced in each.",
    "Slope: sum of effect times dose over sum of squared doses, over strengths from part of the edit to the whole; of tokens, and of "
    "embeddings (length of each token's change). Other scales: probability; quantile, the part of all records whose logit as they are is "
    "lower.",
    "Mean over a record's windows, then over records (persons, where known). Interval: 95 %, t interval that allows for skewness. p: "
    "two-sided. q: Benjamini-Hochberg over the factors; for heads over all heads and factors.",
    "Relies: the interval excludes 0, q < 0.05, effect less sham has an interval on the same side of 0, and p among twins (same weights "
    "in random order, the same windows) at most 0.05. No: the interval lies within 0.25 logits.",
    "Carried by a head: the change of the logit when this head alone mixes (z, at all positions) what it mixes in the other arm; "
    "asked only where the logit relies on the factor: q < 0.05, the interval and that of the effect less the sham on the same side of 0. "
    "Heads act through each other, so what they carry need not add up.",
)


def _row(of_factor: xr.Dataset, name: str) -> tuple[str, ...]:
    values = (
        number(of_factor["effect"], "+.3f"),
        interval_at(of_factor, "effect", "+.3f"),
        p_value(of_factor["p_value"]),
        p_value(of_factor["q_value"]),
    )
    dose = of_factor["dose_token"].sel(change=["effect", "sham", "rival"]).values
    doses = "" if np.isnan(dose).all() else ", ".join(number(each, ".0f") for each in dose)  # the interaction has none
    return (
        name,
        *values,
        number(of_factor["sham"], "+.3f"),
        number(of_factor["rival"], "+.3f"),
        number(of_factor["relies_twin_p"], ".3f"),
        doses,
    )


def _head_rows(summary: xr.Dataset) -> tuple[tuple[str, ...], ...]:
    """The heads that carry a factor's effect, the largest first."""
    rows = []
    for factor in map(str, summary["factor"].values):
        of_factor = summary.sel(factor=factor).transpose("layer", "head", ...)
        places = [(int(layer), int(head)) for layer, head in np.argwhere(is_yes(of_factor, "head_carries").values)]
        for layer, head in sorted(places, key=lambda place: -abs(float(of_factor["head_effect"].values[place]))):
            of_head = of_factor.sel(layer=layer, head=head)
            values = (
                number(of_head["head_effect"], "+.3f"),
                interval_at(of_head, "head_effect", "+.3f"),
                p_value(of_head["head_p_value"]),
                p_value(of_head["head_q_value"]),
            )
            rows.append((f"{head_label(layer, head)}, {NAMES[factor]}", *values, number(of_head["head_sham"], "+.3f"), "", "", ""))
    return tuple(rows)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
