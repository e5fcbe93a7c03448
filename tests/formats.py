"""Files of every format with known samples, written with another program's library, or byte by byte as the format's description says."""

import base64
import binascii
import struct
import warnings

import edfio
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pydicom
import scipy.io
import wfdb
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence

GAIN = 200.0  # numbers a mV: a number is 5 uV


def wfdb_record(path, leads, rate_hz):
    signal = np.stack(list(leads.values()), axis=1)
    options = {"fmt": ["16"] * len(leads), "adc_gain": [GAIN] * len(leads), "baseline": [0] * len(leads)}
    wfdb.wrsamp(path.stem, rate_hz, ["mV"] * len(leads), list(leads), d_signal=signal, write_dir=str(path.parent), **options)


def edf(path, leads, rate_hz, bits=16):
    limit = 32_000 if bits == 16 else 8_000_000
    kind, file = (edfio.EdfSignal, edfio.Edf) if bits == 16 else (edfio.BdfSignal, edfio.Bdf)
    ranges = {"physical_range": (-limit / GAIN, limit / GAIN), "digital_range": (-limit, limit)}
    signals = [
        kind.from_digital(own.astype(np.int16 if bits == 16 else np.int32), rate_hz, label=name, physical_dimension="mV", **ranges)
        for name, own in leads.items()
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file(signals).write(path)


def bdf(path, leads, rate_hz):
    edf(path, leads, rate_hz, bits=24)


def mat_v4(path, leads, rate_hz):
    scipy.io.savemat(path, {name: own / GAIN for name, own in leads.items()} | {"fs": float(rate_hz)}, format="4")


def mat_v5(path, leads, rate_hz):
    content = {"ECG": {"data": np.stack(list(leads.values())) / GAIN, "leads": np.array(list(leads), object), "Fs": rate_hz}}
    scipy.io.savemat(path, content, do_compression=True)


def mat_v73(path, leads, rate_hz):
    """As MATLAB writes it: matrices turned, words as numbers, cells as references, and 512 bytes before all."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file["ecg"] = (np.stack(list(leads.values())) / GAIN).T
        file["fs"] = np.array([[float(rate_hz)]])
        cells = file.create_dataset("leads", (1, len(leads)), h5py.ref_dtype)
        for place, name in enumerate(leads):
            file[f"#refs#/{place}"] = np.array([[ord(letter)] for letter in name], np.uint16)
            cells[0, place] = file[f"#refs#/{place}"].ref
    content = bytearray(path.read_bytes())
    content[:30] = b"MATLAB 7.3 MAT-file, Platform:"
    path.write_bytes(content)


def hdf5(path, leads, rate_hz):
    with h5py.File(path, "w") as file:
        data = file.create_dataset("signals/ecg", data=np.stack(list(leads.values()), axis=1) / GAIN, compression="gzip")
        data.attrs.update({"sampling_rate": rate_hz, "lead_names": list(leads), "unit": "mV"})


def parquet(path, leads, rate_hz):
    n = len(next(iter(leads.values())))
    columns = {"time": np.arange(n) / rate_hz} | {name: own / GAIN for name, own in leads.items()}
    pyarrow.parquet.write_table(pa.table(columns), path)


def ishne(path, leads, rate_hz):
    codes = {"I": 5, "II": 6, "V1": 11}
    n, n_leads = len(next(iter(leads.values()))), len(leads)
    filled = lambda values: [*values, *[-9] * (12 - n_leads)]  # noqa: E731
    header = struct.pack("<iiiih40s40s20s14h", 0, n, 522, 522, 1, b"Jane", b"Doe", b"P7", 2, 0, *[1] * 12)
    header = header[: 156 - 10] + struct.pack("<h", n_leads)
    header += struct.pack("<12h", *filled(codes[name] for name in leads)) + struct.pack("<12h", *filled([1] * n_leads))
    header += struct.pack("<12h", *filled([5000] * n_leads)) + struct.pack("<h40sh80s80s88s", 0, b"digital", rate_hz, b"", b"", b"")
    assert len(header) == 512
    samples = np.stack(list(leads.values()), axis=1).astype("<i2").tobytes()
    path.write_bytes(b"ISHNE1.0" + struct.pack("<H", binascii.crc_hqx(header, 0xFFFF)) + header + samples)


def code(value, meaning):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "UCUM", meaning
    return Sequence([item])


def dicom(path, leads, rate_hz):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.9.1.1", "1.2.3.4"
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    group = Dataset()
    group.MultiplexGroupLabel, group.SamplingFrequency = "RHYTHM", rate_hz
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = len(leads), len(next(iter(leads.values())))
    channels = []
    for name in leads:
        channel = Dataset()
        channel.ChannelSourceSequence, channel.ChannelSensitivityUnitsSequence = (
            code(name, f"Lead {name} (Einthoven)"),
            code("mV", "millivolt"),
        )
        channel.ChannelSensitivity, channel.ChannelSensitivityCorrectionFactor, channel.ChannelBaseline = 1 / GAIN, 1, 0
        channel.WaveformBitsStored = 16
        channels.append(channel)
    group.ChannelDefinitionSequence = Sequence(channels)
    group.WaveformBitsAllocated, group.WaveformSampleInterpretation = 16, "SS"
    group.WaveformData = np.stack(list(leads.values()), axis=1).astype("<i2").tobytes()
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.PatientID = meta.MediaStorageSOPClassUID, "1.2.3.4", "P7"
    dataset.WaveformSequence = Sequence([group])
    dataset.save_as(path, enforce_file_format=True)


def aecg(path, leads, rate_hz):
    lines = "".join(
        f'<component><sequence><code code="MDC_ECG_LEAD_{name}"/><value xsi:type="SLIST_PQ"><origin value="0" unit="uV"/>'
        f'<scale value="5" unit="uV"/><digits>{" ".join(map(str, own.tolist()))}</digits></value></sequence></component>'
        for name, own in leads.items()
    )
    path.write_text(
        '<?xml version="1.0"?><AnnotatedECG xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        '<componentOf><trialSubject><id extension="P7"/></trialSubject></componentOf>'
        '<component><series><code code="RHYTHM"/><component><sequenceSet>'
        '<component><sequence><code code="TIME_ABSOLUTE"/><value xsi:type="GLIST_TS"><head value="20020101"/>'
        f'<increment value="{1000 / rate_hz!r}" unit="ms"/></value></sequence></component>{lines}'
        "</sequenceSet></component></series></component></AnnotatedECG>"
    )


def muse(path, leads, rate_hz):
    def lead(name, own):
        return (
            f"<LeadData><LeadSampleCountTotal>{len(own)}</LeadSampleCountTotal><LeadAmplitudeUnitsPerBit>5</LeadAmplitudeUnitsPerBit>"
            f"<LeadAmplitudeUnits>MICROVOLTS</LeadAmplitudeUnits><LeadID>{name}</LeadID><LeadSampleSize>2</LeadSampleSize>"
            f"<WaveFormData>{base64.encodebytes(own.astype('<i2').tobytes()).decode()}</WaveFormData></LeadData>"
        )

    median = {name: own[: rate_hz // 2] for name, own in leads.items()}
    waveforms = "".join(
        f"<Waveform><WaveformType>{kind}</WaveformType><SampleBase>{rate_hz}</SampleBase><SampleExponent>0</SampleExponent>"
        f"{''.join(lead(name, own) for name, own in given.items())}</Waveform>"
        for kind, given in (("Median", median), ("Rhythm", leads))
    )
    path.write_text(
        '<?xml version="1.0" encoding="ISO-8859-1"?><!DOCTYPE RestingECG SYSTEM "restecg.dtd">'
        f"<RestingECG><PatientDemographics><PatientID>P7</PatientID></PatientDemographics>{waveforms}</RestingECG>"
    )


WRITERS = {
    "wfdb.hea": wfdb_record,
    "a.edf": edf,
    "a.bdf": bdf,
    "v4.mat": mat_v4,
    "v5.mat": mat_v5,
    "v73.mat": mat_v73,
    "a.h5": hdf5,
    "a.parquet": parquet,
    "a.ecg": ishne,
    "a.dcm": dicom,
    "hl7.xml": aecg,
    "muse.xml": muse,
}
