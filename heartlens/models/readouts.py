"""Readouts: what a model's outputs say, in numbers that fit a waveform. Each is a ratio of sums, `top` over `bottom`.

Next token: `cross_entropy` (nats), `amplitude_error` (|expected token - token|, in tokens; `amplitude_error_mv` in mV, of a PPG
`amplitude_error_au` in the recording's own unit) and `crps` (tokens): the sum over levels of (P(token <= level) - [token <= level])^2, the
continuous ranked probability score (Matheson & Winkler 1976). Each over all predicted tokens and, as `cross_entropy_P`, over those within a
wave: the wave of the token that is predicted. Task head of the last token: its `logit` and `probability`, by the task's name (`af_logit`).
Beats, by the published procedure within each window: `beat_misses` and `beat_extras`, for each true beat, `beat_sensitivity`, and
`beat_specificity`, the share of tokens farther than the tolerance from every true beat that are not called one. Of every token's
probability: `beat_probability`, its mean at the true beats; `beat_auc`, how often it is higher there than at such a far token of the same
window, ties half; `beat_expected`, its sum for each true beat (calibration in the large: 1 where a beat is one token).
True beats are the windows' own: R peaks (whole positions), systolic peaks (the middle of the wave).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from heartlens.axes import KINDS, LEVELS, POINT_HALF_WIDTH_S
from heartlens.measures.beat_matching import TOLERANCE_S, beats_of, match
from heartlens.models.subject import BEAT, LAST, TOKEN, Subject, subject_of
from heartlens.refusal import Refusal, unknown
from heartlens.windows import Windows

UNITS = {"ecg": "mv", "ppg": "au"}
AT_ONCE = 16  # windows
HALF_WIDTH = int(POINT_HALF_WIDTH_S * KINDS["ppg"].rate_hz)  # of a systolic peak, in tokens
BEATS = ("beat_misses", "beat_extras", "beat_probability", "beat_sensitivity", "beat_specificity", "beat_auc", "beat_expected")

Outputs = Float[Tensor, "variant window asked output"]


@dataclass(frozen=True)
class Readings:
    """Each readout's sums by window: of every variant of the model on top, what they are divided by below."""

    names: tuple[str, ...]
    top: Float[np.ndarray, "variant window readout"]
    bottom: Float[np.ndarray, "window readout"]

    def of(self, name: str) -> tuple[Float[np.ndarray, "variant window"], Float[np.ndarray, " window"]]:
        """One readout's sums. Refuses a readout that this model does not have."""
        if name not in self.names:
            raise unknown("readout", name, self.names)
        place = self.names.index(name)
        return self.top[..., place], self.bottom[:, place]


def readouts_of(subject: Subject, windows: Windows) -> tuple[str, ...]:
    """The names of the readouts that `readings` has for a model on windows of this kind, the first the one that decides."""
    own, names = tuple(readout.name for readout in subject.readouts), _names(subject, windows)
    taken = [name for name in own if name in names]
    if taken:
        raise Refusal(f"a readout {taken[0]!r} cannot be added, the model has one of that name; give a name that none has")
    return own + names


def _names(subject: Subject, windows: Windows) -> tuple[str, ...]:
    if subject.answers == TOKEN:
        return tuple(f"{measure}{group}" for measure in _measures(windows) for group in ("", *(f"_{wave}" for wave in windows.waves)))
    if subject.answers == BEAT:
        return BEATS
    name = "af" if "atrial fibrillation" in (subject.origin.task or "") else "task"
    return f"{name}_logit", f"{name}_probability"


def readings(subject: Subject, outputs: Outputs, windows: Windows) -> Readings:
    """The readouts of a model's outputs on `windows`, by variant: of every token, or where `answers` is LAST of the last alone."""
    top, bottom = {TOKEN: _of_tokens, LAST: _of_last, BEAT: _of_beats}[subject.answers](outputs, windows)
    own = [readout.sums(outputs, windows) for readout in subject.readouts]
    top = np.concatenate([*(each[0][..., None] for each in own), top], axis=-1)
    bottom = np.concatenate([*(each[1][:, None] for each in own), bottom], axis=-1)
    return Readings(readouts_of(subject, windows), top, bottom)


