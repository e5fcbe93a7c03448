"""The frame. An analysis is a frozen dataclass of options with three verbs, and its findings in words; `run` folds it over windows.

`measure` a chunk of windows -> Tally; `summarize` the total (and its twins') -> Dataset; `plot` the summary -> Figure.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, is_dataclass, replace
from functools import partial
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import xarray as xr

from heartlens.findings import Findings
from heartlens.gather import N_PENDING, Gathered, Gathering, Total, at_once, measured_chunk, refusals, refuse_mismatch
from heartlens.privacy import AS_THEY_ARE, Names, names_in, names_of
from heartlens.progress import Progress as Progress
from heartlens.progress import shown
from heartlens.progress import silent as silent
from heartlens.provenance import Inventory, data_options, inventory, provenance
from heartlens.refusal import Refusal
from heartlens.signals.distinct import distinct
from heartlens.signals.source import Given, Part, Source, ahead
from heartlens.tally import Tally, added
from heartlens.windows import Windows, concatenate

if TYPE_CHECKING:
    import matplotlib.figure

MODEL, INITIAL = "model", "random"  # names among the tallies on the twins' windows: the model's own, and how those of initial models begin


@runtime_checkable
class Analysis(Protocol):
    """What every analysis offers. `seed` is that of simulated windows too."""

    @property
    def seed(self) -> int: ...
    def measure(self, subject: Any, windows: Windows) -> Tally: ...
    def summarize(self, tally: Tally, twins: Mapping[str, Tally]) -> xr.Dataset: ...
    def plot(self, summary: xr.Dataset) -> "matplotlib.figure.Figure": ...
    def findings(self, summary: xr.Dataset) -> Findings: ...


@runtime_checkable
class Prepares(Protocol):
    """An analysis that must know something of all windows before it measures any (a reference sample, a ranking).

    What `prepared` finds lies in fields that are no options; summaries learn of it through the tally alone.
    """

    def prepared(self, subject: Any, windows: Windows) -> Analysis: ...


PARTS = {
    "seed": "an int, that of twins and of simulated windows",
    "measure": "(model, windows) -> Tally",
    "summarize": "(tally, twins) -> Dataset",
    "plot": "(summary) -> Figure; heartlens.standard.Standard has one",
    "findings": "(summary) -> Findings; heartlens.standard.Standard has one",
}


def refuse_unfinished(analysis: Any) -> None:
    """Refuse what lacks a part of an analysis, or is no frozen dataclass."""
    name = type(analysis).__name__
    lacking = [f"{part}: {what}" for part, what in PARTS.items() if not hasattr(analysis, part)]
    if lacking:
        raise Refusal(f"{name} is no analysis yet, it lacks {'; '.join(lacking)}")
    if isinstance(analysis, Twinned) and not (hasattr(analysis, "n_twins") and hasattr(analysis, "twin_windows")):
        raise Refusal(f"{name} derives from Twinned but lacks the options n_twins and twin_windows; heartlens.standard.Standard has them")
    if not (is_dataclass(analysis) and getattr(type(analysis), "__dataclass_params__").frozen):  # noqa: B009
        raise Refusal(f"{name} is no frozen dataclass; write @dataclass(frozen=True) before the class: its fields are the options")


class Twinned:
    """What an analysis derives from whose findings `n_twins` other models must not show.

    Model and twins are compared on the same `twin_windows` windows, evenly over persons, by the same statistic.
    """

    n_twins: int
    twin_windows: int
    seed: int
    n_initial: ClassVar[int] = 1  # freshly initialised models, shown for comparison

    def for_twins(self) -> Any:
        """The measurement of a twin: the same, unless an analysis needs less of it."""
        return self

    def twins(self, subject: Any) -> Iterable[tuple[str, Any]]:
        """Twins by name, the model's weights in random order; each a model of its own, for several are measured at a time."""
        from heartlens.models.nulls.twins import twins

        return ((name, subject.beside(twin)) for name, twin in twins(subject.weights, self.n_twins, self.seed))

    def initial(self, subject: Any) -> Iterable[tuple[str, Any]]:
        """Freshly initialised models by name; each a model of its own."""
        from heartlens.models.nulls.twins import initial

        return ((name, subject.beside(model)) for name, model in initial(subject.weights, self.n_initial, self.seed))


@dataclass(frozen=True)
class Beside:
    """The tallies on the twins' windows: the model's own (None where no twins were measured), the twins', and of initial models."""

    model: Tally | None
    twins: dict[str, Tally]
    initial: dict[str, Tally]


def beside(tallies: Mapping[str, Tally]) -> Beside:
    """What `summarize` is given as `twins`, sorted by what it is of."""
    initial = {name: tally for name, tally in tallies.items() if name.startswith(INITIAL)}
    twins = {name: tally for name, tally in tallies.items() if name != MODEL and name not in initial}
    return Beside(tallies.get(MODEL), twins, initial)


