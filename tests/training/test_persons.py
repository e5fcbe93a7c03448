"""Patients are never on both sides, and a copy of a recording is no other recording."""

from dataclasses import replace

import numpy as np
import pytest

from heartlens.refusal import Refusal
from heartlens.signals.simulate import ecg
from heartlens.training.corpus import divided
from heartlens.training.examples import window_examples
from heartlens.training.folds import folds, held_out
from heartlens.training.labels import read_record_labels
from heartlens.training.recordings import read_corpus


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twenty patients of three files each, one of which lies there twice."""
    folder = tmp_path_factory.mktemp("patients")
    for number in range(60):
        np.save(folder / f"p{number % 20:02d}_{number // 20}.npy", ecg.simulate(np.random.default_rng(number), 6.0)[0])
    (folder / "z_copy.npy").write_bytes((folder / "p00_0.npy").read_bytes())
    return folder


@pytest.fixture(scope="module")
def corpus(folder):
    return read_corpus(folder, "ecg", rate_hz=100.0, person=r"(p\d\d)_")


def patients(records):
    return {record.rsplit("/", 1)[-1][:3] for record in records}


def test_a_corpus_is_divided_by_person_and_has_no_copies(corpus):
    assert len(corpus.records) == 60
    assert any("z_copy: the same recording as" in note for note in corpus.notes)
    training, held = divided(corpus, 0.2, 0)
    assert (len(patients(training.records)), len(patients(held.records))) == (16, 4)
    assert not patients(training.records) & patients(held.records)
    alone = replace(corpus, person_of={})
    mixed = [patients(side.records) for side in divided(alone, 0.2, 0)]
    assert mixed[0] & mixed[1]  # the fault: of records, patients are on both sides


def test_folds_and_validation_are_of_persons(corpus):
    examples = window_examples(corpus, {name: int(name[-3]) % 2 for name in corpus.records}, ("N", "A"), 500)
    class_of = examples.class_of_unit(examples.records)
    assert len(class_of) == 20
    sides = [patients(examples.records_of(fold)) for fold in folds(class_of, 5, 0)]
    assert sum(map(len, sides)) == len(set().union(*sides)) == 20
    training, validation = (patients(examples.records_of(side)) for side in held_out(class_of, 0.2, 0))
    assert not training & validation


def test_a_person_s_class_is_the_commonest_of_its_records(corpus):
    labels = {name: int(name.endswith(("p00_0", "p00_1"))) for name in corpus.records}
    examples = window_examples(corpus, labels, ("N", "A"), 500)
    class_of = examples.class_of_unit(examples.records)
    assert [person for person, label in class_of.items() if label] == ["p00"]


def test_labels_of_a_copy_are_those_of_the_record_that_stays(corpus, tmp_path):
    lines = [f"{name},{'NA'[number % 2]}" for number, name in enumerate(corpus.records)]
    table = tmp_path / "labels.csv"
    table.write_text("\n".join([*lines, "z_copy,N"]))
    assert len(read_record_labels(table, corpus.records, ("N", "A"), copies=corpus.copies).of) == 60
    table.write_text("\n".join([*lines[1:], "z_copy,N"]))
    assert read_record_labels(table, corpus.records, ("N", "A"), copies=corpus.copies).of[corpus.records[0]] == 0
    table.write_text("\n".join([*lines, "z_copy,A"]))
    with pytest.raises(Refusal, match=r"z_copy is labelled A and .*/p00_0 N, and both are the same recording"):
        read_record_labels(table, corpus.records, ("N", "A"), copies=corpus.copies)
