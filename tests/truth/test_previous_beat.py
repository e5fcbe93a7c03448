"""PreviousBeat finds the head that looks one beat back, by arithmetic; and what the frame gives an analysis: findings, figure, refusals."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import xarray as xr
from planted import model_of, random_state

from heartlens.analyses.previous_beat import PreviousBeat
from heartlens.analysis import refuse_unfinished, run
from heartlens.axes import CONTEXT
from heartlens.inference.verdict import Claim, decide
from heartlens.models.attended import attended
from heartlens.models.planted import SamePhase, Wave, planted
from heartlens.refusal import Refusal
from heartlens.signals.simulate import simulated
from heartlens.signals.simulate.regular import regular
from heartlens.standard import Standard
from heartlens.tally import Tally, tallied

WINDOWS = regular("ecg", 8)  # cycles of 80 tokens
HEAD, OTHER = (1, 3), (0, 2)
LOOK = PreviousBeat(width=0.105, n_twins=49, twin_windows=8)  # 8 tokens to both sides


@pytest.fixture(scope="module")
def summary():
    return run(LOOK, planted({HEAD: SamePhase(1), OTHER: Wave("T", lag=0)}, WINDOWS), WINDOWS)


def test_the_lift_is_what_was_planted(summary):
    """From the second cycle on all attention lies 80 tokens back; before, where keys 72 to 88 tokens back begin, on the token itself."""
    even = sum(len(range(max(token - 88, 0), token - 72 + 1)) / (token + 1) for token in range(72, CONTEXT))
    at_head = summary.sel(layer=HEAD[0], head=HEAD[1])
    assert float(at_head["lift"]) == pytest.approx((CONTEXT - 80) / even, rel=1e-5)
    assert str(at_head["looks_back_verdict"].values) == "yes"


def test_heads_that_attend_evenly_have_lift_one_and_no_verdict_of_yes(summary):
    is_even = np.ones((2, 8), bool)
    is_even[HEAD], is_even[OTHER] = False, False
    assert summary["lift"].values[is_even] == pytest.approx(1, abs=1e-4)
    assert (summary["looks_back_verdict"].values[is_even] == "no").all()
    assert str(summary["looks_back_verdict"].sel(layer=OTHER[0], head=OTHER[1]).values) != "yes"


def test_few_persons_and_no_twins_are_not_tested():
    model = planted({HEAD: SamePhase(1)}, WINDOWS)
    for analysis, windows in ((LOOK, WINDOWS[:7]), (replace(LOOK, n_twins=0), WINDOWS)):
        assert (run(analysis, model, windows)["looks_back_verdict"] == "not tested").all()


def test_attended_pairs_are_those_of_the_pattern():
    """Against the whole pattern of every head, summed here."""
    from heartlens.models.subject import subject_of

    subject, windows = subject_of(model_of(random_state())), simulated("ecg", 2, 1)
    is_pair = np.random.default_rng(0).random((2, CONTEXT, CONTEXT)) < 0.1
    share, even_share = attended(subject, windows, is_pair)
    for layer in subject.engine.attention(subject.tokens(windows.tokens)):
        expected = np.einsum("whqk,wqk->wh", layer.pattern.astype(float), is_pair)
        assert share[:, layer.layer] == pytest.approx(expected, rel=1e-4)
    assert even_share == pytest.approx([sum(pair[t, : t + 1].sum() / (t + 1) for t in range(CONTEXT)) for pair in is_pair])


def test_findings_and_figure_come_from_the_verdicts(summary):
    findings = LOOK.findings(summary)
    assert findings.question == "Which heads look one beat back?"
    assert findings.title.startswith("Previous beat of planted")
    assert "1 yes" in findings.verdict[0]
    assert [row[:2] for row in findings.rows] == [("looks back", "L2H4")]
    assert "49 twins" in findings.methods[0]
    figure = LOOK.plot(summary)
    assert len(figure.subfigs[0].axes) == 2  # one map, one bar
    assert len(figure.subfigs[0].axes[0].patches) == 1  # one head framed


def test_a_claim_with_more_axes_has_a_map_for_each_place():
    values = xr.DataArray(np.ones((2, 2, 3)), dims=("layer", "head", "wave"), coords={"wave": ["P", "QRS", "T"]}, name="change")
    answers = decide(Claim("moves", "it moves", "nats", 0.1, "all heads"), values, values * 0.5, values * 2, n_units=9)
    summary = answers.assign(change=values, change_low=values * 0.5, change_high=values * 2).assign_attrs(n_records=9, n_windows=9)
    axes = LOOK.plot(summary).subfigs[0].axes
    assert [each.get_title() for each in axes[:3]] == ["P", "QRS", "T"]
    assert all(len(each.patches) == 4 for each in axes[:3])
    assert ("moves", "L1H1, wave P", "1.00", "0.50 to 2.00") in LOOK.findings(summary).rows


def test_a_verdict_without_its_effect_is_refused():
    effect = xr.DataArray([[1.0]], dims=("layer", "head"))
    summary = decide(Claim("moves", "it moves", "nats", 0.1, "all heads"), effect, effect, effect, n_units=9)
    with pytest.raises(Refusal, match="moves_verdict is about an effect without a name, which the summary lacks"):
        LOOK.plot(summary)
    with pytest.raises(Refusal, match="no variable that ends in _verdict has the axes layer and head"):
        LOOK.plot(xr.Dataset())


@dataclass(frozen=True)
class Measures(Standard):
    """An analysis that is wrong in one way."""

    wrong: str = ""

    def measure(self, model, windows):
        tally = tallied(windows, share=np.ones((len(windows), 2, 2)))
        sums = tally.sums
        wrong = {
            "no tally": sums,
            "no coordinates": Tally(sums.drop_vars("head")),
            "no record": Tally(sums.assign(total=sums["n_windows"].sum())),
        }
        return wrong.get(self.wrong, tally)

    def summarize(self, tally, twins):
        return xr.Dataset(attrs={"unit": "logit"}) if self.wrong == "unit" else tally.sums["share"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("no tally", "Measures.measure gave a Dataset; it must give a Tally"),
        ("no coordinates", "the axes head of Measures's sums have no coordinates"),
        ("no record", "the sums total of Measures are not kept by record"),
        ("unit", "Measures.summarize sets the attribute 'unit', which says what is counted"),
        ("", "Measures.summarize gave a DataArray; it must give an xarray.Dataset"),
    ],
)
def test_what_the_frame_needs_is_said(wrong, message):
    with pytest.raises(Refusal, match=message):
        run(Measures(wrong=wrong, n_twins=0), model_of(random_state()), regular("ecg", 2))


class Bare:
    """Lacks nearly everything."""

    seed = 0


@dataclass(frozen=False)
class Thawed:
    """Its options may change after it was made."""

    seed: int = 0
    measure = summarize = plot = findings = None


def test_what_is_no_analysis_yet_is_told_what_it_lacks():
    with pytest.raises(Refusal, match=r"Bare is no analysis yet, it lacks measure: \(model, windows\) -> Tally; summarize"):
        refuse_unfinished(Bare())
    with pytest.raises(Refusal, match="Thawed is no frozen dataclass"):
        refuse_unfinished(Thawed())


def test_a_number_with_more_axes_than_names_is_refused():
    with pytest.raises(Refusal, match="share has 3 axes beside the window, named are 2"):
        tallied(WINDOWS, share=np.ones((8, 1, 1, 1)))
