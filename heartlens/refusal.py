"""What the user gave cannot be used: one line that says what was given, what is legal and what to do."""

import difflib
from collections.abc import Iterable

MOST_LISTED, MOST_COMPARED, MOST_LETTERS = 60, 2000, 200  # a file may have a million columns
MOST_OF_A_LINE = 900  # letters: what a damaged file gives as a name may be all of its samples


class Refusal(ValueError):
    """Bad input, worded for the person who gave it; the command line prints it alone and exits with 2.

    Always one line. Of a text longer than 900 letters the middle is left out: it begins with what was given and ends with what to do.

    >>> len(str(Refusal(f"unknown unit {5000 * 'x'}; give --unit")))
    900
    """

    def __init__(self, text: str) -> None:
        line = one_line(text)
        if len(line) > MOST_OF_A_LINE:
            line = f"{line[: 2 * MOST_OF_A_LINE // 3]} ... {line[5 + 2 * MOST_OF_A_LINE // 3 - MOST_OF_A_LINE :]}"
        super().__init__(line)


class Failure(Refusal):
    """What was given is right, and something else is in its way (another run, a full disk); the command line exits with 1."""


def unknown(what: str, given: object, legal: Iterable[str]) -> Refusal:
    """The refusal of a name that is not among the `legal` ones, with the nearest of them.

    >>> print(unknown("checkpoint", "ecgg", ["ecg", "ppg"]))
    unknown checkpoint 'ecgg'; did you mean 'ecg'? legal: ecg, ppg
    """
    legal = list(legal)
    nearest = difflib.get_close_matches(str(given)[:MOST_LETTERS], legal[:MOST_COMPARED], n=1, cutoff=0.5)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ";"
    more = f", ... ({len(legal)} in all)" if len(legal) > MOST_LISTED else ""
    return Refusal(f"unknown {what} {str(given)[:MOST_LETTERS]!r}{hint} legal: {', '.join(legal[:MOST_LISTED])}{more}")


def reason_of(error: BaseException) -> str:
    """What a library says of a damaged file, in one short line: some say all that they read.

    >>> reason_of(ValueError("header" + 5000 * "x"))[:20], len(reason_of(ValueError(5000 * "x")))
    ('headerxxxxxxxxxxxxxx', 203)
    """
    text = one_line(str(error)) or type(error).__name__
    return text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]}..."


def one_line(text: str) -> str:
    r"""The text in one line: line breaks are spaces, and what cannot be printed (control characters, broken encodings) is written out.

    >>> print(one_line("two\nlines, and \x1b[31m"))
    two lines, and \x1b[31m
    """
    joined = " ".join(part.strip() for part in text.splitlines() if part.strip())
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape", "surrogatepass").decode() for sign in joined)
