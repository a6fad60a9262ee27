"""Tables and pictures."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from btp.evaluation import METRICS
from btp.report.pictures import Panel, camera, draw, facing
from btp.report.tables import category_rows, markdown, to_csv


def result(train_cat: str, **categories: float) -> dict[str, object]:
    return {
        "train_cat": train_cat,
        "seed": 1,
        "categories": {c: dict.fromkeys(METRICS, v) for c, v in categories.items()},
    }


RESULTS = [result("egg", box=0.5, disc=0.9), result("box", egg=0.7, disc=0.7)]


def test_a_category_s_mean_is_over_runs_that_did_not_see_it() -> None:
    rows = {name: values["aupro"] for name, values, _ in category_rows(RESULTS)}
    assert rows == {"box": 0.5, "disc": 0.8, "egg": 0.7, "mean": np.mean([0.5, 0.8, 0.7])}


def test_seeds_weigh_alike_however_many_train_categories_they_have() -> None:
    more = [*RESULTS, result("cup", disc=0.8), {**result("egg", disc=0.2), "seed": 2}]
    rows = {name: values["aupro"] for name, values, _ in category_rows(more)}
    assert rows["disc"] == np.mean([np.mean([0.9, 0.7, 0.8]), 0.2])


def test_markdown_is_in_percent_and_names_what_the_mean_leaves_out() -> None:
    text = markdown(category_rows([*RESULTS, result("egg", cup=float("nan"))]), "unseen, %")
    lines = text.splitlines()
    assert lines[0].startswith("| unseen, % | O-AUROC | O-AP |")
    assert lines[2] == "| box |" + " 50.0 |" * 10
    assert lines[3] == "| cup |" + " – |" * 10
    assert lines[6] == "| **mean** |" + " 66.7 |" * 10
    assert "cup: one label only" in text
    assert "mean: O-AUROC without cup" in text


def test_the_recipe_s_p_pro_is_marked() -> None:
    rows = category_rows(RESULTS)
    assert "| AU-PRO (P-PRO) | coverage AUC |" in markdown(rows, "", "standard")
    assert "| AU-PRO | coverage AUC (P-PRO) |" in markdown(rows, "", "coverage")


def test_csv_has_the_same_numbers() -> None:
    rows = list(
        csv.DictReader(
            io.StringIO(to_csv([("a", category_rows(RESULTS)), ("b", category_rows(RESULTS))]))
        )
    )
    assert [row["category"] for row in rows] == 2 * ["box", "disc", "egg", "mean"]
    assert [row["table"] for row in rows] == 4 * ["a"] + 4 * ["b"]
    assert rows[1]["raw_aupro"] == "0.800000"


def test_the_camera_is_a_rotation_and_sees_what_is_marked() -> None:
    view = camera(1.0, 0.3)
    np.testing.assert_allclose(view @ view.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(view) > 0
    rng = np.random.default_rng(0)
    points = rng.normal(size=(500, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    for spot in points[np.abs(points[:, 2]) < 0.9][:5]:
        marked = (np.linalg.norm(points - spot, axis=1) < 0.5).astype(float)
        chosen = facing([Panel("", points), Panel("", points, marked)])
        assert chosen[2] @ points[marked > 0].mean(0) > 0


def test_a_picture_shows_the_scores_in_colour(tmp_path: Path) -> None:
    from matplotlib.image import imread

    rng = np.random.default_rng(0)
    points = rng.normal(size=(3000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    values = (points[:, 2] > 0.5).astype(float)
    path = tmp_path / "folder" / "picture.png"
    draw([[Panel("shape", points), Panel("truth", points, values)]], path, "a ball")
    image = imread(path)[..., :3]
    spread = image.max(-1) - image.min(-1)  # grey has none
    half = image.shape[1] // 2 - 40
    assert (spread[:, :half] > 0.3).mean() < 0.005
    assert (spread[:, half:] > 0.3).mean() > 0.01
