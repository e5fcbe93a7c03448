"""The numbers of a patching by arithmetic, and its verdicts on studies in which nothing is to be found: sums made up, no model."""

import numpy as np
import pytest
import xarray as xr

from heartlens.analyses.patching.summary import summarized
from heartlens.inference.intervals import mean_interval

RNG = np.random.default_rng(0)
WHOLE = np.tile([1.0, -1, 2, 2, 3, 1, 1, 1, 2, 2, 3, 1], 2)  # two records go the other way
N_PAIRS, N_TWINS = 2, 19


def noise():
    """Of mean 0 over records."""
    drawn = RNG.normal(0, 0.1, len(WHOLE))
    return drawn - drawn.mean()


ONES = np.ones(len(WHOLE))
HEADS = np.stack([0.8 * WHOLE + noise(), -0.8 * WHOLE + noise(), 0.5 + 5 * noise(), np.where(WHOLE == 3, 15.0, 0.0)], axis=1)
CONTROL = np.stack([0 * WHOLE, -0.8 * WHOLE + noise(), 0 * WHOLE, 0 * WHOLE], axis=1)
MEANS = [0.8 * WHOLE.mean(), -0.8 * WHOLE.mean(), 0.5, 2.5]


def sums_of(heads=HEADS, whole=WHOLE, control=CONTROL, of_control=0.3 * WHOLE, direction="denoise"):
    """Records of two pairs: a layer of heads, whose effect is the same in P as at all tokens; all else does nothing.

    A control of None: the pairs have none.
    """
    n, sign = len(whole), 1 if direction == "denoise" else -1
    nothing = {
        "direct": ("layer", "head"),
        "stream": ("level", "place"),
        "stream_back": ("level", "lag"),
        "path": ("part", "layer", "head"),
    }
    has_control = control is not None
    control = control if has_control else 0 * heads
    sizes = {"layer": 1, "head": heads.shape[1], "level": 2, "place": 2, "lag": 2, "part": 3}
    values = {name: (axes, np.zeros((n, *(sizes[axis] for axis in axes)))) for name, axes in nothing.items()}
    values |= {"effect": (("layer", "head", "place"), sign * np.repeat(heads[:, None, :, None], 2, axis=-1))}
    values |= {"control_effect": (("layer", "head"), sign * control[:, None])}
    values |= {"cross_model": (("side", "swapped"), np.tile(np.array([[3.0, 1.0], [1.0, 1.0]]), (n, 1, 1)))}  # clean, then corrupt
    values |= {"clean": ((), whole + 5), "corrupt": ((), 0 * whole + 5), "control": ((), whole + 5 - of_control)}
    values |= {"base_logit": (("side",), np.full((n, 2), [7.0, 4.0])), "n_unchanged": ((), 0 * whole), "n_pairs": ((), 1 + 0 * whole)}
    values |= {"n_windows": ((), 2 + 0 * whole), "n_controls": ((), has_control + 0 * whole)}
    places = {"place": ["P", "all"], "part": ["Q", "K", "V"], "record": np.arange(n), "head": np.arange(heads.shape[1])}
    told = {"counterfactual": "without_p", "readout": "af_logit", "direction": direction, "receiver": "none", "kind": "ecg"}
    return xr.Dataset({name: (("record", *axes), N_PAIRS * each) for name, (axes, each) in values.items()}, coords=places, attrs=told)


STILL = sums_of(heads=np.zeros((8, 4)), whole=np.zeros(8), control=np.zeros((8, 4)), of_control=np.zeros(8))


def summary_of(twins=None, n_permutations=9999, **what):
    """With twins that do nothing where none are given."""
    sums = sums_of(**what)
    twins = {f"shuffled {index}": STILL for index in range(N_TWINS)} if twins is None else twins
    return summarized(sums, sums, twins, 0, n_permutations)


def answers(summary, name="carries", **where):
    return summary[f"{name}_verdict"].sel(**where).values.ravel().tolist()


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_effects_are_means_towards_the_clean_readout_with_t_intervals_and_parts_of_the_difference(direction):
    summary = summary_of(direction=direction)
    effect = summary.sel(place="all").isel(layer=0)
    assert effect["effect"].values == pytest.approx(MEANS)
    expected = mean_interval(HEADS)
    assert effect["effect_low"].values == pytest.approx(expected[0])
    assert effect["effect_high"].values == pytest.approx(expected[1])
    assert effect["effect_part"].values == pytest.approx(np.array(MEANS) / 1.5)
    assert summary["control_effect"].values[0] == pytest.approx([0, -0.8 * 1.5, 0, 0])
    assert summary["beyond_control"].values[0] == pytest.approx(np.array(MEANS) - [0, -0.8 * 1.5, 0, 0])


