"""Files of recordings, written here with known content."""

import numpy as np
import wfdb

SAMPLES = np.round(np.random.default_rng(0).normal(size=2000), 3)


def written(path, *lines):
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(str(line) for line in lines))
    return path


def table(folder, header, *columns):
    return written(folder / "a.csv", header, *(",".join(f"{value:.9g}" for value in row) for row in zip(*columns, strict=True)))


def record(folder, leads=("i", "ii"), rate_hz=250, n=2500, **options):
    signal = np.random.default_rng(1).normal(size=(n, len(leads)))
    wfdb.wrsamp("r", rate_hz, ["mV"] * len(leads), list(leads), signal, fmt=["16"] * len(leads), write_dir=str(folder), **options)
    return signal


def marked(folder, annotator, *marks):
    """Annotations (sample, symbol) beside the record."""
    samples, symbols = zip(*marks, strict=True)
    wfdb.wrann("r", "new", np.array(samples), list(symbols), write_dir=str(folder))
    (folder / "r.new").rename(folder / f"r.{annotator}")  # wfdb writes no q1c
