"""Counterfactuals of simulated hearts, whose landmarks are known: what was asked for is otherwise, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from heartlens.axes import CONTEXT, KINDS
from heartlens.refusal import Refusal
from heartlens.signals import counterfactuals as cf
from heartlens.signals.counterfactuals.complexes import beats_of
from heartlens.signals.counterfactuals.intervals import above, intervals_as
from heartlens.signals.counterfactuals.kept import checked
from heartlens.signals.cut import cut
from heartlens.signals.simulate import ecg, simulated
from heartlens.signals.tokens import amplitude

ECG, PPG = simulated("ecg", 8, 1), simulated("ppg", 8, 1)
AF = simulated("ecg", 6, 1, "af")
MARGIN = {"ecg": 2, "ppg": 1}  # tokens in MARGIN_S


def stretches(labels, *names, kind="ecg"):
    """First and last token of each stretch of these waves, found token by token."""
    wanted = {KINDS[kind].waves.index(name) for name in names}
    found = []
    for token, label in enumerate(labels):
        if label in wanted:
            if found and found[-1][1] == token - 1:
                found[-1][1] = token
            else:
                found.append([token, token])
    return found


def beat_tokens(position):
    """The tokens, with fractions, at which the position is a whole number; a hundredth off, since its slope changes there."""
    numbers = np.arange(np.ceil(position[0]), np.floor(position[-1]) + 1)
    return np.interp(numbers, position, np.arange(CONTEXT))


def variation(position):
    """RMSSD over the mean interval."""
    intervals = np.diff(beat_tokens(position))
    return np.sqrt(np.mean(np.diff(intervals) ** 2)) / intervals.mean()


def unlabelled(windows, *names, near=0):
    """Which tokens lie farther than `near` from these waves."""
    waves = [KINDS[windows.kind].waves.index(name) for name in names]
    inside = np.isin(windows.wave, waves)
    reach = np.array([np.convolve(row, np.ones(2 * near + 1), "same") > 0 for row in inside.astype(float)])
    return ~reach


@pytest.fixture(scope="module")
def quiet():
    """A heart without noise or baseline: between its waves the amplitude is 0 mV."""
    signal, landmarks = ecg.simulate(np.random.default_rng(3), 11.0, "sinus", 60.0, disturbed=False)
    return cut(signal, replace(landmarks, span_s=(3.0, 8.0)), "quiet")


def test_without_p_the_p_wave_is_the_baseline_that_lies_beneath(quiet):
    found = cf.without_p(quiet)
    was_p = quiet.wave == 0
    assert was_p.sum() > 40
    left = amplitude(found.tokens, found.low, found.high)[was_p]
    height = quiet.high[0] - quiet.low[0]
    assert np.abs(left).max() < 0.015 * height  # a token and a half: the edges of P have 4 % of its height
    assert amplitude(quiet.tokens, quiet.low, quiet.high)[was_p].max() > 0.05 * height


@pytest.mark.parametrize("wave", ["P", "T"])
def test_a_wave_is_replaced_by_a_line_and_all_else_stays(wave):
    found = cf.flattened(ECG, wave)
    outside = unlabelled(ECG, wave, near=2)
    assert (found.tokens == ECG.tokens)[outside].all()
    assert (found.tokens != ECG.tokens).any(axis=1).all()
    index = KINDS["ecg"].waves.index(wave)
    assert not (found.wave == index).any()
    assert (found.wave == ECG.wave)[ECG.wave != index].all()
    assert (found.segment[ECG.wave == index] == KINDS["ecg"].segments.index("baseline")).all()
    np.testing.assert_array_equal(found.position, ECG.position)
    for row, labels in zip(found.tokens.astype(int), ECG.wave, strict=True):
        for first, last in stretches(labels, wave):
            if first >= 3 and last < CONTEXT - 3:
                line = row[first - 1 : last + 2]
                assert np.abs(np.diff(line, 2)).max() <= 1  # rounding; no kink
                assert (np.diff(line) >= 0).all() or (np.diff(line) <= 0).all()


def test_scale_record_and_start_stay_and_a_note_is_added():
    for found in (cf.without_p(ECG), cf.with_rhythm(ECG), cf.with_warped_baseline(ECG), cf.with_beat_moved(ECG, 0.05, 2)):
        for name in ("low", "high", "record", "start_s"):
            np.testing.assert_array_equal(getattr(found, name), getattr(ECG, name))
        assert len(found) == len(ECG)
        assert found.notes[:-1] == ECG.notes
        assert (found.identity != ECG.identity).all()
    assert cf.without_p(ECG).notes[-1] == "P waves replaced by a line"


def test_a_window_is_not_scaled_anew_when_its_highest_token_goes():
    tall = ECG.tokens.copy()
    tall[:, :] = np.minimum(tall, 90)
    tall[ECG.wave == 0] = 100
    windows = replace(ECG, tokens=tall)
    assert cf.without_p(windows).tokens.max() == 90


def test_a_wave_at_the_windows_edge_becomes_level():
    first = next(index for index, labels in enumerate(ECG.wave) if len(stretches(labels, "P")) > 2)
    windows = ECG[first : first + 1]
    start, _ = stretches(windows.wave[0], "P")[1]
    shift = start + 3  # the window begins within a P wave
    rolled = replace(windows, **{name: np.roll(getattr(windows, name), -shift, axis=1) for name in ("tokens", "wave", "segment")})
    found = cf.without_p(rolled)
    length = stretches(rolled.wave[0], "P")[0][1] + 1
    assert len(set(found.tokens[0, : length + 2].tolist())) == 1


def test_a_notch_goes_with_the_peak_behind_it():
    found = cf.flattened(PPG, "dicrotic_notch")
    assert not np.isin(found.wave, [2, 3]).any()
    assert (found.tokens == PPG.tokens)[found.wave >= 0].all()
    for row, labels in zip(found.tokens.astype(int), PPG.wave, strict=True):
        for _, last in stretches(labels, "diastolic_peak", kind="ppg"):
            before = [span for span in stretches(labels, "dicrotic_notch", kind="ppg") if span[1] < last]
            if before and last < CONTEXT - 2 and last - before[-1][0] < 40:
                assert (np.diff(row[before[-1][0] - 1 : last + 2]) <= 0).all()  # downhill without a notch
    assert set(found.segment[PPG.wave == 2].tolist()) == {KINDS["ppg"].segments.index("downslope")}


def test_what_lies_between_notch_and_peak_goes_with_them():
    wave = PPG.wave.copy()
    for labels in wave:
        for name in ("dicrotic_notch", "diastolic_peak"):
            for first, last in stretches(labels, name, kind="ppg"):
                labels[first:last] = -1  # their last token is left
    narrow = replace(PPG, wave=wave)
    found = cf.flattened(narrow, "dicrotic_notch")
    for row, labels in zip(found.tokens.astype(int), wave, strict=True):
        both = (stretches(labels, name, kind="ppg") for name in ("dicrotic_notch", "diastolic_peak"))
        for (notch, _), (peak, _) in zip(*both, strict=False):
            if 0 < peak - notch < 30:
                assert np.abs(np.diff(row[notch - 1 : peak + 2], 2)).max() <= 1


def test_the_control_of_a_wave_taken_out_touches_no_wave():
    found = cf.with_flat_baseline(ECG)
    changed = found.tokens != ECG.tokens
    assert not changed[~unlabelled(ECG, "P", near=2)].any()
    assert not changed[ECG.wave >= 0].any()
    assert changed.any(axis=1).all()
    np.testing.assert_array_equal(found.wave, ECG.wave)
    replaced = sum(min(len(run), 25) for run in _straight(found, ECG))
    assert 0.3 < replaced / (cf.without_p(ECG).tokens != ECG.tokens).sum() < 3  # about as many tokens


def _straight(found, before):
    """The changed stretches of a counterfactual."""
    return [np.flatnonzero(a != b) for a, b in zip(found.tokens, before.tokens, strict=True)]


@pytest.mark.parametrize("windows", [ECG, AF, PPG], ids=["ecg", "af", "ppg"])
@pytest.mark.parametrize("rhythm", cf.RHYTHMS)
def test_beats_move_and_are_the_same_beats(windows, rhythm):
    windows = cf.keeping(windows, cf.can_be_warped(windows), "too few beats")
    found = cf.with_rhythm(windows, rhythm)
    core = ("QRS",) if windows.kind == "ecg" else ("systolic_peak",)
    for index in range(len(windows)):
        old, new = (stretches(each.wave[index], *core, kind=windows.kind) for each in (windows, found))
        assert [b - a for a, b in old] == [b - a for a, b in new]
        for (a, b), (c, d) in zip(old, new, strict=True):
            np.testing.assert_array_equal(found.tokens[index, c : d + 1], windows.tokens[index, a : b + 1])
        before, after = (beat_tokens(each.position[index]) for each in (windows, found))
        assert after[[0, -1]] == pytest.approx(before[[0, -1]], abs=0.15)  # the slope beside it is another
        for name in windows.waves:
            n_before, n_after = (len(stretches(each.wave[index], name, kind=windows.kind)) for each in (windows, found))
            assert n_before == n_after
        _, last = old[-1]
        assert (found.tokens[index, last + 1 :] == windows.tokens[index, last + 1 :]).all()


@pytest.mark.parametrize("windows", [ECG, AF], ids=["sinus", "af"])
def test_the_mark_is_at_the_peak_of_the_complex(windows):
    for rhythm in cf.RHYTHMS:
        found = cf.with_rhythm(windows, rhythm)
        for tokens, labels, position in zip(found.tokens, found.wave, found.position, strict=True):
            beats = beat_tokens(position)
            for first, last in stretches(labels, "QRS")[1:-1]:
                peak = first + int(np.argmax(tokens[first : last + 1]))
                assert np.abs(beats - peak).min() <= 1


def test_rhythms_are_what_they_are_called():
    """Against the intervals of independent gamma variables of the simulation's spread: sqrt(2) 0.22."""
    for windows in (ECG, AF):
        variations = {rhythm: np.array([variation(row) for row in cf.with_rhythm(windows, rhythm).position]) for rhythm in cf.RHYTHMS}
        assert np.abs(variations["irregular"] - 2**0.5 * 0.22).max() < 0.06
        assert variations["regular"].max() < 0.02
        gradual = [np.sign(np.diff(np.diff(beat_tokens(row)), 1)) for row in cf.with_rhythm(windows, "gradual").position]
        assert np.mean([abs(signs.sum()) == len(signs) for signs in gradual]) > 0.7  # those not held back by a floor
    assert np.mean([variation(row) for row in ECG.position]) < 0.05 < 0.2 < np.mean([variation(row) for row in AF.position])