def test_the_differences_are_of_clean_and_counterfactual_and_of_clean_and_control():
    summary = summary_of()
    assert float(summary["difference"]) == pytest.approx(WHOLE.mean())
    expected = mean_interval(WHOLE)
    assert [float(summary["difference_low"]), float(summary["difference_high"])] == pytest.approx([float(end) for end in expected])
    assert float(summary["control_difference"]) == pytest.approx(0.3 * WHOLE.mean())
    assert float(summary["difference_beyond_control"]) == pytest.approx(0.7 * WHOLE.mean())
    np.testing.assert_allclose(summary["record_difference"], WHOLE)
    assert answers(summary, "moves") == ["yes"]
    assert summary.attrs["readout_unit"] == summary["moves_verdict"].attrs["unit"] == "logit"


def test_heads_carry_either_way_beyond_their_control_and_over_records():
    """Not one that the control moves as much, nor one of four records alone."""
    assert answers(summary_of()) == ["yes", "not shown", "yes", "not shown"]
    assert answers(summary_of(control=0 * CONTROL)) == ["yes", "yes", "yes", "not shown"]


def test_a_head_that_surely_does_less_than_a_tenth_of_the_difference_carries_none_of_it():
    heads = HEADS.copy()
    heads[:, 1], heads[:, 2] = 0.2 * noise(), 0.05 * 1.5 + 0.2 * noise()
    assert answers(summary_of(heads=heads, control=0 * CONTROL)) == ["yes", "no", "yes", "not shown"]
    heads[:, 2] = 0.05 * 1.5 + 3 * noise()
    assert answers(summary_of(heads=heads, control=0 * CONTROL))[2] == "not shown"


NOT_SHOWN = {
    "the control moves the readout as much": {"of_control": WHOLE + noise()},
    "the readout goes either way": {"whole": WHOLE * np.where(np.arange(24) % 2, 1, -1)},
}


@pytest.mark.parametrize("what", NOT_SHOWN.values(), ids=list(NOT_SHOWN))
def test_without_a_difference_no_head_is_judged_and_no_part_given(what):
    summary = summary_of(**what)
    assert answers(summary, "moves") == ["not shown"]
    assert set(answers(summary)) == set(answers(summary, "at_wave")) == set(answers(summary, "in_cycle")) == {"not tested"}
    assert summary["effect_part"].isnull().all()
    assert summary["effect"].sel(place="all").values[0] == pytest.approx(MEANS)


def test_a_difference_that_is_surely_too_small_to_be_of_interest_is_a_no():
    small = summary_of(whole=noise(), of_control=0 * WHOLE)
    assert answers(small, "moves") == ["no"]
    assert small["moves_verdict"].attrs["smallest"] == 0.25


def test_too_few_records_no_twins_and_no_control_are_not_tested():
    few = {"whole": WHOLE[:7], "heads": HEADS[:7], "control": CONTROL[:7], "of_control": 0 * WHOLE[:7]}
    assert answers(summary_of(**few), "moves") == ["not tested"]
    for summary in (summary_of(twins={}), summary_of(control=None)):
        assert answers(summary, "moves") == ["not tested"]
        assert set(answers(summary)) == {"not tested"}
    assert summary_of(control=None)["control_difference"].isnull()


def test_twins_are_compared_by_how_far_their_intervals_lie_beyond_nothing():
    """One twin whose second head moves its readout by 6 beyond doubt, and whose difference is 2 beyond doubt."""
    heads = np.zeros((8, 4))
    heads[:, 1] = -6.0
    twin = sums_of(heads=heads, whole=np.full(8, 2.0), control=0 * heads, of_control=np.zeros(8))
    summary = summary_of(twins={"as good": twin} | {f"shuffled {index}": STILL for index in range(N_TWINS - 1)})
    assert summary["twin_effect_reach"].values.tolist() == pytest.approx([6, *[0] * 18])
    assert summary["twin_difference_reach"].values.tolist() == pytest.approx([2, *[0] * 18])
    assert float(summary["moves_twin_p"]) == pytest.approx(2 / 20)  # the model's interval begins at 0.84
    assert answers(summary, "moves") == ["not shown"]


