"""What the site makes of the pages: links to files above docs/, the table of contents, the API's pages, and docstrings in plain text."""

import re
from pathlib import Path
from typing import Any

ABOVE = {"readme": "README.md", "changes": "CHANGELOG.md"}  # pages of the site that are files above docs/
REST = "(every other page)"  # a line of the index that stands for the pages that it does not name
ROOMS = {  # pages of the API: title, and the modules or packages below `heartlens`
    "measuring": ("Measuring: the frame", ("analysis", "standard", "tally", "windows", "findings", "report", "paragraph", "store")),
    "signals": ("Recordings and signals", ("signals",)),
    "models": ("Models, edits, engines", ("models", "engine", "converters", "checkpoints")),
    "deciding": ("Measures and verdicts", ("measures", "inference")),
    "working": ("Tasks and training", ("tasks", "training")),
}


def source_read(app: Any, name: str, source: list[str]) -> None:
    """Pages above docs/ are read from there, and links to them lead to their pages here."""
    root = Path(app.srcdir).parent
    if name in ABOVE:
        source[0] = re.sub(r"\]\((?:\./)?docs/", "](", (root / ABOVE[name]).read_text(encoding="utf-8"))
    for page, file in ABOVE.items():
        up = "../" * name.count("/")
        source[0] = re.sub(rf"\]\((?:\.\./)*{re.escape(file)}", f"]({up}{page}.md", source[0])
    source[0] = re.sub(r"\]\((?:\.\./)*(LICENSE|CITATION\.cff|pyproject\.toml|constraints\.txt)\)", r"] (`\1`)", source[0])
    if name == "index":
        pages = [str(path.relative_to(app.srcdir).with_suffix("")) for path in sorted(Path(app.srcdir).glob("*.md"))]
        named = set(re.findall(r"^(\w+)$", source[0], flags=re.MULTILINE))
        source[0] = source[0].replace(REST, "\n".join(page for page in pages if page not in named and page != "index"))


def write_api(app: Any) -> None:
    """One page for each room, with all modules in it that say something of themselves."""
    package, folder = Path(app.srcdir).parent / "heartlens", Path(app.srcdir) / "api"
    folder.mkdir(exist_ok=True)
    for page, (title, rooms) in ROOMS.items():
        lines = [title, "=" * len(title), ""]
        for room in rooms:
            files = [package / f"{room}.py"] if (package / f"{room}.py").is_file() else sorted((package / room).rglob("*.py"))
            for file in files:
                module = "heartlens." + ".".join(file.relative_to(package).with_suffix("").parts).removesuffix(".__init__")
                if file.read_text(encoding="utf-8").strip() and not module.endswith("__main__"):
                    lines += [module, "-" * len(module), "", f".. automodule:: {module}", "   :members:", "   :ignore-module-all:", ""]
        text, path = "\n".join(lines), folder / f"{page}.rst"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def docstring(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text: only `code`, lists and examples mean more than their characters."""
    made: list[str] = []
    is_example = False
    for line in lines:
        is_example = line.lstrip().startswith(">>>") or (is_example and bool(line.strip()))
        if is_example:
            if made and made[-1].strip() and not made[-1].lstrip().startswith((">>>", "...")) and line.lstrip().startswith(">>>"):
                made.append("")
            made.append(line)
        else:
            parts = re.split(r"(`[^`]+`)", line)
            made.append("".join(f"`{part}`" if part.startswith("`") else re.sub(r"([*_|\\`])", r"\\\1", part) for part in parts))
    starts = [index for index, line in enumerate(made) if line.startswith("- ") and index and made[index - 1].strip()]
    for index in reversed([index for index in starts if not made[index - 1].startswith(("- ", "  "))]):
        made.insert(index, "")
    lines[:] = made


def setup(app: Any) -> dict[str, Any]:
    app.connect("source-read", source_read)
    app.connect("builder-inited", write_api)
    app.connect("autodoc-process-docstring", docstring)
    return {"parallel_read_safe": False}
