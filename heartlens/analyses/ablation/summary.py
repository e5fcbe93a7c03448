"""The numbers of an ablation: effects of heads, MLPs and layers with tests, controls and twins, wave ratios and curves.

Records are resampled with the mean over the batches of reference windows (`tests.py`); what the batches differ by is added (`over_draws`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from heartlens.analyses.ablation.tests import Records, Tested, effects_of, intact_of, tested
from heartlens.inference.paired import nearest, ratio_of_effects, settled
from heartlens.measures.resample import q_values, upper_quantile
from heartlens.refusal import Refusal
from heartlens.tally import of_units

if TYPE_CHECKING:
    from heartlens.analyses.ablation import Ablation

ALPHA = 0.05
Statistic = Float[np.ndarray, "*statistic"]
ByReference = Float[np.ndarray, "reference *statistic"]
TESTED = {  # the sums of each kind of part: what its effects' names begin with, and their axes
    "ablated": ("", ("how", "layer", "head")),
    "mlp_ablated": ("mlp_", ("how", "layer")),
    "layer_ablated": ("layer_", ("how", "layer")),
    "cumulative_layers": ("layers_removed_", ("end", "n_layers_removed")),
    "cumulative_heads": ("heads_removed_", ("n_heads_removed",)),
}
CALLED = {"effect": "effect", "low": "effect_low", "high": "effect_high", "p_value": "p_value"}


def summarized(sums: xr.Dataset, twins: Mapping[str, xr.Dataset], options: "Ablation") -> xr.Dataset:
    """The summary of the sums by record."""
    by_reference = sums.expand_dims("reference") if "reference" not in sums.dims else sums
    sums = by_reference.mean("reference") if "reference" in sums.dims else sums
    records, notes = _records(sums, options)
    places = {
        axis: sums[axis] for axis in ("how", "layer", "head", "end", "n_layers_removed", "n_heads_removed", "rank") if axis in sums.coords
    }
    summary = xr.Dataset(coords={**places, "readout": list(records.readouts), "twin": list(twins)})
    for name, (prefix, axes) in TESTED.items():
        if name in sums:
            found = tested(_variants(sums[name], axes, records), records)
            drawn = np.stack(
                [effects_of(_variants(batch, axes, records), records) for batch in by_reference[name].transpose("reference", ...)]
            )
            found.found["low"], found.found["high"] = over_draws(found.found["effect"], found.found["low"], found.found["high"], drawn)
            shape = tuple(sums.sizes[axis] for axis in axes)
            summary = summary.assign(_placed(prefix, axes, shape, found.found))
            if name == "ablated":
                summary = summary.assign(_controlled(sums, twins, found, drawn, records, options))
    summary = summary.assign({name: ("readout", values) for name, values in intact_of(records).items()})
    summary["n_records_with"] = ("readout", records.n_with)
    if "cross_entropy" in records.names:
        summary = summary.assign(_wave_ratios(sums, records))
    counted = {
        "n_records": sums.sizes["record"],
        "n_references": by_reference.sizes["reference"],
        "n_windows": int(sums["n_windows"].sum()),
        "n_labelled": records.n_labelled,
    }
    return summary.assign_attrs(sums.attrs, **counted, label_notes="\n".join(notes))


def over_draws(effect: Statistic, low: Statistic, high: Statistic, drawn: ByReference) -> tuple[Statistic, Statistic]:
    """The interval (low, high) over records, widened by what batches of references differ by; `drawn` are the effects with each batch.

    The margins of the two levels, squared, are added (Graybill & Wang 1980); that of the batches is Student's t times their standard error.
    Of one batch the interval stays as it is: it is then of these reference windows alone.
    """
    from scipy.stats import t as student

    if len(drawn) < 2:
        return low, high
    margin = student.ppf(0.975, len(drawn) - 1) * drawn.std(axis=0, ddof=1) / np.sqrt(len(drawn))
    return effect - np.hypot(effect - low, margin), effect + np.hypot(high - effect, margin)


def _records(sums: xr.Dataset, options: "Ablation") -> tuple[Records, tuple[str, ...]]:
    """The records as they are tested, with their labels, and notes of labels that match nothing."""
    intact, bottom = (sums[name].transpose("record", "readout").values for name in ("intact", "bottom"))
    names = tuple(map(str, sums["readout"].values))
    given: dict[str, Any] = {"threshold": options.threshold, "seed": options.seed, "n_permutations": options.n_permutations}
    if not options.labels:
        return Records(names, intact, bottom, None, **given), ()
    positive, notes = labels_of(list(map(str, sums["record"].values)), of_units(sums), options)
    names += tuple(f"{names[0]}_{label}" for label in options.classes.split(","))
    intact, bottom = (_by_class(values, positive) for values in (intact, bottom))
    return Records(names, intact, bottom, positive, **given), notes


def labels_of(units: list[str], records: list[list[str]], options: "Ablation") -> tuple[np.ndarray, tuple[str, ...]]:
    """1 for a person with what the task head detects, 0 without, -1 where no label tells; and notes of what does not match.

    `records` are those of each person (or a record alone). Refuses a person whose records are labelled differently.
    """
    from heartlens.training.labels import read_record_labels

    left_out = tuple(name.strip() for name in options.leave_out.split(",") if name.strip())
    everyone = [record for own in records for record in own]
    labels = read_record_labels(Path(options.labels), everyone, tuple(options.classes.split(",")), left_out, partial=True)
    positive = []
    for unit, own in zip(units, records, strict=True):
        classes = sorted({labels.of[record] for record in own if record in labels.of})
        if len(classes) > 1:
            named = " and ".join(labels.classes[label] for label in classes)
            raise Refusal(f"{options.labels}: records of {unit} are labelled {named}; a person needs one label: --leave-out leaves one out")
        positive.append(classes[0] if classes else -1)
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


def _placed(prefix: str, axes: tuple[str, ...], shape: tuple[int, ...], found: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Tests of variants under their axes, readouts first, with q-values over all of them (not of what was taken away cumulatively)."""
    placed = {f"{prefix}{CALLED[name]}": _reshaped(values, axes, shape) for name, values in found.items()}
    if "removed" in prefix:
        return {name: pair for name, pair in placed.items() if not name.endswith("p_value")}
    return placed | {f"{prefix}q_value": _reshaped(q_values(found["p_value"]), axes, shape)}


