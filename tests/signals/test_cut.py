"""Windows cut from a stretch: where they lie, what they are labelled, what is skipped."""

import numpy as np
import pytest

from heartlens.refusal import Refusal
from heartlens.signals.cut import cut
from heartlens.signals.landmarks import Landmarks
from heartlens.signals.tokens import tokenise

SIGNAL = np.random.default_rng(0).normal(size=2000)


def qrs(start_s=0.0, end_s=20.0, first=0.5, step=0.8):
    """A QRS every `step` seconds."""
    beat_s = np.arange(first, 20.0, step)
    names = np.array(["QRS"] * len(beat_s))
    return Landmarks("ecg", beat_s, names, beat_s - 0.05, beat_s, beat_s + 0.05, (start_s, end_s), "hand")


def test_windows_follow_each_other_and_carry_their_tokens():
    windows = cut(SIGNAL, qrs(), "a", offset_s=3.0)
    assert windows.start_s.tolist() == [3.0, 8.0, 13.0, 18.0]
    assert (windows.tokens[1] == tokenise(SIGNAL[500:1000])).all()
    assert (windows.low[1], windows.high[1]) == (SIGNAL[500:1000].min(), SIGNAL[500:1000].max())
    assert windows.records == ["a"]
    assert windows.notes == ("landmarks: hand",)


def test_the_stride_makes_windows_overlap():
    assert cut(SIGNAL, qrs(), "a", stride=250).start_s.tolist() == [0.0, 2.5, 5.0, 7.5, 10.0, 12.5, 15.0]


def test_labels_sit_on_the_samples_of_their_wave():
    windows = cut(SIGNAL, qrs(), "a")
    time_s = windows.start_s[:, None] + np.arange(500) / 100
    expected = np.abs((time_s - 0.5 + 0.4) % 0.8 - 0.4) < 0.0501
    assert ((windows.wave == 1) == expected).all()
    assert windows.position == pytest.approx((time_s - 0.5) / 0.8, abs=1e-6)


def test_only_what_the_span_holds_is_cut_and_every_token_of_it_is_known():
    windows = cut(SIGNAL, qrs(start_s=1.004, end_s=17.123), "a")
    assert 1.01 <= windows.start_s[0] <= 17.12 - 3 * 5 + 0.01
    assert np.diff(windows.start_s).tolist() == pytest.approx([5.0, 5.0])
    assert np.isfinite(windows.position).all()
    assert (windows.segment >= 0).all()


def test_windows_are_not_locked_to_the_wave_that_a_span_begins_with():
    signals = [np.random.default_rng(number).normal(size=2000) for number in range(40)]
    starts = [cut(signal, qrs(start_s=1.0, end_s=8.0), "a").start_s[0] for signal in signals]
    assert starts == [cut(signal, qrs(start_s=1.0, end_s=8.0), "another name").start_s[0] for signal in signals]
    assert min(starts) < 1.3
    assert max(starts) > 2.7
    assert len(set(starts)) > 25


def test_a_span_that_ends_on_the_last_sample_holds_its_window():
    assert len(cut(SIGNAL, qrs(end_s=4.99), "a")) == 1


def test_flat_windows_are_counted():
    signal = SIGNAL.copy()
    signal[500:1000] = 0.0
    windows = cut(signal, qrs(), "a")
    assert windows.start_s.tolist() == [0.0, 10.0, 15.0]
    assert windows.skipped == (("flat window", 1),)


def test_all_flat_gives_no_windows_and_counts_them():
    windows = cut(np.zeros(2000), qrs(), "a")
    assert len(windows) == 0
    assert windows.skipped == (("flat window", 4),)


@pytest.mark.parametrize(
    ("signal", "landmarks", "message"),
    [
        (SIGNAL[:499], qrs(), r"a: 5\.0 s of signal is shorter than a window \(5 s\)"),
        (SIGNAL, qrs(3.0, 7.0), r"a: 4\.0 s of signal"),
        (SIGNAL, qrs(30.0, 40.0), r"a: 0\.0 s of signal"),
        (SIGNAL, qrs(first=19.5), r"no beats found \(hand\); is this ECG, and the right lead"),
    ],
)
def test_refusals(signal, landmarks, message):
    with pytest.raises(Refusal, match=message):
        cut(signal, landmarks, "a")


def test_another_draw_starts_elsewhere_and_the_same_draw_at_the_same_place():
    starts = [cut(SIGNAL[:1400], qrs(end_s=14.0), "a record", draw=draw).start_s[0] for draw in (0, 1, 1, 2)]
    assert starts[0] == 0.0
    assert starts[1] == starts[2]
    assert len(set(starts)) == 3
    assert max(starts) <= 4.0  # of 14 s two windows take 10
