"""Every command of the README runs as it is written there, in the project in small."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
import shlex
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from fake_hub import hub_in_place
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from published import publish
from run_script import run_script
from small_project import make_small_project

from btp.experiments.protocol import seeds_from
from btp.pretraining import model_card
from btp.pretraining.corpus import shards

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")
BEGINNING = re.compile(r"\b(?:python|bash) scripts/")

# What a command may end with, where that is not 0 alone.
ENDS = {"predict.py": {0, 3}}
if importlib.util.find_spec("onnxscript") is None:
    ENDS["export.py"] = {2}  # which names the extra that is missing
# Sections that go on where another one ended.
AFTER = {"Reproduce the paper": "Two commands", "Many runs": "When something fails"}
# Numbers on the command line that only make it longer.
SMALLER = {"seeds": "1", "hydra.launcher.n_jobs": "1", "shards": "2", "shard": "0,1"}
SWEPT = {"seed": 2, "train_cat": 1}  # so many of each list that a sweep runs over


@dataclass(frozen=True)
class Command:
    """A command line of the README: its words, and the heading that it stands under."""

    section: str
    words: tuple[str, ...]

    @property
    def script(self) -> str:
        return Path(self.words[1]).name


def sections() -> dict[str, str]:
    """Heading -> text, down to the next heading of any level."""
    parts = re.split(r"^##+ (.+)$", README, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def commands(section: str) -> list[Command]:
    """Those of a section in their order, from indented lines and from between back-ticks."""
    text = re.sub(r"^```.*?^```", "", sections()[section], flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r" *\\\n +", " ", text)
    found = re.findall(r"^    (.*)$|`([^`\n]+(?:\n[^`\n]+)?)`", text, flags=re.MULTILINE)
    lines = [line or code for line, code in found]
    words = [shlex.split(line, comments=True) for line in lines if BEGINNING.match(line)]
    return [Command(section, tuple(each)) for each in words]


SECTIONS = [name for name in sections() if commands(name)]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The project in small, as the working folder, with the hub of the weights beside it."""
    root = tmp_path / "project"
    make_small_project(ROOT, root)
    monkeypatch.chdir(root)
    monkeypatch.setattr("btp.inspect.predictor.CHECKPOINTS", root / "checkpoints")
    monkeypatch.setattr(shards, "SHARD", 4)
    size = model_card.SetSize
    monkeypatch.setattr(model_card, "SetSize", lambda *_: size(0, 1, 1))
    with hub_in_place(monkeypatch) as hub:
        publish(hub)
        yield root


@pytest.mark.slow
@pytest.mark.parametrize("section", SECTIONS)
def test_the_commands_of_a_section_run_in_their_order(section: str, project: Path) -> None:
    if section in AFTER:
        for command in commands(AFTER[section]):
            run(command, project)
    for command in commands(section):
        run(command, project)
    check(section, project)


@pytest.mark.slow
def test_a_pretraining_that_goes_on_repeats_only_what_changed(project: Path) -> None:
    def pretrain(*settings: str) -> list[int]:
        words = ("python", "scripts/pretrain.py", "resume=true", *settings)
        run(Command("Other jobs", words), project)
        made = [*(project / "outputs" / "pretrain").rglob("detector.safetensors")]
        return [path.stat().st_mtime_ns for path in sorted(made)]

    first = pretrain()
    assert len(first) == 2
    assert pretrain() == first
    again = pretrain("recipe.learning_rate=1e-4")
    assert all(new > old for new, old in zip(again, first, strict=True))


@pytest.mark.slow
def test_a_pretraining_takes_folders_of_meshes(project: Path) -> None:
    folders = ("meshes=my_meshes", "validation.meshes=[my_meshes]")
    counts = ("mesh_clouds=4", "validation.mesh_clouds=4", "heads.clouds=8")
    run(Command("Other jobs", ("python", "scripts/pretrain.py", *folders, *counts)), project)
    made = json.loads((project / "outputs" / "pretrain" / "pretraining.json").read_text())
    assert made["clouds"] == 8
    assert sum(made["origins"].get(name, 0) for name in ("my_meshes", "plain")) == 4
    figures = json.loads((project / "outputs" / "pretrain" / "validation.json").read_text())
    assert "object_auroc" in figures


def check(section: str, project: Path) -> None:
    """What the text says is there afterwards."""
    for pattern in MADE.get(section, []):
        assert list(project.glob(pattern)), f"{section}: nothing made {pattern}"


MADE = {
    "Two commands": ["outputs/demo/mini/plus/gear/seed111/detector.safetensors"],
    "Score your scan": [
        *("outputs/predict/scores.csv", "outputs/predict/viewer.html", "outputs/line1/scores.csv"),
        *("outputs/predict/**/*.scores.ply", "outputs/predict/**/*.regions.json"),
    ],
    "More scans than one machine can score": [
        *("outputs/line2/scores.csv", "outputs/line2/viewer.html"),
        "outputs/line2/scores.shard-1-of-2.csv",
    ],
    "Reproduce the paper": [
        *("outputs/demo/mini/report/*.md", "outputs/demo/mini/report/*.csv"),
        *("outputs/demo/mini/report/*.tex", "outputs/demo/mini/report/*.html"),
        "outputs/real3d/ulip2/report/*.md",
        "outputs/real3d/ulip2/paper/gemstone/seed111/detector.safetensors",
        "outputs/real3d/ulip2/release/car/seed111/detector.safetensors",
    ],
    "Many runs": [f"outputs/real3d/ulip2/paper/*/seed{s}/detector.safetensors" for s in (111, 112)],
    "Adapt on your own parts": ["data/my_parts/bolt/GT/*.txt", "outputs/my_parts/mini/report/*.md"],
    "Other jobs": [
        *("outputs/pretrain/detector.safetensors", "outputs/benchmark.json"),
        "checkpoints/mini/check.json",
    ],
    "Results so far": [
        "outputs/demo/mini/baselines/ulip_zero_shot/plus/untrained/seed111/result-demo.json",
        "outputs/demo/mini/paper/*/seed111/result-demo.json",
    ],
    "Speed": ["outputs/benchmark.md", "outputs/benchmark.json"],
    "When something fails": ["checkpoints/ulip2/*.safetensors"],
}