def test_diastole_takes_the_change_while_it_can():
    found = cf.with_rhythm(ECG, "irregular")
    kept, all_waves = 0, 0
    for index in range(len(ECG)):
        for name in ("P", "T"):
            old, new = (stretches(each.wave[index], name) for each in (ECG, found))
            all_waves += len(old)
            lengths = [(d - c + 1) / (b - a + 1) for (a, b), (c, d) in zip(old, new, strict=True)]
            assert min(lengths) >= 0.4
            assert max(lengths) <= 1
            kept += sum(length == 1 for length in lengths)
    assert kept / all_waves > 0.6


def test_what_is_drawn_does_not_depend_on_the_other_windows():
    for edit in (cf.with_rhythm, cf.with_warped_baseline, cf.without_p):
        np.testing.assert_array_equal(edit(ECG).tokens[2:4], edit(ECG[2:4]).tokens)
    assert (cf.with_rhythm(ECG, seed=1).tokens != cf.with_rhythm(ECG).tokens).any(axis=1).all()


def test_a_warped_baseline_moves_no_wave():
    for windows in (ECG, AF):
        found = cf.with_warped_baseline(windows)
        np.testing.assert_array_equal(found.wave, windows.wave)
        np.testing.assert_allclose(found.position, windows.position, atol=1e-9)
        assert (found.tokens == windows.tokens)[windows.wave >= 0].all()
        assert (found.tokens != windows.tokens).mean() > 0.1


