"""Q, R and S of an ECG's tokens, on windows whose QRS reaches from 4 tokens before the R mark to 4 after it (80 tokens a cycle)."""

from dataclasses import replace

import numpy as np

from heartlens.signals.fine import FINE, fine_waves
from heartlens.signals.simulate.regular import regular

WINDOWS = regular("ecg", 1)


def test_qrs_becomes_q_r_and_s_and_all_else_stays():
    fine = fine_waves(WINDOWS)
    assert fine.waves == FINE
    cycle = [fine.waves[wave] if wave >= 0 else "" for wave in fine.wave[0, :80]]
    assert cycle[22:31] == ["Q"] * 3 + ["R"] * 3 + ["S"] * 3
    before = [WINDOWS.waves[wave] if wave >= 0 else "" for wave in WINDOWS.wave[0, :80]]
    assert [name for name in cycle if name not in ("Q", "R", "S")] == [name for name in before if name != "QRS"]
    assert fine_waves(fine) is fine


def test_a_pulse_stays_as_it_is():
    pulse = regular("ppg", 1)
    assert fine_waves(pulse) is pulse


def test_where_the_place_is_not_known_the_wave_is_not():
    blind = replace(WINDOWS, position=np.full_like(WINDOWS.position, np.nan))
    assert set(np.unique(fine_waves(blind).wave)) == {-1, FINE.index("P"), FINE.index("T")}
