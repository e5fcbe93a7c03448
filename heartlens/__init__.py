"""heartlens: an interpretability toolkit for the heart-signal transformers ECG-PT and PPG-PT. Not a medical device.

>>> import heartlens as hl
>>> windows = hl.simulated("ecg", n_records=2, windows_per_record=1)
>>> windows.tokens.shape
(2, 500)
"""

import logging
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heartlens.analyses.ablation import Ablation
    from heartlens.analyses.attention_cycles import AttentionCycles
    from heartlens.analyses.attention_shift import AttentionShift
    from heartlens.analyses.attribution import Attribution
    from heartlens.analyses.circuit import Circuit
    from heartlens.analyses.continuation import Continuation
    from heartlens.analyses.head_scan import HeadScan
    from heartlens.analyses.homonyms import Homonyms
    from heartlens.analyses.patching import Patching
    from heartlens.analyses.previous_beat import PreviousBeat
    from heartlens.analyses.reliance import Reliance
    from heartlens.analyses.similarity_screen import SimilarityScreen
    from heartlens.analysis import measure, run, summarize
    from heartlens.comparison import compared, compared_checkpoints
    from heartlens.figures import look
    from heartlens.models.edit import ablated, patched
    from heartlens.models.load import load
    from heartlens.models.planted import planted
    from heartlens.models.readouts import with_readout
    from heartlens.refusal import Refusal
    from heartlens.signals.read import read
    from heartlens.signals.simulate import simulated
    from heartlens.store import read_measured, read_summary
    from heartlens.windows import Windows

__version__ = "0.1.0"
__all__ = [
    "Ablation",
    "AttentionCycles",
    "AttentionShift",
    "Attribution",
    "Circuit",
    "Continuation",
    "HeadScan",
    "Homonyms",
    "Patching",
    "PreviousBeat",
    "Refusal",
    "Reliance",
    "SimilarityScreen",
    "Windows",
    "ablated",
    "compared",
    "compared_checkpoints",
    "load",
    "look",
    "measure",
    "patched",
    "planted",
    "read",
    "read_measured",
    "read_summary",
    "run",
    "simulated",
    "summarize",
    "with_readout",
]

HOME = {  # imported when first asked for: torch and TransformerLens take seconds
    "Ablation": "heartlens.analyses.ablation",
    "AttentionCycles": "heartlens.analyses.attention_cycles",
    "AttentionShift": "heartlens.analyses.attention_shift",
    "Attribution": "heartlens.analyses.attribution",
    "Circuit": "heartlens.analyses.circuit",
    "Continuation": "heartlens.analyses.continuation",
    "HeadScan": "heartlens.analyses.head_scan",
    "Homonyms": "heartlens.analyses.homonyms",
    "Patching": "heartlens.analyses.patching",
    "PreviousBeat": "heartlens.analyses.previous_beat",
    "Refusal": "heartlens.refusal",
    "Reliance": "heartlens.analyses.reliance",
    "SimilarityScreen": "heartlens.analyses.similarity_screen",
    "Windows": "heartlens.windows",
    "ablated": "heartlens.models.edit",
    "compared": "heartlens.comparison",
    "compared_checkpoints": "heartlens.comparison",
    "load": "heartlens.models.load",
    "look": "heartlens.figures",
    "measure": "heartlens.analysis",
    "patched": "heartlens.models.edit",
    "planted": "heartlens.models.planted",
    "read": "heartlens.signals.read",
    "read_measured": "heartlens.store",
    "read_summary": "heartlens.store",
    "run": "heartlens.analysis",
    "simulated": "heartlens.signals.simulate",
    "summarize": "heartlens.analysis",
    "with_readout": "heartlens.models.readouts",
}

logging.getLogger("heartlens").addHandler(logging.NullHandler())

if sys.argv[:1] == ["-m"] and "".join(sys.orig_argv).find("-mheartlens.") > 0:  # a command of this package is being imported
    from heartlens.exits import listen

    listen()


def __getattr__(name: str) -> Any:
    if name not in HOME:
        raise AttributeError(f"module 'heartlens' has no attribute {name!r}")
    return getattr(import_module(HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
