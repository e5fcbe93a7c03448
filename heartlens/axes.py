"""The glossary: the kinds of signal, their waves and rates, and the one name of every axis.

Axes are singular words, the same everywhere. Layers and heads count from 0 in code and data, as in TransformerLens; figures
and reports write `L8H5`, counting from 1 as the paper does (`head_label`).
"""

from dataclasses import dataclass

CONTEXT = 500  # tokens in a window, the length of the published position embedding
LEVELS = 100  # a window's smallest sample is token 0, its largest token LEVELS

AXES = {
    "window": "500 consecutive tokens of one record",
    "time": "a token's index in its window",
    "query": "the kind of token that asks (attends)",
    "key": "a token that is attended to",
    "asking": "a token that asks, by its index in its window",
    "beat": "a beat that was detected",
    "sample": "a sample at the model's rate of a signal that is kept to be drawn",
    "changed": "a window that counterfactuals were made of",
    "edit": "one thing of a window changed, all else kept (a counterfactual)",
    "layer": "a transformer block, from 0",
    "head": "an attention head within its layer, from 0",
    "wave": "a wave of the cycle; a landmark of the pulse counts as its tokens within POINT_HALF_WIDTH_S",
    "lag": "how many cycles before the asking token's cycle the key lies",
    "phase": "place in the cycle, 0 to 1 from one R peak (ECG) or foot (PPG) to the next",
    "record": "one recording; in summaries one person, the unit of all statistics, where persons are known",
    "rotation": "a shift of all wave labels within the cycle, as a fraction of it (the phase null)",
    "distance": "position of the asking token less that of the key, in cycles",
    "difference": "how much earlier in its cycle a key lies than the asking token in its own, in cycles, from 0 to 1",
    "feature": "what beats may have that attention may move to: an irregular interval, no P wave",
    "irregularity": "how far a beat's interval is off the median of its neighbours', relative; the least of each bin",
    "part": "one of a head's weights: query, key, value or output",
    "tensor": "a tensor of the checkpoint, by its published name",
    "rhythm": "the half of the records with the less irregular intervals, and the other one; in reliance: what the intervals were made",
    "p_wave": "what was done to a window's P waves; none: it shows none of its own",
    "factor": "what an effect on the logit is due to: the rhythm, the P wave, both together beyond their sum",
    "change": "what is changed: what a factor is about (effect), its sham, or its rival, another real edit",
    "logit_bin": "an interval of logits, 0.25 wide, from -15 to 15; the outer ones hold what lies beyond",
    "scale": "what an effect is measured on: probability, or the quantile among the records' logits as they are",
    "example": "a window or a token kept whole, to be drawn",
    "level": "the embedding (tokens and positions), then what each block leaves in the residual stream",
    "label": "what tells tokens of equal value apart: the sign of the slope, or the part of the cycle",
    "shuffle": "a shuffle of labels, among tokens of equal value or among the cycles of a window; 0: as they are",
    "component": "a principal component of vectors",
    "other": "a token compared with a reference token, counted from 1",
    "place": "the tokens where patched: those of a wave, those of no wave, or all",
    "side": "of a pair: the recording (clean), its counterfactual (corrupt), or the difference of the two",
    "swapped": "what of the last block is the base's or the fine-tuned model's: a head, the attention's bias, MLP, final norm",
    "d_model": "a coordinate of the residual stream",
    "how": "what replaces an activation that is taken away: zero, its mean, another record's, its mean at the same phase",
    "reference": "a batch of windows that replacing activations are taken from; no two batches share a record",
    "readout": "what a model's outputs say: nats, amplitude error, a logit, an AUC, missed beats (models/readouts.py)",
    "end": "from which end layers are taken away one after the other: first, last",
    "n_layers_removed": "how many layers are taken away at once",
    "n_heads_removed": "how many heads are taken away at once, in the order of `rank`",
    "rank": "heads in the order in which they are taken away",
    "output": "what is attributed: a task head's logit, at its token or at beats and elsewhere, or that of next tokens by their wave",
    "node": "a head or an MLP, as a part of a circuit: all heads, layer by layer, then the MLPs",
    "size": "how many nodes a set holds",
    "draw": "one of several sets, or continuations, drawn at random",
    "variant": "the intact model, or the model without one of its parts, as it goes on with a window",
    "step": "a generated token, counted from the end of the prompt",
}

POINT_HALF_WIDTH_S = 0.06  # a point landmark's wave reaches this far to both sides (seven tokens at 50 Hz)


@dataclass(frozen=True)
class Kind:
    """A kind of heart signal as the models know it.

    `waves` are what attention may fall on, `segments` what an asking token may lie in. A cycle is counted from `cycle_lead` (a
    fraction of the cycle) before its beat mark, so that the P wave belongs to the QRS it precedes, and the foot to its pulse.
    """

    name: str
    rate_hz: float
    vocabulary: int
    waves: tuple[str, ...]
    segments: tuple[str, ...]
    cycle_lead: float
    unit: str
    bandpass_hz: tuple[float, float]


KINDS = {
    "ecg": Kind("ecg", 100.0, 101, ("P", "QRS", "T"), ("P", "QRS", "T", "baseline"), 1 / 3, "mV", (1.0, 45.0)),
    "ppg": Kind(
        "ppg",
        50.0,
        102,
        ("foot", "systolic_peak", "dicrotic_notch", "diastolic_peak"),
        ("upstroke", "peak", "notch", "downslope"),
        0.1,
        "a.u.",
        (1.0, 15.0),
    ),
}


def head_label(layer: int, head: int) -> str:
    """The paper's name of a head, counting from 1.

    >>> head_label(layer=7, head=4)
    'L8H5'
    """
    return f"L{layer + 1}H{head + 1}"
