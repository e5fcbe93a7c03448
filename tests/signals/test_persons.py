"""Who was recorded, which recordings are the same, and that neither names nor folders decide which windows are drawn."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import heartlens as hl
from heartlens.refusal import Refusal
from heartlens.signals.distinct import distinct
from heartlens.signals.files import Files
from heartlens.signals.persons import given_persons, in_comments, in_layout, note_of_unknown
from heartlens.signals.recording import content_of
from heartlens.signals.simulate import ecg
from heartlens.signals.source import looks_of

PATHS = {name: Path(f"/data/{name}.csv") for name in ("a/1", "a/2", "b/3")}


def heart(number, seconds=12.0):
    return ecg.simulate(np.random.default_rng(number), seconds)[0]


def write(folder, **signals):
    folder.mkdir(parents=True, exist_ok=True)
    for name, signal in signals.items():
        np.save(folder / f"{name}.npy", signal)
    return folder


@pytest.fixture
def table(tmp_path):
    def written(text):
        (tmp_path / "persons.csv").write_text(text)
        return tmp_path / "persons.csv"

    return written


def test_a_table_names_records_in_full_or_by_stem(table):
    told = given_persons(PATHS, table("record,person\na/1,Ann\n2,Bob\nelsewhere,Eve\n"), None)
    assert {name: person for name, (person, _) in told.items()} == {"a/1": "Ann", "a/2": "Bob"}


def test_a_table_goes_before_a_pattern(table):
    told = given_persons(PATHS, table("a/1,Ann\n"), r"^(\w)/")
    assert {name: person for name, (person, _) in told.items()} == {"a/1": "Ann", "a/2": "a", "b/3": "b"}


def test_the_parent_folder_names_the_person_apart_from_others_of_its_name():
    paths = {"x": Path("/p/one/x.csv"), "y": Path("/p/one/y.csv"), "z": Path("/q/one/z.csv")}
    told = {name: person for name, (person, _) in given_persons(paths, None, "path").items()}
    assert told == {"x": "p/one", "y": "p/one", "z": "q/one"}


@pytest.mark.parametrize(
    ("text", "pattern", "message"),
    [
        ("a/1,Ann\na/1,Bob\n", None, r"line 2: a/1 is of Bob here and of Ann before; a record has one person"),
        ("a/1,Ann\n1,Bob\n", None, "a/1 is of Ann and 1 of Bob, which are one record"),
        ("x,Ann\n", None, r"names none of the 3 records \(a/1, a/2, b/3\)"),
        ("record,label\na/1,N\n", None, "needed are record,person"),
        (None, "(", "is no regular expression"),
        (None, "a", "has 0 groups; put the part that names the person in one"),
        (None, "(zz)", "matches none of the 3 records"),
    ],
)
def test_what_names_nobody_is_refused_in_one_line(table, text, pattern, message):
    with pytest.raises(Refusal, match=message) as refused:
        given_persons(PATHS, table(text) if text else None, pattern)
    assert "\n" not in str(refused.value)


def test_who_is_not_known_is_told_where_others_are():
    assert note_of_unknown({"a": "p", "b": "", "c": ""})[0].startswith("2 of 3 records have no known person (b, c)")
    assert note_of_unknown({"a": "", "b": ""}) == ()
    assert note_of_unknown({"a": "p", "b": "q"}) == ()


@pytest.mark.parametrize(
    ("comments", "person"),
    [
        (["# patient 1"], "1"),
        (["#<subject_id>: 10000032", "# age: 61"], "10000032"),
        (["# Subject ID = x07"], "x07"),
        (["# patient age: 60"], ""),
        (["# the patient 4 was moved"], ""),
        (["# patient 1", "# patient 2"], ""),
    ],
)
def test_a_header_tells_the_person_only_where_it_plainly_does(comments, person):
    assert in_comments(comments) == person


@pytest.mark.parametrize(
    ("path", "person"),
    [
        ("/ptbdb/patient104/s0306lre.hea", "patient104"),
        ("files/p1000/p10000032/s40689238/40689238.hea", "p10000032"),
        ("waves/p10/p100014/3024/3024_0001.hea", "p100014"),
        ("waves/p10/p200014/3024.hea", ""),
        ("ludb/1.hea", ""),
    ],
)
def test_archives_laid_out_by_patient(path, person):
    assert in_layout(Path(path)) == person


def test_content_is_of_samples_and_rate_alone():
    signal = heart(0)
    assert content_of(signal, 100.0) == content_of(signal.astype(np.float32), 100.0)
    assert content_of(np.array([0.0, np.nan]), 1.0) == content_of(np.array([-0.0, -np.nan]), 1.0)
    others = [content_of(signal, 200.0), content_of(signal[:-1], 100.0), content_of(signal + 1e-3, 100.0)]
    assert len({content_of(signal, 100.0), *others}) == 4


def test_a_folder_s_name_moves_no_window(tmp_path):
    """Reproduced before: the first window of a draw lay elsewhere under another folder."""
    signals = {str(number): heart(number) for number in range(3)}
    both = [hl.read(write(tmp_path / name, **signals), rate_hz=100, kind="ecg", draw=1) for name in ("ludb", "siteB")]
    assert both[0].records != both[1].records
    for name in ("tokens", "start_s", "identity", "content"):
        np.testing.assert_array_equal(getattr(both[0], name), getattr(both[1], name))
    assert len(set(both[0].start_s)) > 1  # the places are drawn, and differ between recordings


@pytest.mark.parametrize("order", [["a", "b", "c"], ["c", "b", "a"]])
def test_copies_count_once_whatever_the_order(tmp_path, order):
    write(tmp_path, a=heart(1), b=heart(1), c=heart(2), d=heart(1))
    windows = hl.read([tmp_path / f"{name}.npy" for name in [*order, "d"]], rate_hz=100, kind="ecg")
    folder = tmp_path.name
    assert windows.records == [f"{folder}/a", f"{folder}/c"]
    [note] = [note for note in windows.notes if "same recording" in note]
    assert note == f"2 left out, the same recording under another name: {folder}/b is {folder}/a; {folder}/d is {folder}/a"


def test_of_copies_the_one_with_a_person_stays(tmp_path, table):
    write(tmp_path / "x", a=heart(1), b=heart(1))
    found = distinct(Files(tmp_path / "x", rate_hz=100, kind="ecg", persons=table("b,Bob\n")))
    assert [(look.name, look.person) for look in found.looks] == [("x/b", "Bob")]
    found = distinct(Files(tmp_path / "x", rate_hz=100, kind="ecg", persons=table("a,Ann\nb,Bob\n")))
    assert "x/b is x/a (taken as Ann's, not Bob's)" in found.notes[0]


def test_the_looks_are_the_same_whoever_looks(tmp_path):
    write(tmp_path, a=heart(1), b=heart(2))
    (tmp_path / "c.csv").write_text("no,table\n")
    source = Files(tmp_path, rate_hz=100, kind="ecg", person="path")
    here = list(looks_of(source, n_workers=0))
    assert here == list(looks_of(source, n_workers=2))
    assert [look.person for look in here] == [tmp_path.name, tmp_path.name, ""]


def test_windows_carry_the_person(tmp_path):
    write(tmp_path / "x", p1_a=heart(1), p1_b=heart(2), p2_a=heart(3))
    windows = hl.read(tmp_path / "x", rate_hz=100, kind="ecg", person="(p[0-9])_")
    assert windows.units == ["p1", "p2"]
    assert dict(zip(windows.record.tolist(), windows.person.tolist(), strict=True)) == {"x/p1_a": "p1", "x/p1_b": "p1", "x/p2_a": "p2"}
    assert any("persons of 3 records as the pattern '(p[0-9])_' say" in note for note in windows.notes)
    three = windows.subset(2)
    assert sorted(three.person) == ["p1", "p2"]
    unknown = replace(windows, person=np.where(windows.person == "p2", "", windows.person))
    assert unknown.units == ["p1", "x/p2_a"]


@pytest.mark.parametrize(
    ("path", "person"),
    [
        ("ptbdb/patient001/s0010_re.hea", "patient001"),
        ("mimic3wdb-matched/1.0/p00/p000020/p000020-2183-04-28-17-47.hea", "p000020"),
        ("mimic4wdb/0.1.0/waves/p100/p10014354/81739927/81739927.hea", "p10014354"),
        ("mimic-iv-ecg/files/p1000/p10000032/s40689238/40689238.hea", "p10000032"),
        ("mimic2wdb/matched/s00020/s00020-2567-03-30-17-47.hea", "s00020"),
        ("training/0284/0284_001_004_ECG.hea", "0284"),
        ("mimic3wdb/30/3000003/3000003.hea", ""),
        ("s1234/s5678-2000-01-01-00-00.hea", ""),
        ("p10/p20/x.hea", ""),
        ("records100/00000/00001_lr.hea", ""),
        ("2023/2024_001_004_ECG.hea", ""),
        ("study/sub-01/ses-02/sub-01_ses-02_ecg.edf", "sub-01"),
        ("study/sub-A7/ecg/x.edf", "sub-A7"),
        ("study/sub-01/notes/of/x.edf", ""),
        ("WESAD/S2/S2_E4_Data/BVP.csv", "S2"),
        ("WESAD/S2/S3_E4_Data/BVP.csv", ""),
    ],
)
def test_the_layouts_of_archives_tell_the_person(path, person):
    assert in_layout(Path("/data") / path) == person


def test_ptb_xl_tells_its_patients_in_a_table(tmp_path):
    write(tmp_path / "records500/00000", **{f"0000{number}_hr": heart(number, 12.0) for number in (1, 2, 3)})
    write(tmp_path / "records100/00000", **{"00001_lr": heart(1, 12.0) * 3})
    rows = [
        f"{number},{person},records100/00000/0000{number}_lr,records500/00000/0000{number}_hr"
        for number, person in ((1, "15709.0"), (2, "15709.0"), (3, "77.0"))
    ]
    (tmp_path / "ptbxl_database.csv").write_text("\n".join(["ecg_id,patient_id,filename_lr,filename_hr", *rows]))
    windows = hl.read([tmp_path / "records500", tmp_path / "records100"], rate_hz=100, kind="ecg")
    assert set(windows.person) == {"patient 15709", "patient 77"}
    assert len(windows.records) == 3  # of 00001 at two rates one
    (tmp_path / "ptbxl_database.csv").rename(tmp_path / "elsewhere.csv")
    told = hl.read(tmp_path / "records500", rate_hz=100, kind="ecg", persons=tmp_path / "elsewhere.csv")
    assert set(told.person) == {"patient 15709", "patient 77"}


def test_a_copy_elsewhere_starts_its_windows_where_the_original_does(tmp_path):
    write(tmp_path / "ludb", one=heart(5, 31.0))
    write(tmp_path / "siteB", other=heart(5, 31.0))
    first, second = (hl.read(tmp_path / folder, rate_hz=100, kind="ecg", draw=3) for folder in ("ludb", "siteB"))
    assert first.start_s.tolist() == second.start_s.tolist()