def test_a_head_no_better_than_a_twins_best_carries_nothing():
    heads = np.zeros((8, 4))
    heads[:, 1] = -6.0
    twin = sums_of(heads=heads, whole=np.zeros(8), control=0 * heads, of_control=np.zeros(8))
    summary = summary_of(twins={"as good": twin} | {f"shuffled {index}": STILL for index in range(N_TWINS - 1)})
    assert answers(summary, "moves") == ["yes"]
    assert answers(summary) == ["not shown"] * 4


def test_what_is_sure_but_for_how_many_heads_were_tested_is_not_shown():
    """Of nine records p is 2 / 512 at best; of 20 heads that is q = 0.08."""
    heads = np.zeros((9, 20))
    heads[:, 0] = 0.8 + HEADS[:9, 0] * 0.01
    still = {
        f"shuffled {index}": sums_of(heads=np.zeros((8, 20)), whole=np.zeros(8), control=np.zeros((8, 20)), of_control=np.zeros(8))
        for index in range(19)
    }
    summary = summary_of(twins=still, whole=np.ones(9), heads=heads, control=0 * heads, of_control=np.zeros(9))
    assert float(summary["effect_p_value"].isel(layer=0, head=0).sel(place="all")) < 0.01
    assert answers(summary)[0] == "not shown"


def test_waves_are_asked_of_heads_that_carry_alone_and_the_stream_at_all_tokens_not_at_all():
    summary = summary_of()
    assert answers(summary, "at_wave", place="P") == ["yes", "not tested", "yes", "not tested"]
    assert set(answers(summary, "at_wave", place="all")) == {"not tested"}
    assert set(answers(summary, "direct")) == {"no", "not tested"}
    assert set(answers(summary, "in_stream", place="all")) == {"not tested"}
    assert set(answers(summary, "in_stream", place="P")) == {"no"}


def test_shares_of_fine_tuning_are_of_the_recording_and_of_its_difference():
    summary = summary_of()
    assert summary["cross_model"].values.tolist() == [[3, 1], [2, 0]]
    assert summary["base_logit"].values.tolist() == [7, 3]


def null_study(rng, kind, n_records=24, n_heads=4):
    """A study without anything to be found: each head's effect by record, of the edit and of its control; the differences are their sums.

    `still`: neither moves the readout, in the mean over records. `alike`: both move it alike, by every head. Where effects were signed by
    each record's own difference, 14 of 20 studies of the first kind had a head that "survived".
    """
    mean = np.where(kind == "alike", 0.5, 0.0)
    edit, control = (mean + rng.normal(0, 1, (n_records, n_heads)) * rng.gamma(2, 0.5, (n_records, 1)) for _ in range(2))
    return {"heads": edit, "whole": edit.sum(axis=1), "control": control, "of_control": control.sum(axis=1)}


@pytest.mark.parametrize("kind", ["still", "alike"])
def test_at_most_one_study_in_twenty_without_anything_has_a_yes(kind):
    """Two edits drawn alike: the twins, which do nothing, cannot help."""
    rng, n_studies = np.random.default_rng(1), 20
    claims = ("moves", "carries", "at_wave", "direct", "path", "in_stream", "in_cycle")
    n_with_yes = 0
    for _ in range(n_studies):
        summary = summary_of(n_permutations=1999, **null_study(rng, kind))
        n_with_yes += any(bool((summary[f"{claim}_verdict"] == "yes").any()) for claim in claims)
    assert n_with_yes <= 0.05 * n_studies


def test_where_the_difference_is_real_at_most_one_study_in_twenty_names_a_head_that_does_nothing_or_as_much_under_the_control():
    """One head carries the difference; half of the others move the readout alike under both edits, half not at all."""
    rng, n_studies = np.random.default_rng(2), 20
    still = sums_of(heads=np.zeros((8, 16)), whole=np.zeros(8), control=np.zeros((8, 16)), of_control=np.zeros(8))
    twins = {f"shuffled {index}": still for index in range(N_TWINS)}
    n_wrong, n_right = 0, 0
    for _ in range(n_studies):
        edit, control = (np.where(np.arange(16) % 2, 0.5, 0.0) + rng.normal(0, 0.5, (16, 16)) for _ in range(2))
        edit[:, 0] += 10
        study = {"heads": edit, "whole": edit.sum(axis=1), "control": control, "of_control": control.sum(axis=1)}
        carries = np.array(answers(summary_of(twins=twins, n_permutations=1999, **study))) == "yes"
        n_right, n_wrong = n_right + carries[0], n_wrong + carries[1:].any()
    assert n_right == n_studies
    assert n_wrong <= 0.05 * n_studies