def _reshaped(values: np.ndarray, axes: tuple[str, ...], shape: tuple[int, ...]) -> tuple[tuple[str, ...], np.ndarray]:
    return ("readout", *axes), np.moveaxis(values, -1, 0).reshape(-1, *shape)


def _controlled(
    sums: xr.Dataset, twins: Mapping[str, xr.Dataset], found: Tested, drawn: np.ndarray, records: Records, options: "Ablation"
) -> dict[str, Any]:
    """What each head's effect is held against: heads of matched norm, and twins; and what matters."""
    axes = TESTED["ablated"][1]
    shape = tuple(sums.sizes[axis] for axis in axes)
    norm = (sums["norm"].sum("record") / sums["n_windows"].sum()).transpose("layer", "head").values
    control = _matched(norm.ravel(), options.n_matched, shape[0])
    excess = found.excess(control)
    drawn_excess = drawn - drawn[:, control].mean(axis=2)
    excess["excess_low"], excess["excess_high"] = over_draws(excess["excess"], excess["excess_low"], excess["excess_high"], drawn_excess)
    largest = np.array([_largest(twin, records) for twin in twins.values()]).reshape(len(twins), shape[0], len(records.readouts))
    q_value = q_values(found.found["p_value"])
    up = (found.found["low"] > 0) & (excess["excess_low"] > 0)
    down = (found.found["high"] < 0) & (excess["excess_high"] < 0)
    placed = {name: _reshaped(values, axes, shape) for name, values in excess.items()}
    placed["matters"] = _reshaped((q_value < ALPHA) & (up | down), axes, shape)
    return placed | {
        "null_high": (("readout", "how"), upper_quantile(largest).T),
        "twin_effect": (("twin", "how", "readout"), largest),
        "norm": (("layer", "head"), norm),
    }


def _matched(norm: np.ndarray, n_matched: int, n_hows: int) -> np.ndarray:
    """For each variant (how, head) the variants of the same how whose heads have the nearest norms, the head itself left out."""
    return np.concatenate([nearest(norm, n_matched) + how * len(norm) for how in range(n_hows)])


def _largest(twin: xr.Dataset, records: Records) -> np.ndarray:
    """A twin's largest absolute effect of any head, (how, readout); a readout of one class takes that of all records."""
    twin = twin.mean("reference") if "reference" in twin.dims else twin
    names = tuple(map(str, twin["readout"].values))
    intact, bottom = (twin[name].transpose("record", "readout").values for name in ("intact", "bottom"))
    of_twin = Records(names, intact, bottom, None, records.threshold, records.seed, records.n_permutations)
    ablated = twin["ablated"].transpose("record", "how", "layer", "head", "readout").values
    effect = np.abs(effects_of(ablated.reshape(len(ablated), -1, len(names)), of_twin))
    by_how = np.fmax.reduce(effect.reshape(twin.sizes["how"], -1, effect.shape[1]), axis=1)
    column = {name: by_how[:, place] for place, name in enumerate(of_twin.readouts)}
    unknown = np.full(len(by_how), np.nan)
    of_classes = {name: column[names[0]] for name in records.names if name not in names}
    return np.stack([(column | of_classes).get(name, unknown) for name in records.readouts], axis=1)


def _wave_ratios(sums: xr.Dataset, records: Records) -> dict[str, Any]:
    """The effect on the cross-entropy inside each wave over that outside it, by head, with its interval."""
    axes = TESTED["ablated"][1]
    shape = tuple(sums.sizes[axis] for axis in axes)
    ablated = _variants(sums["ablated"], axes, records)
    change = settled(ablated, np.broadcast_to(records.intact[:, None], ablated.shape))
    every = records.names.index("cross_entropy")
    waves = [wave for wave in sums.attrs["waves"].split(",") if f"cross_entropy_{wave}" in records.names]
    inside = [records.names.index(f"cross_entropy_{wave}") for wave in waves]
    pairs = []
    for values in (change, np.broadcast_to(records.bottom[:, None], change.shape)):
        within = values[..., inside]
        pairs.append(np.stack([within, values[..., [every]] - within]))
    found = zip(("wave_ratio", "wave_ratio_low", "wave_ratio_high"), ratio_of_effects(*pairs), strict=True)
    placed = {name: (("wave", *axes), np.moveaxis(values, -1, 0).reshape(-1, *shape)) for name, values in found}
    return placed | {"wave": waves}
