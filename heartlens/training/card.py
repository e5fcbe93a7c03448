"""The model card: what a checkpoint was trained on, how, how well it does, and what it is not. It travels inside the safetensors file."""

import hashlib
import json
from pathlib import Path
from typing import Any

from heartlens.checkpoints.read import State, write_state
from heartlens.provenance import versions
from heartlens.training.corpus import Corpus
from heartlens.training.run_folder import Progressed

IS_NOT = "Not a medical device, and not the paper's model."


def pretrained_card(options: dict[str, Any], training: Corpus, held: Corpus, progressed: Progressed) -> dict[str, Any]:
    """The card of a next-token model."""
    return {
        "name": f"{training.kind} pre-trained on {training.source}",
        "kind": training.kind,
        "task": None,
        "threshold": None,
        "licence": "as its data's",
        "citation": "",
        "is_not": IS_NOT,
        "data": {"source": training.source, "sha256": training.sha256, "notes": list(training.notes)},
        "split": {"by": "record", "training": _side(training), "validation": _side(held)},
        "options": options,
        "metrics": {"step": progressed.step, "validation_loss": progressed.best},
        "versions": versions(),
    }


def write_checkpoint(state: State, path: Path, card: dict[str, Any]) -> None:
    """Write a checkpoint in the published format with its card inside, atomically."""
    write_state(state, path, {"card": json.dumps(card)})


def _side(corpus: Corpus) -> dict[str, Any]:
    """How many records, and which (as a hash where they are many)."""
    names = corpus.records
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    return {"n_records": len(names), "names_sha256": digest, **({"names": names} if len(names) <= 200 else {})}