@pytest.mark.parametrize("by_s", [0.08, -0.08])
def test_one_beat_moves_and_its_neighbours_stay(by_s):
    found = cf.with_beat_moved(ECG, by_s, 2)
    for index in range(len(ECG)):
        before, after = (beat_tokens(each.position[index]) for each in (ECG, found))
        moved = np.where(np.abs(after - before) < 0.1, 0, after - before)
        assert moved[moved != 0] == pytest.approx([100 * by_s], abs=0.1)
        beat = int(np.flatnonzero(moved)[0])
        old, new = (stretches(each.wave[index], "QRS") for each in (ECG, found))
        assert sum(a != b for a, b in zip(old, new, strict=True)) == 1
        outside = np.r_[0 : int(before[beat - 1]), int(before[beat + 1]) : CONTEXT]
        assert (found.tokens[index, outside] == ECG.tokens[index, outside]).all()


def test_a_move_beyond_the_room_is_refused():
    with pytest.raises(Refusal, match=r"beat 2 cannot move by 3 s between its neighbours; legal: -0\.\d+ to 0\.\d+"):
        cf.with_beat_moved(ECG, 3.0, 2)
    with pytest.raises(Refusal, match=r"beat 0 has no neighbours on both sides; legal: 1 to"):
        cf.with_beat_moved(ECG, 0.1, 0)


