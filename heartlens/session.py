"""One command's work: model, recordings, measurement, files. What it needs to say on the way goes to stderr."""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import xarray as xr

from heartlens import __version__, store
from heartlens import analysis as frame
from heartlens.file_key import is_file, split_key
from heartlens.folder import Folder
from heartlens.gather import SKIPPED, Gathered, Open, Total, refusals
from heartlens.options_file import OPTIONS, options_file
from heartlens.partial import Partial, attrs_of_run, shard_named
from heartlens.parts import STREAM, listed, refuse_idle
from heartlens.privacy import Names, names_of
from heartlens.progress import shown
from heartlens.provenance import Inventory, data_options
from heartlens.refusal import Failure, Refusal
from heartlens.remake import command_of
from heartlens.signals.distinct import Distinct, distinct
from heartlens.signals.files import Files
from heartlens.signals.hints import hints_of
from heartlens.signals.source import Part, Simulated, Source
from heartlens.tally import name_hash

NOTHING_TO_RESUME = "no earlier run to go on with; starting with the first recording"
N_SIMULATED = 10  # default windows: so many simulated people, one window each, on which twins are measured in seconds
Say = Callable[[str], None]


@dataclass(frozen=True)
class Made:
    """What a command measured, before anything is written; of a shard there is no summary. `save` keeps it where writing fails."""

    measured: frame.Measured
    summary: xr.Dataset
    lost_records: int
    save: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class MadeShard:
    """What was gathered of a shard's recordings, and of which run it is."""

    total: Gathered
    attrs: dict[str, Any]
    save: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class _Run:
    """What one command measures: `names` are the recordings, `partial` keeps what was gathered of them.

    `stored` says how names are stored, `about` are attributes of the result.
    """

    analysis: Any
    subject: Any
    recordings: Distinct
    stored: Names
    about: dict[str, Any]
    names: list[str]
    partial: Partial
    options: argparse.Namespace
    say: Say
    progress: frame.Progress


def measure(analysis: Any, options: argparse.Namespace, folder: Folder) -> Made | MadeShard:
    """Load the model, measure recording after recording, then the twins, and summarise; of a shard, the recordings alone.

    What was gathered is saved in the folder, which is claimed once the input is accepted, now and then, and where something stops the run.
    """
    from heartlens.cli import parser_of

    shard = shard_named(options.shard) if options.shard else None
    _refuse_contradictions(analysis, options)
    earlier = store.read_measured(options.add) if options.add else None
    say = _silent if options.quiet else _to_stderr
    subject = _subject(options)
    refuse_idle(options.ablate, getattr(analysis, "reads", STREAM), subject.sizes.n_layers)
    source = _source(options, subject.kind, analysis.seed)
    stored = names_of(source, options.keep_names)
    counted = set(map(int, earlier.tally.hashes)) if earlier is not None else set[int]()
    recordings = distinct(source, lambda look: name_hash(look.content or look.name) in counted)
    recordings = replace(recordings, notes=stored.notes(recordings.notes, source.names()))
    names = recordings.names if shard is None else shard.names(recordings.names)
    used = {"engine": subject.engine.name, "device": subject.engine.device.type}
    used |= {} if is_file(options.checkpoint) else {"checkpoint": subject.origin.checkpoint}
    command = command_of(parser_of(type(analysis).__module__), options, used, keep_names=options.keep_names)
    about = {"data_options": data_options(recordings.source), "names": stored.kind, "command": command}
    attrs = attrs_of_run(analysis, subject, recordings, shard, about)
    if earlier is not None:
        store.refuse_addition(earlier, attrs, [stored.record(name) for name in names])
    progress = shown(options.quiet)
    partial = Partial(folder, attrs, names, options.save_every * 60, say)
    run = _Run(analysis, subject, recordings, stored, about, names, partial, options, say, progress)
    total = Total(Gathered(read=Inventory(notes=frozenset(recordings.notes))))
    folder.claim()
    try:
        _gather(run, total)
        _describe(total.value, say)
        if shard is not None:
            of_shard = {"checkpoint_given": _given(options), "ablate": listed(options.ablate or ())}
            return MadeShard(total.value, attrs | of_shard, partial.at_end(total))
        return _finished(run, total, earlier)
    except BaseException as end:
        raise _with_place(end, run.partial, total) from end


