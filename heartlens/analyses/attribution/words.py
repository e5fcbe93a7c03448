"""What an attribution found, in words: what makes the output and its differences, where it takes shape, what patching moves."""

import json

import numpy as np
import xarray as xr

from heartlens.analyses.attribution.summary import CHANGE
from heartlens.axes import head_label
from heartlens.findings import Findings, doubts
from heartlens.inference.verdict import LEAST_UNITS, NOT_TESTED, is_yes
from heartlens.wording import interval, interval_at, p_value, with_interval

COLUMNS = ("output", "part", "direct", "95 % interval", "p", "q", "p among twins", "part of the variation", "adds to the output")
N_NAMED = 5  # parts that a sentence names
READ = {
    "logit": "the logit at the last token",
    "difference": "the logit at beats less elsewhere",
    "beat": "the logit at beats",
    "elsewhere": "the logit elsewhere",
    "all": "the true next token's logit less the mean",
}
Place = tuple[int, ...]


def say(summary: xr.Dataset) -> Findings:
    """The findings; every number is in the summary."""
    outputs = [str(name) for name in summary["output"].values]
    return Findings(
        title=f"Attribution of {summary.attrs.get('checkpoint', 'a model')}",
        question="Which parts of the model make its output, at which level does it take shape, and does patching agree?",
        verdict=(*(_of(summary.sel(output=name), name) for name in outputs), _variation(summary), _lens(summary), *_patching(summary)),
        columns=COLUMNS,
        rows=tuple(row for name in outputs for row in _rows(summary.sel(output=name), name)),
        cautions=_cautions(summary),
        methods=_methods(summary),
    )


def _of(of_output: xr.Dataset, output: str) -> str:
    """What makes one output, on the mean over records."""
    readout = READ.get(output, f"that of tokens in {output.replace('_', ' ')}")
    readout = readout[0].upper() + readout[1:]  # `capitalize` would make a P wave a p wave
    if np.isnan(of_output["logit"]):
        return f"{readout}: no record has it."
    heads = _adding(of_output, "direct")
    named = ", ".join(f"{head_label(*place)} {float(of_output['direct'].values[place]):+.2f}" for place in heads[:N_NAMED])
    more = f" and {len(heads) - N_NAMED} more" if len(heads) > N_NAMED else ""
    is_tested = not bool((of_output["direct_verdict"] == NOT_TESTED).all())
    untested = f"heads: not tested ({int(of_output['n_records_with'])} records, {LEAST_UNITS} and twins are needed)"
    of_heads = f"heads that add to it: {named}{more}" if heads else "of no head it is shown that it adds to it" if is_tested else untested
    mlps = ", ".join(f"MLP {layer + 1} {float(of_output['direct_mlp'][layer]):+.2f}" for (layer,) in _adding(of_output, "direct_mlp")[:3])
    rest = [f"{name} {float(of_output[f'direct_{name}']):+.2f}" for name in ("embedding", "position", "constant")]
    whole = f"{readout} is {float(of_output['logit']):+.2f} ({interval_at(of_output, 'logit', '+.2f')})"
    names = {"heads": "direct", "attention biases": "direct_attention_bias", "MLPs": "direct_mlp"}
    sums = [f"{what} {float(of_output[name].sum()):+.2f}" for what, name in names.items()]
    return f"{whole} = {', '.join([*sums, *rest])}; {of_heads}" + (f"; {mlps}." if mlps else ".")


def _adding(summary: xr.Dataset, name: str) -> list[Place]:
    """The places of the parts whose answer is yes, the largest first."""
    places = [tuple(map(int, place)) for place in np.argwhere(is_yes(summary, name).values)]
    return sorted(places, key=lambda place: -abs(float(summary[name].values[place])))


