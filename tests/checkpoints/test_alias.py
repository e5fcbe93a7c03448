"""Which checkpoint a name means: exact names never substitute, an alias does so openly, and not where only published ones will do."""

import time

import pytest
import torch
from originals import tiny_state

from checkpoints.answers import hang
from heartlens.checkpoints import fetch, registry
from heartlens.checkpoints.read import fingerprint
from heartlens.checkpoints.registry import ALIASES, CHECKPOINTS, EMBEDDED, NAMES
from heartlens.converters.__main__ import main as converters
from heartlens.models import load as loading
from heartlens.models.load import load, read
from heartlens.refusal import Refusal
from heartlens.whole import sha256_of

pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")

NAME, FILE = "ecgpt-560k", "ECGPT_560k_iters.zip"


@pytest.fixture
def simulated():
    """The weights that are embedded in these tests."""
    return tiny_state(seed=5, layers=1, heads=1, vocabulary=101)


@pytest.fixture(autouse=True)
def alone(fake_zip, monkeypatch):
    """Nothing published is on the machine, nothing can be downloaded, and no stand-in was told of."""
    monkeypatch.setenv("HEARTLENS_OFFLINE", "1")
    monkeypatch.setattr(loading, "SAID", set())


@pytest.fixture
def published_zip(fake_zip, monkeypatch, tmp_path):
    (tmp_path / FILE).write_bytes(fake_zip)
    monkeypatch.setenv("HEARTLENS_CHECKPOINTS", str(tmp_path))


def test_the_table_has_one_published_and_one_embedded_checkpoint_for_each_alias():
    assert [alias.published for alias in ALIASES.values()] == ["ecgpt-560k", "ppgpt-500k", "ecgpt-af-1k", "ppgpt-af-1k", "ppgpt-beat-5k"]
    assert EMBEDDED == ("ecg-sim", "ppg-sim", "ecg-sim-af", "ppg-sim-af", "ppg-sim-beat")
    assert {alias.published for alias in ALIASES.values()} == set(CHECKPOINTS)
    assert len(set(NAMES)) == 15


def test_an_alias_falls_back_to_the_embedded_one_and_says_so_in_one_line_once(embedded, simulated, capsys):
    path = embedded("ecg-sim", simulated)
    model = load("ecg")
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(
        "heartlens: 'ecg' is now the embedded ecg-sim, trained on simulated signals only, because ecgpt-560k is not on this machine and "
        "downloads are off (HEARTLENS_OFFLINE); get https://raw.githubusercontent.com/"
    )
    assert FILE in said.err
    assert "HEARTLENS_CHECKPOINTS" in said.err
    assert said.err.count("\n") == 1
    assert (model.origin.checkpoint, model.origin.sha256, model.origin.fingerprint) == ("ecg-sim", sha256_of(path), fingerprint(simulated))
    assert torch.equal(model.W_E, simulated["token_embedding_table.weight"])
    assert load("ecg").origin == model.origin
    assert capsys.readouterr().err == ""


def test_each_alias_is_told_of(embedded, simulated, capsys):
    embedded("ecg-sim", simulated)
    embedded("ecg-sim-af", simulated)
    load("ecg")
    load("ecg-af")
    said = capsys.readouterr().err.splitlines()
    assert [line.split(", ")[0] for line in said] == [
        "heartlens: 'ecg' is now the embedded ecg-sim",
        "heartlens: 'ecg-af' is now the embedded ecg-sim-af",
    ]


def test_the_published_one_wins_and_nothing_is_said(embedded, simulated, published_zip, small, capsys):
    embedded("ecg-sim", simulated)
    assert read("ecg")[1].checkpoint == NAME
    assert fingerprint(read("ecg")[0]) == fingerprint(small)
    assert capsys.readouterr().err == ""


def test_so_does_the_cached_one_whose_zip_is_gone(embedded, simulated, published_zip, monkeypatch):
    embedded("ecg-sim", simulated)
    read(NAME)
    monkeypatch.delenv("HEARTLENS_CHECKPOINTS")
    assert read("ecg")[1].checkpoint == NAME


