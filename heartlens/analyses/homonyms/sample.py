"""The sampled tokens of homonyms: what is kept of them, the linear probe of their labels, and the picture of one value's tokens."""

import hashlib
from collections.abc import Mapping

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from heartlens.analyses.homonyms.means import with_interval
from heartlens.axes import LEVELS
from heartlens.measures.homonyms import LABELS
from heartlens.measures.probe import neighbour_plane, principal_plane, probe_accuracy, shuffled_within
from heartlens.windows import Windows

REACH = 2  # token values to both sides that count as one in the picture
MIDDLE = slice(20, 81)  # values of which one is pictured: away from peaks and troughs, where rising and falling meet
N_DRAWN = 400  # points of the picture at most


def sample_of(
    windows: Windows,
    vectors: Float[np.ndarray, "level window time d_model"],
    labels: Mapping[str, Int[np.ndarray, "window time"]],
    levels: list[str],
    n_sampled: int,
) -> xr.Dataset:
    """The `n_sampled` tokens of smallest identity among those with a cycle and a label; empty where there are none."""
    by_label = np.stack([labels[name] for name in LABELS])
    owner, time = np.nonzero((windows.cycle >= 0) & (by_label >= 0).any(axis=0))
    names = [f"{windows.identity[window]}|{token}" for window, token in zip(owner, time, strict=True)]
    identity = np.array([hashlib.blake2b(name.encode(), digest_size=8).hexdigest() for name in names], dtype="<U16")
    first = np.argsort(identity)[:n_sampled]
    if not len(first):
        return xr.Dataset()
    owner, time = owner[first], time[first]
    kept = {
        "vector": (("example", "level", "d_model"), vectors[:, owner, time].swapaxes(0, 1).astype(np.float32)),
        "value": (("example",), windows.tokens[owner, time]),
        "known_label": (("example", "label"), by_label[:, owner, time].T.astype(np.int8)),
        "token_phase": (("example",), windows.phase[owner, time]),
        "identity": (("example",), identity[first]),
        "example_record": (("example",), windows.record[owner]),
        "example_unit": (("example",), windows.unit[owner]),
    }
    return xr.Dataset(kept, coords={"level": levels, "label": list(LABELS)}, attrs={"n_examples": n_sampled})


def probed(sample: xr.Dataset, summary: xr.Dataset, n_shuffles: int, seed: int) -> xr.Dataset:
    """The probe's balanced accuracy (level, label), mean over persons, its interval, and with labels shuffled within a value."""
    by_label = [_probed(sample, str(label), summary, n_shuffles, seed) for label in summary["label"].values]
    return (
        xr.concat(by_label, dim="label", coords="minimal", join="exact").transpose("level", "label").assign_coords(label=summary["label"])
    )


def _probed(sample: xr.Dataset, label: str, summary: xr.Dataset, n_shuffles: int, seed: int) -> xr.Dataset:
    accuracy = np.full((summary.sizes["level"], 1, n_shuffles), np.nan)
    if sample.sizes.get("example", 0):
        labelled = sample.isel(example=sample["known_label"].sel(label=label).values >= 0)
        drawn = shuffled_within(
            labelled["value"].values.astype(int),
            labelled["known_label"].sel(label=label).values.astype(int),
            n_shuffles,
            np.random.default_rng(seed),
        )
        unit = labelled["example_unit"].values
        accuracy = np.stack([probe_accuracy(labelled["vector"].sel(level=level).values, drawn, unit) for level in summary["level"].values])
    by_record = xr.DataArray(accuracy, dims=("level", "record", "shuffle"), coords={"level": summary["level"]})
    null = by_record.isel(shuffle=slice(1, None)).mean("record").mean("shuffle")
    return xr.Dataset({**with_interval("probe_accuracy", by_record.isel(shuffle=0)), "probe_accuracy_null": null})


def pictured(sample: xr.Dataset, plane: str, seed: int) -> xr.Dataset:
    """Tokens of about one value, at every level, in a plane of principal components or t-SNE; without a sample nothing is pictured.

    The value is the one that both rising and falling slopes pass most often.
    """
    if not sample.sizes.get("example", 0):
        return xr.Dataset({"picture_value": np.nan})
    slope = sample["known_label"].sel(label="slope").values
    value = sample["value"].values.astype(int)
    middle = most_visited(value, slope)
    near = np.flatnonzero((np.abs(value - middle) <= REACH) & (slope >= 0) & ~np.isnan(sample["token_phase"].values))[:N_DRAWN]
    tokens = sample.isel(example=near)
    vector = tokens["vector"].transpose("level", "example", "d_model").values
    place, explained = principal_plane(vector)
    if plane == "tsne":
        place, explained = neighbour_plane(vector, seed), np.full_like(explained, np.nan)
    drawn = {
        "picture_value": float(middle),
        "plane": (("level", "example", "component"), place.astype(np.float32)),
        "explained": (("level", "component"), explained),
        "point_value": (("example",), tokens["value"].values),
        "point_phase": (("example",), tokens["token_phase"].values),
        "point_rises": (("example",), slope[near] == 1),
    }
    return xr.Dataset(drawn, coords={"level": sample["level"]})


def most_visited(value: Int[np.ndarray, " example"], slope: Int[np.ndarray, " example"]) -> int:
    """The token value in the MIDDLE within REACH of which the rarer of rising and falling has most tokens."""
    values = np.arange(LEVELS + 1)[MIDDLE]
    near = np.abs(values[:, None] - value) <= REACH
    return int(values[np.minimum((near & (slope == 1)).sum(axis=1), (near & (slope == 0)).sum(axis=1)).argmax()])
