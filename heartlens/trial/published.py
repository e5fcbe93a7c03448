"""The published trial: docs/calibration.json, and docs/calibration.md made of it.

A row is of one rule, with its fingerprint, on one corpus. A new trial of an analysis replaces that analysis' rows; `stale` says which rows
are of other rules or corpora than the code's.
"""

import importlib
import json
import pkgutil
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from heartlens.provenance import inventory
from heartlens.store import write_text
from heartlens.trial import Rate, Trial, answered, trial_of
from heartlens.trial.judged import (
    JUDGED_SEED,
    NULL_SEED,
    STUDY_SEED,
    Outcome,
    false_yes,
    false_yes_of_studies,
    in_turn,
    power,
    power_of_studies,
)
from heartlens.trial.pool import OWN, SHUFFLED, Pool
from heartlens.trial.processes import on_processes
from heartlens.windows import Windows

DECIDES_NOTHING = {"similarity_screen": "the published screen of a few tokens, drawn and not tested"}
MOST_FALSE_YES, LEAST_UPPER = 0.05, 0.10  # of a rule's exact interval, the lower end at most the first, the upper at most the second
NAME = "calibration"
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Corpus:
    """The windows of a trial: simulated persons, so that anybody can repeat it."""

    n_persons: int = 25
    windows_each: int = 1
    seed: int = 0
    rhythm: str = "sinus"

    def windows(self, kind: str) -> Windows:
        """The windows."""
        from heartlens.signals.simulate import simulated

        return simulated(kind, self.n_persons, self.windows_each, self.rhythm, self.seed)

    def described(self, kind: str) -> dict[str, Any]:
        """What a row says of its corpus; `sha256` is of all windows."""
        windows = self.windows(kind)
        rhythm = "sinus rhythm" if self.rhythm == "sinus" else self.rhythm
        name = f"simulated {kind}, {rhythm}, seed {self.seed}"
        sha256 = f"{inventory(windows).digest:064x}"[:16]
        return {"corpus": name, "corpus_sha256": sha256, "n_persons": self.n_persons, "n_windows": len(windows)}


@dataclass(frozen=True)
class Sizes:
    """How many models are judged, of shuffled ones and of each other kind; how many null sets; into how many models an effect is put.

    `n_studies` is how many simulated studies each null and each effect has.
    """

    n_models: int = 200
    n_others: int = 20
    n_sets: int = 5
    n_power: int = 60
    n_studies: int = 200


def analyses() -> dict[str, type]:
    """Every analysis of the package, by the name of its own package: the class has that name in CamelCase."""
    folder = importlib.import_module("heartlens.analyses").__path__
    names = [module.name for module in pkgutil.iter_modules(folder) if module.ispkg]
    packages = {name: importlib.import_module(f"heartlens.analyses.{name}") for name in names}
    return {name: getattr(package, "".join(part.capitalize() for part in name.split("_"))) for name, package in packages.items()}


def opened(analysis: Any, checkpoint: str, corpus: Corpus, folder: Path) -> Pool:
    """The pool of an analysis' trial; `checkpoint` is the base, or that of which the fine-tuned model has the name."""
    from heartlens.models.load import load_subject

    trial = trial_of(analysis)
    subject = load_subject(checkpoint if trial.needs == "base" else f"{checkpoint}-af")
    return Pool(analysis, subject, replace(corpus, rhythm=trial.rhythm).windows(subject.kind or "ecg"), folder)


def kinds_of(trial: Trial) -> dict[str, bool]:
    """The kinds of models that learnt nothing which are judged, and whether as many as of shuffled ones."""
    from heartlens.models.nulls.unlearnt import LEARNT_NOTHING

    return {OWN: True} if trial.needs == "fine-tuned" else {kind: kind == SHUFFLED for kind in LEARNT_NOTHING}


def rules_of(analysis: Any, summary: Any) -> dict[str, str]:
    """The fingerprint of every rule of an analysis as rows name it (`rule_of`): those of a summary, and those of the simulated studies."""
    trial, rules = trial_of(analysis), {}
    for name, answer in answered(summary).items():
        if name not in trial.of_any_model:
            rules[name] = answer.rule
    for outcome in (*false_yes_of_studies(analysis, trial.nulls, 1), *power_of_studies(analysis, trial.effects, 1)):
        row = _row(outcome, {})
        rules[rule_of(row)] = row["fingerprint"]
    return rules


def rule_of(row: Mapping[str, Any]) -> str:
    """A row's rule; where simulated studies were judged with what they are, because rules of other readouts have other fingerprints."""
    return f"{row['rule']}, {row.get('effect', row['models'])}" if row.get("is_simulated") else str(row["rule"])


