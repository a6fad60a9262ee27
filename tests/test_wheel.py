"""The built wheel holds all that scoring needs, and does it in another environment and folder."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import numpy as np
import pytest

import btp

SCORE = """
import json, sys
import numpy as np
import btp
prediction = btp.load("mini").predict(np.load("scan.npy"), coverage="sampled")
print(json.dumps([btp.__file__, prediction.object_score, prediction.point_scores.tolist()]))
"""


def run(*command: str | Path, folder: Path | None = None) -> str:
    own = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
    environment = {key: value for key, value in os.environ.items() if key not in own}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `pip wheel` makes of the repository, with the build backend that is installed here."""
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation")
    folder = tmp_path_factory.mktemp("wheel")
    run(*pip, "--no-index", "--wheel-dir", folder, repository)
    (made,) = folder.glob("btp-*.whl")
    return made


@pytest.mark.slow
def test_the_wheel_holds_code_settings_and_weights(wheel: Path, repository: Path) -> None:
    def listing(folder: str) -> set[str]:
        command = ("git", "-C", repository, "ls-files", "-co", "--exclude-standard", folder)
        return set(run(*command).splitlines())

    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    beside = listing("configs") | listing("checkpoints/mini")
    assert "checkpoints/mini/detector.safetensors" in beside
    assert packed == listing("btp") | {f"btp/{name}" for name in beside}
    assert "btp/py.typed" in packed


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs' folder of a new environment with the wheel, and with the packages from here."""
    environment = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    scheme = {"base": str(environment), "platbase": str(environment)}
    programs = Path(sysconfig.get_path("scripts", "venv", scheme))
    python = programs / Path(sys.executable).name
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps")
    run(*pip, "--no-index", wheel)
    # The dependencies of the running environment, without what is installed in it as editable.
    site = Path(sysconfig.get_path("purelib", "venv", scheme))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return programs


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    points = np.random.default_rng(0).normal(size=(3000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    np.save(tmp_path / "scan.npy", points)
    return tmp_path / "scan.npy"


@pytest.mark.slow
def test_the_wheel_scores_in_another_folder(installed: Path, scan: Path) -> None:
    python = installed / Path(sys.executable).name
    where, score, scores = json.loads(run(python, "-c", SCORE, folder=scan.parent))
    assert Path(where).is_relative_to(installed.parent)
    assert [path.name for path in scan.parent.iterdir()] == ["scan.npy"]
    expected = btp.load("mini").predict(np.load(scan), coverage="sampled")
    assert score == pytest.approx(expected.object_score, abs=1e-5)
    np.testing.assert_allclose(scores, expected.point_scores, atol=1e-5)


@pytest.mark.slow
def test_its_command_scores_in_another_folder_and_writes_there(installed: Path, scan: Path) -> None:
    settings = ("coverage=sampled", "pictures=false")
    printed = run(installed / "btp", "predict", "input=scan.npy", *settings, folder=scan.parent)
    expected = btp.load("mini").predict(np.load(scan), coverage="sampled").object_score
    with (scan.parent / "outputs" / "predict" / "scores.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["object_score"]) == pytest.approx(expected, abs=1e-4)
    assert "outputs/predict/viewer.html" in printed.replace(os.sep, "/")
    assert "no verdict: btp calibrate normal=DIR" in printed  # there are no scripts