def write(analysis: Any, made: Made, folder: Folder, formats: list[str], more: Mapping[str, str] = MappingProxyType({})) -> list[Path]:
    """Put summary, tally, figure and report into the folder, all at once, with `more` files of text; the paths written."""
    from heartlens import figures
    from heartlens.report import inline, report

    name = type(analysis).__module__.rsplit(".", 1)[-1]
    drawings = [f"{name}.{suffix}" for suffix in dict.fromkeys(formats)]
    command = str(made.summary.attrs.get("command", ""))

    def fill(beside: Path) -> None:
        figure = analysis.plot(made.summary)
        svg = inline(figure)
        store.write_text(beside / "report.html", report(analysis.findings(made.summary), svg, made.summary))
        store.write_summary(made.summary, beside / "summary.nc")
        store.write_measured(made.measured, beside / "tally.nc")
        for drawing in drawings:
            store.write_text(beside / drawing, svg) if drawing.endswith(".svg") else figures.save(figure, beside / drawing)
        if command:
            store.write_text(beside / OPTIONS, options_file(command, __version__))
        for other, text in more.items():
            store.write_text(beside / other, text)

    with _writing(folder, made):
        folder.give(fill)
    return [folder.path / file for file in ("summary.nc", "tally.nc", *drawings, "report.html", *([OPTIONS] if command else []))]


def write_shard(made: MadeShard, folder: Folder) -> list[Path]:
    """Put a shard's tally into the folder; the path written."""
    with _writing(folder, made):
        folder.give(lambda beside: store.write_gathered(made.total, Open(), made.attrs, beside / "tally.nc"))
    return [folder.path / "tally.nc"]


def _finished(run: _Run, total: Total, earlier: frame.Measured | None) -> Made:
    try:
        measured = frame.finished(run.analysis, run.subject, total.value, run.progress, run.about)
        if earlier is not None:
            measured = store.add(earlier, measured)
        return Made(measured, frame.summarize(run.analysis, measured), total.value.n_lost, run.partial.at_end(total))
    except BaseException:
        run.partial.save(total, Open(), now=True)
        raise


def _gather(run: _Run, total: Total) -> None:
    """Add all recordings to `total`; from time to time, and where something stops it, the total is saved."""
    opened = Open()
    if run.options.resume:
        start, opened = run.partial.stored()
        total.add(start)
        run.say(
            f"{start.n_recordings} of {len(run.names)} recordings were measured before" if run.partial.path.exists() else NOTHING_TO_RESUME
        )
    names = run.names[total.n_recordings :]

    def on_part(under_way: Open) -> None:
        nonlocal opened
        opened = under_way
        run.partial.save(total, opened)

    try:
        for recordings in run.progress("recordings", _stream(run, names, opened, on_part), len(names)):
            total.add(recordings)
            if run.options.workers or run.options.dask:  # else it was said when it happened
                for refusal in refusals(recordings.read):
                    run.say(f"{SKIPPED}{refusal}")
            run.partial.save(total, opened)
    except BaseException:
        run.partial.save(total, opened, now=True)
        raise


def _stream(run: _Run, names: list[str], opened: Open, on_part: Callable[[Open], None]) -> Iterator[Gathered]:
    """What is gathered of the recordings, in order: in this process, or by the workers of a cluster."""
    options = run.options
    if not (options.workers or options.dask):
        gathering, parts = frame.started(
            run.analysis, run.subject, run.recordings.source, names, force=options.force, strict=options.strict, stored=run.stored
        )
        return gathering.recordings(_announced(parts, run.say), opened, on_part)
    from heartlens import scale

    work = scale.Work(
        run.analysis,
        str(Path(options.checkpoint).resolve()) if is_file(options.checkpoint) else options.checkpoint,  # found from any folder
        options.published_only,
        run.subject.origin,
        run.recordings.source,
        options.force,
        options.strict,
        frame.n_sample(run.analysis),
        run.subject.engine.name,
        run.subject.engine.device.type,
        run.stored,
        tuple(options.ablate or ()),
    )
    return scale.recordings(work, names, n_workers=options.workers, address=options.dask)


