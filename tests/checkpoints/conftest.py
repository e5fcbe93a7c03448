"""A fake published checkpoint, tiny, with its zip, an empty cache and nothing of the user's environment."""

import hashlib
from dataclasses import replace

import pytest
import torch
from originals import pickled, tiny_state, zipped

from heartlens.checkpoints import registry

NAME, FILE = "ecgpt-560k", "ECGPT_560k_iters.zip"


@pytest.fixture(scope="session")
def small():
    """A tiny state dict with the ECG vocabulary."""
    return tiny_state(layers=1, heads=1, vocabulary=101)


@pytest.fixture
def fake_zip(small, monkeypatch, tmp_path):
    """The bytes of the zip that now counts as published under NAME; caches go to tmp_path/cache, no folder is searched."""
    masks = {"blocks.0.sa.heads.0.tril": torch.ones(40, 40).tril()}
    content = zipped({"model.pth": pickled(small | masks)})
    known = replace(registry.CHECKPOINTS[NAME], sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(registry.CHECKPOINTS, NAME, known)
    monkeypatch.setenv("HEARTLENS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HEARTLENS_CHECKPOINTS", raising=False)
    monkeypatch.delenv("HEARTLENS_OFFLINE", raising=False)
    return content
