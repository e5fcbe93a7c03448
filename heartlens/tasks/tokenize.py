"""The tokens of recordings: of windows as `heartlens.read` cuts them, or (`--last`) of the last 500 samples, as the original programs do.

Either way a window of 500 samples at the model's rate (ECG 100 Hz, PPG 50 Hz) is scaled from its least to its largest sample to 0 to 1,
times 100, and rounded half to even. Windows as read lie where waves were found (an expert's or detected), so that every analysis can use
them; `--last` asks for no waves. `low` and `high` are the samples that became token 0 and 100, so that heights can be had back.
"""

from argparse import Namespace
from typing import Any

import numpy as np
import xarray as xr

from heartlens.axes import CONTEXT, KINDS
from heartlens.findings import Findings
from heartlens.privacy import names_of
from heartlens.provenance import inventory
from heartlens.refusal import Refusal
from heartlens.signals.read import read_all
from heartlens.tasks import NOT_MEDICAL
from heartlens.tasks.command import Made, Task, first_lines, npz
from heartlens.tasks.recordings import files_of, inventory_of_recordings, recordings_of

AS_READ, LAST = "windows as heartlens.read cuts them", f"the last {CONTEXT} samples of each recording, as the original programs take them"
PER_WINDOW = ("record", "person", "start_s", "low", "high")
N_DRAWN = 6  # windows


def add_arguments(parser: Any) -> None:
    """The options of the task."""
    group = parser.add_argument_group("which windows")
    group.add_argument("--last", action="store_true", help=f"{LAST}; waves are not asked for")
    group.add_argument(
        "--landmarks", default="auto", help="of windows as read: auto (an expert's where the file has them), expert, detected"
    )
    group.add_argument("--stride", type=int, default=CONTEXT, metavar="N", help=f"samples between windows as read (default: {CONTEXT})")
    group.add_argument("--max-windows", type=int, metavar="N", help="at most N windows of each recording, evenly spread")


def kind_of(name: str, *, published_only: bool = False) -> str:
    """The kind of signal: the name of one (ecg or ppg), or that of a checkpoint. Refuses a checkpoint of which it is not known."""
    if name in KINDS:
        return name
    from heartlens.models.load import read

    kind = read(name, published_only=published_only)[1].kind
    if kind is None:
        raise Refusal(f"nothing tells whether {name} reads ECG or PPG; give ecg or ppg in its place")
    return str(kind)


def made(given: Namespace, subject: None) -> Made:
    """The tokens of the recordings' windows."""
    kind = kind_of(given.checkpoint, published_only=given.published_only)
    if given.last and (given.stride != CONTEXT or given.max_windows is not None or given.landmarks != "auto"):
        raise Refusal("--last takes one window of each recording; give it without --stride, --max-windows and --landmarks")
    parts: dict[str, Any]
    lines: list[str] = []
    n_unusable = 0
    if given.last:
        recordings, windows = [], []
        for prepared in recordings_of(files_of(given, kind), kind, given.keep_names):
            window = prepared.stretches[-1][0][-CONTEXT:] if prepared.stretches else np.empty(0, np.float32)
            if len(window) and np.ptp(window) == 0:
                lines.append(f"{prepared.name}: not used: its last {CONTEXT} samples are flat")
            elif len(window):
                signal, start_s = prepared.stretches[-1]
                windows.append((prepared.name, prepared.person, start_s + (len(signal) - CONTEXT) / KINDS[kind].rate_hz, window))
            else:
                lines.append(f"{prepared.name}: not used: {prepared.reason}")
            recordings.append(prepared.bare)
        if not windows:
            raise Refusal(f"no recording could be used: {lines[0]}")
        n_unusable = len(lines)
        from heartlens.signals.tokens import tokenised

        samples = np.stack([window for *_, window in windows])
        parts = {"tokens": tokenised(samples), "low": samples.min(axis=1), "high": samples.max(axis=1)}
        parts |= {name: np.array([each[place] for each in windows]) for place, name in enumerate(("record", "person", "start_s"))}
        read = inventory_of_recordings(recordings, kind, len(windows))
    else:
        files = files_of(given, kind, landmarks=given.landmarks, stride=given.stride, max_windows=given.max_windows)
        of_all = read_all(files)
        refused = dict(of_all.skipped)
        n_unusable = sum(count for reason, count in refused.items() if reason.startswith(("recording", "file that cannot")))
        stored = names_of(files, given.keep_names).windows(of_all)
        lines = [f"skipped {count}: {reason}" for reason, count in stored.skipped]
        parts = {name: getattr(stored, name) for name in ("tokens", *PER_WINDOW)}
        read = inventory(stored)
    by_window = {name: (("window",), parts[name].astype(str) if name in ("record", "person") else parts[name]) for name in PER_WINDOW}
    which = LAST if given.last else AS_READ
    counts = {"n_records": len(set(parts["record"])), "n_windows": len(parts["tokens"])}
    summary = xr.Dataset({"token": (("window", "time"), parts["tokens"]), **by_window}, attrs={"kind": kind, "which": which, **counts})
    rows = [
        (record, person, f"{start_s:.3f}", f"{low:.9g}", f"{high:.9g}", *tokens.tolist())
        for record, person, start_s, low, high, tokens in zip(*(parts[name] for name in PER_WINDOW), parts["tokens"], strict=True)
    ]
    columns = (*PER_WINDOW, *(f"token_{place + 1}" for place in range(CONTEXT)))
    arrays = {name: (values.astype(str) if name in ("record", "person") else values) for name, values in parts.items()}
    told = first_lines(lines, "the report")
    return Made(summary, read, {"tokens.csv": (columns, rows)}, {"tokens.npz": npz(**arrays)}, told, n_unusable)


def plot(summary: xr.Dataset) -> Any:
    """The first windows, each a line of tokens."""
    from heartlens import figures

    shown = min(N_DRAWN, summary.sizes["window"])
    time_s = np.arange(CONTEXT) / KINDS[summary.attrs["kind"]].rate_hz
    with figures.style():
        page = figures.page(figures.PAGE_MM, 20 + 22 * shown)
        for number, axes in enumerate(page.subplots(shown, 1, sharex=True, squeeze=False)[:, 0]):
            window = summary.isel(window=number)
            figures.trace(axes, time_s, window["token"].values)
            axes.set_title(f"{window['record'].item()} from {window['start_s'].item():.2f} s", loc="left")
        axes.set_xlabel("time in the window (s)")
    return page


def findings(summary: xr.Dataset) -> Findings:
    """How many windows of how many recordings."""
    attrs = summary.attrs
    names, n_windows = np.unique(summary["record"].values.astype(str), return_counts=True)
    return Findings(
        title=f"Tokens of {attrs['n_windows']} windows",
        question="Which tokens does the model see?",
        verdict=(f"{attrs['n_windows']} windows of {attrs['n_records']} recordings: {attrs['which']}.",),
        columns=("record", "windows"),
        rows=tuple((str(name), str(count)) for name, count in zip(names[:500], n_windows[:500], strict=True)),
        cautions=("Tokens are relative to their window: two windows of other amplitude may have equal tokens.", NOT_MEDICAL),
        methods=(
            f"{CONTEXT} samples at {KINDS[attrs['kind']].rate_hz:g} Hz, least to largest sample scaled to 0 to 100, rounded half to even.",
        ),
    )


TASK = Task(
    "tokenize",
    __doc__,
    "the kind of signal, ecg or ppg, or a checkpoint that reads it",
    add_arguments,
    made,
    plot,
    findings,
    has_model=False,
)
run_command = TASK.run_command


if __name__ == "__main__":
    TASK.main()
