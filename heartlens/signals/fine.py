"""The QRS complex of an ECG's tokens told apart: R within R_HALF_WIDTH_S of the R mark, Q before it, S after it."""

from dataclasses import replace

import numpy as np

from heartlens.axes import KINDS
from heartlens.windows import Windows

R_HALF_WIDTH_S = 0.015  # three tokens at 100 Hz, of the nine or ten of a QRS complex
FINE = ("P", "Q", "R", "S", "T")


def fine_waves(windows: Windows) -> Windows:
    """The windows with Q, R and S instead of QRS; those of a pulse as they are."""
    if "QRS" not in windows.waves:
        return windows
    after_s = (windows.position - np.round(windows.position)) * _cycle_s(windows)
    part = np.where(np.abs(after_s) <= R_HALF_WIDTH_S, "R", np.where(after_s < 0, "Q", "S"))
    names = np.array([*windows.waves, ""])[windows.wave]  # -1 is the last
    named = np.where(names == "QRS", np.where(np.isnan(after_s), "", part), names)
    wave = np.full_like(windows.wave, -1)
    waves = (*FINE, *(name for name in windows.waves if name not in (*FINE, "QRS")))  # those that a caller defined too
    for index, name in enumerate(waves):
        wave[named == name] = index
    return replace(windows, wave=wave, waves=waves)


def _cycle_s(windows: Windows) -> np.ndarray:
    """How long each token's cycle lasts, in seconds, from how fast its position grows."""
    step = np.gradient(windows.position, axis=1)
    return np.divide(1.0, step, out=np.full_like(step, np.nan), where=step > 0) / KINDS[windows.kind].rate_hz
