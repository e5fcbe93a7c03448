"""Every measure of attention against plain loops over windows, heads, queries and keys."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from heartlens.measures import attention as measures
from heartlens.windows import Windows

N_TIME, BEAT, N_LAGS, N_PHASES = 30, 10, 3, 4
WAVES = ("P", "QRS", "T")
ASKED = ("all", "P", "QRS", "T", "baseline", "last")


def make_windows(shifts=(0, 3), n_unknown=0):
    """Beats every BEAT tokens from token `shift` on: QRS on the beat, T three tokens later, P two before; the first tokens not known."""
    place = np.stack([(np.arange(N_TIME) - shift) % BEAT for shift in shifts])
    wave = np.select([place == 8, place == 0, (place == 3) | (place == 4)], [0, 1, 2], -1)
    position = np.stack([(np.arange(N_TIME) - shift) / BEAT for shift in shifts])
    position[:, :n_unknown] = np.nan
    wave[:, :n_unknown] = -1
    segment = np.where(np.isnan(position), -1, np.where(wave < 0, 3, wave))
    n = len(shifts)
    tokens = np.random.default_rng(1).integers(0, 101, (n, N_TIME)).astype(np.uint8)
    labels = (wave.astype(np.int8), segment.astype(np.int8), position)
    return Windows("ecg", tokens, np.array([f"r{i}" for i in range(n)]), np.zeros(n), np.zeros(n), np.ones(n), *labels)


def make_pattern(n_windows=2, n_heads=2, seed=0):
    pattern = np.tril(np.random.default_rng(seed).uniform(size=(n_windows, n_heads, N_TIME, N_TIME)))
    return pattern / pattern.sum(-1, keepdims=True)


def asks(windows, window, kind, query, n_sink=0):
    """Whether a token belongs to a kind of asking token."""
    if np.isnan(windows.position[window, query]) or query < n_sink:
        return False
    if kind in ("all", "last"):
        return kind == "all" or query == N_TIME - 1
    return windows.segment[window, query] == ("P", "QRS", "T", "baseline").index(kind)


@pytest.fixture(params=[0, 7], ids=["all known", "some unknown"])
def windows(request):
    return make_windows(n_unknown=request.param)


@pytest.fixture
def known(windows):
    return measures.labels(windows, n_rotations=4, n_phases=N_PHASES)


def loops(windows, pattern, accept):
    """Sums over queries and keys: accept(window, query, key) names the cell after (window, head, asked)."""
    total = {}
    for window, head, kind in np.ndindex(len(windows), pattern.shape[1], len(ASKED)):
        for query in (q for q in range(N_TIME) if asks(windows, window, ASKED[kind], q)):
            for key in range(N_TIME):
                for cell in accept(window, query, key):
                    place = (window, head, kind, *cell)
                    total[place] = total.get(place, 0.0) + pattern[window, head, query, key]
    return total


def columns_of(windows, pattern, groups, runs):
    """What each segment gives to each key, each group to each run of keys, and what the last token gives, by loops."""
    n_windows, n_heads = pattern.shape[:2]
    by_group = np.zeros((n_windows, n_heads, len(groups.segment_of), N_TIME))
    for window, head, query, key in np.ndindex(pattern.shape):
        if groups.of_query[window, query] >= 0:
            by_group[window, head, groups.of_query[window, query], key] += pattern[window, head, query, key]
    by_segment = np.zeros((n_windows, n_heads, groups.n_segments, N_TIME))
    for group, segment in enumerate(groups.segment_of):
        by_segment[:, :, segment] += by_group[:, :, group]
    on_runs = np.zeros((n_windows, n_heads, len(groups.segment_of), runs.edges.shape[1]))
    for window, head, group, run in np.ndindex(on_runs.shape):
        on_runs[window, head, group, run] = sum(by_group[window, head, group, key] for key in range(*runs.edges[window, run]))
    return measures.Columns(by_segment, on_runs, pattern[:, :, -1])


@pytest.fixture
def groups(windows):
    return measures.groups_of(windows)


@pytest.fixture
def runs(known, groups):
    return measures.runs_of(known, groups, N_LAGS)


@pytest.fixture
def columns(windows, groups, runs):
    return columns_of(windows, make_pattern(), groups, runs)


def same(array, total):
    expected = np.zeros(array.shape)
    for place, value in total.items():
        expected[place] = value
    assert expected.any()
    assert array == pytest.approx(expected, abs=1e-6)  # labels are float32


def test_received(windows, groups, columns):
    same(measures.received(columns, groups), loops(windows, make_pattern(), lambda window, query, key: [(key,)]))


def test_on_waves(windows, known, groups, columns):
    def cells(window, query, key):
        return [(windows.wave[window, key],)] if windows.wave[window, key] >= 0 else []

    fallen = measures.on_waves(measures.received(columns, groups), known)  # window asked wave head
    same(fallen.transpose(0, 3, 1, 2), loops(windows, make_pattern(), cells))


def test_on_rotated_waves(windows, known, groups, columns):
    rotated = measures.rotated(windows, [turn / 4 for turn in range(4)])

    def cells(window, query, key):
        return [(rotated[window, turn, key], turn) for turn in range(4) if rotated[window, turn, key] >= 0]

    fallen = measures.on_rotated_waves(measures.received(columns, groups)[:, :, 0], known)  # window wave rotation head
    of_all = {place: value for place, value in loops(windows, make_pattern(), cells).items() if place[2] == 0}
    same(fallen.transpose(0, 3, 1, 2)[:, :, None], of_all)


def test_by_phase(windows, known, groups, columns):
    def cells(window, query, key):
        position = windows.position[window, key]
        return [] if np.isnan(position) else [(int((position % 1) * N_PHASES),)]

    fallen = measures.by_phase(measures.received(columns, groups), known)  # window asked phase head
    same(fallen.transpose(0, 3, 1, 2), loops(windows, make_pattern(), cells))


def test_by_lag(windows, groups, runs, columns):
    def cycle(window, token):  # a beat's cycle begins a third of it before the beat
        return np.floor(windows.position[window, token] + 1 / 3)

    def cells(window, query, key):
        wave, lag = windows.wave[window, key], cycle(window, query) - cycle(window, key)
        return [(wave, int(lag))] if wave >= 0 and 0 <= lag < N_LAGS else []

    fallen = measures.by_lag(columns, groups, runs)  # window asked wave lag head
    same(fallen.transpose(0, 4, 1, 2, 3), loops(windows, make_pattern(), cells))


def test_the_kinds_of_asking_token(windows, known):
    assert measures.asked_kinds("ecg") == ASKED
    expected = [[[asks(windows, window, kind, query) for query in range(N_TIME)] for kind in ASKED] for window in range(len(windows))]
    assert (known.asked == np.array(expected)).all()


def test_the_sink_asks_nothing(windows):
    known = measures.labels(windows, n_rotations=1, n_phases=N_PHASES, n_sink=9)
    expected = [[[asks(windows, window, kind, query, 9) for query in range(N_TIME)] for kind in ASKED] for window in range(len(windows))]
    assert (known.asked == np.array(expected)).all()
    groups = measures.groups_of(windows, n_sink=9)
    assert ((groups.of_query >= 0) == known.asked[:, 0]).all()


def test_no_rotation_moves_nothing(windows, known):
    assert (measures.rotated(windows, [0.0])[:, 0] == windows.wave).all()
    assert (known.rotated[:, 0] == (windows.wave[:, None] == np.arange(3)[:, None])).all()


def test_half_a_cycle_moves_each_wave_by_half_a_cycle_and_not_into_the_next():
    windows = make_windows(shifts=(0,))  # token t lies in cycle t // 10; waves at 0 (QRS), 3, 4 (T), 8 (P) of it
    one_cycle = [-1] * BEAT
    for place, wave in ((0, 1), (3, 2), (4, 2), (8, 0)):
        one_cycle[(place + BEAT // 2) % BEAT] = wave
    assert measures.rotated(windows, [0.5]).tolist() == [[one_cycle * 3]]


def test_each_cycle_keeps_its_own_waves_under_every_rotation():
    windows = make_windows(shifts=(0,))
    windows.wave[0, BEAT : BEAT + 5] = -1  # the second beat has neither QRS nor T, and no rotation gives it its neighbour's
    for moved in measures.rotated(windows, [turn / BEAT for turn in range(1, BEAT)])[0]:
        for cycle in range(3):
            inside = slice(cycle * BEAT, (cycle + 1) * BEAT)
            assert sorted(moved[inside]) == sorted(windows.wave[0, inside])


def test_a_cycle_the_window_cuts_off_takes_its_neighbours_waves():
    windows = make_windows(shifts=(3,))  # cycles begin at tokens -7, 3, 13, 23: the first and the last are cut off
    expected = [windows.wave[0, 3 + (token - 3 - 4) % BEAT] for token in range(N_TIME)]
    assert measures.rotated(windows, [0.4])[0, 0].tolist() == expected


def test_what_is_not_known_is_never_labelled():
    windows = make_windows(n_unknown=7)
    assert (measures.rotated(windows, [0.3])[:, :, :7] == -1).all()
    nothing = make_windows(n_unknown=N_TIME)
    assert (measures.rotated(nothing, [0.3]) == -1).all()


@pytest.mark.parametrize("n_sink", [0, 2])
@pytest.mark.parametrize("is_causal", [True, False])
def test_even_columns_are_those_of_attention_spread_evenly(windows, is_causal, n_sink):
    even = np.zeros((2, 1, N_TIME, N_TIME))
    for query in range(N_TIME):
        legal = range(n_sink, query + 1 if is_causal else N_TIME)
        for key in legal:
            even[:, 0, query, key] = 1 / len(legal)
    groups = measures.groups_of(windows, n_sink)
    runs = measures.runs_of(measures.labels(windows, n_rotations=1, n_phases=N_PHASES, n_sink=n_sink), groups, N_LAGS)
    expected, columns = columns_of(windows, even, groups, runs), measures.even_columns(groups, runs, is_causal, n_sink)
    for name in ("by_segment", "on_runs", "last"):
        assert getattr(columns, name) == pytest.approx(getattr(expected, name), abs=1e-12), name


def test_without_the_sink_rows_sum_to_one():
    pattern = make_pattern()
    before = pattern.copy()
    rest = measures.without_sink(pattern, 2)
    assert (pattern == before).all()
    assert (rest[..., :2] == 0).all()
    assert rest.sum(-1)[..., 2:] == pytest.approx(1)
    assert (rest.sum(-1)[..., :2] == 0).all()  # the first two tokens have no key but the sink
    assert rest[1, 0, 9, 5] == pytest.approx(pattern[1, 0, 9, 5] / pattern[1, 0, 9, 2:].sum())


def test_the_auc_is_mann_whitney_u_with_ties():
    rng = np.random.default_rng(4)
    value = rng.integers(0, 6, (2, 2, N_TIME)).astype(float)  # window head key, full of ties
    inside = rng.uniform(size=(2, 3, N_TIME)) < 0.3
    usable = rng.uniform(size=(2, N_TIME)) < 0.8
    inside[0, 2] = False
    auc = measures.rank_auc(value, inside, usable)
    for window, wave, head in np.ndindex(2, 3, 2):
        here, keys = inside[window, wave], usable[window]
        x, y = value[window, head, keys & here], value[window, head, keys & ~here]
        expected = mannwhitneyu(x, y).statistic / (len(x) * len(y)) if len(x) and len(y) else np.nan
        assert auc[window, wave, head] == pytest.approx(expected, nan_ok=True)