@dataclass(frozen=True, repr=False)
class Measured:
    """What was measured: the model's tally, its twins', and where both come from. Two of them add up if they mean the same."""

    tally: Tally
    twins: dict[str, Tally]
    attrs: dict[str, Any] = field(default_factory=dict)

    def __add__(self, other: "Measured") -> "Measured":
        """Both together, as `--add` does: refuses another analysis, checkpoint or options, and a recording that both have counted."""
        if not isinstance(other, Measured):
            return NotImplemented
        from heartlens.store import add

        return add(self, other)

    def __repr__(self) -> str:
        """What was measured, in a few lines."""
        counts, attrs = self.tally.counts if self.tally.records else {"n_records": 0, "n_persons": 0}, self.attrs
        persons = f" of {counts['n_persons']} persons" if counts["n_persons"] else ""
        n_windows = f", {int(self.tally.whole.sums['n_windows'].sum())} windows" if "n_windows" in self.tally.sums else ""
        twins = f"{len(self.twins)} models beside it ({', '.join([*self.twins][:3])}, ...)" if self.twins else "no twins"
        return "\n".join(
            [
                f"Measured: {attrs.get('analysis', 'an analysis')} of {attrs.get('checkpoint', 'a model')}, {twins}",
                f"  {counts['n_records']} records{persons}{n_windows}",
                f"  sums: {', '.join(map(str, self.tally.sums.data_vars))}",
            ]
        )


def run(
    analysis: Analysis,
    model: Any,
    data: Windows | Source,
    *,
    force: bool = False,
    strict: bool = False,
    quiet: bool = False,
    keep_names: bool = False,
) -> xr.Dataset:
    """The summary of `analysis` of a model (a HookedTransformer or a Subject) over windows, or a source's recordings one by one.

    Its provenance is in `attrs`. On a terminal a bar shows the progress, unless `quiet`. Persons, folders and dates are coded, as in stored
    results, unless `keep_names` (docs/results.md).

    Refuses windows of another kind of signal than the model's unless `force`; with `strict` a recording without a usable window too.
    """
    return summarize(analysis, measure(analysis, model, data, force=force, strict=strict, progress=shown(quiet), keep_names=keep_names))


def measure(
    analysis: Analysis,
    model: Any,
    data: Windows | Source,
    *,
    force: bool = False,
    strict: bool = False,
    progress: Progress | None = None,
    keep_names: bool = False,
) -> Measured:
    """The tallies of the model and of its twins, where there are any, these on the `twin_windows` windows that `Windows.subset` chooses.

    Names are coded unless `keep_names`. Of a source's recordings no more is kept than fits into memory however many they are, unless the
    analysis `Prepares`.
    """
    from heartlens.models.subject import subject_of

    refuse_unfinished(analysis)
    subject, show = subject_of(model), progress or silent
    stored = names_in(data, keep_names) if isinstance(data, Windows) else names_of(data, keep_names)
    about = {"data_options": data_options(Given(data) if isinstance(data, Windows) else data), "names": stored.kind, "command": ""}
    if not isinstance(data, Windows):
        recordings = distinct(data)
        names = recordings.names
        gathering, parts = started(analysis, subject, recordings.source, names, force=force, strict=strict, stored=stored)
        total = Total(Gathered(read=Inventory(notes=frozenset(stored.notes(recordings.notes, data.names())))))
        for recording in show("recordings", gathering.recordings(parts), len(names)):
            total.add(recording)
        return finished(analysis, subject, total.value, show, about)
    recordings = distinct(Given(data))
    notes = data.notes + stored.notes(recordings.notes, data.records)
    windows = stored.windows(replace(data[np.isin(data.record, recordings.names)], notes=notes))
    refuse_mismatch(subject, windows, force)
    tally = fold(analysis, subject, windows, show)
    twins = _of_twins(analysis, subject, windows.subset(analysis.twin_windows), show) if isinstance(analysis, Twinned) else {}
    return Measured(tally, twins, provenance(analysis, subject, inventory(windows), about))


def started(
    analysis: Analysis,
    subject: Any,
    source: Source,
    names: list[str],
    *,
    force: bool = False,
    strict: bool = False,
    stored: Names = AS_THEY_ARE,
) -> tuple[Gathering, Iterable[Part]]:
    """How the recordings of a source are measured, and their parts. An analysis that `Prepares` gets all of them in memory first.

    `stored` says how names are stored.
    """
    from heartlens.engine.workers import on_chunks, workers_for

    refuse_unfinished(analysis)
    parts: Iterable[Part] = stored.parts(ahead(source, source.names() if isinstance(analysis, Prepares) else names))
    if isinstance(analysis, Prepares):
        everything = list(parts)
        left_out = [part for part in everything if part.windows is None]
        is_left_out = {part.name for part in left_out}
        usable = [part.windows for part in everything if part.windows is not None and part.name not in is_left_out]
        if left_out and (strict or not usable):
            raise Refusal(left_out[0].refusal)
        windows = concatenate(usable)
        refuse_mismatch(subject, windows, force)
        analysis = analysis.prepared(subject, windows)
        parts = [part for part in everything if part.name in set(names)]
    in_order = partial(on_chunks, n_workers=workers_for(subject.engine))
    return Gathering(analysis, subject, n_sample(analysis), force, strict, in_order, stored), parts


