"""What an ablation asks of a part, with the smallest change of each readout that is of interest."""

from heartlens.inference.verdict import Claim

SMALLEST = {  # by what a readout's name begins or ends with: the smallest change of interest, and its unit
    "cross_entropy": (0.05, "nats a token"),
    "amplitude_error_mv": (0.01, "mV"),
    "amplitude_error_au": (float("nan"), "the recording's unit"),  # a unit that differs between recordings: no change can be ruled out
    "amplitude_error": (0.25, "tokens"),
    "crps": (0.25, "tokens"),
    "logit": (0.25, "logits"),
    "brier": (0.01, "squared probability"),
    "beat_misses": (0.02, "beats for each true one"),
    "beat_extras": (0.02, "beats for each true one"),
    "beat_expected": (0.1, "beats for each true one"),
    "auc": (0.02, "AUC"),
    "f1": (0.02, "F1"),
}
OTHERWISE = (0.05, "probability")  # probabilities, rates, calibration


def smallest_of(readout: str) -> tuple[float, str]:
    """The smallest change of a readout that is of interest, and its unit.

    >>> smallest_of("cross_entropy_P"), smallest_of("af_logit_A"), smallest_of("af_auc")
    ((0.05, 'nats a token'), (0.25, 'logits'), (0.02, 'AUC'))
    """
    parts = f"_{readout}_"
    return next((value for name, value in SMALLEST.items() if f"_{name}_" in parts), OTHERWISE)


def changes(readout: str, parts: str) -> Claim:
    """Heads, MLPs or layers (`parts`): taken away alone, the readout changes. The name begins with the part's, of heads with nothing."""
    text = f"the readout changes when one of the {parts} is taken away"
    name = {"heads": "changes", "MLPs": "mlp_changes", "layers": "layer_changes"}[parts]
    return _claim(name, text, readout, f"all {parts}, for one readout and one way of taking away")


def matters(readout: str) -> Claim:
    """The head does more than heads that add as much to the stream."""
    text = "taking the head away changes the readout beyond what other heads of its norm show, their spread included"
    return _claim("matters", text, readout, "all heads, for one readout and one way of taking away")


def learnt(readout: str) -> Claim:
    """The head stands out further than any head of a model that learnt nothing."""
    text = "the head stands out from heads of its norm further than any head of models with the same weights in random order"
    return _claim("learnt", text, readout, "all heads, for one readout")


def _claim(name: str, text: str, readout: str, family: str) -> Claim:
    """A claim of either sign, with the readout's unit and smallest change of interest."""
    smallest, unit = smallest_of(readout)
    return Claim(name, text, unit, smallest, family, either=True)


INSIDE = Claim(
    "inside",
    "taking the head away costs more inside the wave than outside",
    "nats a token",
    smallest=0.05,
    family="all heads, for one wave and one way of taking away",
)
