"""Records on disk: what is written is read again, and what is not a record is named."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from scored import baseline, record

import btp
from btp.errors import DataError
from btp.experiments.record import read_record, write_record
from btp.recipe import Recipe


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = replace(
        record("egg", box=0.25, disc=0.75),
        folder=str(tmp_path),
        recipe=Recipe().changed(name="tiny", prompt_texts=("a", "b"), epochs=3),
        repeated={"box": 2},
        thresholds=200,
    )
    write_record(tmp_path / "result-set.json", made)
    assert read_record(tmp_path / "result-set.json") == made
    about = json.loads((tmp_path / "result-set.json").read_text())
    assert "folder" not in about  # a moved folder is no other run
    assert about["mean"]["aupro"] == made.mean["aupro"] == 0.5
    memory = replace(baseline("btf", box=math.nan), folder=str(tmp_path), recipe=None)
    write_record(tmp_path / "memory.json", memory)
    known = read_record(tmp_path / "memory.json")
    assert (known.baseline, known.train_cat, known.recipe_name) == ("btf", None, "any")
    assert math.isnan(known.mean["aupro"])


def test_no_time_is_kept(tmp_path: Path) -> None:
    fields = record("egg", box=0.5).as_dict()
    assert [name for name in fields if "second" in name or "time" in name] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"btp": "0.1.0"},
            f"by version 0.1.0, and this is {btp.__version__}; score again",
        ),
        ({"categories": None}, "not a whole result"),
        ({"recipe": {"epoch": 3}}, "not a whole result; .*did you mean epochs"),
        ({"seed": "one"}, "not a whole result; .*result.seed is 'one', a str; expected int"),
        ({"colour": 1}, "not a whole result; .*result.colour is not a setting"),
    ],
)
def test_what_is_not_a_record_of_this_version_is_named(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    path = tmp_path / "result-set.json"
    path.write_text(json.dumps(record("egg", box=0.5).as_dict() | change))
    with pytest.raises(DataError, match=message) as error:
        read_record(path)
    assert str(path) in str(error.value)


def test_half_a_file_and_a_missing_field_are_named(tmp_path: Path) -> None:
    path = tmp_path / "result-set.json"
    whole = record("egg", box=0.5).as_dict()
    path.write_text(json.dumps(whole)[:40])
    with pytest.raises(DataError, match="not a result"):
        read_record(path)
    del whole["scans"]
    path.write_text(json.dumps(whole))
    with pytest.raises(DataError, match=r"not a whole result.*scans"):
        read_record(path)
