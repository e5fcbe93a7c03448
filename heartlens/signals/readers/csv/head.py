"""The first lines of a file of text: its encoding, which lines hold something, which are comments, and the line `sep=` of spreadsheets."""

import codecs
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from heartlens.refusal import Refusal

HEAD = 2**18  # bytes that are looked at
LONGEST_LINE = 2**26  # bytes of a table that is one line
COMMENT = re.compile(r"^\s*(#(?!N/A)|%|//)+")  # #N/A is a missing sample
SEP_LINE = re.compile(r"\s*[\"']?sep=(.)[\"']?\s*", re.IGNORECASE)
LINE_END = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True)
class Head:
    """The first lines, and how many characters come before each. `filled` are the indices of those that hold something, `plain` of those
    that are no comments either; a line `sep=` is in neither, and `separator` is what it names ("": there is none).
    """

    encoding: str
    lines: list[str]
    starts: list[int]
    filled: list[int]
    plain: list[int]
    separator: str

    @property
    def comment(self) -> str:
        """The mark, # or %, that comments begin with; "" where there is none."""
        marks = Counter(match[1] for index in self.filled if (match := COMMENT.match(self.lines[index])))
        return next((mark for mark in "#%" if marks[mark]), "")


def head_of(path: Path) -> Head:
    """The first lines of a file. Refuses one that is empty or no text."""
    encoding, text = _read(path)
    ends = [match.span() for match in LINE_END.finditer(text)]
    starts = [0, *(end for _, end in ends)]
    lines = [text[start:end] for start, (end, _) in zip(starts, [*ends, (len(text), 0)], strict=True)]
    filled = [index for index, line in enumerate(lines) if line.strip()]
    if not filled:
        raise Refusal(f"{path}: the file is empty")
    separator = SEP_LINE.fullmatch(lines[filled[0]])
    if separator:
        filled = filled[1:]
    plain = [index for index in filled if not COMMENT.match(lines[index])]
    return Head(encoding, lines, starts, filled, plain, separator[1] if separator else "")


def _read(path: Path) -> tuple[str, str]:
    """The encoding and the text of the first lines, the last one whole. Refuses what is no text."""
    with path.open("rb") as file:
        head = file.read(HEAD)
        while len(head) < LONGEST_LINE and not re.search(rb"[\r\n]", head) and (more := file.read(2**22)):
            head += more
        is_all = not file.read(1)
    encoding = _encoding(head)
    if encoding is None:
        raise Refusal(f"{path}: not a text file")
    text = head.decode(encoding, errors="replace")
    if not is_all:
        end = max(text.rfind("\n"), text.rfind("\r"))
        if end < 0:
            raise Refusal(f"{path}: its first line is longer than {LONGEST_LINE // 2**20} MB; not a table")
        text = text[:end]
    return encoding, text


def _encoding(head: bytes) -> str | None:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if head[:64].count(0) >= len(head[:64]) // 3 > 0:
        return "utf-16-le" if head[1:2] == b"\0" else "utf-16-be"
    if b"\0" in head or sum(head.count(bytes([code])) for code in (*range(1, 9), *range(14, 27), 127)) > 0:
        return None
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # whose last character may be cut
        return "utf-8-sig"
    except UnicodeDecodeError:
        return "cp1252" if not set(head) & {0x81, 0x8D, 0x8F, 0x90, 0x9D} else "latin-1"
