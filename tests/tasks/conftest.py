"""Recordings and labels as a user of tasks has them."""

import numpy as np
import pytest

from heartlens.signals.simulate import ecg


@pytest.fixture
def recordings(tmp_path):
    """Three simulated persons, a flat recording, and a table of labels."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(3):
        np.save(folder / f"p{number}.npy", ecg.simulate(np.random.default_rng(number), 30.0)[0])
    np.save(folder / "flat.npy", np.zeros(3000))
    (tmp_path / "labels.csv").write_text("record,label\np0,N\np1,A\np2,A\n")
    return folder