@pytest.mark.parametrize("index", range(len(ECG)))
def test_the_farthest_legal_move_leaves_half_of_each_wave(index):
    windows = ECG[index : index + 1]
    with pytest.raises(Refusal, match="legal") as refusal:
        cf.with_beat_moved(windows, 3.0, 2)
    for by_s in map(float, str(refusal.value).rsplit("legal: ", 1)[1].split(" to ")):
        found = cf.with_beat_moved(windows, by_s, 2)
        for name in ("P", "T"):
            old, new = (stretches(each.wave[0], name) for each in (windows, found))
            shortest = min((d - c + 1) / (b - a + 1) for (a, b), (c, d) in zip(old, new, strict=True))
            assert 0.4 <= shortest <= 1
        assert np.diff(beat_tokens(found.position[0])).min() >= 34.9


def test_unknown_rhythms_and_waves_are_refused():
    with pytest.raises(Refusal, match="unknown rhythm 'iregular'; did you mean 'irregular'"):
        cf.with_rhythm(ECG, "iregular")
    with pytest.raises(Refusal, match=r"unknown wave of the ppg that can be taken out 'P'.*legal: dicrotic_notch"):
        cf.without_p(PPG)
    with pytest.raises(Refusal, match="legal: P, T"):
        cf.flattened(ECG, "QRS")


def test_windows_without_the_landmarks_are_counted_and_listed():
    with pytest.raises(Refusal, match=r"no P marked in 2 of 3 windows \(simulated ecg 00: 1, simulated ecg 01: 1\)"):
        cf.without_p(mixed := _joined(AF[:2], ECG[2:3]))
    kept = cf.keeping(mixed, cf.has_wave(mixed, "P"), "no P marked")
    assert kept.skipped == (("no P marked", 2),)
    assert kept.notes[-1] == "no P marked: simulated ecg 00: 1, simulated ecg 01: 1"
    assert len(cf.without_p(kept)) == 1
    unknown = replace(ECG, position=np.full_like(ECG.position, np.nan))
    assert not cf.can_be_warped(unknown).any()
    with pytest.raises(Refusal, match=r"fewer than 4 beats marked.* in 8 of 8 windows"):
        cf.with_rhythm(unknown)


def _joined(*parts):
    from heartlens.windows import concatenate

    return concatenate(list(parts))


def test_an_interval_in_which_beats_were_missed_is_not_warped():
    position = ECG.position.copy()
    position[0, 200:300] = np.nan
    assert cf.can_be_warped(replace(ECG, position=position)).tolist() == [False] + [True] * 7
    wave = ECG.wave.copy()
    middle = stretches(ECG.wave[1], "QRS")[2]
    wave[1, middle[0] : middle[1] + 1] = -1  # a mark without its complex
    assert cf.can_be_warped(replace(ECG, wave=wave)).tolist() == [True, False] + [True] * 6


