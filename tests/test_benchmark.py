"""The benchmark measures every section at tiny sizes, and its plain twins agree with ours."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import ENCODER, recipe_file

from btp.benchmark import measure, prepare, released_metrics, released_model, start, table, train
from btp.benchmark import run as benchmark_run
from btp.benchmark.run import run
from btp.benchmark.settings import SECTIONS, Settings
from btp.benchmark.table import Goal, Growth, Row
from btp.benchmark.workload import defects, make
from btp.errors import ConfigError
from btp.geometry.neighbours import knn
from btp.geometry.patches import gather
from btp.geometry.sampling import farthest_point_sample
from btp.metrics import aupro, point_metrics, regions
from btp.models.fast import for_encoding, for_training
from btp.models.mgfem import MGFEM

SURFACE = dataclasses.replace(
    ENCODER,
    name="with surface",
    point=dataclasses.replace(ENCODER.point, point_features=6, constant_feature=None),
)
SETTINGS = Settings(
    encoders=(ENCODER, SURFACE),
    recipe=recipe_file("release"),
    repeats=2,
    slow_repeats=1,
    n_points=64,
    run_clouds=4,
    run_epochs=2,
    plain_steps=1,
    our_steps=2,
    score_clouds=2,
    raw_points=300,
    metric_clouds=3,
    metric_points=2000,
    sample_points=4000,
    sample_steps=16,
    large_points=5000,
    growth_points=(64, 128),
    growth_batches=(1, 3),
    growth_stores=(2, 3),
)


def measured(section: str, tmp_path: Path) -> tuple[list[Row], dict, str]:
    settings = dataclasses.replace(SETTINGS, only=(section,))
    rows = run(settings, tmp_path / "b", tell=lambda _: None)
    content = json.loads((tmp_path / "b.json").read_text())
    return rows, content, (tmp_path / "b.md").read_text()


@pytest.mark.parametrize(
    ("section", "names"),
    [
        (
            "train",
            [
                "tiny, one category, 2 epochs × 4 clouds",
                "tiny, a step of the heads alone",
                "tiny, one run of 4 steps from stored features",
                "with surface, one category, 2 epochs × 4 clouds",
                "with surface, a step of the heads alone",
                "learned prompts, text tower forward and backward, 2 layers",
                "tiny, a step of recipe=paper, text tower of 2 layers",
            ],
        ),
        (
            "score",
            [
                "tiny, a cloud from stored features",
                "tiny, a cloud from its sampled points, in a batch of 2",
                "tiny, a raw cloud of 300 points, end to end, in a batch of 2",
                "with surface, a cloud from stored features",
                "with surface, a cloud from its sampled points, in a batch of 2",
            ],
        ),
        (
            "metrics",
            ["AU-PRO, 3 clouds × 2,000 points", "point AUROC and AP, 3 clouds × 2,000 points"],
        ),
        (
            "prepare",
            [
                "a cloud of 4,000 points to 64",
                "a cloud of 4,000 points to 64, and the way back to every raw point",
                "a cloud of 5,000 points",
                "a cloud of 5,000 points, its surface channels",
            ],
        ),
        ("throughput", ["tiny, a cloud in batches of 2", "with surface, a cloud in batches of 2"]),
        ("latency", ["tiny, one cloud", "with surface, one cloud"]),
    ],
)
def test_a_section_holds_all_its_rows(section: str, names: list[str], tmp_path: Path) -> None:
    rows, content, text = measured(section, tmp_path)
    assert [row.what for row in rows] == names
    assert [row["what"] for row in content["rows"]] == names
    assert all(row.equal for row in rows)
    assert all(row.section == section and f"| {section}: {row.what}" in text for row in rows)
    for row in rows:
        if "one run of" in row.what:  # whole runs are for a GPU
            assert row.ours is None
            assert re.search(rf"{row.what}.*not measured", text)
            continue
        assert row.ours is not None
        assert row.ours > 0
        assert row.ours_mb is None or row.ours_mb >= 0
        if row.plain is not None:
            assert row.difference is not None
            assert row.ratio == pytest.approx(row.plain / row.ours)
    machine = content["machine"]
    assert {"processor", "cores", "threads", "torch", "gpu"} <= set(machine)
    assert machine["gpu"] is None
    assert machine["torch"] == torch.__version__


def test_a_whole_run_is_measured_where_asked_for() -> None:
    row = train.whole_run(dataclasses.replace(SETTINGS, full=True), work(), "tiny")
    assert row.ours is not None
    assert str(row.goal) == "GPU: ≤ 10 s"


def test_growth_has_a_line_for_every_size(tmp_path: Path) -> None:
    _, content, text = measured("growth", tmp_path)
    by_title = {table["title"]: table for table in content["growth"]}
    assert len(by_title) == 5
    points = by_title["tiny: points of a cloud, one cloud at a time"]
    assert [line[0] for line in points["lines"]] == [64, 128]
    batch = by_title["with surface: clouds in a batch"]
    assert [line[0] for line in batch["lines"]] == [1, 3]
    store = by_title["tiny: clouds in the store, read from the page cache"]
    assert [line[0] for line in store["lines"]] == [2, 3]
    for title in by_title:
        assert f"**{title}**" in text


def test_start_measures_fresh_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "CLIP", "ViT-S-32")
    (row,) = start.rows(dataclasses.replace(SETTINGS, clip_share=6))
    assert row.equal
    assert row.difference is not None
    assert row.plain_mb is not None
    assert row.ours_mb is not None
    # The text tower's table alone is 49,408 × 384 numbers.
    assert row.plain_mb - row.ours_mb > 49_408 * 384 * 4 / 1e6
    assert row.plain is not None
    assert row.plain > 0


def test_a_process_that_cannot_start_is_named() -> None:
    with pytest.raises(ConfigError, match=r"ended with 3 \(no room\).*raise clip_share"):
        start.run_child("import sys; print('no room', file=sys.stderr); sys.exit(3)")


# The plain twins


def work(encoder=ENCODER):
    return make(SETTINGS, encoder, 3)


@pytest.mark.parametrize("encoder", [ENCODER, SURFACE], ids=["constant", "surface"])
def test_the_plain_encoder_is_the_encoder(encoder) -> None:
    made = work(encoder)
    points, surface = made.data.features.points, made.surface
    with torch.inference_mode():
        plain = released_model.encode(made.model.points, points, surface)
        ours = for_encoding(made.model).encode(points, surface)
    assert torch.equal(plain.patch_index, ours.patch_index)
    for name in ("taps", "cls", "object_embedding"):
        torch.testing.assert_close(getattr(plain, name), getattr(ours, name), atol=1e-5, rtol=1e-5)


def test_the_heads_as_defined_are_the_fast_ones() -> None:
    made = work()
    features, _ = made.data.batch(slice(0, 3))
    for mode in (True, False):
        made.detector.train(mode)
        plain, ours = made.detector(features), for_training(made.detector)(features)
        for name in (
            "patch_logits", "point_logits", "point_scores", "object_logits", "object_scores",
        ):  # fmt: skip
            a, b = getattr(plain, name), getattr(ours, name)
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_the_plain_loop_samples_the_same_points() -> None:
    points = torch.randn(2, 90, 3, generator=torch.Generator().manual_seed(0))
    plain = released_model.farthest_point_sample(points, 20, 5)
    assert torch.equal(plain, farthest_point_sample(points, 20, 5))
    points *= 0.02
    skipping = released_model.farthest_point_sample(points, 9, 0, 1e-3)
    assert torch.equal(skipping, farthest_point_sample(points, 9, skip_origin=True))
    centres = gather(points, plain)
    assert torch.equal(released_model.nearest(centres, points, 4), knn(centres, points, 4))


def test_the_plain_aupro_is_the_released_one() -> None:
    with np.load(Path(__file__).parent / "golden" / "metrics.npz") as golden:
        clouds = [golden[name] for name in ("points", "labels", "scores")]
        recorded = float(golden["aupro_standard_200_thresholds"])
        pooled = float(golden["p_auroc"]), float(golden["p_ap"])
    labels = [each.astype(bool) for each in clouds[1]]
    assert released_metrics.aupro(clouds[0], labels, clouds[2]) == pytest.approx(recorded, abs=1e-9)
    plain = released_metrics.point_metrics(labels, list(clouds[2]))
    assert (plain["auroc"], plain["ap"]) == pytest.approx(pooled, abs=1e-9)


def test_plain_metrics_are_ours() -> None:
    points, labels, scores = defects(3, 1500, 4)
    assert released_metrics.aupro(points, labels, scores) == pytest.approx(
        aupro(points, labels, scores, thresholds=200), abs=1e-12
    )
    for cloud, marks in zip(points, labels, strict=True):
        ids = regions(cloud, marks)
        found = released_metrics.regions(cloud, marks)
        assert [sorted(rows) for rows in found] == [
            np.flatnonzero(ids == i).tolist() for i in range(1, ids.max() + 1)
        ]
    plain = released_metrics.point_metrics(labels, scores)
    assert point_metrics(labels, scores) == pytest.approx(plain, abs=1e-12)


# The gate


def test_each_section_is_told_and_written_as_it_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def stops(settings: Settings) -> Iterator[Row]:
        raise KeyboardInterrupt
        yield

    monkeypatch.setitem(benchmark_run.ROWS, "latency", stops)
    settings = dataclasses.replace(SETTINGS, only=("metrics", "latency"))
    with pytest.raises(KeyboardInterrupt):
        run(settings, tmp_path / "b", told.append)
    assert len(told) == 2
    assert "AU-PRO" in told[1]
    assert (tmp_path / "b.md").read_text() == "\n".join(told) + "\n"
    assert len(json.loads((tmp_path / "b.json").read_text())["rows"]) == 2


def test_different_results_give_no_ratio(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = released_metrics.aupro
    monkeypatch.setattr(released_metrics, "aupro", lambda *a: real(*a) + 1e-6)
    rows, content, text = measured("metrics", tmp_path)
    assert not rows[0].equal
    assert rows[0].ratio is None
    assert rows[0].memory_share is None
    assert rows[0].reached is False
    assert content["rows"][0]["ratio"] is None
    line = next(line for line in text.splitlines() if "AU-PRO" in line)
    assert "results differ" in line
    assert line.rstrip(" |").endswith("no")
    assert rows[1].equal


def test_a_worse_sampling_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        released_model, "farthest_point_sample", lambda points, k, start: torch.arange(k)[None]
    )
    first = next(prepare.rows(SETTINGS))
    assert not first.equal


def test_other_heads_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = MGFEM.forward
    monkeypatch.setattr(MGFEM, "forward", lambda *a: 1.01 * real(*a))
    assert train.difference(work(), encoded=True) > train.EXACT_TOLERANCE


# Figures


def test_time_and_memory_are_those_of_the_work() -> None:
    def slow() -> int:
        block = np.ones(8_000_000)  # 64 MB
        time.sleep(0.03)
        return len(block)

    fast = measure.measure(lambda: 0, 3)
    taken = measure.measure(slow, 3)
    assert (taken.value, taken.runs) == (8_000_000, 3)
    assert taken.seconds >= 0.03
    if Path("/proc/self/clear_refs").is_file():
        assert taken.megabytes == pytest.approx(64, abs=8)
        assert fast.megabytes == pytest.approx(0, abs=8)


def test_both_sides_take_turns() -> None:
    order: list[str] = []
    measure.measure_both(lambda: order.append("plain"), lambda: order.append("ours"), 3)
    assert order == ["plain", "ours"] * 3


def test_goals_are_judged_by_the_figures() -> None:
    row = Row("s", "w", plain=10.0, ours=2.0, plain_mb=300.0, ours_mb=100.0, rate=50.0)

    def reached(goal: Goal, **changed: object) -> bool | None:
        return dataclasses.replace(row, goal=goal, **changed).reached  # type: ignore[arg-type]

    assert row.ratio == 5
    assert reached(Goal(ratio=5, memory=1 / 3, seconds=2, megabytes=100, rate=50)) is True
    assert reached(Goal(ratio=5.1)) is False
    assert reached(Goal(memory=0.3)) is False
    assert reached(Goal(seconds=1.9)) is False
    assert reached(Goal(megabytes=99)) is False
    assert reached(Goal(rate=51)) is False
    assert reached(Goal(ratio=5, on_gpu=True)) is None
    assert reached(Goal(ratio=5, on_gpu=True), gpu=True) is True
    assert reached(Goal(memory=0.5), plain_mb=None) is None
    assert reached(Goal(ratio=5), ours=None) is None
    assert reached(Goal(ratio=5), difference=0.2, tolerance=0.1) is False
    assert reached(Goal(ratio=5), difference=float("nan"), tolerance=0.1) is False


def test_the_table_by_hand() -> None:
    rows = [
        Row(
            "s",
            "a",
            10.0,
            0.5,
            300.0,
            90.0,
            9.0,
            0.4,
            3,
            Goal(ratio=15, memory=1 / 3),
            note="scaled",
        ),
        Row("s", "b", goal=Goal(seconds=10, on_gpu=True)),
    ]
    growth = Growth("t", ("n", "ms"), ((1024, 0.5), (2048, None)))
    assert table.heading({"processor": "P", "cores": 2, "gpu": None}) == "processor P, cores 2"
    assert table.table_of(rows).splitlines() == [
        "| what | plain | ours | ratio | plain memory | our memory | goal | reached |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
        "| s: a [1] | 10 s | 500 ms | 20× | 300 MB | 90 MB | ≥ 15×, ≤ 1/3 memory | yes |",
        "| s: b | – | not measured | – | – | – | GPU: ≤ 10 s | not measured |",
        "",
        "[1] scaled; processor time 9 s and 400 ms, 22.5×; runs: 3",
    ]
    assert table.growth_of(growth).splitlines() == [
        "**t**",
        "",
        "| n | ms |",
        "|--:|--:|",
        "| 1,024 | 0.5 |",
        "| 2,048 | – |",
    ]


# The script


def test_the_script_takes_sections_by_commas(repository: Path, tmp_path: Path) -> None:
    ended = benchmark(
        repository,
        "only=metrics,prepare",
        f"out='{tmp_path}/report'",
        *("sizes.metric_clouds=2", "sizes.metric_points=500", "sizes.sample_points=2000"),
        *("sizes.n_points=64", "sizes.sample_steps=8", "sizes.large_points=3000"),
    )
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "report.md").read_text() == ended.stdout.rstrip("\n") + "\n"
    report = json.loads((tmp_path / "report.json").read_text())
    assert {row["section"] for row in report["rows"]} == {"metrics", "prepare"}
    expected = recipe_file("release", epochs=100).flat()
    assert report["settings"]["recipe"] == json.loads(json.dumps(expected))


def test_an_unknown_section_is_named(repository: Path) -> None:
    ended = benchmark(repository, "only=speed")
    assert ended.returncode == 2
    expected = f"only names speed; expected some of {', '.join(SECTIONS)}"
    assert expected in ended.stderr.splitlines()[-1]


def benchmark(repository: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(repository / "scripts" / "benchmark.py"), *settings]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=repository)