@dataclass(frozen=True)
class Readout:
    """A readout of the caller: `of` is given the outputs (variant, window, token, output) and the windows.

    It returns a number for each variant and window, or two of them: that, and what it is divided by, for each window. `smallest` is the
    smallest change of interest and its unit, where the caller gave them.
    """

    name: str
    of: Callable[[Outputs, Windows], Any]
    smallest: tuple[float, str] | None = None

    def sums(self, outputs: Outputs, windows: Windows) -> tuple[Float[np.ndarray, "variant window"], Float[np.ndarray, " window"]]:
        """What is on top and what divides it. Refuses other shapes, and what is no number."""
        result = self.of(outputs, windows)
        top, bottom = result if isinstance(result, tuple) else (result, np.ones(len(windows)))
        top, bottom = (np.asarray(each.detach().cpu() if isinstance(each, Tensor) else each, float) for each in (top, bottom))
        shapes = (len(outputs), len(windows)), (len(windows),)
        if (top.shape, bottom.shape) != shapes:
            raise Refusal(
                f"the readout {self.name!r} gave {top.shape} and {bottom.shape}; legal: {shapes[0]} (variant, window), {shapes[1]}"
            )
        if not (np.isfinite(top).all() and np.isfinite(bottom).all()):
            raise Refusal(f"the readout {self.name!r} gave what is no number; give 0 over 0 for a window that has no say")
        return top, bottom


def with_readout(model: Any, name: str, of: Callable[[Outputs, Windows], Any], smallest: tuple[float, str] | None = None) -> Subject:
    """The model with one more readout, which comes first: it is what an ablation, a circuit and `compare` judge by.

    `of(outputs, windows)` returns a number for each variant and window; see `Readout`. `outputs` are logits: of every token, or where the
    task head reads the last token, of that alone. `smallest`: the smallest change of interest and its unit, say `(0.5, "tokens")`; without
    it a circuit takes 0.25 units of the readout's own. Refuses a name that the model's readouts have.
    """
    subject = subject_of(model)
    if smallest is not None and not 0 < smallest[0] < np.inf:
        raise Refusal(
            f"the smallest change of interest of {name!r} is {smallest[0]}; give a number above 0 and its unit, as (0.5, 'tokens')"
        )
    if any(readout.name == name for readout in subject.readouts) or not name.strip():
        raise Refusal(f"a readout {name!r} cannot be added; give a name that none has")
    return replace(subject, readouts=(*subject.readouts, Readout(name, of, smallest)))


def readings_of(subject: Subject, windows: Windows) -> Readings:
    """The readouts of the model as it is, one variant, on any number of windows."""
    parts = []
    for chunk in windows.chunks(AT_ONCE):
        with torch.inference_mode():
            x = subject.engine.run_blocks(subject.engine.embed(subject.tokens(chunk.tokens)), 0)
            parts.append(readings(subject, subject.engine.outputs(x)[None], chunk))
    top, bottom = np.concatenate([part.top for part in parts], axis=1), np.concatenate([part.bottom for part in parts])
    return Readings(parts[0].names, top, bottom)


def token_measures(outputs: Outputs, windows: Windows) -> Float[Tensor, "variant window prediction measure"]:
    """Cross-entropy, amplitude error in tokens and in the recording's unit, and CRPS of each predicted token; differentiable."""
    true = torch.from_numpy(windows.tokens.astype(np.int64)).to(outputs.device)[:, 1:]
    log_p = outputs[:, :, :-1].log_softmax(dim=-1)
    p = log_p.exp()
    level = torch.arange(outputs.shape[-1], dtype=p.dtype, device=p.device)
    nats = -log_p.gather(-1, true[None, ..., None].expand(len(outputs), -1, -1, 1))[..., 0]
    error = (p @ level - true).abs()
    height = torch.from_numpy((windows.high - windows.low) / LEVELS).to(p)[:, None]
    crps = (p.cumsum(dim=-1) - (true[..., None] <= level).to(p)).square().sum(dim=-1)
    return torch.stack([nats, error, error * height, crps], dim=-1)


def true_beats(windows: Windows) -> list[np.ndarray]:
    """The tokens of each window's beats, as far as landmarks are known: R peaks of an ECG, systolic peaks of a PPG."""
    return list(map(_r_peaks, windows.position) if windows.kind == "ecg" else map(_middles, windows.inside("systolic_peak")))


def beat_tokens(beats: Float[np.ndarray, " beat"]) -> Int[np.ndarray, " beat"]:
    """The token at which each beat is read: the nearest, of two as near the later one.

    >>> beat_tokens(np.array([2.5, 3.5, 4.25]))
    array([3, 4, 4])
    """
    return np.floor(beats + 0.5).astype(int)