def test_a_change_elsewhere_is_an_error():
    support = np.zeros(ECG.tokens.shape, bool)
    support[:, :10] = True
    other = ECG.tokens.copy()
    other[0, 5] += 1
    assert checked(ECG, replace(ECG, tokens=other), support, "x").notes[-1] == "x"
    other[0, 10] += 1
    with pytest.raises(AssertionError, match="tokens outside"):
        checked(ECG, replace(ECG, tokens=other), support, "x")
    with pytest.raises(AssertionError, match="low"):
        checked(ECG, replace(ECG, low=ECG.low + 1), support, "x")


@pytest.mark.parametrize("rhythm", cf.RHYTHMS)
def test_intervals_keep_their_sum_and_floors(rhythm):
    rng = np.random.default_rng(0)
    for _ in range(50):
        length = rng.uniform(60, 110, 6)
        floor = rng.uniform(30, 55, 6)
        new = intervals_as(rhythm, length, floor, rng)
        assert new.sum() == pytest.approx(length.sum())
        assert (new >= floor - 1e-9).all()
    np.testing.assert_allclose(above(np.array([80.0, 80.0]), np.array([90.0, 10.0])), [90.0, 70.0])


def marked(*spans, beats=(), kind="ecg"):
    """One window of drawn tokens with these waves (index, first token, last token), and marks of beats at these tokens."""
    wave = np.full((1, CONTEXT), -1, np.int8)
    for index, first, last in spans:
        wave[0, first : last + 1] = index
    position = np.full((1, CONTEXT), np.nan)
    if len(beats):
        time = np.arange(beats[0] - 10, beats[-1] + 11)
        position[0, time] = 1 + np.interp(time, [time[0], *beats, time[-1]], [-0.2, *range(len(beats)), len(beats) - 0.8])
    tokens = np.random.default_rng(0).integers(0, 101, (1, CONTEXT)).astype(np.uint8)
    return replace((ECG if kind == "ecg" else PPG)[:1], tokens=tokens, wave=wave, position=position)


def lined(windows, *spans):
    """The tokens with straight lines over these spans."""
    tokens = windows.tokens.astype(float)
    for first, last in spans:
        tokens[0, first : last + 1] = np.interp(np.arange(first, last + 1), [first - 1, last + 1], tokens[0, [first - 1, last + 1]])
    return np.round(tokens).astype(np.uint8)


def test_lines_lie_where_arithmetic_puts_them():
    """Of P waves two tokens more on either side, but none of a QRS; of controls the middle of the longest baseline beside, once each."""
    p_waves, complexes = [(40, 49), (160, 169), (440, 449)], [(52, 61), (171, 180), (452, 461)]
    windows = marked(*((0, *span) for span in p_waves), *((1, *span) for span in complexes))
    np.testing.assert_array_equal(cf.without_p(windows).tokens, lined(windows, (38, 51), (158, 170), (438, 451)))
    control = cf.with_flat_baseline(windows).tokens  # baselines: 62 to 157; 181 to 437, and what then is left of its first half
    np.testing.assert_array_equal(control, lined(windows, (103, 116), (303, 315), (235, 248)))


def test_edges_of_beats_are_those_of_their_waves():
    """Without a T wave a beat ends as far behind its mark as the others do, but before the next one's beginning."""
    beats = [50, 90, 180, 270]
    waves = [(1, beat - 5, beat + 5) for beat in beats] + [(2, beat + 20, beat + 40) for beat in beats[1:]] + [(0, 155, 164)]
    found = beats_of(marked(*waves, beats=beats), 0)
    assert found.number.tolist() == [1, 2, 3, 4]
    assert found.mark == pytest.approx(beats)
    assert (found.onset.tolist(), found.offset.tolist()) == ([45, 85, 175, 265], [55, 95, 185, 275])
    assert (found.start.tolist(), found.end.tolist()) == ([45, 85, 155, 265], [84, 130, 220, 310])


