"""The numbers of an ablation: effects of heads, MLPs and layers, what is concluded of each, costs by wave, and curves.

Effects and tests are of the mean over the batches of reference windows; what batches differ by is added to the intervals (`over_draws`).
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from heartlens.analyses.ablation import claims
from heartlens.analyses.ablation.tests import Arrays, Records, effects_of, intact_of, tested
from heartlens.analysis import Beside
from heartlens.inference.intervals import mean_interval
from heartlens.inference.paired import p_values_of_change, ratio_of_effects, settled
from heartlens.inference.peers import excess_over_peers
from heartlens.inference.verdict import Among, Claim, concatenated, decide
from heartlens.measures.resample import known_mean, over, q_values
from heartlens.refusal import Refusal

TESTED = {  # the sums of each kind of part: what its effects' names begin with, and their axes
    "ablated": ("", ("how", "layer", "head")),
    "mlp_ablated": ("mlp_", ("how", "layer")),
    "layer_ablated": ("layer_", ("how", "layer")),
    "cumulative_layers": ("layers_removed_", ("end", "n_layers_removed")),
    "cumulative_heads": ("heads_removed_", ("n_heads_removed",)),
}
NORMAL_QUANTILE = 1.959964  # a margin over this is the standard error of what is normal and has that margin
CALLED = {"effect": "effect", "low": "effect_low", "high": "effect_high", "p_value": "p_value"}
PARTS = {"": "heads", "mlp_": "MLPs", "layer_": "layers"}
HEADS = ("readout", *TESTED["ablated"][1])
Statistic = Float[np.ndarray, "*statistic"]
ByReference = Float[np.ndarray, "reference *statistic"]
Labelled = tuple[np.ndarray, tuple[str, ...]]  # 1, 0 or -1 by record; notes


def summarized(
    sums: xr.Dataset, other: Beside, labelled: Labelled | None, classes: list[str], *, threshold: float, seed: int, n_permutations: int
) -> xr.Dataset:
    """The summary of the sums by record; `labelled` and `classes` are what `labels_of` tells and the names of the labels."""
    by_reference = sums if "reference" in sums.dims else sums.expand_dims("reference")
    sums = _over_references(sums)
    positive, notes = (None, ()) if labelled is None else labelled
    intact, bottom = (sums[name].transpose("record", "readout").values for name in ("intact", "bottom"))
    names = tuple(map(str, sums["readout"].values))
    task = task_of(names)
    if positive is not None:
        names += tuple(f"{names[0]}_{label}" for label in classes)
        intact, bottom = (_by_class(values, positive) for values in (intact, bottom))
    records = Records(names, task, intact, bottom, positive, threshold, seed, n_permutations)
    places = {
        axis: sums[axis] for axis in ("how", "layer", "head", "end", "n_layers_removed", "n_heads_removed", "rank") if axis in sums.coords
    }
    summary = xr.Dataset(coords={**places, "readout": list(records.readouts), "twin": list(other.twins)})
    smallest, units = zip(*map(claims.smallest_of, records.readouts), strict=True)
    summary = summary.assign(smallest=("readout", list(smallest)), unit=("readout", list(units)))
    summary = summary.assign({name: ("readout", values) for name, values in intact_of(records).items()})
    summary["n_records_with"] = ("readout", records.n_with)
    for name, (prefix, axes) in TESTED.items():
        if name in sums:
            tests = tested(_variants(sums[name], axes, records), records)
            drawn = np.stack(
                [effects_of(_variants(batch, axes, records), records) for batch in by_reference[name].transpose("reference", ...)]
            )
            tests["low"], tests["high"] = over_draws(tests["effect"], tests["low"], tests["high"], drawn)
            tests["error"] = np.hypot(tests["error"], margin_of_draws(drawn) / NORMAL_QUANTILE)
            summary = summary.assign(_placed(prefix, axes, tuple(sums.sizes[axis] for axis in axes), tests))
            if prefix in PARTS:
                summary = summary.assign(_answers(partial(claims.changes, parts=PARTS[prefix]), summary, prefix))
            if name == "ablated":
                summary = _beside_peers(sums, other, summary, tests)
    if "cross_entropy" in records.names:
        summary = _of_waves(sums, by_reference, summary, records)
    counted = {
        "n_records": sums.sizes["record"],
        "n_references": by_reference.sizes["reference"],
        "n_windows": int(sums["n_windows"].sum()),
        "n_labelled": records.n_labelled,
    }
    return summary.assign_attrs(sums.attrs, **counted, label_notes="\n".join(notes))


def task_of(names: tuple[str, ...]) -> str:
    """What the names of the task head's readouts begin with; the model's readouts come after those of the caller.

    >>> task_of(("af_logit", "af_probability")), task_of(("my_margin", "beat_misses", "beat_extras"))
    ('af', 'beat')
    """
    return names[-1].split("_")[0]


def margin_of_draws(drawn: ByReference) -> Statistic:
    """Half the 95 % interval of a mean over batches of references, by what they differ by: Student's t times their standard error.

    Of one batch 0: what is said is then of these reference windows alone.
    """
    from scipy.stats import t as student

    if len(drawn) < 2:
        return np.zeros(drawn.shape[1:])
    return np.asarray(student.ppf(0.975, len(drawn) - 1) * drawn.std(axis=0, ddof=1) / np.sqrt(len(drawn)))


def over_draws(effect: Statistic, low: Statistic, high: Statistic, drawn: ByReference) -> tuple[Statistic, Statistic]:
    """The interval (low, high) over records, widened by what batches of references differ by; `drawn` are the effects with each batch.

    The margins of the two levels, squared, are added (Graybill & Wang 1980).
    """
    margin = margin_of_draws(drawn)
    return effect - np.hypot(effect - low, margin), effect + np.hypot(high - effect, margin)


def _over_references(sums: xr.Dataset) -> xr.Dataset:
    """The mean over the batches of reference windows."""
    return sums.mean("reference", keep_attrs=True) if "reference" in sums.dims else sums


def labels_of(units: list[str], records: list[list[str]], path: Path, classes: list[str], leave_out: str) -> Labelled:
    """1 for a person with what the task head detects, 0 without, -1 where no label tells; and notes of what does not match.

    `records` are those of each person (or a record alone). Refuses a person whose records are labelled differently.
    """
    from heartlens.training.labels import read_record_labels

    left_out = tuple(name.strip() for name in leave_out.split(",") if name.strip())
    everyone = [record for unit_records in records for record in unit_records]
    labels = read_record_labels(path, everyone, tuple(classes), left_out, partial=True)
    positive = []
    for unit, unit_records in zip(units, records, strict=True):
        of_unit = sorted({labels.of[record] for record in unit_records if record in labels.of})
        if len(of_unit) > 1:
            named = " and ".join(labels.classes[label] for label in of_unit)
            raise Refusal(f"{path}: records of {unit} are labelled {named}; a person needs one label: --leave-out leaves one out")
        positive.append(of_unit[0] if of_unit else -1)
    return np.array(positive), labels.notes


def _by_class(values: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Sums (record, ..., readout), beside them those of the first readout for the records of either class alone."""
    of_class = [np.where((positive == label).reshape(-1, *(1,) * (values.ndim - 2)), values[..., 0], 0.0) for label in (0, 1)]
    return np.concatenate([values, np.stack(of_class, axis=-1)], axis=-1)


