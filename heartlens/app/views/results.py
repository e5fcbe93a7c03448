"""Stored results of the output folder: figure, verdicts, provenance, the command that remakes each; and two of them compared."""

from pathlib import Path
from typing import Any

from heartlens.app.saving import figure_file, table_file
from heartlens.app.tabs import Tab
from heartlens.app.views import Binary, View
from heartlens.refusal import Refusal, unknown

MOST_LISTED, MOST_DEEP, MOST_ROWS = 500, 3, 2000
LIVE_WINDOWS = 6


def folders(tab: Tab) -> dict[str, Path]:
    """The results' folders by their paths below the output folder."""
    from heartlens.results import SUMMARY

    out = tab.house.out
    patterns = ("/".join(["*"] * depth + [SUMMARY]) for depth in range(MOST_DEEP + 1))
    results = sorted(file.parent for pattern in patterns for file in out.glob(pattern) if file.is_file())
    inside = out.resolve()
    kept = [folder for folder in results if folder.resolve().is_relative_to(inside)]  # no link leads out of the output folder
    return {folder.relative_to(out).as_posix(): folder for folder in kept[:MOST_LISTED]}


def listed(tab: Tab, asked: dict[str, Any]) -> Any:
    """The names of the stored results, and where they were looked for."""
    return {"names": list(folders(tab)), "out": str(tab.house.out)}


def _result(tab: Tab, asked: dict[str, Any], key: str = "name") -> Any:
    from heartlens.results import opened

    stored = folders(tab)
    if (name := str(asked.get(key, ""))) not in stored:
        raise unknown("result", name, stored)
    return opened(stored[name])


def result(tab: Tab, asked: dict[str, Any]) -> Any:
    """A result in words, its table, where it comes from, and the command that remakes it."""
    opened = _result(tab, asked)
    summary = opened.summary
    findings = opened.drawer.findings(summary)
    try:
        command = opened.command()
    except Refusal as refusal:
        command = f"# {refusal}"
    return {
        "of": opened.name,
        "title": findings.title,
        "question": findings.question,
        "verdict": findings.verdict,
        "columns": findings.columns,
        "rows": findings.rows[:MOST_ROWS],
        "cautions": findings.cautions,
        "methods": findings.methods,
        "provenance": [(name.replace("_", " "), str(value)) for name, value in summary.attrs.items() if str(value)],
        "is_simulated": bool(summary.attrs.get("data_is_simulated")),
        "command": command,
    }


def figure(tab: Tab, asked: dict[str, Any]) -> Binary:
    """The figure, drawn anew from the stored summary."""
    opened = _result(tab, asked)
    return figure_file(asked, opened.name, lambda: opened.drawer.plot(opened.summary), usual="svg")


def data(tab: Tab, asked: dict[str, Any]) -> Binary:
    """The table that `heartlens table` prints."""
    from heartlens.results.table import chosen

    opened = _result(tab, asked)
    columns, *rows = chosen(opened, None).rows()
    return table_file(f"{opened.name}", list(map(str, columns)), rows)


def code(tab: Tab, asked: dict[str, Any]) -> Any:
    """The Python that reads the result, and the command that remakes it."""
    opened = _result(tab, asked)
    python = f"from pathlib import Path\nfrom heartlens.results import opened\n\nresult = opened(Path({str(opened.path)!r}))\n"
    python += "print(result.drawer.findings(result.summary))"
    return {"python": python, "command": opened.command()}


def compared(tab: Tab, asked: dict[str, Any]) -> Any:
    """The effects of two results of one analysis side by side: b less a with 95 % intervals."""
    from heartlens.results.compare import about, of_results, rows_of, unlike

    a, b = (_result(tab, asked, key) for key in ("a", "b"))
    comparison = of_results(a.path, b.path)
    effects = [name.removesuffix("_difference") for name in map(str, comparison) if name.endswith("_difference")]
    columns, *rows = rows_of(comparison, effects)
    low, high = columns.index("low"), columns.index("high")
    rows.sort(key=lambda row: not _leaves_out_zero(row[low], row[high]))
    notes = [*unlike(a.summary.attrs, b.summary.attrs), *about(comparison).splitlines(), "Those that leave out 0 come first."]
    return {"columns": columns, "rows": rows[:MOST_ROWS], "n_rows": len(rows), "notes": notes}


def _leaves_out_zero(low: Any, high: Any) -> bool:
    return low not in ("", None) and high not in ("", None) and float(low) * float(high) > 0


def live(tab: Tab, asked: dict[str, Any]) -> Binary:
    """The recording, the model and what-if controls as one HTML file: the window on the screen, then others spread over the recording."""
    from dataclasses import replace

    import numpy as np

    from heartlens.app import code as written
    from heartlens.app.live import live_page
    from heartlens.windows import concatenate

    subject, windows = tab.subject(asked), [tab.window(asked)]
    length_s = windows[0].tokens.shape[1] / windows[0].rate_hz
    chosen = [float(windows[0].start_s[0])]
    others = [
        start
        for first, last in tab.strip.starts_s()
        for start in np.arange(first, last + 1e-9, length_s).tolist()
        if abs(start - chosen[0]) >= length_s / 2
    ]
    for place in np.unique(np.linspace(0, len(others) - 1, min(len(others), LIVE_WINDOWS - 1)).round().astype(int)):
        try:
            windows.append(tab.strip.window_at(others[place]))
        except Refusal:  # a flat window
            continue
        chosen.append(others[place])
    together = concatenate(windows)
    name = tab.shown_name(tab.strip.name).rsplit("/", 1)[-1]
    lines = (
        "from heartlens.windows import concatenate\nimport heartlens as hl, torch\n\n"
        f"windows = concatenate([strip.window_at(start) for start in {[round(start, 6) for start in chosen]}])"
    )
    page = live_page(
        subject,
        replace(together, record=np.full(len(together), name)),
        unit=tab.strip.unit,
        command=written.command(tab, "live", str(asked["model"])),
        reading=written.python(tab, str(asked["model"]), chosen[0], lines),
        simulated=bool(tab.example),
    )
    return Binary(page.encode(), "text/html; charset=utf-8", f"{name}-live.html")


VIEW = View(
    "Results",
    "What commands stored: figure, verdicts, where it comes from, how to make it again; and two results compared.",
    {"listed": listed, "result": result, "figure": figure, "data": data, "code": code, "compared": compared, "live": live},
)