def run(command: Command, project: Path) -> None:
    """Run it in this process, as its command line does."""
    if command.words[0] == "bash":
        run_shell(command, project)
        return
    with pytest.MonkeyPatch.context() as patch:
        if "-m" in command.words:
            in_this_process(patch)
        ended = run_script(project, command.script, *smaller(command))
    line = shlex.join(command.words)
    assert ended in ENDS.get(command.script, {0}), f"{line}: ended with {ended}, see above"


def smaller(command: Command) -> list[str]:
    """Its settings, with fewer seeds and jobs of a sweep."""
    settings = []
    for setting in command.words[2:]:
        key, _, value = setting.partition("=")
        value = SMALLER.get(key, value)
        if "-m" in command.words and key in SWEPT:
            value = ",".join(swept(setting)[: SWEPT[key]])
        settings.append(f"{key}={value}" if "=" in setting else setting)
    return settings


def swept(setting: str) -> list[str]:
    """The values that a sweep runs over."""
    parsed = OverridesParser.create().parse_override(setting)
    return [str(value) for value in parsed.sweep_string_iterator()]


def in_this_process(patch: pytest.MonkeyPatch) -> None:
    """A cluster whose jobs run at once and here."""
    submitit = pytest.importorskip("submitit")
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")

    class Inline(submitit.AutoExecutor):  # type: ignore[misc, name-defined]
        def __init__(self, folder: str, cluster: str, **given: object) -> None:
            assert cluster == "slurm"
            super().__init__(folder, "debug", **given)

    patch.setattr(submitit, "AutoExecutor", Inline)


def run_shell(command: Command, project: Path) -> None:
    """Run a shell script, with a Python that notes how it is called, and then those calls."""
    notes, python = project / "calls", project / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True, exist_ok=True)
    python.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" "" >>{shlex.quote(str(notes))}\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    (project / "scripts" / "setup.sh").write_text("")
    done = subprocess.run(command.words, check=False, capture_output=True, text=True, cwd=project)
    assert done.returncode == 0, done.stderr
    calls = [call.split("\n") for call in notes.read_text().strip().split("\n\n")]
    notes.unlink()
    for call in calls:
        if call[0] == "-m":
            assert call == ["-m", "pytest", "-n", "auto"]
        else:
            run(Command(command.section, ("python", *call)), project)


def test_no_command_is_overlooked() -> None:
    found = sum(len(commands(section)) for section in sections())
    written = len(BEGINNING.findall(README))
    assert found == written, (
        f"{written} commands are written in the README and {found} are run. Put each into an "
        "indented line or between back-ticks, below a heading"
    )
    new = set(SECTIONS) - set(MADE)
    assert not new, f"the README's sections {new} have commands: add to MADE what they make"


def test_sweeps_run_over_all_of_table_2() -> None:
    file = resources.files("btp.data") / "inventories" / "real3d.csv"
    rows = csv.DictReader(file.read_text("utf-8").splitlines())
    published = sorted({row["category"] for row in rows})
    sweeps = [command for command in commands("Many runs") if "-m" in command.words]
    assert sweeps
    for command in sweeps:
        given = {word.partition("=")[0]: word for word in command.words[2:]}
        assert swept(given["train_cat"]) == published
        assert swept(given["seed"]) == [str(seed) for seed in seeds_from(10)]


def written_settings() -> list[str]:
    """What stands between back-ticks as settings, without a script before it."""
    setting = r"[a-z_]+(?:[./][a-z_]+)*=[^\s`]+"
    return sorted(set(re.findall(rf"`({setting}(?: {setting})*)`", README)))


@pytest.mark.parametrize("written", written_settings())
def test_a_script_takes_the_settings_of_the_text(written: str) -> None:
    settings = [re.sub(r"=(.*,.*|\.\.\.)$", r"='\1'", each) for each in written.split()]
    tried = []
    for config in sorted((ROOT / "configs").glob("*.yaml")):
        for more in ([], ["dataset=real3d"]):
            with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
                try:
                    compose(config.stem, [*more, *settings])
                    return
                except (HydraException, OmegaConfBaseException) as error:
                    tried.append(f"{config.stem}: {error}")
    pytest.fail(f"no script takes {written}:\n" + "\n".join(tried))


def test_the_python_of_the_readme(project: Path) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)
    names: dict[str, object] = {}
    exec(code, names)
    prediction = names["prediction"]
    assert 0 <= prediction.object_score <= 1  # type: ignore[attr-defined]
    scores = prediction.point_scores  # type: ignore[attr-defined]
    assert scores.dtype == np.float32 and scores.shape == (2500,)
