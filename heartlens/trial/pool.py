"""The pool: tallies of models that learnt nothing, each measured once and kept in a folder, so that a trial goes on where it stopped.

A model is named by its kind, a seed and its number. Models that are judged and models that make a null have other seeds, so none is ever
both. Files hold N_BATCH models each; their names have a hash of all that decides a tally: the analysis with its options and the code that
measures, checkpoint and windows. A changed rule leaves them valid.
"""

import ast
import hashlib
import inspect
import json
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from heartlens.analysis import MODEL, Measured, Progress, Twinned, fold, silent
from heartlens.options import values_of
from heartlens.provenance import inventory
from heartlens.refusal import Refusal
from heartlens.store import read_measured, write_measured
from heartlens.tally import Tally
from heartlens.windows import Windows

N_BATCH = 5
MEASURING = ("measures", "models", "engine", "signals")  # rooms whose code decides a tally
AFTERWARDS = {"summary", "words", "figure", "trial", "claims"}  # modules of an analysis that do not
VERBS = {"summarize", "plot", "findings", "trial"}  # of a class: what measures no tally
SHUFFLED, OWN = "shuffled", "changed at random"  # models of the second kind are the twins that the analysis itself draws


@dataclass(frozen=True)
class Pool:
    """Tallies of models made from `subject`, measured by `analysis` on `windows`, kept in `folder` where one is given."""

    analysis: Any
    subject: Any
    windows: Windows
    folder: Path | None = None
    progress: Progress = silent
    null_sets: dict[tuple[str, int], dict[str, Tally]] = field(default_factory=dict, repr=False)  # read once, by kind and number

    @cached_property
    def few(self) -> Windows:
        """The windows that model and twins are compared on."""
        return self.windows.subset(self.analysis.twin_windows) if self.is_twinned else self.windows

    @property
    def is_twinned(self) -> bool:
        return isinstance(self.analysis, Twinned)

    def models(self, kind: str, n_models: int, seed: int) -> Iterable[tuple[str, Any]]:
        """`n_models` models of a kind by name; each is only good until the next is asked for. Shuffled ones are the analysis' own twins."""
        if kind in (SHUFFLED, OWN) and self.is_twinned:
            yield from replace(self.analysis, n_twins=n_models, seed=seed).twins(self.subject)
            return
        from heartlens.models.nulls.unlearnt import LEARNT_NOTHING

        for name, model in LEARNT_NOTHING[kind](self.subject.weights, n_models, seed):
            yield name, self.subject.beside(model)

    def as_model(self, kind: str, n_models: int, seed: int, only: range | None = None) -> Iterator[Measured]:
        """Each model's tally as if it were the model, one after the other, with its own on the twins' windows beside it.

        `only` those of one batch, where given: it begins at a multiple of N_BATCH.
        """
        whole = self._tallies(self.analysis, self.windows, kind, n_models, seed, only)
        if not self.is_twinned:
            return (Measured(tally, {}) for tally in whole)
        if self.analysis.for_twins() == self.analysis and len(self.few) == len(self.windows):
            return (Measured(tally, {MODEL: tally}) for tally in whole)
        on_few = self._tallies(self.analysis.for_twins(), self.few, kind, n_models, seed, only)
        return (Measured(tally, {MODEL: tally_on_few}) for tally, tally_on_few in zip(whole, on_few, strict=True))

    def as_twins(self, kind: str, n_models: int, seed: int, only: range | None = None) -> dict[str, Tally]:
        """The tallies of a set of twins, by name; none where the analysis has no twins. `only` as in `as_model`."""
        if not self.is_twinned:
            return {}
        tallies = self._tallies(self.analysis.for_twins(), self.few, kind, n_models, seed, only)
        return {f"twin {index}": tally for index, tally in enumerate(tallies)}

    def _tallies(self, analysis: Any, windows: Windows, kind: str, n_models: int, seed: int, only: range | None = None) -> Iterator[Tally]:
        """The tallies of models in their order, those that are stored read, the others measured and stored."""
        models = iter(self.models(kind, n_models, seed))
        of_what = f"{type(analysis).__name__} {kind} {seed}{'' if analysis is self.analysis else ' on few'}"
        for first in range(0, n_models, N_BATCH):
            batch, numbers = islice(models, N_BATCH), range(first, min(first + N_BATCH, n_models))
            if only is not None and numbers.start != only.start:
                list(batch)  # the models are drawn all the same: the later ones follow from them
                continue
            path = self._path(analysis, windows, kind, seed, numbers)
            stored = _stored(path)
            if stored is not None:
                list(batch)
                yield from stored.twins.values()
                continue
            tallies = [fold(analysis, subject, windows, silent) for _, subject in self.progress(of_what, batch, len(numbers))]
            if path is not None:
                write_measured(Measured(Tally(), {str(number): tally for number, tally in zip(numbers, tallies, strict=True)}), path)
            yield from tallies

    def _path(self, analysis: Any, windows: Windows, kind: str, seed: int, numbers: range) -> Path | None:
        if self.folder is None:
            return None
        options = values_of(analysis) | {"n_twins": None}
        decides = [options, analysis is self.analysis, self._code, self.subject.origin.fingerprint, f"{inventory(windows).digest:x}"]
        key = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:12]
        name = f"{type(analysis).__name__}-{kind.replace(' ', '-')}-{seed}-{numbers.start:03d}-{numbers.stop:03d}-{key}.nc"
        return self.folder / name

    @property
    def _measuring(self) -> list[Path]:
        """The files of code that measure, beside the analysis' class."""
        own, package = Path(inspect.getfile(type(self.analysis))), Path(__file__).parents[1]
        beside = [path for path in sorted(own.parent.glob("*.py")) if path != own and path.stem not in AFTERWARDS]
        return [*beside, *(path for room in MEASURING for path in sorted((package / room).rglob("*.py")))]

    @cached_property
    def _code(self) -> str:
        """A hash of the code that measures: the analysis' class without the verbs that come after, the other modules of its package but
        those that only judge, phrase and draw, and all of MEASURING.
        """
        tree = ast.parse(textwrap.dedent(inspect.getsource(type(self.analysis))))
        body = [node for node in tree.body[0].body if getattr(node, "name", "") not in VERBS]  # type: ignore[attr-defined]
        parts = [*map(ast.dump, body), *(ast.dump(ast.parse(path.read_text(encoding="utf-8"))) for path in self._measuring)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _stored(path: Path | None) -> Measured | None:
    """Tallies that are stored; None where there are none, or of an earlier format."""
    if path is None or not path.is_file():
        return None
    try:
        return read_measured(path)
    except Refusal:
        return None
