"""Which channel: names that people and devices give, kinds that are no heart signals, refusals where several may be meant."""

from pathlib import Path

import numpy as np
import pytest
from recorded import table

from heartlens.refusal import Refusal
from heartlens.signals.channels import choose_lead, kind_of_lead
from heartlens.signals.column_names import Column
from heartlens.signals.readers import read_recording

PATH = Path("a.csv")

NAMES = {
    "ecg": """ECG lead II|ecg [uV]|ECG (mV)|EXG Channel 1|II|MLII|Lead I|DI|SITE/ECG_II|'ECG'|EKG|Ableitung II|Dérivation I|Derivación II|
        A_ECG_LL-RA_24BIT_CAL|V5|aVR|ECG1|FECG|V|MCL1|CM5|V2-V3|mod.V1|ecg_mV|ecgLeadII|Lead 1|ЭКГ|Отведение II|心电图|I [mV]|vx|Chest ECG|
        ECG Sample|D3|ML II|ECG:II|Electrocardiogram|i|ecg_raw|ECG I filtered""",
    "ppg": """PLETH|Pleth|BVP|PPG_ir|SpO2 pleth|ppg|ppg_green|PPG.Red|pleth [%]|Plethysmogram|IR|red|Pulse|ppg0|PPG (a.u.)|
        SpO2 Waveform|pulse wave|PLETH [NU]|脈波|PPG [V]""",
    "time": """time|Time [s]|timestamp|t_ms|Zeit|Elapsed time|Phone timestamp|sensor timestamp [ns]|时间|ECG timestamp|t|ms|Zeit in s|
        Datetime|x [s]|horodatage""",
    "counter": "sample|Sample Index|index|packet counter|Unnamed: 0|#|sample #|nSeq|ECG index",
    "pressure": "ABP|ART|CVP|ART [mmHg]|ECG [mmHg]|Blood pressure|x [mmHg]|Blutdruck",
    "respiration": "RESP|Breathing|Thorax|Atmung|EtCO2",
    "acceleration": "acc_x|AccX|Accelerometer X|gyro_z|x [m/s2]|ACCX",
    "quality": "ECG quality|sqi|lead off|ECG lead off|status|ppg_ambient",
    "number": "SpO2|HR|heart rate|Pulse Rate|pulse [bpm]|RR|SpO2 [%]|IBI|ECG HR",
    "temperature": "temp|Temperature [°C]",
    "skin": "EDA|GSR [uS]",
    None: "value|column 0|A|UC|signal|CH1 [mV]",
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name.strip()) for kind, names in NAMES.items() for name in names.split("|")])
def test_the_kind_that_a_name_tells(kind, name):
    assert Column(name).kind == kind
    assert kind_of_lead(name) == (kind if kind in ("ecg", "ppg") else None)


@pytest.mark.parametrize(
    ("name", "lead", "unit"),
    [
        ("ECG lead II [mV]", "ii", "mV"),
        ("A_ECG_LL-RA_24BIT_CAL", "ii", ""),
        ("ECG LA-RA (µV)", "i", "uV"),
        ("DII", "ii", ""),
        ("Ableitung I [V]", "i", "V"),
        ("ECG1", "", ""),
        ("ppg_green", "green", ""),
        ("PPG Infrared (counts)", "ir", "adu"),
        ("ECG_microvolt", "", ""),
        ("ECG (microvolt)", "", "uV"),
    ],
)
def test_the_lead_and_unit_that_a_name_tells(name, lead, unit):
    assert (Column(name).lead, Column(name).unit) == (lead, unit)


