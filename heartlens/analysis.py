"""The frame. An analysis is a frozen dataclass of options with three verbs, and its findings in words; `run` folds it over windows.

`measure` a chunk of windows -> Tally; `summarize` the total (and its twins') -> Dataset; `plot` the summary -> Figure.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import xarray as xr

from heartlens.findings import Findings
from heartlens.models.origin import Origin
from heartlens.provenance import provenance
from heartlens.refusal import Refusal
from heartlens.tally import Tally
from heartlens.windows import Windows

if TYPE_CHECKING:
    import matplotlib.figure

CHUNK = 2  # windows at a time; with it grows the memory, not with their number

Progress = Callable[[str, Iterable[Any], int], Iterable[Any]]


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


class Twinned:
    """What an analysis derives from whose findings `n_twins` other models must not show, each measured on `twin_windows` windows."""

    n_twins: int
    twin_windows: int
    seed: int

    def for_twins(self) -> Any:
        """The measurement of a twin: the same, unless an analysis needs less of it."""
        return self

    def twins(self, subject: Any) -> Iterable[tuple[str, Any]]:
        """Weight-randomised twins by name, half with random, half with shuffled weights; each only good until the next is asked for."""
        from heartlens.models.nulls.twins import twins

        return ((name, subject.beside(twin)) for name, twin in twins(subject.model, self.n_twins, self.seed))


@dataclass(frozen=True)
class Measured:
    """What was measured: the model's tally, its twins', and where both come from. Two of them add up if they mean the same."""

    tally: Tally
    twins: dict[str, Tally]
    attrs: dict[str, Any] = field(default_factory=dict)


def run(analysis: Analysis, model: Any, windows: Windows, *, force: bool = False) -> xr.Dataset:
    """The summary of `analysis` of `model` (a HookedTransformer or a Subject) over `windows`, with its provenance in `attrs`.

    Refuses windows of another kind of signal than the model's unless `force`.
    """
    return summarize(analysis, measure(analysis, model, windows, force=force))


def measure(analysis: Analysis, model: Any, windows: Windows, *, force: bool = False, progress: Progress | None = None) -> Measured:
    """The tallies of `model` and of its twins, where there are any, these on the `twin_windows` windows of smallest identity."""
    from heartlens.models.subject import subject_of

    subject = subject_of(model)
    _refuse_mismatch(subject.origin, subject.sizes, windows, force)
    show = progress or silent
    tally = fold(analysis, subject, windows, show)
    twins = _of_twins(analysis, subject, windows, show) if isinstance(analysis, Twinned) else {}
    return Measured(tally, twins, provenance(analysis, subject.origin, windows, subject.engine.name))


def _of_twins(analysis: Twinned, subject: Any, windows: Windows, show: Progress) -> dict[str, Tally]:
    few = windows.subset(analysis.twin_windows)
    named = show("twins", analysis.twins(subject), analysis.n_twins)
    return {name: fold(analysis.for_twins(), twin, few, silent) for name, twin in named}


def fold(analysis: Analysis, subject: Any, windows: Windows, progress: Progress) -> Tally:
    """The sum of the tallies of all chunks, once the analysis is prepared where it asks for that."""
    from heartlens.engine.workers import on_chunks, workers_for

    ready = analysis.prepared(subject, windows) if isinstance(analysis, Prepares) else analysis
    at_once = getattr(analysis, "at_once", CHUNK)
    tallies = on_chunks(partial(ready.measure, subject), windows.chunks(at_once), workers_for(subject.engine))
    return sum(progress("windows", tallies, -(-len(windows) // at_once)), start=Tally())


def summarize(analysis: Analysis, measured: Measured) -> xr.Dataset:
    """The summary, with the provenance of what was measured."""
    summary = analysis.summarize(measured.tally, measured.twins)
    return summary.assign_attrs({**summary.attrs, **measured.attrs})


def silent(what: str, steps: Iterable[Any], n_steps: int) -> Iterable[Any]:
    return steps


def _refuse_mismatch(origin: Origin, sizes: Any, windows: Windows, force: bool) -> None:
    if not len(windows):
        raise Refusal("there are no windows to measure; every one was skipped: " + ", ".join(f"{n} {why}" for why, n in windows.skipped))
    if windows.kind != origin.kind and not force:
        reads = (origin.kind or f"signals of {sizes.d_vocab} token values").upper()
        raise Refusal(f"{origin.checkpoint} reads {reads}, the windows are {windows.kind.upper()}; give its kind, or --force (force=True)")
    if int(windows.tokens.max()) >= sizes.d_vocab or windows.tokens.shape[1] > sizes.n_ctx:
        raise Refusal(f"{origin.checkpoint} takes {sizes.n_ctx} tokens below {sizes.d_vocab}; the windows have {windows.tokens.shape[1]}")
