"""The model card: what a checkpoint was trained on, how, how well it does, and what it is not. It travels inside the safetensors file."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from heartlens.checkpoints.head import Head
from heartlens.models.origin import Origin
from heartlens.privacy import CODED_NAMES, Names
from heartlens.provenance import versions
from heartlens.training.corpus import Corpus
from heartlens.training.examples import Examples
from heartlens.training.run_folder import Progressed
from heartlens.training.tasks import LABELS, REGRESSION, Task

if TYPE_CHECKING:
    from heartlens.training.finetune import Finetune, Tuned

IS_NOT = "Not a medical device, and not the paper's model."


def pretrained_card(options: dict[str, Any], training: Corpus, held: Corpus, progressed: Progressed, stored: Names) -> dict[str, Any]:
    """The card of a next-token model."""
    return {
        "name": f"{training.kind} pre-trained on {training.source}",
        "kind": training.kind,
        "task": None,
        "threshold": None,
        "licence": "as its data's",
        "citation": "",
        "is_not": IS_NOT,
        "data": {"source": training.source, "sha256": training.sha256, "notes": list(stored.notes(training.notes, training.records))},
        "split": {"by": _unit(training.person_of), "training": _side(training, stored), "validation": _side(held, stored)},
        "options": options,
        "metrics": {"step": progressed.step, "validation_loss": progressed.best},
        "versions": versions(),
    }


def tuned_card(
    task: Task,
    head: Head,
    origin: Origin,
    options: "Finetune",
    examples: Examples,
    tuned: "Tuned",
    threshold: float,
    figures: Mapping[str, Mapping[str, str]],
    stored: Names = CODED_NAMES,
) -> dict[str, Any]:
    """The card of a fine-tuned model; its metrics are those of records that were not trained on, in words by source.

    `stored` says how names are stored.
    """
    notes = list(stored.notes(examples.notes, examples.records))
    return {
        "name": f"{origin.checkpoint} fine-tuned for {task.name} on {examples.source}",
        "kind": examples.kind,
        "task": f"{', '.join(head.columns)} ({head.reads} token)" if task.name in (REGRESSION, LABELS) else task.text,
        "head": head.stored(),
        "classes": list(examples.classes),
        "threshold": None if math.isnan(threshold) else threshold,
        "licence": "as its data's and its base's",
        "citation": origin.citation,
        "is_not": IS_NOT,
        "base": {"checkpoint": origin.checkpoint, "fingerprint": origin.fingerprint},
        "data": {"source": examples.source, "sha256": examples.sha256, "notes": notes, "n_windows": len(examples)},
        "split": {
            "by": _unit(examples.person_of),
            "n_records": len(examples.records),
            "validation": list(map(stored.record, tuned.validation)),
        },
        "options": asdict(options),
        "metrics": {source: dict(by_name) for source, by_name in figures.items()},
        "versions": versions(),
    }


def _unit(person_of: Mapping[str, str]) -> str:
    return "person" if person_of else "record"


def _side(corpus: Corpus, stored: Names) -> dict[str, Any]:
    """How many records, and which (as a hash where they are many)."""
    names = list(map(stored.record, corpus.records))
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    return {"n_records": len(names), "names_sha256": digest, **({"names": names} if len(names) <= 200 else {})}
