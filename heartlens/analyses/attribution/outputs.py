"""What is attributed: a task head's logit at the tokens it is read at, or the logit of the true next token by the wave it lies in."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from heartlens.windows import Windows

BEAT_WAVE = {"ecg": "QRS", "ppg": "systolic_peak"}


@dataclass(frozen=True)
class Asked:
    """The outputs by name and the tokens each is read at; the next tokens whose logits these are (None: of a task head's only output).

    `value` are weights over a window's tokens: their sum with the logits is the one number that patching changes.
    """

    names: tuple[str, ...]
    inside: Bool[np.ndarray, "window output time"]
    value: Float[np.ndarray, "window time"]
    token: Int[np.ndarray, "window time"] | None


def asked(subject: Any, windows: Windows) -> Asked:
    """What is asked of this model. Refuses a task head of several outputs."""
    from heartlens.models.readouts import true_beats
    from heartlens.models.subject import BEAT, TOKEN

    if subject.answers == TOKEN:
        return _next_token(windows)
    return _beats(windows, true_beats(windows)) if subject.answers == BEAT else _last(windows)


def _next_token(windows: Windows) -> Asked:
    """At every token but the last, the one after it; by the wave the one after it lies in."""
    following = np.roll(windows.tokens.astype(np.int64), -1, axis=1)
    everywhere = np.broadcast_to(np.arange(following.shape[1]) < following.shape[1] - 1, following.shape)
    waves = [np.roll(windows.wave == index, -1, axis=1) & everywhere for index in range(len(windows.waves))]
    return Asked(("all", *windows.waves), np.stack([everywhere, *waves], axis=1), _mean(everywhere), following)


def _last(windows: Windows) -> Asked:
    """At the last token."""
    last = np.broadcast_to(np.arange(windows.tokens.shape[1]) == windows.tokens.shape[1] - 1, windows.tokens.shape)
    return Asked(("logit",), last[:, None], _mean(last), None)


def _beats(windows: Windows, true: list[Float[np.ndarray, " _"]]) -> Asked:
    """At the true beats, and elsewhere: where the place in the cycle is known, outside the beat's wave."""
    from heartlens.models.readouts import beat_tokens

    beat = np.zeros(windows.tokens.shape, bool)
    for window, places in enumerate(true):
        beat[window, beat_tokens(places)] = True
    elsewhere = ~np.isnan(windows.position) & ~windows.inside(BEAT_WAVE[windows.kind])
    return Asked(("beat", "elsewhere"), np.stack([beat, elsewhere], axis=1), _mean(beat) - _mean(elsewhere), None)


def _mean(inside: Bool[np.ndarray, "window time"]) -> Float[np.ndarray, "window time"]:
    """Weights that make a mean over the tokens inside; all 0 in a window without any."""
    return inside / np.maximum(inside.sum(axis=1, keepdims=True), 1)