def published(
    analysis: Any, checkpoint: str, corpus: Corpus, sizes: Sizes, folder: Path, say: Callable[[str], None], n_processes: int = 1
) -> Rows:
    """The rows of one analysis' trial."""
    trial = trial_of(analysis)
    analysis = replace(analysis, **trial.options)
    pool = opened(analysis, checkpoint, corpus, folder)
    about = {
        "checkpoint": pool.subject.origin.checkpoint,
        **replace(corpus, rhythm=trial.rhythm).described(pool.windows.kind),
        "seeds": f"judged {JUDGED_SEED}, twins from {NULL_SEED} on",
    }
    rows: Rows = []

    def add(outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            rows.append(_row(outcome, {} if outcome.is_simulated else about))
            say(_line(rows[-1]))

    add(false_yes_of_studies(analysis, trial.nulls, sizes.n_studies))
    add(power_of_studies(analysis, trial.effects, sizes.n_studies))
    several = on_processes(n_processes, partial(opened, analysis, checkpoint, corpus, folder))
    with several if n_processes > 1 else nullcontext(in_turn(pool)) as run:
        for models, is_many in kinds_of(trial).items():
            n_models, n_sets = (sizes.n_models, sizes.n_sets) if is_many else (sizes.n_others, 1)
            if n_models:
                add(false_yes(pool, models, n_models, n_sets, run))
        if sizes.n_power:
            add(power(pool, trial.effects, sizes.n_power, sizes.n_sets, run))
    return rows


def _row(outcome: Outcome, about: Mapping[str, Any]) -> dict[str, Any]:
    low, high = outcome.rate.interval
    measured = {"n_yes": outcome.rate.n_yes, "n": outcome.rate.n, "rate": outcome.rate.value, "low": low, "high": high}
    asked = {"what": "power", "effect": outcome.effect.text, "wanted": outcome.effect.power} if outcome.effect else {"what": "false yes"}
    where = {"is_simulated": True, "seeds": f"simulated {STUDY_SEED}"} if outcome.is_simulated else {"n_null_sets": outcome.n_null_sets}
    return {
        "part": outcome.analysis,
        "rule": outcome.rule,
        "fingerprint": outcome.fingerprint,
        "models": outcome.kind,
        **asked,
        **measured,
        "n_not_tested": outcome.n_not_tested,
        **where,
        **about,
    }


def _line(row: Mapping[str, Any]) -> str:
    what = f"power, {row['effect']}" if row["what"] == "power" else f"false yes, {row['models']}"
    return f"{row['part']} {row['rule']}: {what}: {row['n_yes']} of {row['n']}, {row['rate']:.3f} ({row['low']:.3f} to {row['high']:.3f})"


def passes(row: Mapping[str, Any]) -> bool:
    """Whether a row reaches what is wanted of it."""
    if row["what"] == "false yes":
        return bool(row["low"] <= MOST_FALSE_YES and row["high"] <= LEAST_UPPER)
    return bool(row["rate"] >= row["wanted"])


def stored(folder: Path) -> Rows:
    """The published rows; none where there are none yet."""
    path = folder / f"{NAME}.json"
    return json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []


def write(rows: Rows, folder: Path) -> None:
    """Put rows in the place of those of the same parts, and write both files."""
    parts = {row["part"] for row in rows}
    together = sorted([row for row in stored(folder) if row["part"] not in parts] + rows, key=lambda row: row["part"])
    write_text(folder / f"{NAME}.json", json.dumps({"rows": together}, indent=1) + "\n")
    write_text(folder / f"{NAME}.md", page(together))


INTRODUCTION = """# The trial of every verdict

Made by `make calibrate` (`python -m heartlens.trial`); [calibration.json](calibration.json) holds the same numbers. Intervals are exact
(Clopper & Pearson), 95 %. A test fails where this page is of other rules or corpora than the code's.

Models that learnt nothing are judged as if each were the model, as the user runs the analysis, beside twins of which none is itself judged.
One yes anywhere in the question (any head, any wave) is one false yes. Wanted: the interval's lower end at most 5 %, its upper end at most
10 %. *Shuffled*: the model's weights in random order. *Random x S*: drawn anew, S times as large as at the start of training. *Rows*: each
matrix's rows in random order. *Layers*: the trained blocks in random order, whose heads did learn: shown, not counted as a failure.
*Changed at random*: the base of a fine-tuned model, every tensor changed at random as much as fine-tuning changed it.

Rules that are about the persons and not about learning (a head changes the loss when it is taken away) are tried on simulated studies of 25
persons in which there is nothing to find: a yes to them can be true of a model that learnt nothing. So are rules that ask further only
where another answer is yes. Where an analysis has no rows of models here, its models are judged by the small trial of the tests alone.

A limit: how often the head scan finds a lift of 1.5 at P in one head depends on the head's layer, because the comparison is with what heads
of models that learnt nothing reach in that layer. Of the 160 heads below, drawn from all layers, it found 9 of 26 in layer 1, 15 of 16, 23
of 24 and 17 of 20 in layers 2 to 4, 4 of 17 and 0 of 20 in layers 5 and 6, 12 of 18 and 18 of 19 in layers 7 and 8. (An earlier trial put
all of them into layer 1: 17 of 60.) So *not shown* in layers 1, 5 and 6 says little about lifts below 2. At QRS and T heads that learnt
nothing reach more, so lifts of 1.5 are found less often there. The interval and the rotated waves let nearly all of these lifts pass. What
was tried instead of lower bounds in standard deviations: estimates (in layer 1, 4 of 15 where lower bounds find 6), and other units of
spread (upper deviation, 90 % quantile, skewness: 0.64 to 0.67 of all heads at P where the standard deviation finds 0.64).

Another limit: models that are judged beside the same set of twins share its luck, so a rate from few sets varies more than its interval
says (with 5 sets of 39 twins its standard deviation is 1.4 times as large). A judged model and its twins are drawn alike, so a p-value of
at most 0.05 among twins cannot be wrong of more than 5 % over many sets; whether a rate a little beyond that is the sets' luck takes more
sets to tell.
"""
TABLES = (
    ("false yes", "## False yes", "wanted: the interval's lower end at most 5 %, its upper end at most 10 %"),
    ("power", "## Power", "effects of known size, put into shuffled models or into simulated studies"),
    ("coverage", "## Coverage of 95 % intervals", "simulated persons, where a yes is possible; wanted: 93 % or more"),
)
NOT_COUNTED = {"layers"}


def page(rows: Rows) -> str:
    """The rows as a page of tables."""
    lines = [INTRODUCTION]
    for what, title, note in TABLES:
        chosen = [row for row in rows if row["what"] == what]
        if chosen:
            lines += [
                f"{title}\n\n{note[0].upper()}{note[1:]}.\n",
                "| part | rule | of | rate | interval | n | reached | setting |",
                "|---" * 8 + "|",
            ]
            lines += [_cells(row) for row in chosen]
            lines.append("")
    return "\n".join(lines)


def _cells(row: Mapping[str, Any]) -> str:
    of = ", ".join(filter(None, (row.get("models"), row.get("effect"), f"wanted {row['wanted']:g}" if "wanted" in row else "")))
    too_few = row["what"] == "false yes" and Rate(0, row["n"]).interval[1] > LEAST_UPPER  # even none of so few would not reach it
    reached = "-" if row.get("models") in NOT_COUNTED else "yes" if passes(row) else "too few models" if too_few else "**no**"
    setting = [f"{row['n_persons']} persons, {row['n_windows']} windows, {row['corpus']}"] if "corpus" in row else []
    setting += [f"{row['checkpoint']}, {row['n_null_sets']} sets of twins"] if "checkpoint" in row else []
    setting += [f"seeds: {row['seeds']}"] + ([f"rule {row['fingerprint']}"] if row["fingerprint"] else [])
    setting += [f"{row['n_not_tested']} not tested"] if row.get("n_not_tested") else []
    cells = (
        row["part"],
        row["rule"],
        of,
        f"{row['rate']:.3f}",
        f"{row['low']:.3f} to {row['high']:.3f}",
        row["n"],
        reached,
        "; ".join(setting),
    )
    return "| " + " | ".join(map(str, cells)) + " |"


def stale(rows: Rows, rules: Mapping[str, Mapping[str, str]], corpora: Mapping[str, str]) -> list[str]:
    """Why rows are not of the code's rules (fingerprint by part and rule) and corpora (hash by name): one line for each reason."""
    reasons = []
    for part, rules_of_part in rules.items():
        published_rules = {rule_of(row): row["fingerprint"] for row in rows if row["part"] == part}
        for name, fingerprint in rules_of_part.items():
            if published_rules.get(name) != fingerprint:
                how = "is of another rule" if name in published_rules else "has not been tried"
                reasons.append(f"{part} {name} {how}; run `make calibrate`")
    for row in rows:
        if "corpus" in row and corpora.get(row["corpus"]) != row["corpus_sha256"]:
            reasons.append(f"{row['part']} {row['rule']} was tried on another corpus ({row['corpus']}); run `make calibrate`")
    return list(dict.fromkeys(reasons))
