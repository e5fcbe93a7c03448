"""Uses an installed wheel as a user would, outside the checkout: `python tests/wheel.py dist`. Not part of the tests; `make wheel` runs it.

Checked are the files in the wheel, that nothing warns when it is imported, and that tasks, an analysis and its methods run on the models
and data files that come with it.
"""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

INSIDE = ("report.html.jinja", "paper/report.html.jinja", "py.typed", "checkpoints/embedded/ecg-sim.safetensors")
HEARTS = """
from pathlib import Path
import numpy as np
from heartlens.signals.simulate import ecg
for number in range(3):
    signal = ecg.simulate(np.random.default_rng(number), 12.0)[0]
    rows = "\\n".join(f"{index / 100:.2f},{value:.4f}" for index, value in enumerate(signal))
    Path(f"{number}.csv").write_text(f"time,I\\n{rows}\\n")
"""
PLACE = "import heartlens, sys; assert heartlens.__file__.startswith(sys.prefix), heartlens.__file__"
LOADED = "import heartlens as hl; [getattr(hl, name) for name in hl.__all__]; print(hl.load('ppg-sim-beat').origin.checkpoint)"


def main(folder: Path) -> None:
    """Check the wheel in the folder and the installation that runs this."""
    (wheel,) = folder.glob("heartlens-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    missing = [name for name in INSIDE if f"heartlens/{name}" not in names]
    foreign = [name for name in names if not name.startswith(("heartlens/", "heartlens-"))]
    assert not missing, missing
    assert not foreign, foreign
    assert any(name.endswith("licenses/LICENSE") for name in names)
    program = Path(sys.executable).parent / "heartlens"
    with tempfile.TemporaryDirectory() as place:
        quick = ["--n-twins", "2", "--twin-windows", "1", "--n-permutations", "99", "--quiet"]
        for command in (
            [sys.executable, "-W", "error", "-c", PLACE],
            [sys.executable, "-W", "error", "-c", LOADED],
            [sys.executable, "-c", HEARTS],
            [program, "--version"],
            [program],
            [program, "classify", "ecg-sim-af", "0.csv", "1.csv", "2.csv", "--out", "af"],
            [program, "head_scan", "ecg-sim", "--data", "0.csv", "1.csv", "2.csv", "--out", "scan", *quick],
            [program, "methods", "scan"],
            [sys.executable, "-m", "heartlens.converters", "verify", "ppg-sim"],
        ):
            run(command, place)
        assert (Path(place) / "scan/report.html").is_file()
        assert (Path(place) / "af/records.csv").read_text(encoding="utf-8").count("\n") == 4
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, installed and used")


def run(command: list[str | Path], place: str) -> None:
    """Run a command in the folder `place`, away from the checkout; its output is shown where it fails."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"HEARTLENS_OFFLINE": "1"}
    done = subprocess.run(list(map(str, command)), cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}"


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
