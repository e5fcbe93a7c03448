"""What is executed while the site is built: commands on pages (`{command}`), tables of options (`{options}`), figures of the gallery."""

import contextlib
import hashlib
import importlib
import io
import re
import shlex
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

RECORDINGS = "recordings"  # the folder that commands run in, beside what they made
LONGEST = 40  # lines shown of what a command printed


class Command(SphinxDirective):
    """Lines of `heartlens ...` that are run in the folder of example recordings: what they print, and the figures they write.

    A command that ends with another code than 0 is an error of the build. `:figures:` names the figures that are shown (default: all PNG).
    """

    has_content = True
    option_spec = {"figures": directives.unchanged, "lines": directives.nonnegative_int, "width": directives.unchanged}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        made = []
        for line in filter(None, self.content):
            printed, folder = self._executed(line)
            shown = printed.splitlines()[: self.options.get("lines", LONGEST)]
            block = nodes.literal_block(text="\n".join([f"$ {line}", *shown]))
            block["language"] = "console"
            made.append(block)
            wanted = self.options.get("figures", "*.png").split()
            for figure in sorted(path for name in wanted for path in folder.glob(name)) if wanted != ["none"] else []:
                uri = "/" + str(figure.relative_to(self.env.srcdir))
                made.append(nodes.image(uri=uri, alt=f"what {line.split()[1]} draws", width=self.options.get("width", "100%")))
        return made

    def _executed(self, line: str) -> tuple[str, Path]:
        """What the command prints, and the folder with its files; from the last build where neither command nor package changed."""
        made = Path(self.env.srcdir) / "_made"
        folder = made / hashlib.sha256(f"{line}|{package_hash()}".encode()).hexdigest()[:12]
        told = folder / "printed.txt"
        if not told.is_file():
            program, *words = shlex.split(line)
            if program != "heartlens":
                raise self.error(f"{line!r} is no command of heartlens")
            out = [] if "--out" in words or words[0] in ("methods",) else ["--out", str(folder / "out"), "--overwrite"]
            code, printed, said = run_command([*words, *out], recordings(made))
            if code:
                raise self.error(f"{line!r} ended with code {code}:\n{printed}\n{said}")
            folder.mkdir(parents=True, exist_ok=True)
            told.write_text(printed.replace(str(folder / "out"), "out").replace(str(made), ""), encoding="utf-8")
        return told.read_text(encoding="utf-8"), folder / "out"


def run_command(words: list[str], where: Path) -> tuple[int, str, str]:
    """The exit code of `heartlens WORDS`, what it printed, and what it said on stderr."""
    from heartlens.__main__ import main

    printed, said, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["heartlens", *words]
    try:
        with contextlib.chdir(where), contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
            main()
    except SystemExit as end:
        return int(end.code or 0), printed.getvalue(), said.getvalue()
    finally:
        sys.argv = before
    return 0, printed.getvalue(), said.getvalue()


def recordings(made: Path) -> Path:
    """The folder of example recordings, written by the code on the page start.md."""
    folder = made / RECORDINGS
    if not folder.is_dir():
        folder.mkdir(parents=True)
        with contextlib.chdir(folder):
            exec(compile(code_of_recordings(), "start.md", "exec"), {})
    return folder


def code_of_recordings() -> str:
    """The Python on the page start.md that writes the recordings."""
    page = (Path(__file__).parents[1] / "start.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)[0]


def package_hash() -> str:
    """A hash of the package's source, and of the code that makes the recordings."""
    files = sorted((Path(__file__).parents[2] / "heartlens").rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files) + code_of_recordings().encode()).hexdigest()


class Options(SphinxDirective):
    """A table of the options of an analysis, read off its dataclass."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        from heartlens.options import options_of

        name = self.arguments[0]
        analysis = getattr(importlib.import_module(f"heartlens.analyses.{name}"), "".join(map(str.capitalize, name.split("_"))))
        rows = [("option", "default", "what it is")]
        for option in options_of(analysis):
            choices = f" ({', '.join(option.choices)})" if option.choices else ""
            rows.append((f"--{option.name.replace('_', '-')}", str(option.default), option.help + choices))
        return [table_of(rows)]


def table_of(rows: list[tuple[str, ...]]) -> nodes.table:
    """A table whose first row is its head, and whose first column is code."""
    group = nodes.tgroup(cols=len(rows[0]))
    group += [nodes.colspec(colwidth=width) for width in (20, 12, 68)]
    for part, some in ((nodes.thead(), rows[:1]), (nodes.tbody(), rows[1:])):
        for row in some:
            line = nodes.row()
            for place, text in enumerate(row):
                entry, words = nodes.entry(), nodes.paragraph()
                words += nodes.literal(text=text) if place == 0 and row is not rows[0] else nodes.Text(text)
                entry += words
                line += entry
            part += line
        group += part
    table = nodes.table()
    table += group
    return table


SEEN: dict[int, Any] = {}  # figures of the gallery that were saved already, kept alive so that no other one gets their id


def figures_of(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """The figures that a block of an example made and gave a name, as images (no pyplot knows of them)."""
    from matplotlib.figure import Figure
    from sphinx_gallery.scrapers import figure_rst

    paths = []
    for thing in list(block_vars["example_globals"].values()):
        if isinstance(thing, Figure) and id(thing) not in SEEN:
            SEEN[id(thing)] = thing
            path = next(block_vars["image_path_iterator"])
            thing.savefig(path, dpi=150)
            paths.append(path)
    return str(figure_rst(paths, gallery_conf["src_dir"]))


def setup(app: Any) -> dict[str, Any]:
    app.add_directive("command", Command)
    app.add_directive("options", Options)
    return {"parallel_read_safe": False}
