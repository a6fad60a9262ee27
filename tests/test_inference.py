"""One's own scans in any form: every point gets a score, in its place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from trained import train_tiny

import btp
from btp.data import reading
from btp.data.formats import read_labelled_points, write_ply
from btp.data.reading import SURFACE_POINTS, read_scan
from btp.errors import ConfigError, DataError, WeightsError
from btp.inspect.predictor import Inspector, calibration_path, load

CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 2) for z in (0, 30)], float)
QUADS = ["1 2 4 3", "5 7 8 6", "1 5 6 2", "3 4 8 7", "1 3 7 5", "2 6 8 4"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inference")


@pytest.fixture(scope="module")
def detector(root: Path) -> Path:
    return train_tiny(root)


@pytest.fixture(scope="module")
def inspector(detector: Path) -> Inspector:
    return btp.load(detector, bfloat16=False)  # exactly, on any processor


@pytest.fixture(scope="module")
def dented(root: Path, inspector: Inspector) -> NDArray[np.float64]:
    return read_labelled_points(root / "data" / "box" / "GT" / "box_sink1.txt")[0]


def dense_box(dented: NDArray[np.float64]) -> NDArray[np.float64]:
    """The dented ellipsoid with ten points where it had one."""
    noise = np.random.default_rng(0).normal(size=(10, *dented.shape))
    return np.asarray((dented + 0.02 * noise).reshape(-1, 3))


def write_box(path: Path, faces: bool = True) -> Path:
    lines = [f"v {x} {y} {z}" for x, y, z in CORNERS]
    path.write_text("\n".join(lines + [f"f {quad}" for quad in QUADS if faces]))
    return path


def test_scores_are_in_the_order_of_the_points(
    root: Path, inspector: Inspector, dented: NDArray[np.float64]
) -> None:
    labels = read_labelled_points(root / "data" / "box" / "GT" / "box_sink1.txt")[1]
    prediction = inspector.predict(dented)
    assert prediction.point_scores.shape == (400,)
    rank = prediction.point_scores.argsort().argsort()
    assert rank[labels].mean() > 300 > 220 > rank[~labels].mean()
    good = inspector.predict(root / "data" / "box" / "test" / "box_positive0.pcd")
    assert good.object_score < prediction.object_score


def test_a_list_is_scored_like_its_parts(root: Path, inspector: Inspector) -> None:
    files = sorted((root / "data" / "box" / "test").iterdir())
    assert len(files) == 10  # more than a batch
    for file, together in zip(files, inspector.predict([*files]), strict=True):
        alone = inspector.predict(file)
        assert together.name == str(file)
        assert together.object_score == pytest.approx(alone.object_score, abs=1e-5)
        np.testing.assert_allclose(together.point_scores, alone.point_scores, atol=1e-5)


@pytest.mark.parametrize("progress", [False, True])
def test_progress_is_shown_when_asked(
    root: Path, inspector: Inspector, progress: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    scans = sorted((root / "data" / "egg" / "test").iterdir())[:3]
    inspector.predict(scans, progress=progress)
    inspector.predict(scans, together=True, progress=progress)
    found = [line.partition(" in ")[0] for line in capsys.readouterr().err.splitlines()]
    assert found == (["scoring: 3 scans", "describing: 3 scans"] if progress else [])


def test_devices(root: Path) -> None:
    path = root / "run" / "detector.safetensors"
    best = "cuda" if torch.cuda.is_available() else "cpu"
    assert load(path).model.device.type == load(path, "auto").model.device.type == best
    assert load(path, torch.device("cpu")).model.device.type == "cpu"
    with pytest.raises(ConfigError, match=r"device is 'tpu9'.*use device=cpu or device=auto"):
        load(path, "tpu9")


def test_dense_is_the_mean_of_its_samplings(
    inspector: Inspector, dented: NDArray[np.float64]
) -> None:
    scan = dense_box(dented)
    ready = inspector.ready(scan, "dense")
    assert ready.points.shape == (4, 128, 3) and ready.channels is not None
    alone = [
        inspector.score(
            [
                replace(
                    ready,
                    points=ready.points[[i]],
                    channels=ready.channels[[i]],
                    surface_rows=ready.surface_rows[[i]],
                    valid_rows=ready.valid_rows[[i]],
                )
            ]
        )[0]
        for i in range(4)
    ]
    prediction = inspector.predict(scan, coverage="dense")
    mean = np.mean([one.point_scores for one in alone], axis=0)
    np.testing.assert_allclose(prediction.point_scores, mean, atol=1e-6)
    assert prediction.object_score == pytest.approx(np.mean([one.object_score for one in alone]))
    first = inspector.predict(scan, coverage="sampled")
    np.testing.assert_allclose(alone[0].point_scores, first.point_scores, atol=0.05)
    assert prediction.spacing < 0.7 * first.spacing
    # told in the scan's units
    assert inspector.predict(8 * scan, coverage="dense").spacing == pytest.approx(
        8 * prediction.spacing, rel=1e-4
    )


def test_dense_scans_of_several_sizes_in_one_list(
    inspector: Inspector, dented: NDArray[np.float64]
) -> None:
    scans = [dense_box(dented), dented[:100], dented, dense_box(dented)[:1000]]  # 4, 1, 4, 4
    for scan, together in zip(scans, inspector.predict([*scans], coverage="dense"), strict=True):
        alone = inspector.predict(scan, coverage="dense")
        assert together.object_score == pytest.approx(alone.object_score, abs=1e-5)
        np.testing.assert_allclose(together.point_scores, alone.point_scores, atol=1e-5)


@pytest.mark.parametrize("unit", [2.0**-60, 2.0**60])
def test_units_do_not_matter(
    inspector: Inspector, dented: NDArray[np.float64], unit: float
) -> None:
    plain, scaled = inspector.predict(dented), inspector.predict(dented * unit)
    assert scaled.object_score == plain.object_score
    np.testing.assert_array_equal(scaled.point_scores, plain.point_scores)


def test_points_that_the_sensor_did_not_see_keep_their_place(
    inspector: Inspector, dented: NDArray[np.float64]
) -> None:
    holes = np.arange(0, 500, 5)
    organised = np.insert(dented, holes - np.arange(len(holes)), np.nan, axis=0)
    organised[holes[::2], 0] = np.inf
    scores = inspector.predict(organised).point_scores
    assert np.flatnonzero(np.isnan(scores)).tolist() == holes.tolist()
    np.testing.assert_array_equal(scores[~np.isnan(scores)], inspector.predict(dented).point_scores)


def test_holes_at_the_origin_are_no_points(
    inspector: Inspector, dented: NDArray[np.float64]
) -> None:
    seen = dented + 50
    holed = np.insert(seen, np.arange(0, 400, 4), 0.0, axis=0)
    with pytest.warns(UserWarning, match=r"100 of 500 points are exactly \(0, 0, 0\) and were"):
        scores = inspector.predict(holed).point_scores
    assert np.flatnonzero(np.isnan(scores)).tolist() == np.flatnonzero((holed == 0).all(1)).tolist()
    np.testing.assert_array_equal(scores[~np.isnan(scores)], inspector.predict(seen).point_scores)


@pytest.mark.parametrize(
    ("points", "why"),
    [
        (np.insert(np.eye(3), 1, np.zeros((9, 3)), axis=0), "nine may be points"),
        (np.repeat(np.mgrid[:3, :3, :3].reshape(3, -1).T, 10, 0), "no other place is rarer"),
        (np.zeros((50, 3)), "there is nothing else"),
    ],
    ids=["few", "duplicates", "all"],
)
def test_points_at_the_origin_are_kept(points: NDArray, why: str) -> None:
    scan = read_scan(points)
    assert (scan.holes, len(scan.judged)) == (0, len(points)), why


def test_a_coarse_mesh_is_judged_by_its_surface(tmp_path: Path, inspector: Inspector) -> None:
    path = write_box(tmp_path / "box.obj")
    scan = read_scan(path)
    np.testing.assert_array_equal(scan.points, CORNERS)
    assert scan.sampled
    assert len(scan.judged) == SURFACE_POINTS
    on = np.isclose(scan.judged[:, :, None], np.array([[0, 0, 0], [1, 2, 30]]).T[None]).any((1, 2))
    assert on.all()
    ends = np.isclose(scan.judged[:, 2], 0) | np.isclose(scan.judged[:, 2], 30)
    assert ends.mean() == pytest.approx(4 / 184, abs=0.005)  # uniform by area
    scores = inspector.predict(path).point_scores
    assert scores.shape == (8,)
    assert np.isfinite(scores).all()


def test_vertices_take_the_score_of_the_surface_beside_them(
    tmp_path: Path, inspector: Inspector
) -> None:
    ready = inspector.ready(write_box(tmp_path / "box.obj"), "sampled")
    scored = inspector.score([ready])[0]
    for corner, score in zip(CORNERS, scored.point_scores, strict=True):
        # of 20,000 points, the nearest has the nearest sampled point in all but ties
        near = np.argsort(((scored.scan.judged - corner) ** 2).sum(1))[:5]
        assert score in scored.surface_scores[near]


def test_a_dense_mesh_is_judged_by_its_vertices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "COARSE_FACES", 12)
    scan = read_scan(write_box(tmp_path / "box.obj"))
    assert not scan.sampled
    np.testing.assert_array_equal(scan.judged, CORNERS)


def test_faces_without_area_do_not_make_a_mesh(tmp_path: Path) -> None:
    path = tmp_path / "flat.obj"
    path.write_text("v 0 0 0\nv 1 1 1\nv 2 2 2\nf 1 2 3\nf 1 1 1\n")
    assert not read_scan(path).sampled


def test_a_mesh_without_faces_is_a_cloud(tmp_path: Path, inspector: Inspector) -> None:
    with pytest.raises(DataError, match=r"box\.obj: 8 points; at least 32 are needed"):
        inspector.predict(write_box(tmp_path / "box.obj", faces=False))


def test_two_points(tmp_path: Path, inspector: Inspector) -> None:
    write_ply(tmp_path / "two.ply", np.eye(3)[:2])
    with pytest.raises(DataError, match=r"two\.ply: 2 points; at least 32 are needed"):
        inspector.predict(tmp_path / "two.ply")


def grid(n: int) -> NDArray[np.float64]:
    x, y = np.meshgrid(np.arange(n), np.arange(n))
    return np.stack([x.ravel(), y.ravel(), np.zeros(n * n)], 1).astype(float)


@pytest.mark.parametrize(
    "points",
    [grid(20), np.repeat(grid(8), 20, 0), grid(300)[:300], grid(6).astype(int)],
    ids=["flat plane", "duplicates", "a line", "whole numbers"],
)
def test_odd_shapes_get_finite_scores(inspector: Inspector, points: NDArray) -> None:
    prediction = inspector.predict(points)
    assert prediction.repeated == (len(points) < 128)
    assert prediction.point_scores.shape == (len(points),)
    assert ((prediction.point_scores >= 0) & (prediction.point_scores <= 1)).all()


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.ones((100, 3)), "within 0 of their centre"),
        ((grid(20) * 0.1 + 1e6).astype(np.float32), "near the rounding of its coordinates"),
        (np.zeros((100, 2)), r"shape \[100, 2\]; expected numbers \[R, 3\]"),
        (np.full((100, 3), np.nan), "0 points"),
    ],
)
def test_what_cannot_be_scored_is_said(inspector: Inspector, points: NDArray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        inspector.predict(points)


def test_a_model_that_gives_no_number(
    inspector: Inspector, dented: NDArray[np.float64], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = inspector.ready(dented)
    assert ready.channels is not None
    ready.channels[-1, 0, 0] = float("nan")
    with pytest.raises(DataError, match="no finite score"):
        inspector.score([ready])


def test_a_detector_is_known_by_its_content(
    tmp_path: Path, detector: Path, inspector: Inspector
) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(detector.read_bytes())
    assert load(copy).digest == inspector.digest != ""
    assert calibration_path(copy) == tmp_path / "copy.calibration.json"
    assert calibration_path(copy, "mine.json") == Path("mine.json")
    assert calibration_path("mini") == Path("outputs/mini.calibration.json")
    with pytest.raises(WeightsError, match="neither a detector's file nor a name"):
        load(tmp_path / "other.safetensors")


def test_16_bit_stays_near_the_scores_of_32(
    detector: Path, inspector: Inspector, dented: NDArray[np.float64]
) -> None:
    full, half = (load(detector, bfloat16=b).predict(dented) for b in (False, True))
    assert 0 < abs(full.point_scores - half.point_scores).max() < 0.02
    assert half.object_score == pytest.approx(full.object_score, abs=0.02)
    assert np.array_equal(inspector.predict(dented).point_scores, full.point_scores)


def test_what_is_rounded_by_default_hardly_moves_scores(
    detector: Path,
    inspector: Inspector,
    dented: NDArray[np.float64],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("btp.inspect.scan_model.gains_by_rounding", lambda device: True)
    full, rounded = inspector.predict(dented), load(detector).predict(dented)
    assert 0 < abs(full.point_scores - rounded.point_scores).max() < 2e-3
    assert rounded.object_score == pytest.approx(full.object_score, abs=2e-3)


@pytest.mark.parametrize("value", [1e9, float(np.finfo(np.float32).max)])
def test_a_mark_far_off_does_not_set_the_scale(
    inspector: Inspector, dented: NDArray[np.float64], value: float
) -> None:
    marked = np.insert(dented, 7, value, axis=0)
    with pytest.warns(UserWarning, match="1 of 401 points are absurdly far"):
        prediction = inspector.predict(marked)
    alone = inspector.predict(dented)
    assert prediction.object_score == alone.object_score
    assert np.flatnonzero(np.isnan(prediction.point_scores)).tolist() == [7]
    np.testing.assert_array_equal(np.delete(prediction.point_scores, 7), alone.point_scores)


def test_every_form_of_a_scan_has_the_same_score(
    inspector: Inspector, dented: NDArray[np.float64], tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", dented)
    expected = inspector.predict(dented)
    for scan in (torch.from_numpy(dented), dented.tolist(), tmp_path / "a.npy"):
        assert inspector.predict(scan).object_score == expected.object_score
    several = inspector.predict(scan for scan in (dented, str(tmp_path / "a.npy")))
    assert [one.object_score for one in several] == [expected.object_score] * 2
    for wrong in (b"a.npy", 3, None):
        with pytest.raises(DataError, match="a scan is a path"):
            inspector.predict(wrong)
