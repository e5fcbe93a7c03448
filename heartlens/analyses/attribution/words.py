"""What an attribution found, in words: what makes the output and its differences, where it takes shape, what patching moves."""

import json

import numpy as np
import xarray as xr

from heartlens.axes import head_label
from heartlens.findings import Findings, doubts
from heartlens.wording import interval, interval_at

COLUMNS = ("output", "part", "direct", "95 % interval", "p", "q", "twins (95 %)", "part of the variation", "survives")
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


def _of(here: xr.Dataset, output: str) -> str:
    """What makes one output, on the mean over records."""
    told = READ.get(output, f"that of tokens in {output.replace('_', ' ')}")
    told = told[0].upper() + told[1:]  # `capitalize` would make a P wave a p wave
    if np.isnan(here["logit"]):
        return f"{told}: no record has it."
    heads = _survivors(here["direct"], here["direct_survives"])
    named = ", ".join(f"{head_label(*place)} {float(here['direct'].values[place]):+.2f}" for place in heads[:N_NAMED])
    more = f" and {len(heads) - N_NAMED} more" if len(heads) > N_NAMED else ""
    said = f"heads that survive: {named}{more}" if heads else "no head survives all controls"
    mlps = ", ".join(
        f"MLP {layer + 1} {float(here['direct_mlp'][layer]):+.2f}"
        for (layer,) in _survivors(here["direct_mlp"], here["direct_mlp_survives"])[:3]
    )
    rest = [f"{name} {float(here[f'direct_{name}']):+.2f}" for name in ("embedding", "position", "constant")]
    whole = f"{told} is {float(here['logit']):+.2f} ({interval_at(here, 'logit', '+.2f')})"
    return (
        f"{whole} = heads {float(here['direct'].sum()):+.2f}, attention biases {float(here['direct_attention_bias'].sum()):+.2f}, "
        f"MLPs {float(here['direct_mlp'].sum()):+.2f}, {', '.join(rest)}; {said}" + (f"; {mlps}." if mlps else ".")
    )


def _survivors(values: xr.DataArray, survives: xr.DataArray) -> list[Place]:
    """The places that survive, the largest first."""
    places = [tuple(map(int, place)) for place in np.argwhere(survives.values)]
    return sorted(places, key=lambda place: -abs(float(values.values[place])))


def _variation(summary: xr.Dataset) -> str:
    """What makes the first output differ between records."""
    here = summary.isel(output=0)
    parts = _parts(here, "_variation")
    if all(np.isnan(value) for _, value, _ in parts):
        return "Differences between records: not compared; they take three records."
    parts.sort(key=lambda part: -abs(part[1]))
    named = ", ".join(f"{label} {100 * value:.0f} % ({interval})" for label, value, interval in parts[:N_NAMED])
    return f"Of the differences between records' outputs ({READ.get(str(here['output'].item()), '')}) the largest parts are: {named}."


def _parts(here: xr.Dataset, ending: str) -> list[tuple[str, float, str]]:
    """Every head and MLP by its name, with a number and its interval in percent."""
    found = []
    for name, label in (("direct", head_label), ("direct_mlp", lambda layer: f"MLP {layer + 1}")):
        values, low, high = (here[f"{name}{ending}{end}"].values for end in ("", "_low", "_high"))
        for place in np.ndindex(values.shape):
            found.append((label(*place), float(values[place]), f"{_percent(float(low[place]))} to {_percent(float(high[place]))}"))
    return found


def _percent(value: float) -> str:
    return "?" if np.isnan(value) else f"{100 * value:.0f}"


def _lens(summary: xr.Dataset) -> str:
    """At which level the output takes shape."""
    if "lens_cross_entropy" in summary:
        nats = summary["lens_cross_entropy"]
        told = ", ".join(f"{level} {float(value):.2f}" for level, value in zip(summary["level"].values, nats.values, strict=True))
        most = str(summary["level"].values[1:][int(np.argmin(np.diff(nats.values)))])
        return f"Logit lens, cross-entropy in nats by level: {told}; it falls most in {most}."
    line = summary["lens_logit"].isel(output=0)
    told = ", ".join(f"{level} {float(value):+.2f}" for level, value in zip(summary["level"].values, line.values, strict=True))
    return f"Logit lens, the logit by level: {told}."


