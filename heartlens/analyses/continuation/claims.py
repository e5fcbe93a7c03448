"""What a continuation asks of the model and of its parts, with the smallest change of each readout that is of interest."""

from heartlens.inference.verdict import Claim

SMALLEST = {  # of each readout: the smallest change of interest, and its unit
    "period_kept": (0.05, "share of continuations"),
    "rate_kept": (0.05, "share of continuations"),
    "repeats": (0.05, "share of continuations"),
    "period_s": (0.05, "s"),
    "heart_rate_bpm": (3.0, "bpm"),
    "period_error_s": (0.05, "s"),
    "rate_error_bpm": (3.0, "bpm"),
}
PARTS = {"": "heads", "mlp_": "MLPs", "layer_": "layers"}

KEEPS = Claim(
    "keeps",
    "the intact model's continuations keep the period of their own window more often than that of other records' windows",
    "share of continuations",
    smallest=0.05,
    family="one question",
)


def changes(readout: str, prefix: str) -> Claim:
    """Heads, MLPs or layers (`prefix` of PARTS): taken away, the readout changes, more than other random numbers change it."""
    smallest, unit = SMALLEST[readout]
    parts = PARTS[prefix]
    text = (
        f"the readout changes when one of the {parts} is taken away, against the intact model with the same and with other random numbers"
    )
    return Claim(f"{prefix}changes", text, unit, smallest, f"all {parts}, for one readout", either=True)


def matters(readout: str) -> Claim:
    """The head does more than heads that add as much to the stream."""
    smallest, unit = SMALLEST[readout]
    text = "taking the head away changes the readout, and beyond what other heads of its norm show, their spread included"
    return Claim("matters", text, unit, smallest, "all heads, for one readout", either=True)
