"""Table 5's speed, read from what the benchmark really writes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import ENCODER, recipe_file

from btp.benchmark.run import run
from btp.benchmark.settings import Settings
from btp.report.speed import BENCHMARK, read_speed


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the record of a small benchmark."""
    root = tmp_path_factory.mktemp("outputs")
    settings = Settings(
        encoders=(replace(ENCODER, name="ulip2"), ENCODER),
        recipe=recipe_file("release"),
        only=("growth",),
        repeats=1,
        slow_repeats=1,
        n_points=64,
        score_clouds=1,
        growth_points=(64, 128),
        growth_batches=(1,),
        growth_stores=(1,),
    )
    run(settings, root / "benchmark", tell=len)
    return root


def test_speed_is_that_of_the_encoder_and_names_the_machine(outputs: Path) -> None:
    speed = read_speed(outputs, "tiny")
    found = json.loads((outputs / BENCHMARK).read_text())
    table = next(t for t in found["growth"] if t["title"].startswith("tiny: points"))
    assert speed.by_points == {line[0]: line[2] for line in table["lines"]}
    assert list(speed.by_points) == [64, 128]
    assert all(rate > 0 for rate in speed.by_points.values())
    assert found["machine"]["processor"] in speed.note
    assert read_speed(outputs, "ulip2").by_points != speed.by_points


def test_without_a_benchmark_the_command_is_told(outputs: Path, tmp_path: Path) -> None:
    for speed in (read_speed(tmp_path, "tiny"), read_speed(outputs, "other")):
        assert speed.by_points == {}
        assert "python scripts/benchmark.py only=growth" in speed.note
    (tmp_path / BENCHMARK).write_text('{"machine": 1')
    assert f"{tmp_path / BENCHMARK} is not a benchmark's record" in read_speed(tmp_path, "a").note