def test_so_does_the_downloaded_one(embedded, simulated, fake_zip, httpserver, monkeypatch, capsys):
    embedded("ecg-sim", simulated)
    monkeypatch.delenv("HEARTLENS_OFFLINE")
    httpserver.expect_request(f"/{FILE}").respond_with_data(fake_zip)
    monkeypatch.setattr(registry, "UPSTREAM", httpserver.url_for("").rstrip("/"))
    assert read("ecg")[1].checkpoint == NAME
    assert capsys.readouterr().err == ""


def test_a_published_file_of_another_hash_is_refused_not_replaced(embedded, simulated, published_zip, tmp_path):
    embedded("ecg-sim", simulated)
    (tmp_path / FILE).write_bytes(b"other")
    with pytest.raises(Refusal, match="is not ecgpt-560k: its SHA-256"):
        load("ecg")


def test_an_exact_published_name_never_substitutes(embedded, simulated, capsys):
    embedded("ecg-sim", simulated)
    with pytest.raises(Refusal, match=f"^{NAME} is not on this machine"):
        load(NAME)
    assert capsys.readouterr().err == ""


def test_an_exact_embedded_name_is_the_embedded_one_even_where_the_published_is(embedded, simulated, published_zip, capsys):
    embedded("ecg-sim", simulated, data="hearts that never beat")
    model = load("ecg-sim")
    assert (model.origin.checkpoint, model.origin.licence, model.origin.citation) == ("ecg-sim", "MIT", "heartlens")
    assert model.card["data"] == "hearts that never beat"
    assert capsys.readouterr().err == ""
    assert load("ecg").card == {}


def test_an_embedded_one_that_is_not_built(embedded, simulated):
    embedded("ppg-sim", simulated)
    with pytest.raises(Refusal, match=r"ecg-sim is not built: there is no .*ecg-sim\.safetensors; `make embedded` builds it"):
        load("ecg-sim")
    with pytest.raises(Refusal, match=f"^{NAME} is not on this machine"):
        load("ecg")


def test_the_kind_of_a_stand_in_is_checked_too(embedded, simulated):
    embedded("ecg-sim", simulated)
    with pytest.raises(Refusal, match="ecgpt-560k reads ECG, not PPG"):
        load("ecg", kind="ppg")
    with pytest.raises(Refusal, match="has the vocabulary of ecg"):
        load("ecg-sim", kind="ppg")


def test_published_only_refuses_what_is_not(embedded, simulated, capsys, tmp_path):
    path = embedded("ecg-sim", simulated)
    with pytest.raises(Refusal, match=f"^{NAME} is not on this machine"):
        load("ecg", published_only=True)
    for given in ("ecg-sim", path):
        with pytest.raises(Refusal, match=r"sim.* is no published checkpoint, and only those were asked for; legal: ecg, .*ecgpt-560k"):
            load(given, published_only=True)
    assert capsys.readouterr().err == ""


def test_published_only_takes_what_is(published_zip):
    assert load("ecg", published_only=True).origin.checkpoint == load(NAME, published_only=True).origin.checkpoint == NAME


def test_verify_takes_an_embedded_one_and_refuses_it_where_only_published_ones_will_do(embedded, simulated, capsys, tmp_path):
    embedded("ecg-sim", simulated)
    arguments = ["verify", "ecg", "--out", str(tmp_path / "certificate.json")]
    assert converters([*arguments, "--published-only"]) == 2
    assert capsys.readouterr().err.startswith(f"heartlens: {NAME} is not on this machine")
    assert converters(arguments) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"ecg-sim  weights SHA-256 {fingerprint(simulated)}")
    assert "'ecg' is now the embedded ecg-sim" in said.err


def test_a_network_that_hangs_is_told_and_then_costs_nothing(embedded, simulated, raw_server, monkeypatch, capsys):
    embedded("ecg-sim", simulated)
    monkeypatch.delenv("HEARTLENS_OFFLINE")
    callers = raw_server(hang)
    assert read("ecg")[1].checkpoint == "ecg-sim"
    assert "because ecgpt-560k could not be downloaded (no complete answer within 0.5 s); get http" in capsys.readouterr().err
    began = time.monotonic()
    assert read("ecg")[1].checkpoint == "ecg-sim"
    with pytest.raises(Refusal, match=f"^{NAME} is not on this machine: the network failed at .* or now if you delete"):
        read(NAME)
    assert time.monotonic() - began < fetch.TIMEOUT_S
    assert len(callers) == 1
