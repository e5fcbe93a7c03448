"""What fine-tuning changed, in words: which weights, how much attention moved, what it falls on, and what to doubt."""

import numpy as np
import xarray as xr

from heartlens.analyses.attention_shift.methods import NAMES, cautions, methods
from heartlens.axes import head_label
from heartlens.findings import Findings
from heartlens.inference.verdict import is_yes, towards, whole
from heartlens.wording import interval, number, plain

COLUMNS = ("where", "what", "change", "95 % interval", "p", "q", "p among twins", "verdict")
RHYTHMS = ("regular", "irregular")
KEYS = ("", "_low", "_high", "_p_value", "_q_value", "_twin_p", "_verdict")
UNITS = {"shift": "of a row", "effect": "even shares"}


def say(summary: xr.Dataset) -> Findings:
    """The findings; every number is in the summary."""
    attrs = summary.attrs
    waves = [_of(summary.sel(wave=wave), "shift", plain(wave)) for wave in summary["wave"].values]
    return Findings(
        title=f"Attention shift from {attrs['base_checkpoint']} to {attrs.get('checkpoint', 'a model')}",
        question="What did fine-tuning change, where did attention move, and does it move to irregular beats?",
        verdict=(_tensors(summary), *_moved(summary), *waves, *_features(summary), _rhythms(summary)),
        columns=COLUMNS,
        rows=_rows(summary),
        cautions=cautions(summary),
        methods=methods(summary),
    )


def _tensors(summary: xr.Dataset) -> str:
    """Which tensors changed, by the part of the model they belong to."""
    change = summary["tensor_change"]
    names = [str(name) for name in change["tensor"].values]
    places = {_place(name): [] for name in names}  # type: dict[str, list[float]]
    for name, value in zip(names, change.values, strict=True):
        places[_place(name)].append(float(value))
    changed = [f"{place} ({_percent(values)})" for place, values in places.items() if np.nanmax([0, *values]) > 0]
    kept = [place for place, values in places.items() if not np.isnan(values).any() and max(values) == 0]
    replaced = sorted({_place(name) for name in names if np.isnan(float(change.sel(tensor=name)))})
    sentence = f"Changed weights: {', '.join(changed) or 'none'}; not one number changed in {', '.join(_ranges(kept)) or 'nothing'}"
    return sentence + (f"; another {' and '.join(replaced)}." if replaced else ".")


def _place(tensor: str) -> str:
    parts = tensor.split(".")
    return f"block {int(parts[1]) + 1}" if parts[0] == "blocks" else parts[0]


def _ranges(places: list[str]) -> list[str]:
    """Blocks in a row as one: ["block 1", "block 2", "ln_f"] -> ["blocks 1-2", "ln_f"]."""
    blocks = [int(place.split()[1]) for place in places if place.startswith("block ")]
    others = [place for place in places if not place.startswith("block ")]
    if len(blocks) > 1 and blocks == list(range(blocks[0], blocks[-1] + 1)):
        return [*others, f"blocks {blocks[0]}-{blocks[-1]}"]
    return [*others, *(f"block {block}" for block in blocks)]


def _percent(values: list[float]) -> str:
    low, high = np.nanmin(values), np.nanmax(values)
    return f"{100 * low:.3g} to {100 * high:.3g} % a tensor" if np.isfinite(high) else "from 0"


def _changed_layers(summary: xr.Dataset) -> list[int]:
    return [int(layer) for layer in summary["layer"].values if (summary["gained"] + summary["lost"]).sel(layer=layer).max() > 0]


def _moved(summary: xr.Dataset) -> tuple[str, ...]:
    """How much attention moved, and how much of it to the sink, for each layer that changed."""
    layers = _changed_layers(summary)
    if not layers:
        return ("No attention moved: in every layer and head the shift is exactly 0.",)
    return tuple(_moved_in(summary.sel(layer=layer), layer) for layer in layers)


def _moved_in(of_layer: xr.Dataset, layer: int) -> str:
    gained, sink = of_layer["gained"], of_layer["sink_shift"]
    most = int(gained.argmax("head"))
    return (
        f"Layer {layer + 1}: {100 * float(gained.mean()):.0f} % of a row's attention moved (mean over heads; least "
        f"{100 * float(gained.min()):.0f} %, most {100 * float(gained[most]):.0f} % in {head_label(layer, most)}); "
        f"as much was lost as gained. The sink's share changed by {100 * float(sink.mean()):+.1f} points."
    )


def _features(summary: xr.Dataset) -> tuple[str, ...]:
    """What each feature draws, and the answer to the paper's claim."""
    if not _changed_layers(summary):
        return ("Attention to irregular beats: no; nothing moved.",)
    sentences = [_of(summary.sel(feature=name), "effect", NAMES[str(name)]) for name in summary["feature"].values]
    return (*sentences, f"Does attention move to irregular beats? {claim(summary)}: {why(summary)}")


