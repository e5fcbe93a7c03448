"""The pages under docs/ are true: links, commands and options exist, Python runs, hashes and numbers are the registry's and the cards'.

What `make docs` executes (blocks `{command}`, the gallery) is not run here a second time; that it would parse is.
"""

import ast
import contextlib
import io
import json
import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

import heartlens
from heartlens.__main__ import TASKS, analyses, names
from heartlens.__main__ import main as heartlens_command
from heartlens.checkpoints.card import read_card
from heartlens.checkpoints.fetch import embedded_path
from heartlens.checkpoints.registry import ALIASES, CHECKPOINTS, EMBEDDED

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
MADE = {"_made", "api", "gallery_pages", "site"}  # folders of docs/ that the build writes, or that hold no pages
PAGES = sorted(page for page in DOCS.rglob("*.md") if not MADE & set(page.relative_to(DOCS).parts))
QUESTIONS = ["What it asks", "How", "What a good and a bad result look like", "What it cannot tell you"]
RUN_ELSEWHERE = {"adding_an_analysis.md", "python.md"}  # pages whose Python other tests run
FENCE = re.compile(r"^```.*?^```", flags=re.DOTALL | re.MULTILINE)


def text_of(page):
    return page.read_text(encoding="utf-8")


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(page), flags=re.DOTALL | re.MULTILINE)


def anchors(page):
    """The anchors of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text_of(page)), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", heading).lower()).strip().replace(" ", "-") for heading in headings}


def is_there(page, link):
    """Whether a link of a page leads to a file, and to a heading in it. Folders and pages of the site that the build makes are taken."""
    file, _, anchor = link.partition("#")
    target = (page.parent / file).resolve() if file else page
    if file in ("gallery_pages/index", "../gallery_pages/index"):
        return True
    if not target.exists():
        return False
    return not anchor or anchor in anchors(target)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)\s]+)\)", FENCE.sub("", text_of(page)))
    assert [link for link in links if not is_there(page, link)] == []


@pytest.mark.parametrize("page", [DOCS / f"analyses/{name}.md" for name in analyses()] + [DOCS / f"tasks/{name}.md" for name in TASKS])
def test_every_analysis_and_task_has_a_page_of_four_questions(page):
    assert re.findall(r"^## (.+)$", text_of(page), flags=re.MULTILINE) == QUESTIONS
    name = page.stem
    assert text_of(page).startswith(f"# {name}: ")
    assert any(line.startswith(f"heartlens {name} ") for line in "".join(blocks(page, r"\{command\}")).splitlines())
    if page.parent.name == "analyses":
        assert f"```{{options}} {name}\n```" in text_of(page)


def test_pages_are_of_commands_that_exist():
    pages = {page.stem for page in PAGES if page.parent.name == "analyses"} - {"index"}
    assert pages == set(analyses())


@cache
def options_of(name):
    """The options that a command's help names."""
    shown, before = io.StringIO(), sys.argv
    sys.argv = ["heartlens", name, "--help"]
    try:
        with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
            heartlens_command()
    finally:
        sys.argv = before
    return set(re.findall(r"--[a-z][a-z-]*", shown.getvalue()))


def commands_of(page):
    """The command lines in the blocks of a page that are no Python: `heartlens NAME ...` and `python -m heartlens. ...`."""
    for block in FENCE.findall(text_of(page)):
        if not re.match(r"```(python|bibtex|\{eval-rst\})", block):
            whole = re.sub(r"\s*\\\n\s*", " ", block)  # lines that end with a backslash go on
            yield from re.findall(r"^(?:heartlens(?= [a-z])|python -m heartlens\.\S+) .+$", whole, flags=re.MULTILINE)


NAMED = {"analyses": "", "training.finetune": "finetune", "training.pretrain": "pretrain", "merge": "merge", "paper": "paper"}


def name_in(words):
    """The name under which `heartlens` knows a command, and its arguments."""
    if words[0] == "heartlens":
        return words[1], words[2:]
    module = words[2].removeprefix("heartlens.")
    if module == "analyses":
        return words[3], words[4:]
    return (module.removeprefix("analyses.") if module.startswith("analyses.") else NAMED.get(module, module)), words[3:]


@pytest.mark.parametrize("page", [page for page in PAGES if any(commands_of(page))], ids=lambda page: str(page.relative_to(DOCS)))
def test_commands_and_their_options_exist(page):
    for line in commands_of(page):
        name, arguments = name_in(shlex.split(line, comments=True))
        if name == "converters" or name == "trial":
            continue
        assert name in names(), line
        given = {word.split("=")[0] for word in arguments if word.startswith("--")}
        assert given <= options_of(name), (line, given - options_of(name))


