"""What patching changes, one number a window: an AF logit, the probability at the beats, or the nats of next tokens in a wave.

Tokens, beats and waves are those of the recording (the clean window), whichever of a pair runs: so the source's activations everywhere
give the source's readout.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from heartlens.refusal import unknown
from heartlens.signals.counterfactuals.spans import runs
from heartlens.windows import Windows

BEAT_WAVE = {"ecg": "QRS", "ppg": "systolic_peak"}  # whose middle token is the beat
UNITS = {"af_logit": "logit", "beat_probability": "probability"}


def readout_of(subject: Any, windows: Windows, name: str) -> Any:
    """The readout `name` (auto: the checkpoint's first) on these windows. Refuses one that this checkpoint has no output for."""
    from heartlens.models.interventions.patching import Readout

    legal = legal_readouts(subject, windows)
    if name not in ("auto", *legal):
        raise unknown("readout of this checkpoint", name, legal)
    name = legal[0] if name == "auto" else name
    following = np.roll(windows.tokens, -1, axis=1)
    if name == "af_logit":
        return Readout(name, "logit", _mean(_last(windows)), following)
    if name == "beat_probability":
        return Readout(name, "probability", _mean(_beats(windows)), following)
    return Readout(name, "nats", _mean(_predicted(windows, name.removeprefix("cross_entropy").removeprefix("_"))), following)


def legal_readouts(subject: Any, windows: Windows) -> tuple[str, ...]:
    """The readouts that a checkpoint has an output for. Refuses a task head of several outputs."""
    from heartlens.models.subject import BEAT, TOKEN

    if subject.answers == TOKEN:
        return ("cross_entropy", *(f"cross_entropy_{wave}" for wave in windows.waves))
    return ("beat_probability",) if subject.answers == BEAT else ("af_logit",)


def unit_of(readout: str) -> str:
    """The unit of a readout."""
    return UNITS.get(readout, "nats")


def _last(windows: Windows) -> Bool[np.ndarray, "window time"]:
    return np.broadcast_to(np.arange(windows.tokens.shape[1]) == windows.tokens.shape[1] - 1, windows.tokens.shape)


def _beats(windows: Windows) -> Bool[np.ndarray, "window time"]:
    """The middle token of each beat's wave that the window shows whole, as `models.readouts.beat_tokens` takes it."""
    from heartlens.models.readouts import beat_tokens

    is_beat = np.zeros(windows.tokens.shape, bool)
    for row, inside in zip(is_beat, windows.inside(BEAT_WAVE[windows.kind]), strict=True):
        middles = [(first + last) / 2 for first, last in runs(inside) if first > 0 and last < len(row) - 1]
        row[beat_tokens(np.array(middles))] = True
    return is_beat


def _predicted(windows: Windows, wave: str) -> Bool[np.ndarray, "window time"]:
    """The tokens whose next token is known, and lies in the wave where one is named."""
    inside = np.roll(windows.inside(wave), -1, axis=1) if wave else np.ones(windows.tokens.shape, bool)
    return np.asarray(inside & ~_last(windows))


def _mean(inside: Bool[np.ndarray, "window time"]) -> Float[np.ndarray, "window time"]:
    """Weights that make a mean over the tokens inside; all 0 in a window without any."""
    return inside / np.maximum(inside.sum(axis=1, keepdims=True), 1)
