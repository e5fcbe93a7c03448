"""Each token's wave, segment and place in the cycle, against times set by hand."""

import numpy as np
import pytest

from heartlens.refusal import Refusal
from heartlens.signals.landmarks import Landmarks, point_landmarks, positions, segments, waves, within

P, QRS, T, BASELINE, NONE = 0, 1, 2, 3, -1
MARKS = {"wave": ["P", "QRS", "T"], "onset_s": [0.8, 0.95, 1.2], "peak_s": [0.85, 1.0, 1.3], "offset_s": [0.9, 1.05, 1.4]}


def beat(**changes):
    """One whole heartbeat around a QRS at 1 s, and three beat marks, looked at from 0.5 to 2.5 s."""
    fields = {name: np.array(values) for name, values in MARKS.items()}
    return Landmarks(**{"kind": "ecg", "beat_s": np.array([1.0, 2.0, 2.8]), **fields, "span_s": (0.5, 2.5), "source": "hand"} | changes)


def at(*seconds):
    return np.array(seconds)


def test_positions_count_cycles_and_go_on_at_the_neighbouring_interval():
    assert positions(beat(span_s=(0.0, 9.0)), at(0.25, 1.0, 1.5, 2.0, 2.4, 2.8, 3.2)) == pytest.approx([-0.75, 0, 0.5, 1, 1.5, 2, 2.5])


def test_positions_are_unknown_outside_the_span_and_a_cycle_beyond_the_beats():
    assert np.isnan(positions(beat(), at(0.49, 2.51))).all()
    assert np.isnan(positions(beat(span_s=(-5.0, 9.0)), at(-0.01, 3.61))).all()


def test_an_edge_of_the_span_is_inside_whatever_its_last_bit():
    assert np.isfinite(positions(beat(span_s=(0.1 + 0.2, 2.5)), at(0.3, 2.5))).all()


def test_fewer_than_two_beats_tell_no_position():
    assert np.isnan(positions(beat(beat_s=at(1.0)), at(1.0, 1.5))).all()


def test_waves_include_their_edges():
    assert waves(beat(), at(0.79, 0.8, 0.9, 0.91, 0.95, 1.05, 1.3, 1.41)).tolist() == [NONE, P, P, NONE, QRS, QRS, T, NONE]


def test_where_waves_overlap_the_nearer_peak_wins():
    overlapping = beat(onset_s=at(0.8, 0.9, 1.2), offset_s=at(1.0, 1.05, 1.4))
    assert waves(overlapping, at(0.92, 0.93, 1.0)).tolist() == [P, QRS, QRS]


def test_waves_outside_the_span_are_not_known():
    assert waves(beat(span_s=(0.95, 1.25)), at(0.85, 1.0, 1.2, 1.3)).tolist() == [NONE, QRS, T, NONE]


def test_far_waves_are_the_same_in_parts_as_at_once():
    peak_s = np.arange(0.5, 60.0, 0.37)
    many = beat(wave=np.array(["T"] * len(peak_s)), onset_s=peak_s - 0.1, peak_s=peak_s, offset_s=peak_s + 0.1, span_s=(0.0, 60.0))
    time_s = np.arange(6000) / 100
    assert (waves(many, time_s) == np.concatenate([waves(many, part) for part in time_s.reshape(12, 500)])).all()


def test_no_moment_has_no_wave():
    assert waves(beat(), np.zeros(0)).shape == (0,)


def test_ecg_segments_are_the_waves_and_the_baseline():
    time_s = at(0.4, 0.85, 0.92, 1.0, 1.3)
    marks = beat()
    assert segments(marks, waves(marks, time_s), positions(marks, time_s), time_s).tolist() == [NONE, P, BASELINE, QRS, T]


def test_ppg_segments_follow_the_pulse():
    names = np.array(["foot", "systolic_peak", "dicrotic_notch"] * 2)
    marks = point_landmarks(names, at(1.0, 1.2, 1.5, 2.0, 2.2, 2.5), at(1.0, 2.0), (0.8, 3.0), "hand")
    time_s = at(0.7, 1.0, 1.1, 1.2, 1.35, 1.5, 1.7, 2.1)
    upstroke, peak, notch, downslope = range(4)
    expected = [NONE, upstroke, upstroke, peak, downslope, notch, downslope, upstroke]
    assert segments(marks, waves(marks, time_s), positions(marks, time_s), time_s).tolist() == expected


def test_point_landmarks_are_sorted_and_widened():
    marks = point_landmarks(np.array(["systolic_peak", "foot"]), at(1.2, 1.0), at(1.0, 2.0), (0.0, 3.0), "hand")
    assert marks.wave.tolist() == ["foot", "systolic_peak"]
    assert marks.onset_s == pytest.approx([0.94, 1.14])
    assert marks.offset_s == pytest.approx([1.06, 1.26])


def test_within_counts_from_the_stretch_and_keeps_what_each_moment_is():
    marks, time_s = beat(), np.arange(70, 200) / 100
    part = within(marks, 0.7, 2.0)
    assert part.span_s == pytest.approx((0.0, 1.3))
    assert waves(part, time_s - 0.7).tolist() == waves(marks, time_s).tolist()
    assert positions(part, time_s - 0.7) == pytest.approx(positions(marks, time_s))


def test_within_keeps_the_pulse_that_began_before_the_stretch():
    marks = point_landmarks(np.array(["foot", "systolic_peak"]), at(0.3, 2.0), at(0.3, 1.3), (0.0, 3.0), "hand")
    part, time_s = within(marks, 1.0, 3.0), at(0.1, 0.2)
    assert segments(part, waves(part, time_s), positions(part, time_s), time_s).tolist() == [0, 0]


def test_refusals():
    with pytest.raises(Refusal, match="unknown ecg wave 'foot'"):
        beat(wave=np.array(["foot", "QRS", "T"]))
    with pytest.raises(ValueError, match="beat_s must ascend"):
        beat(beat_s=at(1.0, 1.0))
