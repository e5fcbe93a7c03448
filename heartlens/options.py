"""The options of an analysis are its annotated fields: `Annotated[type, "help with its unit"]`, checked when it is made."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from heartlens.refusal import Refusal, unknown

ENGINES = ("auto", "fused", "torch", "hooked")  # what may run a model, see `heartlens.engine`
FORMATS = ("pdf", "svg", "png")  # of figures


@dataclass(frozen=True)
class Option:
    """One option as the command line needs it. `choices` is empty where any value of `type` is legal."""

    name: str
    type: type
    choices: tuple[str, ...]
    default: Any
    help: str


def options_of(analysis: type) -> list[Option]:
    """The options of an analysis' dataclass, in order."""
    hints = get_type_hints(analysis, include_extras=True)
    return [_option(each.name, hints[each.name], each.default) for each in fields(analysis) if get_origin(hints[each.name]) is Annotated]


def values_of(analysis: Any) -> dict[str, Any]:
    """What the options of an analysis are set to."""
    return {option.name: getattr(analysis, option.name) for option in options_of(type(analysis))}


def check(analysis: Any, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Refuse a value outside its range (both ends are legal) or outside its choices."""
    for name, (least, most) in ranges.items():
        if not least <= getattr(analysis, name) <= most:
            raise Refusal(f"--{name.replace('_', '-')} is {getattr(analysis, name)}; legal: {least} to {most}")
    for option in options_of(type(analysis)):
        if option.choices and getattr(analysis, option.name) not in option.choices:
            raise unknown(option.name.replace("_", "-"), getattr(analysis, option.name), option.choices)


def _option(name: str, hint: Any, default: Any) -> Option:
    annotated, *notes = get_args(hint)
    is_choice = get_origin(annotated) is Literal
    return Option(name, str if is_choice else annotated, get_args(annotated) if is_choice else (), default, str(notes[0]))
