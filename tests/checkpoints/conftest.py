"""A fake published checkpoint, tiny, with its zip, an empty cache and nothing of the user's environment."""

import gc
import hashlib
import socket
import threading
import warnings
from contextlib import suppress
from dataclasses import replace

import pytest
import torch
from originals import pickled, tiny_state, zipped

from heartlens.checkpoints import fetch, registry
from heartlens.checkpoints.card import write_with_card
from heartlens.checkpoints.read import fingerprint

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
    known = replace(registry.CHECKPOINTS[NAME], sha256=hashlib.sha256(content).hexdigest(), fingerprint=fingerprint(small))
    monkeypatch.setitem(registry.CHECKPOINTS, NAME, known)
    monkeypatch.setenv("HEARTLENS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HEARTLENS_CHECKPOINTS", raising=False)
    monkeypatch.delenv("HEARTLENS_OFFLINE", raising=False)
    return content


@pytest.fixture
def raw_server(monkeypatch):
    """`raw_server(answer)`: upstream lets `answer(connection, done)` talk to each caller, then hangs up; the list of its callers."""
    listener, done, callers = socket.create_server(("127.0.0.1", 0)), threading.Event(), []
    monkeypatch.setattr(registry, "UPSTREAM", f"http://127.0.0.1:{listener.getsockname()[1]}")
    monkeypatch.setattr(fetch, "TIMEOUT_S", 0.5)

    def talk(connection, answer):
        with connection, suppress(OSError):
            connection.recv(4096)
            answer(connection, done)

    def start(answer):
        def accept():
            with suppress(OSError):
                while True:
                    connection, caller = listener.accept()
                    callers.append(caller)
                    threading.Thread(target=talk, args=(connection, answer), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return callers

    yield start
    done.set()
    listener.close()
    with warnings.catch_warnings():  # a download that broke off leaves its connection to the garbage collector, who would complain later
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def embedded(monkeypatch, tmp_path):
    """`embedded(name, state, **card)`: the package now comes with this checkpoint, and else with none."""
    folder = tmp_path / "embedded"
    monkeypatch.setattr(fetch, "EMBEDDED_FOLDER", folder)

    def build(name, state, **card):
        known = {"name": name, "kind": "ecg", "task": None, "threshold": None, "licence": "MIT", "citation": "heartlens"}
        write_with_card(state, folder / f"{name}.safetensors", known | card)
        return folder / f"{name}.safetensors"

    return build