@pytest.mark.parametrize(
    ("header", "lead", "kind", "chosen"),
    [
        ("RESP,II,I", None, None, "I"),
        ("V,MLII", None, "ecg", "MLII"),
        ("RESP,V5,II", "v5", None, "V5"),
        ("RESP, V5 ,II", 1, None, "V5"),
        ("RESP,V5,II", "2", None, "II"),
        ("II,PLETH", None, "ppg", "PLETH"),
        ("II,PLETH", None, None, "II"),
        ("ABP,ECG lead II,RESP", None, "ecg", "ECG lead II"),
        ("V5 [mV],ECG lead II [mV]", "II", "ecg", "ECG lead II [mV]"),
        ("ECG I filtered,ECG I", None, "ecg", "ECG I"),
        ("acc_x,ppg_red,ppg_ir", None, "ppg", "ppg_ir"),
        ("ppg_red,ppg_green,ppg_ir,ppg_ambient", None, "ppg", "ppg_green"),
        ("SpO2,Pulse,Pleth,HR", None, "ppg", "Pleth"),
        ("B,G,R", None, "ppg", "R"),
        ("mean_red,mean_green,mean_blue", None, None, "mean_red"),
        ("sample,value", None, "ecg", "value"),
        ("value", None, "ppg", "value"),
        ("RESP,ABP,II", "resp", "ecg", "RESP"),
        ("ICU/ABP,ICU/ECG_II", None, None, "ICU/ECG_II"),
        ("x,y,z,ppg", None, None, "ppg"),
        ("RESP,RESP,II", None, None, "II"),
    ],
)
def test_the_channel_chosen(header, lead, kind, chosen):
    leads = header.split(",")
    index, notes = choose_lead(leads, lead, kind, PATH)
    assert leads[index].strip() == chosen
    assert bool(notes) == ((lead is None and len(leads) > 1) or chosen == "RESP")


@pytest.mark.parametrize(
    ("header", "lead", "kind", "message"),
    [
        ("A,B", None, "ecg", "no column is plainly ECG; there are A, B; give --lead, a name or a number from 0"),
        ("ABP,RESP", None, "ecg", "there are ABP, RESP"),
        ("II,V", None, "ppg", "no column is plainly a pulse"),
        ("ABP", None, "ecg", "ABP is a pressure by its name or values; to read it all the same give --lead 0"),
        ("sample", None, None, "sample is a counter"),
        ("SpO2", None, "ppg", "SpO2 is a number and no wave"),
        ("ABP,value", None, "ecg", "there are ABP, value"),
        ("ECG,ECG", None, "ecg", "several columns are called ECG: ECG, ECG; give --lead as a number from 0"),
        ("ECG,ecg ", "ecg", "ecg", "--lead ecg may be column 0 (ECG), 1 (ecg); give the number"),
        ("I,II [mV],II [uV]", "II", "ecg", "--lead II may be column 1 (II [mV]), 2 (II [uV])"),
        ("HR,PULSE,RESP,SpO2", None, "ppg", "no column is plainly a pulse"),
        ("index,on,sp,u,v,w,a,b", None, "ecg", "no column is plainly ECG"),
        ("I,aVR", "aVL", None, "unknown lead 'aVL'; did you mean 'aVR'? legal: I, aVR"),
        ("I,aVR", 2, None, "unknown lead '2'"),
    ],
)
def test_channels_that_are_refused(header, lead, kind, message):
    with pytest.raises(Refusal) as refusal:
        choose_lead(header.split(","), lead, kind, PATH)
    assert message in str(refusal.value)


def test_a_name_that_is_long_or_holds_control_signs_is_shown_in_one_line():
    with pytest.raises(Refusal) as refusal:
        choose_lead(["a\nb\x1b[31m" + "x" * 10_000, *map(str, range(5000))], None, None, PATH)
    assert len(str(refusal.value)) < 400
    assert str(refusal.value).isprintable()


def test_values_show_a_counter_and_a_dead_channel(tmp_path):
    wrapping = np.arange(4000) % 183
    signal = np.random.default_rng(5).normal(size=4000)
    path = table(tmp_path, "n,EXG Channel 0,EXG Channel 1", wrapping, np.full(4000, -187500.02), signal)
    recording = read_recording(path, rate_hz=250, kind="ecg")
    assert recording.lead == "EXG Channel 1"
    asked = read_recording(path, "EXG Channel 0", rate_hz=250)
    assert "lead EXG Channel 0 taken as asked for; by its name, unit or values it is of one value throughout" in asked.notes[0]
    with pytest.raises(Refusal, match="ECG is a counter by its name or values"):
        read_recording(table(tmp_path, "ECG", wrapping), rate_hz=250)


def test_a_dark_or_saturated_colour_is_not_chosen(tmp_path):
    pulse = 200 + np.sin(np.arange(1000) / 5)
    path = table(tmp_path, "time,R,G,B", np.arange(1000) * 33, np.minimum(pulse + 55.9, 255), pulse, np.zeros(1000))
    recording = read_recording(path, kind="ppg")
    assert (recording.lead, recording.kind) == ("G", "ppg")