def _measures(windows: Windows) -> tuple[str, ...]:
    return "cross_entropy", "amplitude_error", f"amplitude_error_{UNITS[windows.kind]}", "crps"


def _of_tokens(outputs: Outputs, windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    """Sums over all predicted tokens, then over those of each wave; windows one by one, since one's tokens stay in the cache."""
    group = np.stack([np.ones(windows.wave.shape, bool), *(windows.inside(wave) for wave in windows.waves)], axis=-1)[:, 1:]
    inside = torch.from_numpy(group).to(outputs.device).double()
    sums = []
    for place in range(len(windows)):
        window = slice(place, place + 1)
        measures = token_measures(outputs[:, window], windows[window])[:, 0].double()
        sums.append(torch.einsum("vtm,tg->vmg", measures, inside[place]))
    count = np.tile(group.sum(axis=1), len(_measures(windows)))
    return torch.stack(sums, dim=1).flatten(2).cpu().numpy(), count.astype(float)


def _of_last(outputs: Outputs, windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    logit = outputs[:, :, -1, 0].double()
    return torch.stack([logit, logit.sigmoid()], dim=-1).cpu().numpy(), np.ones((len(windows), 2))


def _of_beats(outputs: Outputs, windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    probability = outputs[..., 0].double().sigmoid().cpu().numpy()
    true = [_Truth.of(*of_window, windows.rate_hz) for of_window in zip(true_beats(windows), windows.position, strict=True)]
    top = np.array([[_beat_sums(*of_window, windows.rate_hz) for of_window in zip(variant, true, strict=True)] for variant in probability])
    counts = [(len(truth.beats), int(truth.is_far.sum())) for truth in true]
    return top, np.array([[n, n, n, n, n_far, n * n_far, n] for n, n_far in counts], float)


@dataclass(frozen=True)
class _Truth:
    """A window's true beats; at which tokens landmarks are known, and which of these are far from every beat."""

    beats: Float[np.ndarray, " beat"]
    is_known: Bool[np.ndarray, " time"]
    is_far: Bool[np.ndarray, " time"]

    @classmethod
    def of(cls, beats: Float[np.ndarray, " beat"], position: Float[np.ndarray, " time"], rate_hz: float) -> "_Truth":
        distance = np.abs(np.arange(len(position))[:, None] - beats).min(axis=1, initial=np.inf)
        is_known = ~np.isnan(position)
        return cls(beats, is_known, is_known & (distance > TOLERANCE_S * rate_hz))


def _beat_sums(probability: Float[np.ndarray, " time"], true: _Truth, rate_hz: float) -> list[float]:
    """The sums of BEATS; beats that are found where no landmark is known are not counted."""
    detected = beats_of(probability, rate_hz)
    matches = match(detected[true.is_known[detected]] / rate_hz, true.beats / rate_hz)
    at_beats, far = probability[beat_tokens(true.beats)], np.sort(probability[true.is_far])
    below = sum(np.searchsorted(far, at_beats, side).sum() for side in ("left", "right")) / 2  # ties half
    n_quiet = len(far) - true.is_far[detected].sum()
    sums = (matches.misses, matches.extras, at_beats.sum(), matches.hits, n_quiet, below, probability[true.is_known].sum())
    return list(map(float, sums))


def _r_peaks(position: Float[np.ndarray, " time"]) -> Float[np.ndarray, " beat"]:
    """Where the position is a whole number, between two tokens as it falls."""
    before, after = position[:-1], position[1:]
    crossed = np.flatnonzero(np.floor(before) < np.floor(after))
    whole = np.floor(after[crossed])
    return crossed + (whole - before[crossed]) / (after[crossed] - before[crossed])


def _middles(inside: Bool[np.ndarray, " time"]) -> Float[np.ndarray, " beat"]:
    """The middle of each run of tokens; of one that the window cuts, HALF_WIDTH from its whole end, if that is within."""
    step = np.diff(np.concatenate([[0], inside.astype(int), [0]]))
    first, last = np.flatnonzero(step == 1), np.flatnonzero(step == -1) - 1
    middle = (first + last) / 2
    middle[first == 0] = last[first == 0] - HALF_WIDTH
    middle[last == len(inside) - 1] = first[last == len(inside) - 1] + HALF_WIDTH
    return middle[(middle >= 0) & (middle < len(inside))]
