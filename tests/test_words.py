"""What is typed on a command line: as typed where it is a path, and proposals where it is wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import example, given
from hypothesis import strategies as st

from btp.commands.config_files import CONFIGS, settings_of
from btp.commands.entry import COMMANDS, help_of
from btp.commands.words import checked
from btp.errors import ConfigError


def read(name: str, *words: str) -> dict:
    """The config of a command line, as the command gets it."""
    settings = checked(name, words, COMMANDS[name].bare)
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose(name, overrides=settings)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
@example("null")
@example("12")
@example("1e5")
@example("true")
@example("scans, [new]/größe=2 (a).ply")
@example("${b}")
@example(r"a\${b}\\${c}\\")
@example(r"C:\scans\'x'")
@example("a\nb'")
@example("choice(a,b)")
@example("~scan")
@example("a: b")
def test_a_path_is_taken_as_typed(path: str) -> None:
    quoted = re.fullmatch(r"'.*'|\".*\"", path, re.DOTALL)
    assert quoted or read("predict", f"input={path}").input == path


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("train", "dataset.root"),
        ("train", "outputs"),
        ("train", "train_cat"),
        ("eval", "run"),
        ("eval", "explain"),
        ("weights", "convert"),
        ("synthesize", "source"),
        ("export", "scan"),
        ("pretrain", "start"),
    ],
)
def test_every_command_takes_its_paths_as_typed(name: str, key: str) -> None:
    config = read(name, f"{key}=über/a, b [2]/x=${{c}}")
    for part in key.split("."):
        config = config[part]
    assert config == "über/a, b [2]/x=${c}"


def test_null_is_a_folder_where_a_path_is_needed_and_nothing_where_none_is() -> None:
    config = read("predict", "input=null", "out=null", "compare=null")
    assert (config.input, config.out, config.compare) == ("null", "null", None)
    assert read("train", "encoder.heads=null").encoder.heads is None


def test_the_home_folder_is_written_as_in_a_shell() -> None:
    assert read("predict", "input=~/scans").input == str(Path.home() / "scans")


def test_what_is_in_quotes_stays_so() -> None:
    assert read("predict", "input='a b'").input == "a b"
    assert checked("train", ["-m", "outputs='a','b'"], "dataset") == ["-m", "outputs='a','b'"]


def test_options_may_stand_anywhere_and_lists_need_no_brackets() -> None:
    words = ["train_cat=a,b", "-m", "seed=range(1,3)"]
    assert checked("train", words, "dataset") == ["-m", "train_cat=a,b", "seed=range(1,3)"]
    assert checked("train", ["-c", "job", "seed=1"], "dataset") == ["-c", "job", "seed=1"]
    assert read("benchmark", "only=metrics,prepare").only == ["metrics", "prepare"]
    assert read("gains", "seeds=3").seeds == [3]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("predict scan.ply", "scan.ply: settings are written name=value; write input=scan.ply"),
        ("predict input=a input=b", "input is given twice: input=a and input=b"),
        ("predict --input=a", "--input=a is not an option.*name=value: input=a"),
        ("predict detectr=mini", "detectr is not a setting; did you mean detector?"),
        ("predict dataset=demo", "dataset is not a setting"),
        ("predict +colour=red", "colour is not a setting"),
        ("train datset=demo", "datset is not a setting; did you mean dataset?"),
        ("train recipe.epoch=3", "recipe.epoch is not a setting; did you mean recipe.epochs?"),
        ("train dataset=reel3d", "dataset is 'reel3d'; expected one of .*did you mean real3d?"),
        ("train seed=1,2", "found several values, expected one; .* -m"),
        ("train -m seed=1,x", "seed is 'x'; expected a whole number"),
        ("train encoder.name=a[", "Hydra cannot read the value.*encoder.name=\"'a\\['\""),
        ("predict out=", "out is empty; expected a path"),
        ("predict pictures=maybe", "pictures is 'maybe'; expected true or false"),
        ("predict viewer_scans=true", "viewer_scans is True; expected a whole number"),
        ("calibrate false_alarms=5%", "false_alarms is '5%'; expected a number, such as 0.05"),
        ("synthesize defective=two", "defective is 'two'; expected a whole number, such as 20"),
        ("synthesize train=1.5", "train is 1.5; expected a whole number"),
    ],
)
def test_a_wrong_word_is_named_and_the_right_one_proposed(line: str, message: str) -> None:
    name, *words = line.split()
    with pytest.raises(ConfigError, match=message):
        checked(name, words, COMMANDS[name].bare)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_is_five_lines_and_its_example_is_right(name: str, repository: Path) -> None:
    lines = help_of(name, f"btp {name}").split("\n")
    assert len(lines) == 5
    assert lines[0].startswith(f"btp {name}: ")
    (example,) = re.findall(rf"btp {name} (.*)", lines[2])
    assert read(name, *example.split())
    for setting in settings_of(name):
        key, _, default = setting.partition("=")
        assert re.search(rf"\b{re.escape(key.removesuffix('.*'))}\b", lines[3])
        if default not in ("", "..."):
            read(name, setting)
    assert (repository / "configs" / f"{name}.yaml").is_file()


def test_every_config_and_script_is_a_command(repository: Path) -> None:
    configs = {path.stem for path in (repository / "configs").glob("*.yaml")} - {"base"}
    assert configs == set(COMMANDS)
    assert {path.stem for path in (repository / "scripts").glob("*.py")} == set(COMMANDS)


def btp(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "btp", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_lists_commands_and_proposes_one() -> None:
    listed = btp("--help")
    assert listed.returncode == 0
    assert all(f"  {name} " in listed.stdout for name in COMMANDS)
    wrong = btp("predcit", "input=a")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "error: predcit is not a command; did you mean predict?\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("predict input=a workers=-1", "workers is -1; expected a whole number of 1 or more"),
        ("predict input=a workers=two", "workers is 'two'; expected a whole number of 1 or more"),
        ("calibrate normal=a false_alarms=5", "false_alarms is 5; expected a share between"),
        ("synthesize source=a out=b normal=-1", "normal is -1; expected a whole number of 0"),
        ("predict", "input has no value; set it on the command line: input=..."),
    ],
)
def test_impossible_values_end_with_one_line(line: str, message: str, tmp_path: Path) -> None:
    ended = btp(*line.split())
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"error: {message}")
    assert ended.stderr.count("\n") == 1
