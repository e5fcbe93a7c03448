"""The numbers of a circuit on the records it was not searched on, means over records, and what is concluded.

`change`: by how much the readout moves where every node is resampled, mean of |F(none) - F(all)|. Only where that is shown, the other
numbers are also given as parts of it: faithfulness, 1 - off / change, with Fieller's interval. Else `off_...` tells in the readout's unit.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from heartlens.inference.intervals import fieller_interval, mean_and_interval
from heartlens.inference.paired import p_values_of_change
from heartlens.inference.verdict import SMALLEST_CHANGE, YES, Among, Claim, decide, reach
from heartlens.measures.resample import q_values
from heartlens.refusal import Refusal

OF_SETS = {  # faithfulness by its name: the sum it is made of
    "faithfulness": "off_circuit",
    "rest_faithfulness": "off_rest",
    "path_faithfulness": "off_path",
    "without_path_faithfulness": "off_without_path",
    "random_faithfulness": "off_random",
    "random_circuit_faithfulness": "off_random_circuit",
    "random_rest_faithfulness": "off_random_rest",
    "toggled_faithfulness": "off_toggled",
}
UNITS = {"beat_probability": "probability", "cross_entropy": "nats"}  # of the model's readouts; that of a last token's task head: logit
MATCHED = "random sets of as many heads and MLPs"
CHANGES = Claim(  # the null value is the smallest change of interest in the readout's unit
    "changes",
    "the readout moves where all heads and MLPs do what they do in another record",
    unit="readout",
    smallest=0.0,
    family="one question",
)
KEEPS = Claim(
    "keeps",
    f"on other records the circuit keeps more than half of the readout, and more than {MATCHED} do",
    unit="faithfulness",
    null=0.5,
    smallest=0.0,
    family="one question",
)
COMPLETE = Claim(
    "complete",
    f"without the circuit more than half of the readout is lost, and more than without {MATCHED}",
    unit="1 - faithfulness of the other nodes",
    null=0.5,
    smallest=0.0,
    family="one question",
)
NEEDED = Claim(
    "needed",
    "the circuit is less faithful without the node",
    unit="faithfulness",
    smallest=0.02,
    family="the circuit's nodes",
)


def summarized(sums: xr.Dataset, seed: int, n_permutations: int = 9999) -> xr.Dataset:
    """The summary of the sums by record. Refuses sums in which no window of a tested record has the readout."""
    n_windows = float(sums["n_windows"].sum())
    if not float(sums["n_tested"].sum()):
        raise Refusal("no window of a tested record has what is to be read; give more records, or records with landmarks")
    tested = sums.isel(record=np.flatnonzero(sums["n_tested"] > 0))
    n_records, (smallest, unit) = tested.sizes["record"], _smallest_of(sums)
    off = {name: _by_record(tested, name) for name in ("off_none", *OF_SETS.values())}

    summary = xr.Dataset(coords={name: sums[name] for name in ("node", "size", "draw")})
    for name in ("in_circuit", "rank", "returns", "searched_faithfulness"):
        summary[name] = sums[name].sum("record") / n_windows
    summary["in_circuit"] = summary["in_circuit"] > 0.5
    summary = summary.assign(_means("change", off["off_none"])).assign(whole=_by_record(tested, "whole").mean("record"))
    changes = replace(CHANGES, unit=unit, null=smallest)
    summary = summary.assign(decide(changes, summary["change"], summary["change_low"], summary["change_high"], n_units=n_records))

    is_shown = str(summary["changes_verdict"].values) == YES
    change = off["off_none"] if is_shown else off["off_none"] * np.nan
    for name, of_set in OF_SETS.items():
        summary = summary.assign(_means(of_set, off[of_set])).assign(_parts(name, change - off[of_set], change))
    member = summary["in_circuit"]
    added = (2.0 * member - 1.0) * (off["off_toggled"] - off["off_circuit"])
    summary = summary.assign(_means("gain_off", added)).assign(_parts("gain", added, change))
    p_value = p_values_of_change(added.transpose("record", "node").values, seed=seed, n_permutations=n_permutations)
    summary["needed_q_value"] = ("node", q_values(np.where(member & is_shown, p_value, np.nan)))

    lost = [1 - summary[f"rest_faithfulness{end}"] for end in ("", "_high", "_low")]
    kept = [summary[f"faithfulness{end}"] for end in ("", "_low", "_high")]
    for claim, (effect, low, high), random_low in (
        (KEEPS, kept, summary["random_circuit_faithfulness_low"]),
        (COMPLETE, lost, 1 - summary["random_rest_faithfulness_high"]),
    ):
        among = Among(reach(claim, low, np.inf), reach(claim, random_low, np.inf))
        summary = summary.assign(decide(claim, effect, low, high, n_units=n_records, twins=among))
    gain, low, high = (summary[f"gain{end}"] for end in ("", "_low", "_high"))
    summary = summary.assign(decide(NEEDED, gain, low, high, n_units=n_records, q_value=summary["needed_q_value"]))
    return summary.assign_attrs(
        sums.attrs,
        readout_unit=unit,
        n_records=sums.sizes["record"],
        n_windows=int(n_windows),
        n_tested_records=n_records,
        n_tested_windows=int(tested["n_tested"].sum()),
        circuit_size=int(member.sum()),
    )


def _smallest_of(sums: xr.Dataset) -> tuple[float, str]:
    """The smallest change of interest of the readout, and its unit; a readout of the caller brings its own."""
    if "readout_unit" in sums.attrs:
        return float(sums.attrs["readout_smallest"]), str(sums.attrs["readout_unit"])
    unit = UNITS.get(sums.attrs["readout"], "logit")
    return SMALLEST_CHANGE[unit], unit


def drawn_as(summary: xr.Dataset) -> tuple[bool, str]:
    """Whether sets are drawn by their faithfulness, which is where the change is shown; and the words for what is drawn."""
    is_shown = str(summary["changes_verdict"].values) == YES
    return is_shown, "faithfulness" if is_shown else f"off by ({summary.attrs['readout_unit']})"


def _by_record(tested: xr.Dataset, name: str) -> xr.DataArray:
    """The mean over each record's tested windows."""
    return (tested[name] / tested["n_tested"]).transpose("record", ...)


def _means(name: str, values: xr.DataArray) -> dict[str, Any]:
    """The mean over records with its t interval."""
    values = values.transpose("record", ...)
    return mean_and_interval(name, values.dims[1:], values.values)


def _parts(name: str, top: xr.DataArray, change: xr.DataArray) -> dict[str, Any]:
    """The ratio of the means of `top` and of the change, with Fieller's interval; NaN where the change is."""
    top = top.transpose("record", ...)
    bottom = np.broadcast_to(change.values.reshape(-1, *(1,) * (top.ndim - 1)), top.shape)
    low, high = fieller_interval(top.values, bottom)
    part = top.values.mean(axis=0) / bottom.mean(axis=0)
    return {f"{name}{end}": (top.dims[1:], each) for end, each in (("", part), ("_low", low), ("_high", high))}