def _variation(summary: xr.Dataset) -> str:
    """What makes the first output differ between records."""
    of_output = summary.isel(output=0)
    parts = _parts(of_output, "_variation")
    if all(np.isnan(value) for _, value, _ in parts):
        return "Differences between records: not compared; they take three records."
    parts.sort(key=lambda part: -abs(part[1]))
    named = ", ".join(f"{label} {100 * value:.0f} % ({interval})" for label, value, interval in parts[:N_NAMED])
    return f"Of the differences between records' outputs ({READ.get(str(of_output['output'].item()), '')}) the largest parts are: {named}."


def _parts(of_output: xr.Dataset, ending: str) -> list[tuple[str, float, str]]:
    """Every head and MLP by its name, with a number and its interval in percent."""
    parts = []
    for name, label in (("direct", head_label), ("direct_mlp", lambda layer: f"MLP {layer + 1}")):
        values, low, high = (of_output[f"{name}{ending}{end}"].values for end in ("", "_low", "_high"))
        for place in np.ndindex(values.shape):
            parts.append((label(*place), float(values[place]), f"{_percent(float(low[place]))} to {_percent(float(high[place]))}"))
    return parts


def _percent(value: float) -> str:
    return "?" if np.isnan(value) else f"{100 * value:.0f}"


def _lens(summary: xr.Dataset) -> str:
    """At which level the output takes shape."""
    if "lens_cross_entropy" in summary:
        nats = summary["lens_cross_entropy"]
        by_level = ", ".join(f"{level} {float(value):.2f}" for level, value in zip(summary["level"].values, nats.values, strict=True))
        most = str(summary["level"].values[1:][int(np.argmin(np.diff(nats.values)))])
        return f"Logit lens, cross-entropy in nats by level: {by_level}; it falls most in {most}."
    line = summary["lens_logit"].isel(output=0)
    by_level = ", ".join(f"{level} {float(value):+.2f}" for level, value in zip(summary["level"].values, line.values, strict=True))
    return f"Logit lens, the logit by level: {by_level}."


def _patching(summary: xr.Dataset) -> tuple[str, ...]:
    """What patching moves, and whether the estimates rank the heads alike."""
    n_pairs = int(summary.attrs["n_pairs"])
    if not n_pairs or summary["activation_patching"].isnull().all():
        return ("Nothing was patched: it takes windows of two records whose outputs differ.",)
    exact = summary["activation_patching"]
    carrying = _adding(summary, "activation_patching")
    largest = sorted(np.ndindex(exact.shape), key=lambda place: -abs(float(exact.values[place])))
    named = ", ".join(
        f"{head_label(*place)} {float(exact.values[place]):+.2f} ({_at(summary, 'activation_patching', place)})"
        for place in (carrying or largest)[:N_NAMED]
    )
    answer = str(summary["activation_patching_verdict"].values.flat[0]) if not carrying else ""
    untested = f"not tested, {LEAST_UNITS} records are needed" if answer == NOT_TESTED else "of no head it is shown that it carries that"
    who = f"{len(carrying)} of {exact.size} heads carry part of it, most {named}" if carrying else f"{untested}; the largest are {named}"
    whole = f"{with_interval(summary, 'change', '.2f')} logits (more than {CHANGE.null:g}: {summary['change_verdict'].item()})"
    agreement = (
        f"Rank agreement (Spearman over heads, mean over records) with exact patching: integrated gradients "
        f"{_agreement(summary, 'rank_agreement')}; one gradient at the clean activations {_agreement(summary, 'rank_agreement_gradient')}."
    )
    return (
        f"A window of another person changes the output by {whole}. Each head patched with that of another person ({n_pairs} windows), "
        f"part of the whole change: {who}.",
        agreement,
    )


def _agreement(summary: xr.Dataset, name: str) -> str:
    value, of_sums = float(summary[name]), float(summary[f"{name}_of_sums"])
    return f"{value:.2f} ({interval_at(summary, name, '+.2f')}), of the sums over records {of_sums:.2f}"


