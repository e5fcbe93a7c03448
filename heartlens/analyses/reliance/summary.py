"""The numbers of a reliance: logits by arm, effects of the factors beside their shams, rivals and twins, and what each head carries."""

import numpy as np
import xarray as xr
from jaxtyping import Float

from heartlens.analyses.reliance.arms import KINDS_OF, contrast
from heartlens.analysis import Beside
from heartlens.inference.intervals import change_interval, mean_interval
from heartlens.inference.paired import p_values_of_change
from heartlens.inference.verdict import SMALLEST_CHANGE, Among, Claim, decide, reach
from heartlens.measures.resample import known_mean, q_values

RELIES = Claim(
    "relies",
    "the factor moves the logit, more than its sham of the same dose does and than it moves models that learnt nothing",
    unit="logit",
    smallest=SMALLEST_CHANGE["logit"],
    family="all factors",
    either=True,
)
CARRIES = Claim(
    "head_carries",
    "the head carries part of the factor's effect, more than of its sham's",
    unit="logit",
    smallest=SMALLEST_CHANGE["logit"],
    family="all heads and factors",
    either=True,
)
SCALES = ("probability", "quantile")  # beside the logit
ByRecord = Float[np.ndarray, "record *what"]
Numbers = dict[str, np.ndarray]


def summarized(sums: xr.Dataset, other: Beside, seed: int, n_permutations: int) -> xr.Dataset:
    """The summary of the sums by record."""
    logit = _logit(sums)
    effects = {of: _effects(logit, sums, of) for of in KINDS_OF}
    tested = _tested(effects["effect"].values, seed, n_permutations)
    summary = xr.Dataset({name: ("factor", values) for name, values in _named(tested, "effect").items()}, coords={"factor": sums["factor"]})
    for of in ("sham", "rival"):
        summary = summary.assign({name: ("factor", values) for name, values in _named(_estimate(effects[of].values), of).items()})
    excess = _named(_estimate((effects["effect"] - effects["sham"]).values), "excess")
    summary = summary.assign({name: ("factor", values) for name, values in excess.items()})
    summary["n_records_with"] = effects["effect"].notnull().sum("record")
    summary = summary.assign(_relies(summary, effects["effect"], other).data_vars)
    cells = _named(_estimate(logit.transpose("record", "p_wave", "rhythm").values), "logit")
    summary = summary.assign({name: (("p_wave", "rhythm"), values) for name, values in cells.items()})
    summary = summary.assign(_scaled(sums)).assign(_doses(sums))
    summary = _heads(summary, sums, seed, n_permutations)
    scale = logit.sel(p_wave="scaled", rhythm="regular") - logit.sel(p_wave="present", rhythm="regular")
    summary = summary.assign({name: ((), values) for name, values in _named(_estimate(scale.values), "scale_effect").items()})
    summary["record_effect"] = effects["effect"].transpose("record", "factor")
    summary["record_logit"] = _as_it_is(sums)
    summary["n_left_out"] = sums["n_left_out"]
    counts = {"n_records": sums.sizes["record"], "n_windows": int(sums["n_windows"].sum())}
    return summary.assign_coords(twin=list(other.twins)).assign_attrs(sums.attrs, **counts)


def _logit(sums: xr.Dataset) -> xr.DataArray:
    """Each record's mean logit by arm; NaN where it has none of the arm."""
    return sums["logit"] / sums["n_arms"].where(sums["n_arms"] > 0)


def _effects(mean: xr.DataArray, sums: xr.Dataset, of: str) -> xr.DataArray:
    """Each record's mean effect of each factor (or of its sham, its rival) on what `mean` has by arm; NaN where it has none of the arms."""
    weights = np.stack([contrast(sums.attrs["kind"], str(name), of).values for name in sums["factor"].values])
    arms = mean.transpose("record", "p_wave", "rhythm").values[:, None]
    by_factor = np.where(weights != 0, arms * weights, 0.0).sum(axis=(2, 3))  # an arm that counts and has no value leaves none
    return xr.DataArray(by_factor, dims=("record", "factor"), coords={"record": mean["record"], "factor": sums["factor"]})


def _scaled(sums: xr.Dataset) -> dict[str, xr.DataArray]:
    """Effects, shams, rivals and the excess over the sham on each of SCALES: `scaled_effect` and so on, with intervals."""
    n_arms = sums["n_arms"].where(sums["n_arms"] > 0)
    by_scale = {"probability": sums["probability"] / n_arms, "quantile": _quantiles(sums) / n_arms}
    effects = {of: np.stack([_effects(by_scale[scale], sums, of).values for scale in SCALES], axis=1) for of in KINDS_OF}
    effects["excess"] = effects["effect"] - effects["sham"]
    named = {name: values for of, each in effects.items() for name, values in _named(_estimate(each), f"scaled_{of}").items()}
    return {name: xr.DataArray(values, dims=("scale", "factor"), coords={"scale": list(SCALES)}) for name, values in named.items()}


def _quantiles(sums: xr.Dataset) -> xr.DataArray:
    """The sum, over each record's windows in each arm, of the part of all records that have a lower logit as they are; of equals half.

    Records count alike, each by the mean of its windows; logits of one bin count as equal.
    """
    real = sums["n_logits"].sel(rhythm="as_it_is", drop=True).sum("p_wave")
    n_windows = real.sum("logit_bin")
    share = (real / n_windows.where(n_windows > 0)).mean("record")  # of records without a window: left out
    below = share.cumsum("logit_bin") - share / 2
    return (sums["n_logits"] * below).sum("logit_bin")