def _announced(parts: Iterable[Part], say: Say) -> Iterator[Part]:
    """The parts; which recordings are left out is said in full here, and stored as privacy asks."""
    for part in parts:
        if part.windows is None:
            say(f"{SKIPPED}{part.refusal}")
        yield part


def _with_place(end: BaseException, partial: Partial, total: Total) -> BaseException:
    """The exception, saying where what was measured lies."""
    if not partial.n_saved or not isinstance(end, KeyboardInterrupt | Refusal):
        return end
    place = f"{partial.n_saved} recordings are kept in {partial.path}; --resume goes on with them"
    return (
        KeyboardInterrupt(place)
        if isinstance(end, KeyboardInterrupt)
        else (Failure if isinstance(end, Failure) else Refusal)(f"{end}; {place}")
    )


def _refuse_contradictions(analysis: Any, options: argparse.Namespace) -> None:
    """Refuse options that exclude each other, and what an analysis cannot do that needs all recordings at once."""
    for one, other in (("data", "simulate"), ("workers", "dask"), ("shard", "add")):
        if getattr(options, one) and getattr(options, other):
            raise Refusal(f"--{one} and --{other} exclude each other; give one of them")
    for name in ("shard", "workers", "dask"):
        if getattr(options, name) and isinstance(analysis, frame.Prepares):
            raise Refusal(
                f"{type(analysis).__name__} looks at all recordings before it measures any, in one process; it runs without --{name}"
            )


def _subject(options: argparse.Namespace) -> Any:
    from heartlens.models.load import load_subject

    chosen = {name: getattr(options, name) for name in ("published_only", "device", "engine", "ablate")}
    return load_subject(options.checkpoint, **chosen)


def _given(options: argparse.Namespace) -> str:
    """The checkpoint as a shard names it: its name, of a file the whole path only where names are kept."""
    if not is_file(options.checkpoint):
        return str(options.checkpoint)
    file, key = split_key(str(options.checkpoint))
    return (str(Path(file).resolve()) if options.keep_names else Path(file).name) + (f"#{key}" if key else "")


def _source(options: argparse.Namespace, kind: str | None, seed: int) -> Source:
    if options.data:
        wanted = {name: getattr(options, name) for name in ("landmarks", "bandpass", "max_windows", "persons", "person")}
        return Files(tuple(options.data), kind=kind, **hints_of(options), **wanted)
    if kind is None:
        raise Refusal("this checkpoint's vocabulary does not tell ECG from PPG, so no signals can be simulated for it; give --data")
    return Simulated(kind, tuple(dict.fromkeys(options.simulate or ["sinus"])), seed, N_SIMULATED)


def _describe(total: Gathered, say: Say) -> None:
    for note in sorted(total.read.notes):
        if not note.startswith(SKIPPED):  # those were said when it happened
            say(note)
    for reason, count in total.read.skipped:
        say(f"skipped {count}: {reason}")
    say(f"{total.read.n_windows} windows of {len(total.tally.hashes)} records")


@contextmanager
def _writing(folder: Folder, made: Made | MadeShard) -> Iterator[None]:
    """What was measured is saved where drawing or writing the result fails."""
    try:
        yield
    except BaseException as error:
        if not folder.is_given:
            made.save()
        if isinstance(error, OSError):
            why = error.strerror or error
            raise Refusal(f"{folder.path} cannot be written ({why}); name another folder with --out") from error
        raise


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)


def _silent(line: str) -> None:
    pass
