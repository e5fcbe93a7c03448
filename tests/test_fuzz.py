"""Some damaged files at every door: each is read or refused in one line. `make fuzz` tries a million."""

import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from fuzz import DOORS, fault_of, good, input_of

import heartlens
from heartlens.refusal import Refusal

N_INPUTS, N_TABLES = 200, 60  # a damaged table takes a quarter of a second: lines and columns are looked at one by one


@pytest.mark.parametrize("door", list(DOORS))
def test_the_good_file_of_a_door_is_read(tmp_path, door):
    for name, content in good(door).items():
        (tmp_path / name).write_bytes(content)
    DOORS[door].open(tmp_path / DOORS[door].damaged)


@pytest.mark.parametrize("door", list(DOORS))
def test_damaged_files_are_read_or_refused_in_one_line(tmp_path, door):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries, about what is damaged
        faults = {
            number: fault
            for number in range(N_TABLES if door == "csv" else N_INPUTS)
            if (fault := fault_of(door, tmp_path, input_of(door, number)))
        }
    assert not faults


def test_what_a_library_quotes_of_a_damaged_file_is_cut(tmp_path):
    """zipfile tells the whole name that a local header holds: 65,535 bytes of it, where its length was damaged."""
    content = bytearray(good("zip")["own.zip"])
    content[26:28] = (5000).to_bytes(2, "little")
    assert fault_of("zip", tmp_path, {"own.zip": bytes(content)}) == ""


def test_a_refusal_does_not_repeat_all_that_a_damaged_field_holds(tmp_path):
    """In this DICOM file, found by `make fuzz`, the name of the samples' type is made of all samples."""
    assert fault_of("dicom", tmp_path, input_of("dicom", 1088)) == ""


def test_an_assertion_of_a_library_is_told_from_one_of_this_package(tmp_path, monkeypatch):
    """torch asserts what a pickle must hold; an assertion of our own that fails is a fault, also where it is refused."""
    assert fault_of("pth", tmp_path, input_of("pth", 29176)) == ""

    def broken(path):
        try:
            exec(compile("assert False", str(Path(heartlens.__file__).parent / "broken.py"), "exec"))
        except AssertionError as error:
            raise Refusal("damaged") from error

    monkeypatch.setitem(DOORS, "pth", replace(DOORS["pth"], open=broken))
    assert "an error of this program" in fault_of("pth", tmp_path, input_of("pth", 0))


def test_an_input_follows_from_its_number():
    assert input_of("edf", 7) == input_of("edf", 7) != input_of("edf", 8)
