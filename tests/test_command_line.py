"""One command line: lists, recordings and options are given in the same way everywhere; what is wrong is one line."""

import os
import shutil
import subprocess

import pytest

from heartlens.__main__ import command, names, run
from heartlens.completion import run_command as completion
from heartlens.exits import exit_code
from heartlens.parser import Listed, Parser, add_format, add_paths, parser_behind
from heartlens.refusal import Refusal


@pytest.fixture
def parser():
    parser = Parser(allow_abbrev=False)
    parser.add_argument("checkpoint")
    add_paths(parser, parser)
    add_format(parser)
    parser.add_argument("--classes", type=Listed())
    parser.add_argument("--missing", type=Listed(float))
    parser.add_argument("--quiet", action="store_true")
    return parser


@pytest.mark.parametrize(
    ("given", "data", "others"),
    [
        ("ecg a.csv b/", ["a.csv", "b/"], {}),
        ("ecg --quiet a.csv --format png b/", ["a.csv", "b/"], {"format": ["png"], "quiet": True}),
        ("ecg --data b c --quiet", ["b", "c"], {}),
        ("ecg a --data b --data c", ["b", "c", "a"], {}),
        ("ecg", None, {"format": ["pdf", "png"]}),
        ("ecg --format pdf,svg a", ["a"], {"format": ["pdf", "svg"]}),
        ("ecg --format pdf svg a/b", ["a/b"], {"format": ["pdf", "svg"]}),
        ("ecg --classes N,A a.csv", ["a.csv"], {"classes": ["N", "A"]}),
        ("ecg --classes N A x/a.csv", ["x/a.csv"], {"classes": ["N", "A"]}),
        ("ecg --missing -32768,-1 a", ["a"], {"missing": [-32768.0, -1.0]}),
        ("ecg --missing -32768 -1 a", ["a"], {"missing": [-32768.0, -1.0]}),
        ("ecg -- -odd.csv", ["-odd.csv"], {}),
    ],
)
def test_lists_and_recordings(parser, given, data, others):
    options = parser.strict(given.split())
    assert sorted(options.data or []) == sorted(data or [])
    assert {name: getattr(options, name) for name in others} == others


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("ecg --format pdf,bmp", "unknown value 'bmp'; legal: pdf, svg, png"),
        ("ecg --missing one", "'one'; give values of type float with commas between"),
        ("ecg --classes N,,A", "has an empty value"),
        ("ecg --clases N,A", "unknown option '--clases'; did you mean '--classes'?"),
        ("ecg --format", "expected one argument"),
        ("", "the following arguments are required: checkpoint"),
    ],
)
def test_what_is_wrong_names_the_option(parser, given, expected):
    with pytest.raises(Refusal, match=expected.replace("?", r"\?")):
        parser.strict(given.split())


RECORDED = [
    name
    for name in names()
    if name not in ("merge", "calibrate", "completion", "checkpoints", "table", "redraw", "remake", "run", "methods")
]


@pytest.mark.parametrize("name", RECORDED)
def test_recordings_are_positional_and_data_is_a_synonym(name):
    parser = parser_behind(lambda: command(name)([]))
    flags = {flag for action in parser._actions for flag in action.option_strings}
    positional = [action.dest for action in parser._actions if not action.option_strings]
    assert "data" in positional
    assert "--data" in flags


@pytest.mark.parametrize("name", names())
def test_every_command_refuses_an_unknown_option_in_one_line(name, capsys):
    assert exit_code(lambda: run([name, "--no-such-option"])) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("heartlens: ")
    assert said.err.count("\n") == 1


def test_the_same_option_means_the_same_everywhere():
    """An option of several commands has one type, one metavar and the same choices."""
    looks: dict[str, set[str]] = {}
    for name in names():
        for action in parser_behind(lambda name=name: command(name)([]))._actions:
            for flag in action.option_strings:
                looks.setdefault(flag, set()).add(f"{action.nargs} {action.choices} {getattr(action.type, '__name__', action.type)}")
    shared = ("--lead", "--rate", "--time-unit", "--missing", "--invert", "--person", "--persons", "--device", "--engine", "--offline")
    assert {flag: looks[flag] for flag in (*shared, "--quiet", "--format", "--published-only") if len(looks[flag]) > 1} == {}


COMPLETE = {  # what completes the last of some words in a shell that has read ./script
    "bash": """
        source ./script
        ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _shtab_heartlens; echo "${COMPREPLY[@]}"; }
        ask heartlens head; ask heartlens head_scan ecg --land; ask heartlens head_scan ecg --engine f
    """,
    "fish": """
        source ./script
        complete -C 'heartlens head'; complete -C 'heartlens head_scan ecg --land'; complete -C 'heartlens head_scan ecg --engine f'
    """,
}


@pytest.mark.parametrize("shell", list(COMPLETE))
def test_completion_completes_commands_options_and_choices(shell, capsys, tmp_path):
    assert completion([shell]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    environment = os.environ | {"HOME": str(tmp_path)}
    asked = [shell, "-c", COMPLETE[shell]]
    done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True, env=environment)
    completed = [line.split("\t")[0] for line in done.stdout.splitlines()]  # fish adds the help after a tab
    assert completed == ["head_scan", "--landmarks", "fused"]


def test_completion_for_an_unknown_shell_is_refused(capsys):
    assert completion(["tcsh"]) == 2
    assert "unknown shell 'tcsh'; did you mean 'zsh'? legal: bash, zsh, fish" in capsys.readouterr().err
