"""What would the model answer if one thing of a window were otherwise, or if it lacked some parts?

The window is changed edit by edit (`--edits P:0,beat:3:-0.2,ablate:L8H5`), and the task head's logit and probability are read before and
after, and with shams that change as many token values of something that should mean little. One window shows what can happen, not how
often: `reliance` and `ablation` test it over persons.
"""

from argparse import Namespace
from typing import Any

import numpy as np
import xarray as xr

from heartlens.axes import KINDS
from heartlens.findings import Findings
from heartlens.parser import Listed
from heartlens.refusal import Refusal
from heartlens.tasks import NOT_MEDICAL
from heartlens.tasks.command import Made, Task
from heartlens.tasks.recordings import add_window, inventory_of_recordings, marked_window, one_recording, window_of


def add_arguments(parser: Any) -> None:
    """The options of the task."""
    group = parser.add_argument_group("edits, in their order, with commas between")
    group.add_argument(
        "--edits", type=Listed(), metavar="EDIT,...", help="of the signal: beat:3:-0.2, P:0.5, P@3:0 (of beat 3 alone), T:0, noise:10, "
        "f_waves:1, rhythm:regular; of the model: ablate:L8H5, ablate:MLP3, ablate:L3 (docs/tasks/what_if.md)"
    )  # fmt: skip
    add_window(parser)


def made(given: Namespace, subject: Any) -> Made:
    """The answers of the window that was asked for."""
    from heartlens.models.what_if import what_if

    if not given.edits:
        raise Refusal("no edit is given; give --edits, as --edits P:0,beat:3:-0.2")
    prepared = one_recording(given, subject.kind)
    window = window_of(prepared, subject.kind, given)
    windows = marked_window(given, subject.kind, window.start_s)
    answer = what_if(subject, windows, given.edits)
    summary = summary_of(answer, windows, given.edits, prepared.name)
    return Made(summary, inventory_of_recordings([prepared], subject.kind, 1), {"edits.csv": (COLUMNS, rows_of(summary))})


COLUMNS = ("edit", "logit_alone", "logit_of_sham", "changed_by", "sham_changed_by")


def summary_of(answer: Any, windows: Any, edits: list[str], record: str) -> xr.Dataset:
    """What is drawn and stored: the window before and after, and the logits."""
    time_s = float(windows.start_s[0]) + np.arange(windows.tokens.shape[1]) / KINDS[windows.kind].rate_hz
    return xr.Dataset(
        {
            "token": (("key",), windows.tokens[0]),
            "token_after": (("key",), answer.windows.tokens[0]),
            "time_s": (("key",), time_s),
            "logit_alone": (("edit",), answer.alone),
            "logit_of_sham": (("edit",), answer.sham_alone),
            "dose": (("edit",), answer.dose),
            "dose_of_sham": (("edit",), answer.sham_dose),
        },
        coords={"edit": np.array(edits, np.str_)},
        attrs={
            "logit_before": answer.before,
            "logit_after": answer.after,
            "logit_sham": answer.sham,
            "why_no_sham": "; ".join(dict.fromkeys(filter(None, answer.why_no_sham))),
            "window_start_s": float(windows.start_s[0]),
            "record": record,
            "n_records": 1,
            "n_windows": 1,
        },
    )


def rows_of(summary: xr.Dataset) -> list[tuple[Any, ...]]:
    """A row for each edit."""
    names = ("logit_alone", "logit_of_sham", "dose", "dose_of_sham")
    columns = [[f"{value:.8g}" if np.isfinite(value) else "" for value in summary[name].values] for name in names]
    return list(zip(map(str, summary["edit"].values), *columns, strict=True))


def plot(summary: xr.Dataset) -> Any:
    """The window before and after, and the probability as it is, after the edits, and with the sham."""
    from heartlens import figures

    attrs, time_s = summary.attrs, summary["time_s"].values
    with figures.style():
        page = figures.page(figures.PAGE_MM, 55)
        left, right = page.subplots(1, 2, width_ratios=(4, 1))
        left.plot(time_s, summary["token"].values, color="0.6", linewidth=0.8, label="as it is")
        left.plot(time_s, summary["token_after"].values, color="black", linewidth=0.8, label="edited")
        left.set(xlim=(time_s[0], time_s[-1]), ylim=(-5, 118), xlabel="time (s)", ylabel="token")
        left.legend(frameon=False, loc="upper right", ncols=2)
        for place, (name, colour) in enumerate((("before", "0.6"), ("after", figures.PALETTE[1]), ("sham", figures.PALETTE[0]))):
            right.bar(place, probability(attrs[f"logit_{name}"]), color=colour)
        right.set(xticks=range(3), xticklabels=["as it is", "edited", "sham"], ylim=(0, 1), ylabel="probability")
        page.suptitle(
            f"{attrs['checkpoint']} · {attrs['record']} at {attrs['window_start_s']:g} s · {', '.join(map(str, summary['edit'].values))}",
            fontsize=7, x=0.01, ha="left",
        )  # fmt: skip
    return page


def probability(logit: float) -> float:
    """The probability of a logit."""
    return float(1 / (1 + np.exp(-logit)))


def findings(summary: xr.Dataset) -> Findings:
    """The answers in words and a table."""
    attrs = summary.attrs
    edits = ", ".join(map(str, summary["edit"].values))
    before, after, sham = (attrs[f"logit_{name}"] for name in ("before", "after", "sham"))
    beside = (
        f"with the sham {probability(sham):.4f} (logit {sham:.3f})"
        if np.isfinite(sham)
        else f"there is no sham of this ({attrs['why_no_sham']})"
    )
    return Findings(
        title=f"What if: {attrs['checkpoint']}, {attrs['record']} at {attrs['window_start_s']:g} s",
        question=f"What does the model answer with {edits}?",
        verdict=(
            f"{attrs['record']}, the window at {attrs['window_start_s']:g} s, {edits}: probability {probability(before):.4f} "
            f"(logit {before:.3f}) becomes {probability(after):.4f} (logit {after:.3f}); {beside}.",
        ),
        columns=("edit", "logit with it alone", "with its sham", "token values changed by", "sham"),
        rows=tuple(tuple(map(str, row)) for row in rows_of(summary)),
        cautions=(
            "One window shows what can happen, not how often; reliance and ablation test it over persons.",
            "The probability is not calibrated unless the model's card has a threshold.",
            NOT_MEDICAL,
        ),
        methods=(
            "Edits are counterfactuals of the window (all else kept, rescaled as the published tokeniser does) and zero ablations; a sham "
            "changes as many token values, or takes away as many other heads of the same layers, MLPs or layers (median of five draws); "
            "there is none where fewer others are left.",
        ),
    )


TASK = Task("what_if", __doc__, "a model with a task head: ecg-af, ppg-af, or one's own file", add_arguments, made, plot, findings)
run_command = TASK.run_command


if __name__ == "__main__":
    TASK.main()