def _variants(sums: xr.DataArray, axes: tuple[str, ...], records: Records) -> np.ndarray:
    """The sums as (record, variant, readout)."""
    values = sums.transpose("record", *axes, "readout").values
    flat = values.reshape(len(values), -1, values.shape[-1])
    return flat if records.positive is None else _by_class(flat, records.positive)


def _placed(prefix: str, axes: tuple[str, ...], shape: tuple[int, ...], tests: Arrays) -> dict[str, Any]:
    """Tests of variants under their axes, readouts first; q-values within one readout and one way of taking away, of curves none."""
    placed = {f"{prefix}{CALLED[name]}": (("readout", *axes), _reshaped(tests[name], shape)) for name in CALLED}
    if prefix not in PARTS:
        return {name: pair for name, pair in placed.items() if not name.endswith("p_value")}
    return placed | {f"{prefix}q_value": (("readout", *axes), _family_wise(_reshaped(tests["p_value"], shape)))}


def _family_wise(p_value: np.ndarray) -> np.ndarray:
    """The q-values (question, how, ...) with a family for each question (a readout, a wave) and way of taking away."""
    return np.array([[q_values(family) for family in question] for question in p_value]).reshape(p_value.shape)


def _reshaped(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(variant, question) as (question, *shape)."""
    return np.moveaxis(values, -1, 0).reshape(-1, *shape)


def _answers(
    claim_of: Callable[[str], Claim], summary: xr.Dataset, prefix: str = "", demands: Callable[[xr.Dataset], dict[str, Any]] | None = None
) -> xr.Dataset:
    """The answers to one claim for every readout, whose units and smallest effects differ and stand in the summary.

    `demands` gives what else is asked, from the summary of one readout.
    """
    answers = []
    for readout in map(str, summary["readout"].values):
        at = summary.sel(readout=readout)
        effect, low, high = (at[f"{prefix}effect{end}"] for end in ("", "_low", "_high"))
        further = demands(at) if demands else {}
        n_records, q_value = at["n_records_with"], at[f"{prefix}q_value"]
        answers.append(decide(claim_of(readout), effect, low, high, n_units=n_records, q_value=q_value, **further))
    return concatenated(answers, "readout")


def _beside_peers(sums: xr.Dataset, other: Beside, summary: xr.Dataset, tests: Arrays) -> xr.Dataset:
    """What heads of its norm let expect of each head and whether it stands out; of the last way, whether further than twins' heads do."""
    n_heads, n_hows = summary.sizes["layer"] * summary.sizes["head"], summary.sizes["how"]
    effect, error = (np.moveaxis(tests[name].reshape(n_hows, n_heads, -1), 0, 1) for name in ("effect", "error"))
    excess = excess_over_peers(effect, error, _norm(sums).values.ravel())
    shape = (-1, *(summary.sizes[axis] for axis in HEADS[1:]))
    named = {"expected": excess.expected, "excess_low": excess.low, "excess_high": excess.high}
    beside_norm = {name: (HEADS, np.transpose(values, (2, 1, 0)).reshape(shape)) for name, values in named.items()}
    summary = summary.assign(beside_norm).assign(norm=_norm(sums))
    summary = summary.assign(_answers(claims.matters, summary, demands=lambda at: {"controls": [(at["excess_low"], at["excess_high"])]}))
    on_twin_windows = sums if other.model is None else _over_references(other.model.sums)
    standing = _standing(on_twin_windows).reindex(readout=summary["readout"])
    largest = [
        _standing(_over_references(twin.sums)).max(("layer", "head")).reindex(readout=summary["readout"]) for twin in other.twins.values()
    ]
    twin_standing = xr.concat(largest, dim="twin") if largest else xr.DataArray(np.empty((0, len(standing))), dims=("twin", "readout"))
    summary = summary.assign(standing_on_twin_windows=standing, twin_standing=(("twin", "readout"), twin_standing.values))

    def among_twins(at: xr.Dataset) -> dict[str, Any]:
        twins = Among(at["standing_on_twin_windows"], at["twin_standing"], on_twin_windows.sizes["record"])
        return {"controls": [(at["excess_low"], at["excess_high"])], "twins": twins}

    return summary.assign(_answers(claims.learnt, summary.isel(how=-1, drop=True), demands=among_twins))


def _norm(sums: xr.Dataset) -> xr.DataArray:
    """The norm of what each head adds to the stream, mean over tokens and windows."""
    return (sums["norm"].sum("record") / sums["n_windows"].sum()).transpose("layer", "head")


def _standing(sums: xr.Dataset) -> xr.DataArray:
    """How far each head lies from heads of its norm, either way, in standard errors: of the last way, (readout, layer, head)."""
    names = tuple(map(str, sums["readout"].values))
    intact, bottom = (sums[name].transpose("record", "readout").values for name in ("intact", "bottom"))
    records = Records(names, task_of(names), intact, bottom, None, threshold=0.5, seed=0, n_permutations=1)
    tests = tested(_variants(sums["ablated"].isel(how=-1), ("layer", "head"), records), records)
    standing = np.abs(excess_over_peers(tests["effect"], tests["error"], _norm(sums).values.ravel()).studentised)
    places = {"readout": list(records.readouts), "layer": sums["layer"], "head": sums["head"]}
    shape = (-1, sums.sizes["layer"], sums.sizes["head"])
    return xr.DataArray(_reshaped(standing, shape[1:]), dims=("readout", "layer", "head"), coords=places)


def _of_waves(sums: xr.Dataset, by_reference: xr.Dataset, summary: xr.Dataset, records: Records) -> xr.Dataset:
    """What each head costs inside each wave less what it costs outside (a token, mean over records), the ratio of both, and the answers."""
    axes = TESTED["ablated"][1]
    shape = tuple(sums.sizes[axis] for axis in axes)
    every = records.names.index("cross_entropy")
    waves = [wave for wave in sums.attrs["waves"].split(",") if f"cross_entropy_{wave}" in records.names]
    inside = [records.names.index(f"cross_entropy_{wave}") for wave in waves]

    def within_and_elsewhere(values: np.ndarray) -> np.ndarray:
        """(2, record, variant, wave) of values (record, variant, readout)."""
        return np.stack([values[..., inside], values[..., [every]] - values[..., inside]])

    def changed(ablated: xr.DataArray) -> np.ndarray:
        values = _variants(ablated, axes, records)
        return within_and_elsewhere(settled(values, np.broadcast_to(records.intact[:, None], values.shape)))

    def costs_apart(tops: np.ndarray) -> np.ndarray:
        """(record, variant, wave): what a token inside costs less what one elsewhere does; NaN where the record has none of either."""
        of_wave, elsewhere = over(tops, bottoms)
        return of_wave - elsewhere

    tops = changed(sums["ablated"])
    bottoms = within_and_elsewhere(np.broadcast_to(records.bottom[:, None], (*tops.shape[1:3], len(records.names))))
    apart = costs_apart(tops)
    p_value = _reshaped(p_values_of_change(apart, seed=records.seed, n_permutations=records.n_permutations), shape)
    named = dict(zip(("wave_ratio", "wave_ratio_low", "wave_ratio_high"), ratio_of_effects(tops, bottoms), strict=True))
    drawn = np.stack([known_mean(costs_apart(changed(batch))) for batch in by_reference["ablated"].transpose("reference", ...)])
    named["inside_excess"] = known_mean(apart)
    ends = over_draws(named["inside_excess"], *mean_interval(apart), drawn)
    named |= dict(zip(("inside_excess_low", "inside_excess_high"), ends, strict=True))
    numbers = {name: (("wave", *axes), _reshaped(values, shape)) for name, values in named.items()}
    numbers |= {"inside_p_value": (("wave", *axes), p_value), "inside_q_value": (("wave", *axes), _family_wise(p_value))}
    summary = summary.assign(numbers).assign_coords(wave=waves)
    answers = []
    for wave in waves:
        at, readout = summary.sel(wave=wave), f"cross_entropy_{wave}"
        effect, low, high = (at[f"inside_excess{end}"] for end in ("", "_low", "_high"))
        n_records, given = (summary[name].sel(readout=readout, drop=True) for name in ("n_records_with", "changes_verdict"))
        answers.append(decide(claims.INSIDE, effect, low, high, n_units=n_records, q_value=at["inside_q_value"], given=given))
    return summary.assign(concatenated(answers, "wave"))
