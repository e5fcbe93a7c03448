"""The numbers of a circuit on the records it was not searched on: ratios of sums, with intervals over records."""

from typing import Any

import numpy as np
import xarray as xr

from heartlens.measures.resample import interval_over_records, over
from heartlens.refusal import Refusal

OF_SETS = {  # faithfulness by its name: the sum it is made of
    "faithfulness": "off_circuit",
    "rest_faithfulness": "off_rest",
    "path_faithfulness": "off_path",
    "without_path_faithfulness": "off_without_path",
    "random_faithfulness": "off_random",
    "random_circuit_faithfulness": "off_random_circuit",
    "toggled_faithfulness": "off_toggled",
}


def summarized(sums: xr.Dataset, seed: int) -> xr.Dataset:
    """The summary of the sums by record. Refuses sums in which no window of a tested record has the readout."""
    n_windows = float(sums["n_windows"].sum())
    if not float(sums["n_tested"].sum()):
        raise Refusal("no window of a tested record has what is to be read; give more records, or records with landmarks")
    tested = sums.isel(record=np.flatnonzero(sums["n_tested"] > 0))
    summary = xr.Dataset(coords={name: sums[name] for name in ("node", "size", "draw")})
    for name in ("in_circuit", "rank", "returns", "searched_faithfulness"):
        summary[name] = sums[name].sum("record") / n_windows
    summary["in_circuit"] = summary["in_circuit"] > 0.5
    for name, off in OF_SETS.items():
        summary = summary.assign(_faithfulness(name, tested, tested[off], seed))
    summary = summary.assign(_of_nodes(tested, summary["in_circuit"], seed))
    summary = summary.assign(
        {"whole": tested["whole"].sum() / tested["n_tested"].sum(), "change": tested["off_none"].sum() / tested["n_tested"].sum()}
    )
    reached = summary["random_circuit_faithfulness"] >= summary["faithfulness"]
    summary["random_p_value"] = (1 + reached.sum()) / (1 + reached.size)
    counts = {"n_records": sums.sizes["record"], "n_windows": int(n_windows), "n_tested_records": tested.sizes["record"]}
    counts |= {"n_tested_windows": int(tested["n_tested"].sum()), "circuit_size": int(summary["in_circuit"].sum())}
    return summary.assign_attrs(sums.attrs, **counts)


def _faithfulness(name: str, tested: xr.Dataset, off: xr.DataArray, seed: int) -> dict[str, Any]:
    """1 - sum off / sum off of none, with its interval over records."""
    off = off.transpose("record", ...)
    bottom = np.broadcast_to(tested["off_none"].values.reshape(-1, *(1,) * (off.ndim - 1)), off.shape).copy()
    low, high = interval_over_records(bottom - off.values, bottom, seed=seed)
    value = over((bottom - off.values).sum(axis=0), bottom.sum(axis=0))
    return {f"{name}{end}": (off.dims[1:], found) for end, found in (("", value), ("_low", low), ("_high", high))}


def _of_nodes(tested: xr.Dataset, in_circuit: xr.DataArray, seed: int) -> dict[str, Any]:
    """What each node of the circuit adds to its faithfulness, and each other node would add; with the interval over records."""
    sign = np.where(in_circuit.values, 1.0, -1.0)
    gain = sign * (tested["off_toggled"].transpose("record", "node").values - tested["off_circuit"].values[:, None])
    bottom = np.broadcast_to(tested["off_none"].values[:, None], gain.shape).copy()
    low, high = interval_over_records(gain, bottom, seed=seed)
    return {
        name: ("node", values) for name, values in {"gain": over(gain.sum(0), bottom.sum(0)), "gain_low": low, "gain_high": high}.items()
    }