def test_complexes_that_all_but_touch_are_no_beats():
    beats = [50, 140, 220, 310]
    waves = [(1, beat - 5, beat + 5) for beat in beats]
    assert beats_of(marked(*waves, beats=beats), 0) is not None
    assert beats_of(marked(*waves, (1, 145, 212), beats=beats), 0) is None


def test_a_pulse_without_its_peak_has_not_the_next_ones():
    feet = [50, 95, 140]
    waves = [(0, foot - 1, foot + 1) for foot in feet] + [(1, foot + 9, foot + 15) for foot in feet[1:]]
    assert beats_of(marked(*waves, beats=feet, kind="ppg"), 0).number.tolist() == [2, 3]


@pytest.mark.parametrize(("n_beats", "apart", "able"), [(4, 60, True), (3, 60, False), (4, 40, False)])
def test_a_rhythm_needs_four_beats_and_a_fifth_of_room(n_beats, apart, able):
    """40 tokens apart, all but an eighth is the refractory floor of 0.35 s."""
    beats = [50 + apart * beat for beat in range(n_beats)]
    windows = marked(*((1, beat - 3, beat + 3) for beat in beats), *((2, beat + 10, beat + 14) for beat in beats), beats=beats)
    assert cf.can_be_warped(windows).tolist() == [able]


def test_the_middle_of_a_diastole_moves_by_half_of_what_its_interval_would_change():
    """As far as a fifth of the diastole is left; told by the one high token that lies in the middle."""
    places = [(t[1], p[0]) for t, p in zip(stretches(ECG.wave[0], "T"), stretches(ECG.wave[0], "P")[1:], strict=False)]
    middles = [end + (start - end) // 2 for end, start in places]
    tokens = np.minimum(ECG.tokens[:1], 60)
    tokens[0, middles] = 100
    windows = replace(ECG[:1], tokens=tokens)
    intervals = [np.round(np.diff(beat_tokens(each.position[0]))) for each in (windows, cf.with_rhythm(windows))]
    found, moved = cf.with_warped_baseline(windows).tokens[0], []
    for (end, start), middle in zip(places, middles, strict=True):
        moved.append(end + int(np.argmax(found[end:start])) - middle)
        most = int(0.8 * (start - end) / 2)
        beat = int(np.searchsorted(beat_tokens(windows.position[0]), end)) - 1
        assert moved[-1] == pytest.approx(np.clip((intervals[1] - intervals[0])[beat] / 2, -most, most), abs=1)
    assert np.abs(moved).max() > 5


def test_the_warped_baseline_is_drawn_from_its_seed():
    assert (cf.with_warped_baseline(ECG, seed=1).tokens != cf.with_warped_baseline(ECG).tokens).any(axis=1).all()


def test_intervals_in_order_of_length_grow_in_some_windows_and_shrink_in_others():
    generators = map(np.random.default_rng, range(20))
    changes = [np.sign(np.diff(intervals_as("gradual", np.full(5, 80.0), np.full(5, 35.0), rng))) for rng in generators]
    assert {tuple(signs) for signs in changes} == {(1, 1, 1, 1), (-1, -1, -1, -1)}


def test_what_was_skipped_before_is_still_counted():
    not_first = np.arange(len(ECG)) > 0
    twice = cf.keeping(cf.keeping(ECG, not_first, "one"), not_first[:-1], "another")
    assert twice.skipped == (("one", 1), ("another", 1))


def test_many_records_without_landmarks_are_told_by_number():
    many = _joined(ECG, replace(AF, record=np.array([f"af {n}" for n in range(6)])))
    told = cf.keeping(many, np.arange(len(many)) == 0, "x").notes[-1]
    assert told.endswith(", and 5 more records")  # 13, of which 8 are named
    assert told.count(": 1") == 8


@pytest.mark.parametrize("name", ["record", "start_s", "low", "high"])
def test_a_scale_or_record_that_changed_is_an_error(name):
    with pytest.raises(AssertionError, match="changed one of"):
        checked(ECG, replace(ECG, **{name: getattr(ECG, name)[::-1]}), np.ones(ECG.tokens.shape, bool), "x")
