"""Kill -9 at a random moment; `make kill` tries many, and more commands."""

import sys

import kill
import pytest


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "n_moments"), [("scan", 1), ("finetune", 1)])
def test_nothing_is_lost(name, n_moments, tmp_path):
    counts = kill.run(name, tmp_path, n_moments, seed=0, is_warm=True)
    assert counts["moments"] == n_moments
