"""Two fine-tunings side by side: the scores of what they said of windows of persons that they had not learnt from, paired by person.

Read off `predictions.csv`, so only cross-validated trainings are compared. Scores are means over windows: of classes and labels the Brier
score, the log loss and the accuracy at 0.5, of numbers the absolute error and the error (bias). AUC is none of them: the scores of several
folds' models do not rank together.
"""

import csv
from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr

from heartlens.refusal import Refusal
from heartlens.results import Result

PREDICTIONS, CROSS_VALIDATED = "predictions.csv", "cross-validated"
LEAST = 5e-7  # of a probability in a table of six decimals
Row = dict[str, str]
Scores = Mapping[str, Callable[[Row], float]]


def compared(a: Result, b: Result) -> xr.Dataset:
    """The difference b - a of every score, as `comparison.compared` gives it. The module's first lines say what is refused."""
    from heartlens.comparison import compared_ratios

    answers = [_answers(result) for result in (a, b)]
    if answers[0] != answers[1]:
        raise Refusal(f"{a.path} learnt {answers[0]} and {b.path} {answers[1]}; give two fine-tunings that answer the same question")
    tables = [_rows(result) for result in (a, b)]
    _refuse_other_truth(a, b, tables)
    columns = list(tables[0][0])
    scores = _scores(columns)
    return compared_ratios(*(_sums(rows, scores) for rows in tables))


def _answers(result: Result) -> str:
    """What a fine-tuning learnt, in words. Refuses one whose predictions are not of persons that it had not learnt from."""
    summary = result.summary
    if str(summary["source"].values[0]) != CROSS_VALIDATED:
        raise Refusal(
            f"{result.path} was not cross-validated: most predictions are of windows that it learnt from; give fine-tunings made with "
            "--folds 2 or more"
        )
    if any(str(figure).startswith("event ") for figure in summary["figure"].values):
        raise Refusal(f"{result.path} looks for events at every token, of which no predictions are stored; compare heads of a window")
    if "number" in summary.dims:
        units = str(summary.attrs.get("units", ""))
        if "sd" in units.split(", "):
            raise Refusal(f"{result.path} learnt numbers within recordings, which have no errors in a unit; compare calibrated numbers")
        return f"the numbers {', '.join(map(str, summary['number'].values))} ({units})"
    return f"{summary.attrs['task']} ({summary.attrs['classes']})"


def _rows(result: Result) -> list[Row]:
    path = result.path / PREDICTIONS
    if not path.is_file():
        raise Refusal(f"{result.path} holds no {PREDICTIONS}: there is nothing by person to compare")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise Refusal(f"{path} has no lines: there is nothing to compare")
    return rows


def _refuse_other_truth(a: Result, b: Result, tables: list[list[Row]]) -> None:
    """Refuse two that learnt different answers for the same window."""
    if list(tables[0][0]) != list(tables[1][0]):
        raise Refusal(f"{a.path / PREDICTIONS} and {b.path / PREDICTIONS} have other columns; fine-tune both with this version")
    true = [name for name in tables[0][0] if name == "label" or name.startswith("label ") or name.endswith("_true")]
    of_window = {_window(row): row for row in tables[0]}
    for row in tables[1]:
        other = of_window.get(_window(row))
        unlike = [name for name in true if other is not None and other[name] != row[name]]
        if other is not None and unlike:
            raise Refusal(
                f"{unlike[0]} of {row['record']} is {other[unlike[0]]} in {a.path} and {row[unlike[0]]} in {b.path}; give two fine-tunings "
                "that learnt the same answers"
            )


def _window(row: Row) -> tuple[str, ...]:
    return tuple(row.get(name, "") for name in ("record", "start_s", "time_s"))


def _scores(columns: list[str]) -> Scores:
    """What is computed of each line, by name: NaN where the line has no such number."""
    probabilities = [name.removeprefix("probability ") for name in columns if name.startswith("probability ")]
    scores: dict[str, Callable[[Row], float]] = {}
    if "label" in columns:
        if len(probabilities) > 1:
            return _of_classes(probabilities)
        return _of_probability(f"probability {probabilities[0]}", "label", probabilities[0], "")
    for name in probabilities:
        scores |= _of_probability(f"probability {name}", f"label {name}", "yes", f"{name}: ")
    for name in (name.removesuffix("_true") for name in columns if name.endswith("_true")):
        scores[f"{name} absolute error"] = lambda row, name=name: abs(_number(row, name) - _number(row, f"{name}_true"))  # type: ignore[misc]
        scores[f"{name} error"] = lambda row, name=name: _number(row, name) - _number(row, f"{name}_true")  # type: ignore[misc]
    return scores


def _of_classes(names: list[str]) -> Scores:
    """The scores of the probabilities of several classes, of which one is true."""

    def brier(row: Row) -> float:
        return sum((_number(row, f"probability {name}") - (row["label"] == name)) ** 2 for name in names)

    return {"Brier score": brier, "log loss": lambda row: float(-np.log(max(_number(row, f"probability {row['label']}"), LEAST)))}


def _of_probability(column: str, label: str, yes: str, before: str) -> Scores:
    """The scores of a probability of `yes` in the column `label`."""

    def probability_and_truth(row: Row) -> tuple[float, bool]:
        return _number(row, column), row[label] == yes

    def log_loss(row: Row) -> float:
        probability, is_yes = probability_and_truth(row)
        return float(-np.log(np.clip(probability if is_yes else 1 - probability, LEAST, 1)))

    return {
        f"{before}Brier score": lambda row: (probability_and_truth(row)[0] - probability_and_truth(row)[1]) ** 2,
        f"{before}log loss": log_loss,
        f"{before}accuracy at 0.5": lambda row: float((probability_and_truth(row)[0] >= 0.5) == probability_and_truth(row)[1]),
    }


def _number(row: Row, name: str) -> float:
    return float(row.get(name) or "nan")


def _sums(rows: list[Row], scores: Scores) -> xr.Dataset:
    """Each score's sum over the lines of a record, and how many lines have it."""
    try:
        values = np.array([[score(row) for score in scores.values()] for row in rows], float)
    except ValueError as error:
        raise Refusal(f"{PREDICTIONS} holds what is no number ({error}); it was changed, so nothing is compared") from error
    records, of_record = np.unique([row["record"] for row in rows], return_inverse=True)
    person = {row["record"]: row.get("person") or "" for row in rows}
    top, bottom = np.zeros((2, len(records), len(scores)))
    np.add.at(top, of_record, np.nan_to_num(values))
    np.add.at(bottom, of_record, np.isfinite(values))
    places = {"record": records.astype(np.str_), "readout": list(scores), "person": ("record", [person[str(name)] for name in records])}
    return xr.Dataset({"top": (("record", "readout"), top), "bottom": (("record", "readout"), bottom)}, coords=places)
