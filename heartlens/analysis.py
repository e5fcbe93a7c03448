"""The frame. An analysis is a frozen dataclass of options with three verbs, and its findings in words; `run` folds it over windows.

`measure` a chunk of windows -> Tally; `summarize` the total (and its twins') -> Dataset; `plot` the summary -> Figure.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import xarray as xr

from heartlens.findings import Findings
from heartlens.models.origin import Origin, origin_of
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
    def measure(self, model: Any, windows: Windows) -> Tally: ...
    def summarize(self, tally: Tally, twins: Mapping[str, Tally]) -> xr.Dataset: ...
    def plot(self, summary: xr.Dataset) -> "matplotlib.figure.Figure": ...
    def findings(self, summary: xr.Dataset) -> Findings: ...


@runtime_checkable
class Prepares(Protocol):
    """An analysis that must know something of all windows before it measures any (a reference sample, a ranking).

    What `prepared` finds lies in fields that are no options; summaries learn of it through the tally alone.
    """

    def prepared(self, model: Any, windows: Windows) -> Analysis: ...


class Twinned:
    """What an analysis derives from whose findings `n_twins` other models must not show, each measured on `twin_windows` windows."""

    n_twins: int
    twin_windows: int
    seed: int

    def for_twins(self) -> Any:
        """The measurement of a twin: the same, unless an analysis needs less of it."""
        return self

    def twins(self, model: Any) -> Iterable[tuple[str, Any]]:
        """Weight-randomised twins by name, half with random, half with shuffled weights; each only good until the next is asked for."""
        from heartlens.models.twins import twins

        return twins(model, self.n_twins, self.seed)


@dataclass(frozen=True)
class Measured:
    """What was measured: the model's tally, its twins', and where both come from. Two of them add up if they mean the same."""

    tally: Tally
    twins: dict[str, Tally]
    attrs: dict[str, Any] = field(default_factory=dict)


def run(analysis: Analysis, model: Any, windows: Windows, *, force: bool = False) -> xr.Dataset:
    """The summary of `analysis` of `model` over `windows`, with its provenance in `attrs`.

    Refuses windows of another kind of signal than the model's unless `force`.
    """
    return summarize(analysis, measure(analysis, model, windows, force=force))


def measure(analysis: Analysis, model: Any, windows: Windows, *, force: bool = False, progress: Progress | None = None) -> Measured:
    """The tallies of `model` and of its twins, where there are any, these on the `twin_windows` windows of smallest identity."""
    origin = origin_of(model)
    _refuse_mismatch(origin, model.cfg, windows, force)
    show = progress or silent
    tally = fold(analysis, model, windows, show)
    twins = _of_twins(analysis, model, windows, show) if isinstance(analysis, Twinned) else {}
    return Measured(tally, twins, provenance(analysis, origin, windows))


def _of_twins(analysis: Twinned, model: Any, windows: Windows, show: Progress) -> dict[str, Tally]:
    few = windows.subset(analysis.twin_windows)
    named = show("twins", analysis.twins(model), analysis.n_twins)
    return {name: fold(analysis.for_twins(), twin, few, silent) for name, twin in named}


def fold(analysis: Analysis, model: Any, windows: Windows, progress: Progress) -> Tally:
    """The sum of the tallies of all chunks, once the analysis is prepared where it asks for that."""
    from heartlens.models.workers import on_chunks

    ready = analysis.prepared(model, windows) if isinstance(analysis, Prepares) else analysis
    tallies = on_chunks(ready.measure, model, windows.chunks(CHUNK))
    return sum(progress("windows", tallies, -(-len(windows) // CHUNK)), start=Tally())


def summarize(analysis: Analysis, measured: Measured) -> xr.Dataset:
    """The summary, with the provenance of what was measured."""
    summary = analysis.summarize(measured.tally, measured.twins)
    return summary.assign_attrs({**summary.attrs, **measured.attrs})


def silent(what: str, steps: Iterable[Any], n_steps: int) -> Iterable[Any]:
    return steps


def _refuse_mismatch(origin: Origin, cfg: Any, windows: Windows, force: bool) -> None:
    if not len(windows):
        raise Refusal("there are no windows to measure; every one was skipped: " + ", ".join(f"{n} {why}" for why, n in windows.skipped))
    if windows.kind != origin.kind and not force:
        reads = (origin.kind or f"signals of {cfg.d_vocab} token values").upper()
        raise Refusal(f"{origin.checkpoint} reads {reads}, the windows are {windows.kind.upper()}; give its kind, or --force (force=True)")
    if int(windows.tokens.max()) >= cfg.d_vocab or windows.tokens.shape[1] > cfg.n_ctx:
        raise Refusal(f"{origin.checkpoint} takes {cfg.n_ctx} tokens below {cfg.d_vocab}; the windows have {windows.tokens.shape[1]}")
