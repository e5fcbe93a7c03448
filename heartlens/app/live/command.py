"""Save a recording, a model and what-if controls as one HTML page that runs in any browser, without a server."""

import shlex
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from heartlens.app.live import MOST_WINDOWS, live_page
from heartlens.axes import CONTEXT, KINDS
from heartlens.exits import DONE, exit_code
from heartlens.parser import Parser, add_checkpoint, add_device, add_offline, add_quiet, path_given
from heartlens.privacy import names_of
from heartlens.refusal import Refusal
from heartlens.signals.files import Files
from heartlens.signals.hints import hints_of
from heartlens.signals.landmarks import NONE
from heartlens.signals.read import read_all
from heartlens.signals.simulate import simulated
from heartlens.signals.simulate.rhythms import RHYTHMS
from heartlens.tasks import NOT_MEDICAL
from heartlens.tasks.recordings import Prepared, add_recordings, files_of, recordings_of
from heartlens.whole import write_whole
from heartlens.windows import Windows

N_WINDOWS = 6


def run_command(arguments: list[str]) -> int:
    """The exit code of the command with `arguments`."""
    return exit_code(lambda: _run(arguments))


def _parser() -> Parser:
    parser = Parser(prog="heartlens live", description=__doc__, epilog=NOT_MEDICAL, allow_abbrev=False)
    add_checkpoint(parser, "a model with a head for one question: ecg-af, ppg-af, or one's own file")
    add_recordings(parser)
    group = parser.add_argument_group("windows and page")
    group.add_argument("--simulate", choices=tuple(RHYTHMS), help="a simulated recording of this rhythm in the place of DATA")
    group.add_argument("--seed", type=int, default=0, help="of the simulation (default: 0)")
    text = f"at most so many windows, evenly spread over the recording (default: {N_WINDOWS}, at most {MOST_WINDOWS})"
    group.add_argument("--windows", type=int, default=N_WINDOWS, metavar="N", help=text)
    group.add_argument("--out", type=path_given, metavar="PAGE", help="where the page goes (default: live-CHECKPOINT.html)")
    group.add_argument("--overwrite", action="store_true", help="replace the page if it is there")
    add_quiet(group)
    add_offline(group)
    add_device(group)
    return parser


def _run(arguments: list[str]) -> int:
    import sys

    from heartlens.models.load import load_subject

    given = _parser().strict(arguments)
    out = given.out or Path(f"live-{Path(given.checkpoint).stem}.html")
    if bool(given.data) == bool(given.simulate):
        raise Refusal("give one recording (DATA), or --simulate with a rhythm")
    if not 1 <= given.windows <= MOST_WINDOWS:
        raise Refusal(f"--windows is {given.windows}; legal: 1 to {MOST_WINDOWS}")
    if out.suffix.lower() not in (".html", ".htm") or out.is_dir():
        raise Refusal(f"--out is {out}; it names the page, a file that ends with .html")
    if out.exists() and not given.overwrite:
        raise Refusal(f"{out} is there already; give another --out, or --overwrite")
    subject = load_subject(given.checkpoint, published_only=given.published_only, device=given.device)
    if subject.kind is None:
        raise Refusal(
            f"nothing tells whether {given.checkpoint} reads ECG or PPG: its vocabulary fits neither, and it has no model card; write one "
            "into a .safetensors file (docs/adding_a_checkpoint.md)"
        )
    windows, about = _simulated(given, subject.kind) if given.simulate else _recorded(given, subject.kind)
    page = live_page(subject, windows, command=shlex.join(["heartlens", "live", *_bare(arguments)]), **about)
    try:
        write_whole(page.encode(), out)
    except OSError as error:
        raise Refusal(f"{out} cannot be written ({error.strerror or error}); name another file with --out") from error
    print(out)
    if not given.quiet:
        print(f"{len(windows)} windows of {windows.record[0]}, {subject.origin.checkpoint}, {len(page) / 1e6:.1f} MB", file=sys.stderr)
        print(NOT_MEDICAL, file=sys.stderr)
    return DONE


def _bare(arguments: list[str]) -> list[str]:
    """The arguments with names of files in the place of whole paths: a page is sent to others."""
    return [Path(word).name if Path(word).is_absolute() else word for word in arguments]


def _simulated(given: Namespace, kind: str) -> tuple[Windows, dict[str, Any]]:
    """One simulated window, and what the page says of it."""
    reading = f'windows = hl.simulated("{kind}", 1, 1, "{given.simulate}", seed={given.seed})'
    return simulated(kind, 1, 1, given.simulate, seed=given.seed), {"unit": KINDS[kind].unit, "reading": reading}


def _recorded(given: Namespace, kind: str) -> tuple[Windows, dict[str, Any]]:
    """The windows of the one recording that is given, with its waves where these can be found, and what the page says of it."""
    files: Files = files_of(given, kind)
    if len(files.names()) != 1:
        raise Refusal(f"{len(files.names())} recordings are given; a live page shows one")
    (prepared,) = recordings_of(files, kind)
    if prepared.reason:
        raise Refusal(f"{prepared.name}: {prepared.reason}")
    about = {"unit": prepared.unit, "names": names_of(files, given.keep_names)}
    try:
        windows = read_all(replace(files, max_windows=given.windows))
    except Refusal as refusal:
        return _unlabelled(prepared, kind, given.windows, str(refusal)), about
    hints = {
        name: value for name, value in (*hints_of(given).items(), ("bandpass", given.bandpass)) if value not in (None, (), False, "check")
    }
    options = "".join(f", {name}={value!r}" for name, value in ({"kind": kind} | hints | {"max_windows": given.windows}).items())
    return windows, about | {"reading": f"windows = hl.read({files.found[files.names()[0]].path.name!r}{options})"}


def _unlabelled(prepared: Prepared, kind: str, n_windows: int, reason: str) -> Windows:
    """The windows of a recording whose waves were not found, spread over it."""
    from heartlens.tasks.classify import windows_of

    starts, tokens = windows_of(prepared, CONTEXT, KINDS[kind].rate_hz)
    if not len(tokens):
        raise Refusal(f"{prepared.name}: every window is flat")
    chosen = np.unique(np.linspace(0, len(tokens) - 1, min(n_windows, len(tokens))).round().astype(int))
    ends = [(float(signal.min()), float(signal.max())) for signal in _samples(prepared, starts[chosen], KINDS[kind].rate_hz)]
    low, high = np.array(ends).T
    none = np.full(tokens[chosen].shape, NONE, np.int8)
    return Windows(
        kind,
        tokens[chosen],
        np.full(len(chosen), prepared.name),
        starts[chosen],
        low,
        high,
        wave=none,
        segment=none,
        position=np.full(none.shape, np.nan),
        person=np.full(len(chosen), prepared.person),
        sources=(prepared.source,),
        notes=(*prepared.notes, f"no waves are known, so that beats and waves cannot be edited: {reason}"),
    )


def _samples(prepared: Prepared, starts: np.ndarray, rate_hz: float) -> list[np.ndarray]:
    """The samples of the windows that begin at `starts` (s)."""
    samples = []
    for start in starts:
        signal, begin_s = next(each for each in reversed(prepared.stretches) if each[1] <= start + 1e-9)
        first = round((start - begin_s) * rate_hz)
        samples.append(signal[first : first + CONTEXT])
    return samples
