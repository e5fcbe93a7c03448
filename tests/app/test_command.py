"""The command: what is refused before anything is served."""

import pytest

from heartlens.app import run_command


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--model", "foo"], "unknown model 'foo'"),
        (["--port", "80"], "--port is 80; legal: 1024 to 65535"),
        (["no_such_file.csv"], "no_such_file.csv"),
        (["no_such_folder/*.csv"], "no_such_folder/*.csv"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(capsys, arguments, reason):
    assert run_command(arguments) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1