WITH_PYTHON = [page for page in PAGES if blocks(page, "python") and page.name not in RUN_ELSEWHERE]


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: str(page.relative_to(DOCS)))
def test_python_runs(page, tmp_path, monkeypatch):
    from heartlens.signals.readers import READERS

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEARTLENS_OFFLINE", "1")
    monkeypatch.setitem(READERS, ".i16", READERS[".csv"])  # what a page adds to the table is taken out again
    names = {}
    for code in blocks(page, "python"):
        exec(compile(code, page.name, "exec"), names)
    assert names


def test_gallery_examples_are_programs_with_a_title():
    examples = sorted((DOCS / "gallery").glob("*.py"))
    assert len(examples) >= 5
    for example in examples:
        title, line = (ast.get_docstring(ast.parse(text_of(example))) or "").splitlines()[:2]
        assert line == "=" * len(title), example.name


def test_every_public_name_is_in_the_api():
    page = text_of(DOCS / "api.md")
    assert [name for name in heartlens.__all__ if f"heartlens.{name}\n" not in page and f"`{name}`" not in page] == []


def test_every_page_above_docs_that_the_site_shows_is_there():
    assert {page.name for page in PAGES} >= {"index.md", "start.md", "readme.md", "changes.md"}
    index = text_of(DOCS / "index.md")
    for name in re.findall(r"^([a-z_0-9/]+)$", "".join(blocks(DOCS / "index.md", r"\{toctree\}")), flags=re.MULTILINE):
        assert name == "gallery_pages/index" or (DOCS / f"{name}.md").is_file(), name
    assert "(every other page)" in index


def test_the_path_of_a_command_exists():
    page = text_of(DOCS / "path_of_a_command.md")
    places = re.findall(r"`(?:heartlens/)?([\w/]+\.py)`((?:: `[\w.]+`(?:, `[\w.]+`)*)?)", page)
    assert len(places) > 20
    for file, functions in places:
        source = text_of(ROOT / "heartlens" / file)
        for name in re.findall(r"`([\w.]+)`", functions):
            assert re.search(rf"^ *(?:def|class) {name.split('.')[-1]}\b", source, flags=re.MULTILINE), (file, name)


def test_licences_name_every_library():
    project = tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]
    table = re.findall(r"^\| ([\w-]+) \| ", text_of(DOCS / "licences.md"), flags=re.MULTILINE)
    assert table[1:] == [re.split(r"[<>=]", line)[0] for line in project["dependencies"]]
    for extra in ("dask", "formats", "docs"):
        for line in project["optional-dependencies"][extra]:
            assert re.split(r"[<>=]", line)[0] in text_of(DOCS / "licences.md")


def test_the_citation_is_of_this_version():
    citation = text_of(ROOT / "CITATION.cff")
    assert f"version: {heartlens.__version__}\n" in citation
    assert "arXiv:2407.20775" in citation


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_cards_of_published_models_have_the_registry_s_hashes(name):
    alias = next(alias for alias, meant in ALIASES.items() if meant.published == name)
    assert f"| `{name}` | `{alias}` | `{CHECKPOINTS[name].sha256}` |" in text_of(DOCS / "models.md")


@pytest.mark.parametrize("name", EMBEDDED)
def test_cards_of_embedded_models_have_the_numbers_of_the_weights_cards(name):
    section = re.search(rf"^### {name}\n(.*?)(?=^###|\Z)", text_of(DOCS / "models.md"), flags=re.DOTALL | re.MULTILINE)[1]
    section, card = " ".join(section.split()), read_card(embedded_path(name))
    numbers = json.dumps(card)
    intervals = re.findall(r"\d+\.\d+ \(\d+\.\d+ to \d+\.\d+\)", section)
    assert [interval for interval in intervals if f'"{interval}"' not in numbers] == []
    people, seed = re.search(r"\((\d+) people, seed (\d)", section).groups()
    assert f"({people} people, seed {seed})" in card["data"]["source"]
    if (entropy := card["held_out"].get("cross_entropy")) is not None:
        assert f"{entropy['nats_per_token']['model']:.3f} nats a token, {100 * entropy['below_it']:.0f} % below" in section
    else:
        assert intervals


@pytest.mark.parametrize("name", ["ecgpt-560k", "ppgpt-500k", "ppgpt-beat-5k"])
def test_what_was_measured_of_published_models_stands_in_the_embedded_cards(name):
    page = " ".join(text_of(DOCS / "models.md").split())
    measured = re.search(rf"`{name}` on .*?(\d\.\d+ \(\d\.\d+ to \d\.\d+\))", page.split("as measured here")[1])[1]
    assert any(f'"{measured}"' in json.dumps(read_card(embedded_path(embedded))) for embedded in EMBEDDED)


def test_importing_warns_of_nothing():
    for code in ("import heartlens; dir(heartlens)", "import heartlens.__main__", "import heartlens as hl; hl.load('ecg-sim')"):
        done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