def n_sample(analysis: Analysis) -> int:
    """How many windows twins are measured on."""
    return analysis.twin_windows if isinstance(analysis, Twinned) else 0


def finished(
    analysis: Analysis, subject: Any, total: Gathered, progress: Progress | None = None, about: Mapping[str, Any] = MappingProxyType({})
) -> Measured:
    """What was gathered with the twins' tallies; `about` are further attributes. Refuses recordings none of which had a usable window."""
    if total.read.kind == "":
        reasons = refusals(total.read)
        more = f" (and {total.n_recordings - 1} more files without a usable window)" if total.n_recordings > 1 else ""
        raise Refusal(f"{reasons[0]}{more}" if reasons else "there are no recordings to measure")
    few = total.sample.windows
    twins = _of_twins(analysis, subject, few, progress or silent) if isinstance(analysis, Twinned) and few is not None else {}
    return Measured(total.tally, twins, provenance(analysis, subject, total.read, about))


def _of_twins(analysis: Twinned, subject: Any, few: Windows, show: Progress) -> dict[str, Tally]:
    from heartlens.engine.workers import on_chunks, workers_for

    if not analysis.n_twins:
        return {}
    measured = analysis.for_twins()
    models = chain([(MODEL, subject)], analysis.initial(subject), show("twins", analysis.twins(subject), analysis.n_twins))
    tallies: dict[str, list[Tally]] = {}
    for name, tally in on_chunks(_measured_of, _chunks_of(models, measured, few), workers_for(subject.engine)):
        tallies.setdefault(name, []).append(tally)
    return {name: added([Tally(), *parts]) for name, parts in tallies.items()}


def _chunks_of(models: Iterable[tuple[str, Any]], analysis: Any, windows: Windows) -> Iterator[tuple[str, Any, Any, Windows]]:
    """Each model's name, the analysis that is prepared for it, the model, and a chunk of the windows."""
    last = None
    for name, subject in models:
        if subject.engine.model is last:
            raise Refusal(
                f"{name} is the same model as the twin before it; several are measured at a time: yield a model of its own for each"
            )
        last = subject.engine.model
        ready = analysis.prepared(subject, windows) if isinstance(analysis, Prepares) else analysis
        yield from ((name, ready, subject, chunk) for chunk in windows.chunks(at_once(ready)))


def _measured_of(chunk: tuple[str, Any, Any, Windows]) -> tuple[str, Tally]:
    name, analysis, subject, windows = chunk
    return name, measured_chunk(analysis, subject, windows)


def fold(analysis: Analysis, subject: Any, windows: Windows, progress: Progress) -> Tally:
    """The sum of the tallies of all chunks, once the analysis is prepared where it asks for that."""
    from heartlens.engine.workers import on_chunks, workers_for

    ready = analysis.prepared(subject, windows) if isinstance(analysis, Prepares) else analysis
    chunks = windows.chunks(at_once(ready))
    measured = on_chunks(partial(measured_chunk, ready, subject), chunks, workers_for(subject.engine))
    tallies = progress("windows", measured, -(-len(windows) // at_once(ready)))
    total, pending = Tally(), list[Tally]()
    for tally in tallies:
        pending.append(tally)
        if len(pending) >= N_PENDING:
            total, pending = added([total, *pending]), []
    return added([total, *pending])


def summarize(analysis: Analysis, measured: Measured) -> xr.Dataset:
    """The summary, with the provenance of what was measured, and what its unit is; see `Tally.whole` and `Tally.counts`."""
    whole = measured.tally.whole
    summary = analysis.summarize(whole, {name: twin.whole for name, twin in measured.twins.items()})
    if not isinstance(summary, xr.Dataset):
        raise Refusal(f"{type(analysis).__name__}.summarize gave a {type(summary).__name__}; it must give an xarray.Dataset")
    if "unit" in summary.attrs:
        raise Refusal(
            f"{type(analysis).__name__}.summarize sets the attribute 'unit', which says what is counted (person or record); "
            "name the unit of a number otherwise, say readout_unit"
        )
    counts = measured.tally.counts
    if counts["n_units"] == counts["n_records"] and not measured.tally.is_grouped:
        counts["n_records"] = summary.attrs.get("n_records", counts["n_records"])  # an analysis may leave out some
    if "n_windows" in whole.sums:
        counts.setdefault("n_windows", int(whole.sums["n_windows"].sum()))
    return summary.assign_attrs({**whole.sums.attrs, **counts, **summary.attrs, **measured.attrs, **counts})