def _doses(sums: xr.Dataset) -> dict[str, xr.DataArray]:
    """The mean dose of each whole edit, and the slope of its effect over the doses, with the slope's interval over records."""
    n_windows = sums["n_doses"].where(sums["n_doses"] > 0).transpose("record", "factor", "change")
    numbers: dict[str, np.ndarray] = {}
    for name in ("token", "embedding"):
        numbers |= {f"dose_{name}": _estimate((sums[f"dose_{name}"] / n_windows).values)[""]}
        top, bottom = ((sums[f"{name}_{of}"] / n_windows).fillna(0.0).values for of in ("effect", "square"))
        whole = bottom.sum(axis=0)
        numbers[f"slope_{name}"] = np.divide(top.sum(axis=0), whole, out=np.full(whole.shape, np.nan), where=whole > 0)
        numbers[f"slope_{name}_low"], numbers[f"slope_{name}_high"] = change_interval(top, bottom)
    return {name: xr.DataArray(values, dims=("factor", "change"), coords={"change": list(KINDS_OF)}) for name, values in numbers.items()}


def _as_it_is(sums: xr.Dataset) -> xr.DataArray:
    """Each record's mean logit with nothing changed; NaN where every window was left out."""
    unchanged = sums[["logit", "n_arms"]].sel(rhythm="as_it_is", drop=True).sum("p_wave")
    return unchanged["logit"] / unchanged["n_arms"].where(unchanged["n_arms"] > 0)


def _estimate(values: ByRecord) -> Numbers:
    """The mean over the records that have a value, and its interval; NaN without a value, the interval also with fewer than two."""
    low, high = mean_interval(values)
    return {"": known_mean(values), "_low": low, "_high": high}


def _tested(values: ByRecord, seed: int, n_permutations: int) -> Numbers:
    """The estimate with the two-sided p of drawing each record's sign at random, and its q over all of `values`; NaN below two records."""
    p_value = p_values_of_change(values, seed=seed, n_permutations=n_permutations)
    return {**_estimate(values), "_p_value": p_value, "_q_value": q_values(p_value)}


def _named(numbers: Numbers, name: str) -> Numbers:
    """`effect`, `effect_low`, ...; p and q values by these names alone where they are of the effect."""
    return {key[1:] if name == "effect" and key.endswith("_value") else f"{name}{key}": values for key, values in numbers.items()}


def _relies(summary: xr.Dataset, effect: xr.DataArray, other: Beside) -> xr.Dataset:
    """Whether the logit relies on each factor, and the twins' mean effects."""
    of_twins = [_effects(_logit(twin.sums), twin.sums, "effect") for twin in other.twins.values()]
    model = effect if other.model is None else _effects(_logit(other.model.sums), other.model.sums, "effect")
    largest = np.array([np.fmax.reduce(reach(RELIES, *mean_interval(twin.values)), axis=None) for twin in of_twins], float)
    values = xr.DataArray(reach(RELIES, *mean_interval(model.values)), dims="factor")
    twins = Among(values, xr.DataArray(largest, dims="twin"), model.notnull().sum("record").drop_vars("factor"))
    numbers = [summary[f"effect{end}"] for end in ("", "_low", "_high")]
    controls = [(summary["excess_low"], summary["excess_high"])]
    answers = decide(RELIES, *numbers, n_units=summary["n_records_with"], q_value=summary["q_value"], twins=twins, controls=controls)
    means = np.array([_estimate(twin.values)[""] for twin in of_twins]).reshape(len(of_twins), effect.sizes["factor"])
    return answers.assign(twin_effect=(("twin", "factor"), means))


def _heads(summary: xr.Dataset, sums: xr.Dataset, seed: int, n_permutations: int) -> xr.Dataset:
    """What each head carries of each factor's effect and of its sham, tested over all heads and factors, and its share of the effect."""
    axes = ("factor", "layer", "head")
    n_swapped = sums["n_swapped"].where(sums["n_swapped"] > 0)
    carried, sham, whole = (sums[f"head_{of}"] / n_swapped for of in ("effect", "sham", "whole"))
    tested = _tested(carried.transpose("record", *axes).values, seed, n_permutations)
    excess = _estimate((carried - sham).transpose("record", *axes).values)
    summary = summary.assign({f"head_{name}": (axes, values) for name, values in _named(tested, "effect").items()})
    summary = summary.assign({f"head_{name}": (axes, values) for name, values in _named(excess, "excess").items()})
    means = {"head_sham": sham.mean("record"), "head_whole": whole.mean("record"), "n_swapped": sums["n_swapped"].sum("record")}
    summary = summary.assign(means)
    summary["head_share"] = summary["head_effect"] / summary["head_whole"]
    numbers = [summary[f"head_effect{end}"] for end in ("", "_low", "_high")]
    controls = [(summary["head_excess_low"], summary["head_excess_high"])]
    n_units = (sums["n_swapped"] > 0).sum("record")
    given, q_value = summary["relies_verdict"], summary["head_q_value"]
    answers = decide(CARRIES, *numbers, n_units=n_units, q_value=q_value, controls=controls, given=given)
    return summary.assign(answers.data_vars)