def _patching(summary: xr.Dataset) -> tuple[str, ...]:
    """What patching moves, and whether the estimates rank the heads alike."""
    n_pairs = int(summary.attrs["n_pairs"])
    if not n_pairs or summary["activation_patching"].isnull().all():
        return ("Nothing was patched: it takes windows of two records whose outputs differ.",)
    exact = summary["activation_patching"]
    places = sorted(np.ndindex(exact.shape), key=lambda place: -abs(float(exact.values[place])))[:N_NAMED]
    named = ", ".join(
        f"{head_label(*place)} {float(exact.values[place]):+.2f} ({_at(summary, 'activation_patching', place)}; q "
        f"{float(summary['activation_patching_q_value'].values[place]):.3f})"
        for place in places
    )
    agreement = (
        f"Rank agreement (Spearman over heads, mean over records) with exact patching: integrated gradients "
        f"{_agreement(summary, 'rank_agreement')}; one gradient at the clean activations {_agreement(summary, 'rank_agreement_gradient')}."
    )
    return (f"Each head patched with that of another record ({n_pairs} windows), part of the whole change: {named}.", agreement)


def _agreement(summary: xr.Dataset, name: str) -> str:
    value, of_sums = float(summary[name]), float(summary[f"{name}_of_sums"])
    return f"{value:.2f} ({interval_at(summary, name, '+.2f')}), of the sums over records {of_sums:.2f}"


def _at(summary: xr.Dataset, name: str, place: Place) -> str:
    low, high = (float(summary[f"{name}_{end}"].values[place]) for end in ("low", "high"))
    return interval(low, high, "+.2f")


def _rows(here: xr.Dataset, output: str) -> list[tuple[str, ...]]:
    """The heads and MLPs that survive, the largest first, then the rest of the sum."""
    rows = []
    for name, label in (("direct", head_label), ("direct_mlp", lambda layer: f"MLP {layer + 1}")):
        rows += [_row(here, output, name, place, label(*place)) for place in _survivors(here[name], here[f"{name}_survives"])]
    return rows + [_row(here, output, f"direct_{name}", (), name) for name in ("embedding", "position", "constant")]


def _row(here: xr.Dataset, output: str, name: str, place: Place, label: str) -> tuple[str, ...]:
    value, p, q, part = (float(here[f"{name}{key}"].values[place]) for key in ("", "_p_value", "_q_value", "_variation"))
    limit = float(here[f"{name}_null_high"])
    tested = (f"{p:.4f}", f"{q:.4f}", "not measured" if np.isnan(limit) else f"{limit:.3f}", f"{_percent(part)} %")
    return (output, label, f"{value:+.3f}", _at(here, name, place), *tested, "yes" if here[f"{name}_survives"].values[place] else "no")


def _cautions(summary: xr.Dataset) -> tuple[str, ...]:
    found = doubts(summary.attrs, int(summary.attrs["n_twins"]))
    found.append("A part that adds the same to every record also survives: what tells records apart is the variation, not the mean.")
    found.append(
        "Direct attribution shows what a part adds to the output itself, not what it gives later parts to work with: see patching."
    )
    found.append("A partner is another person's window with beats elsewhere: patching tells person and rhythm apart from nothing else.")
    return tuple(found)


def _methods(summary: xr.Dataset) -> tuple[str, ...]:
    options = json.loads(summary.attrs.get("options", "{}"))
    return (
        "Direct: with the final LayerNorm's scale of each token as it is, what a part adds to the stream times the direction of the "
        "output; the sum of all parts is compared with the model's own output at every token (1e-4, else the run stops).",
        "Read: a task head's logit at the last token, or at the middle token of every R or systolic peak and elsewhere; of a model that "
        "predicts tokens the true next token's logit less the mean over the vocabulary, by the wave that token lies in.",
        f"Means over a record's tokens, then over records. Interval: 95 %, BCa bootstrap over records. p: two-sided, each record's sign "
        f"drawn at random {options.get('n_permutations')} times; q: Benjamini-Hochberg over all parts x outputs.",
        f"Twins: {summary.attrs['n_twins']} models, half with random, half with shuffled weights, each on {options.get('twin_windows')} "
        "windows; their limit is the 95 % quantile of the largest absolute value of any part of the same kind.",
        "Part of the variation: covariance over records of a part with the output, over the output's variance; all parts sum to 1.",
        "Logit lens: final norm and unembedding of the residual stream at each level; the line is the sum of token x probability.",
        f"Patching: a window's activation of one part replaced by that in a window of another record; sum over pairs of the change towards "
        f"the partner's output, over the sum of the whole changes. Estimate: change times gradient, the mean of {options.get('n_steps')} "
        "gradients between both activations of a layer, or the one at the clean activations.",
        "Heads are numbered from 1: L8H5 is layer 7, head 4 in the data.",
    )
