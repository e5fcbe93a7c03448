"""What if: each edit is the package's own counterfactual or ablation, and a sham changes as much."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from heartlens.models.edit import ablated
from heartlens.models.load import load
from heartlens.models.readouts import readings_of
from heartlens.models.subject import subject_of
from heartlens.models.what_if import all_ablations, drawn_parts, edit_named, what_if
from heartlens.signals import counterfactuals as cf
from heartlens.signals.simulate import simulated


@pytest.fixture(scope="module")
def subject():
    return subject_of(load("ecg-sim-af"), "torch")


@pytest.fixture(scope="module")
def window():
    return simulated("ecg", 1, 1)


def read(subject, windows):
    return readings_of(subject, windows).of("af_logit")[0][0, 0]


@pytest.mark.parametrize(
    ("text", "edit"),
    [
        ("P:0", cf.without_p),
        ("T:0.5", lambda windows: cf.flattened(windows, "T", 0.5)),
        ("T@2:-1", lambda windows: cf.flattened(windows, "T", 2.0, beat=2)),
        ("beat:2:-0.1", lambda windows: cf.with_beat_moved(windows, -0.1, 2)),
        ("noise:12", lambda windows: cf.with_noise(windows, 12.0)),
        ("f_waves:2", lambda windows: cf.with_f_waves(windows, 2.0)),
        ("rhythm:irregular:0.5", lambda windows: cf.with_rhythm(windows, "irregular", strength=0.5)),
    ],
)
def test_an_edit_of_the_signal_is_the_counterfactual(subject, window, text, edit):
    answer = what_if(subject, window, [text])
    known_by_content = replace(window, record=window.content)
    edited = edit(known_by_content)
    assert np.array_equal(answer.windows.tokens, edited.tokens)
    assert answer.before == pytest.approx(read(subject, window), abs=1e-5)
    assert answer.after == pytest.approx(read(subject, edited), abs=1e-5)
    assert answer.alone[0] == pytest.approx(answer.after, abs=1e-5)
    assert answer.dose[0] == cf.dose_of(window, edited)[0] > 0
    whole_tokens = text.startswith(("beat", "rhythm"))  # a sham moves beats by whole tokens, so its doses come in steps ...
    assert answer.sham_dose[0] == pytest.approx(answer.dose[0], rel=0.5 if whole_tokens else 0.25)  # ... and levels are whole numbers too


@pytest.mark.parametrize(
    ("texts", "parts"),
    [
        (["ablate:L2H3"], {"heads": [(1, 2)]}),
        (["ablate:MLP1", "ablate:L2H1"], {"mlps": [0], "heads": [(1, 0)]}),
        (["ablate:L3"], {"layers": [2]}),
    ],
)
def test_an_edit_of_the_model_is_the_ablation(subject, window, texts, parts):
    with ablated(subject.model, **parts), torch.inference_mode():
        expected = subject.model(torch.from_numpy(window.tokens.astype(np.int64)))[0, -1, 0].item()
    assert what_if(subject, window, texts).after == pytest.approx(expected, abs=1e-4)


def test_edits_act_in_their_order_and_none_changes_nothing(subject, window):
    nothing = what_if(subject, window, [])
    assert nothing.after == nothing.before
    both = what_if(subject, window, ["P:0", "f_waves:2"])
    another_name = replace(window, record=window.content)
    assert both.after == pytest.approx(read(subject, cf.with_f_waves(cf.without_p(another_name), 2.0)), abs=1e-5)


def test_the_map_of_all_ablations_holds_each_single_one(subject, window):
    heads, mlps = all_ablations(subject, window)
    before = what_if(subject, window, []).before
    assert before + heads[2, 1] == pytest.approx(what_if(subject, window, ["ablate:L3H2"], shams=False).after, abs=1e-4)
    assert before + mlps[1] == pytest.approx(what_if(subject, window, ["ablate:MLP2"], shams=False).after, abs=1e-4)


def test_a_sham_of_parts_takes_as_many_others_of_the_same_layers(subject):
    parts = edit_named("ablate:L2H3").parts + edit_named("ablate:L2H1").parts + edit_named("ablate:MLP4").parts
    for drawn in drawn_parts(subject, parts):
        assert [part.is_mlp for part in drawn] == [False, False, True]
        assert all(part.layer == 1 and part.head is not None for part in drawn[:2])
        assert not set(drawn) & set(parts)


def half_and_more(subject):
    """Texts of edits that take away half of the heads of a layer, of the MLPs and of the layers; and one more of each kind."""
    sizes, texts = subject.sizes, []
    for name, n_parts in (("L2H", sizes.n_heads), ("MLP", sizes.n_layers), ("L", sizes.n_layers)):
        every = [f"ablate:{name}{place + 1}" for place in range(n_parts)]
        texts.append((every[: n_parts // 2], every[: n_parts // 2 + 1], every))
    return texts


def test_parts_of_which_fewer_others_are_left_have_no_sham(subject, window):
    """Of half of the parts all others are the sham; of more there is none, though each alone has one."""
    for (half, more, every), what in zip(half_and_more(subject), ("heads of layer 2", "MLPs", "layers"), strict=True):
        assert np.isfinite(what_if(subject, window, half).sham)
        for texts in (more, every):
            answer = what_if(subject, window, texts)
            assert np.isnan(answer.sham)
            assert np.isfinite(answer.sham_alone).all()
            expected = f"{len(texts)} of {len(every)} {what} are taken away, so as many others are not left for a sham"
            assert answer.why_no_sham == (expected,) * len(texts)
            with pytest.raises(ValueError, match=expected):
                drawn_parts(subject, [part for text in texts for part in edit_named(text).parts])


def test_a_sham_of_parts_that_is_missing_leaves_that_of_the_signal(subject, window):
    every = half_and_more(subject)[0][2]
    answer = what_if(subject, window, ["P:0", *every])
    assert answer.why_no_sham[0] == ""
    assert all("are not left for a sham" in why for why in answer.why_no_sham[1:])
    assert np.isfinite(answer.sham_alone).all()
    assert np.isnan(answer.sham)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Q:0", "is no edit; legal: beat"),
        ("P:7", "from -1 to 1"),
        ("P:nan", "from -1 to 1"),
        ("beat:x:1", "names no beat"),
        ("P@x:0", "names no beat; give its number .* as P@3:0"),
        ("P@:0", "names no beat"),
        ("P@2", "from -1 to 1"),
        ("P@99:0", "beat 99 is not shown whole; legal: 0 to"),
        ("Q@2:0", "is no edit"),
        ("beat:99:0.1", "beat 99 has no neighbours"),
        ("rhythm:waltz", "no rhythm; legal: regular"),
        ("ablate:L9H9", "L9H9 is not in this model"),
        ("ablate:MLP9", "MLP9 is not in this model"),
        ("ablate:everything", "names no part"),
        ("dicrotic_notch:0", "not possible in this window"),
    ],
)
def test_what_is_no_edit_is_refused(subject, window, text, reason):
    with pytest.raises(ValueError, match=reason):
        what_if(subject, window, [text])


def test_a_model_without_a_question_is_refused(window):
    with pytest.raises(ValueError, match="ecg-sim has no task head that gives one answer for a window"):
        what_if(subject_of(load("ecg-sim"), "torch"), window, [])