def _at(summary: xr.Dataset, name: str, place: Place) -> str:
    low, high = (float(summary[f"{name}_{end}"].values[place]) for end in ("low", "high"))
    return interval(low, high, "+.2f")


def _rows(of_output: xr.Dataset, output: str) -> list[tuple[str, ...]]:
    """The heads and MLPs that add to the output, the largest first, then the rest of the sum."""
    rows = []
    for name, label in (("direct", head_label), ("direct_mlp", lambda layer: f"MLP {layer + 1}")):
        rows += [_row(of_output, output, name, place, label(*place)) for place in _adding(of_output, name)]
    return rows + [_row(of_output, output, f"direct_{name}", (), name) for name in ("embedding", "position", "constant")]


def _row(of_output: xr.Dataset, output: str, name: str, place: Place, label: str) -> tuple[str, ...]:
    value, p, q, part, among = (
        float(of_output[f"{name}{key}"].values[place]) for key in ("", "_p_value", "_q_value", "_variation", "_twin_p")
    )
    tested = (p_value(p), p_value(q), p_value(among), f"{_percent(part)} %")
    return (output, label, f"{value:+.3f}", _at(of_output, name, place), *tested, str(of_output[f"{name}_verdict"].values[place]))


def _cautions(summary: xr.Dataset) -> tuple[str, ...]:
    reasons = doubts(summary.attrs, int(summary.attrs["n_twins"]))
    reasons.append("A part may add the same to every record: what differs between records is in the variation, not in the mean.")
    reasons.append(
        "Direct attribution shows what a part adds to the output itself, not what it gives later parts to work with: see patching."
    )
    reasons.append(
        "A partner is another person's window, with its beats at other places: effects of person and of rhythm are not told apart."
    )
    return tuple(reasons)


def _methods(summary: xr.Dataset) -> tuple[str, ...]:
    options = json.loads(summary.attrs.get("options", "{}"))
    return (
        "Direct: with the final LayerNorm's scale of each token as it is, what a part adds to the stream times the direction of the "
        "output; the sum of all parts is compared with the model's own output at every token (to 1e-4; beyond that the run stops).",
        "Read: a task head's logit at the last token, or at the middle token of every R or systolic peak and elsewhere; of a model that "
        "predicts tokens the true next token's logit less the mean over the vocabulary, by the wave that token lies in.",
        f"Means over a record's tokens, then over records. Interval: 95 %, t over records. p: two-sided, the larger one "
        f"of random signs ({options.get('n_permutations')} draws) and of a t-test that allows for skewness; q: Benjamini-Hochberg over the "
        "parts of one kind, of one output.",
        f"Twins: {summary.attrs['n_twins']} models with the same weights in random order, compared with the model on the same "
        f"{options.get('twin_windows')} windows: how far a part's interval lies from 0, in SDs of twins at that output, with "
        "the farthest of its kind in a twin at any output.",
        f"Adds to the output: the interval leaves out 0, q < 0.05, p among twins at most 0.05. No: the interval lies within 0.25 logits "
        f"of 0. Not tested: fewer than {LEAST_UNITS} records, or no twins. Not shown: else.",
        "Part of the variation: covariance over records of a part with the output, over the output's variance; all parts sum to 1.",
        "Logit lens: final norm and unembedding of the residual stream at each level; the line is the sum of token x probability.",
        f"Patching: a window's activation of one part replaced by that in a window of another person; sum over pairs of the change towards "
        f"the partner's output, over the sum of the whole changes. Estimate: change times gradient, the mean of {options.get('n_steps')} "
        "gradients between both activations of a layer, or the one at the clean activations.",
        "Carries: the interval of exact patching leaves out 0 and q < 0.05 (over heads, or MLPs); asked where the mean whole change is "
        f"shown to be larger than {CHANGE.null:g} logits. No: the interval lies within 5 % of the whole change.",
        "Heads are numbered from 1: L8H5 is layer 7, head 4 in the data.",
    )