def claim(summary: xr.Dataset) -> str:
    """Does attention move to irregular beats? The answer of the mean over heads of the layers that changed, as in the paper."""
    answers = {}
    for layer in _changed_layers(summary):
        of_layer = summary.sel(feature="irregular", layer=layer)
        answers[f"layer {layer + 1}"] = towards(str(of_layer["layer_effect_verdict"].values), float(of_layer["layer_effect"]))
    return whole(answers)


def why(summary: xr.Dataset) -> str:
    """What single heads do, beside the mean over heads."""
    irregular = summary.sel(feature="irregular")
    heads = irregular["effect"].where(is_yes(irregular, "effect"))
    up, down = int((heads > 0).sum()), int((heads < 0).sum())
    return f"the mean over heads decides; of single heads {up} surely move towards them, {down} away from them."


def _of(selected: xr.Dataset, name: str, what: str) -> str:
    """The means over heads of the changed layers, and the heads that are shown to change, for a wave or a feature."""
    if selected[name].isnull().all():
        return f"{what}: not tested; no record has both." if name == "effect" else f"{what}: not tested; no record has this wave."
    means = "; ".join(_mean_over_heads(selected.sel(layer=layer), name, layer) for layer in _changed_layers(selected))
    places = [(int(layer), int(head)) for layer, head in np.argwhere(is_yes(selected, name).transpose("layer", "head").values)]
    places.sort(key=lambda place: -abs(float(selected[name].sel(layer=place[0], head=place[1]))))
    heads = ", ".join(f"{head_label(*place)} {number(selected[name].sel(layer=place[0], head=place[1]), '+.3f')}" for place in places)
    return f"{what}: {means or 'nothing changed'}. " + (
        f"Heads shown to change: {heads}." if heads else "No single head is shown to change."
    )


def _mean_over_heads(of_layer: xr.Dataset, name: str, layer: int) -> str:
    full = f"layer_{name}"
    low, high, p, twin_p = (float(of_layer[f"{full}_{key}"]) for key in ("low", "high", "p_value", "twin_p"))
    answer = str(of_layer[f"{full}_verdict"].values)
    return (
        f"mean over heads of layer {layer + 1} {number(of_layer[full], '+.3f')} {UNITS[name]} ({interval(low, high, '+.3f')}), p {p:.4f}, "
        f"p among twins {twin_p:.3f}: changes, {answer}"
    )


def _rhythms(summary: xr.Dataset) -> str:
    """How much moves in records of regular and of irregular rhythm."""
    layers = _changed_layers(summary)
    gained = summary["gained_by_rhythm"]
    if not layers or gained.isnull().all("layer").any():
        return "Regular against irregular records: not compared."
    moved, *onto = (
        [float(values.sel(rhythm=rhythm, layer=layers).mean()) for rhythm in RHYTHMS]
        for values in (gained, *(summary["shift_by_rhythm"].sel(wave=wave) for wave in summary["wave"].values))
    )
    effect = [float(summary["effect_by_rhythm"].sel(rhythm=rhythm, feature="irregular", layer=layers).mean()) for rhythm in RHYTHMS]
    waves = "".join(
        f", {wave.replace('_', ' ')} {a:+.3f} and {b:+.3f}" for wave, (a, b) in zip(map(str, summary["wave"].values), onto, strict=True)
    )
    return (
        f"The less and the more irregular half of the records, means over heads: moved {100 * moved[0]:.1f} % and {100 * moved[1]:.1f} %"
        f"{waves}; irregular cycles {effect[0]:+.3f} and {effect[1]:+.3f} even shares."
    )


def _rows(summary: xr.Dataset) -> tuple[tuple[str, ...], ...]:
    """What is shown to change, heads and means over heads, by kind of change, the largest first."""
    rows = []
    for name, axis in (("shift", "wave"), ("effect", "feature")):
        for full, label in ((f"layer_{name}", lambda layer: f"L{layer + 1}, mean"), (name, head_label)):
            values = summary[full].transpose(axis, "layer", ...).values
            places = [tuple(map(int, place)) for place in np.argwhere(is_yes(summary, full).transpose(axis, "layer", ...).values)]
            places.sort(key=lambda place: -abs(float(values[place])))
            rows += [_row(summary, full, axis, place, label(*place[1:])) for place in places]
    return tuple(rows)


def _row(summary: xr.Dataset, name: str, axis: str, place: tuple[int, ...], label: str) -> tuple[str, ...]:
    at = {key: summary[f"{name}{key}"].transpose(axis, "layer", ...).values[place] for key in KEYS}
    what = str(summary[axis].values[place[0]])
    unit = UNITS[name.removeprefix("layer_")]
    change, tested = f"{at['']:+.3f} {unit}", (f"{at['_p_value']:.4f}", f"{at['_q_value']:.4f}", f"{at['_twin_p']:.3f}")
    return (label, NAMES.get(what, plain(what)), change, interval(at["_low"], at["_high"], "+.3f"), *tested, str(at["_verdict"]))
