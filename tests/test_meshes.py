"""Real meshes as a source of the corpus."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from btp.errors import ConfigError, DataError
from btp.pretraining.corpus.collections import COLLECTIONS, Collection, Package, lay_out
from btp.pretraining.corpus.meshes import Meshes, MeshFile, mesh_files, nouns_of
from btp.pretraining.corpus.plain import plain_body
from btp.pretraining.corpus.surfaces import POINTS, kept_outside, outside
from btp.pretraining.makers.kinds import SEEN

CORNERS = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
SIDES = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
FACES = np.array([face for a, b, c, d in SIDES for face in ((a, b, c), (a, c, d))])


def write_box(path: Path, vertices: np.ndarray = CORNERS, faces: np.ndarray = FACES) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"v {x} {y} {z}" for x, y, z in vertices]
    lines += ["f " + " ".join(str(i + 1) for i in face) for face in faces]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_only_the_outside_of_a_mesh_is_kept_and_normals_look_out() -> None:
    inner = 0.5 + 0.5 * (CORNERS - 0.5)  # a box inside the box
    turned = FACES.copy()
    turned[::2] = turned[::2, ::-1]  # half of the faces the wrong way round
    points, normals = outside(np.concatenate([CORNERS, inner]), np.concatenate([turned, FACES + 8]))
    assert 0.5 * POINTS < len(points) <= POINTS
    assert np.linalg.norm(points, axis=1).max() == pytest.approx(1)
    # the outer box has a half length of 1 / sqrt(3) here, the inner one of half of that; a depth
    # buffer's cells let one point in a thousand through at the rims
    outer = np.abs(points).max(1)
    assert (np.abs(outer - 3**-0.5) < 0.02).mean() > 0.998
    assert ((points * normals).sum(1) > 0).mean() > 0.99


def test_a_surface_is_made_once_and_kept(tmp_path: Path) -> None:
    path = write_box(tmp_path / "box.obj")
    first = kept_outside(path, tmp_path / "cache")
    (kept,) = (tmp_path / "cache").iterdir()
    stamp = kept.stat().st_mtime_ns
    again = kept_outside(path, tmp_path / "cache")
    assert kept.stat().st_mtime_ns == stamp
    np.testing.assert_array_equal(first[0], again[0])


def test_a_mesh_that_is_a_line_is_refused() -> None:
    with pytest.raises(DataError, match="more than a line"):
        outside(np.array([(0, 0, 0), (1, 0, 0), (2, 0, 0.0)]), np.array([(0, 1, 2)]))


@pytest.mark.parametrize(
    ("title", "nouns"),
    [
        ("Armchair", ("armchair",)),
        ("Sofa 3 seats (red)", ("sofa seats", "seats")),
        ("hex-nut_M16", ("hex nut", "nut")),
        ("0042", ("object",)),
    ],
)
def test_names_become_nouns(title: str, nouns: tuple[str, ...]) -> None:
    assert nouns_of(title) == nouns


def test_names_come_from_the_csv_or_from_the_file(tmp_path: Path) -> None:
    write_box(tmp_path / "a" / "0001.obj")
    write_box(tmp_path / "a" / "big_chair.obj")
    write_box(tmp_path / "b" / "0002.OBJ")
    (tmp_path / "a" / "names.csv").write_text("file,name\n0001.obj,Table lamp\n")
    (tmp_path / "all.csv").write_text("file,name\nb/0002.OBJ,Cup\n")
    found = mesh_files([tmp_path / "a", tmp_path / "b"], tmp_path / "all.csv")
    assert [(f.nouns[0], f.origin) for f in found] == [
        ("table lamp", "a"),
        ("big chair", "a"),
        ("cup", "b"),
    ]


def test_wrong_folders_and_lists_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere: no such folder"):
        mesh_files([tmp_path / "nowhere"])
    with pytest.raises(ConfigError, match="no mesh found; expected files"):
        mesh_files([tmp_path])
    write_box(tmp_path / "x.obj")
    (tmp_path / "list.csv").write_text("path;title\n")
    (tmp_path / "list.csv").write_text("path,title\nx.obj,Box\n")
    with pytest.raises(DataError, match=r"list\.csv: .*columns file and name"):
        mesh_files([tmp_path], tmp_path / "list.csv")


def test_scans_of_meshes_are_like_the_corpus(tmp_path: Path) -> None:
    path = write_box(tmp_path / "box.obj")
    source = Meshes((MeshFile(path, ("box",), "mine"),), tmp_path / "cache", SEEN)
    items = [source(0, index) for index in range(30)]
    again = source(0, 7)
    np.testing.assert_array_equal(again.points, items[7].points)
    assert {item.origin for item in items} <= {"mine", "plain"}
    bad = [item for item in items if item.defect]
    assert 0.2 < len(bad) / len(items) < 0.8
    assert len({item.defect for item in bad}) > 4
    for item in items:
        assert item.points.dtype == np.float32
        assert bool(item.defect) == bool(item.labels.any())
        assert 0.3 < np.linalg.norm(item.points, axis=1).max() < 3


def test_other_meshes_or_kinds_are_another_corpus(tmp_path: Path) -> None:
    file = MeshFile(tmp_path / "box.obj", ("box",), "mine")
    source = Meshes((file,), tmp_path, SEEN)
    assert source.key == Meshes((file,), tmp_path / "elsewhere", SEEN).key
    assert source.key != Meshes((file, file), tmp_path, SEEN).key
    assert source.key != Meshes((file,), tmp_path, SEEN[1:]).key


def test_meshes_that_cannot_be_read_are_passed_over_or_reported(tmp_path: Path) -> None:
    bad = tmp_path / "bad.obj"
    bad.write_text("v 0 0 0\n")
    source = Meshes((MeshFile(bad, ("box",), "mine"),), tmp_path / "cache", SEEN)
    with pytest.raises(DataError, match=r"meshes in a row cannot be used; the last, .*bad\.obj"):
        for index in range(10):
            source(0, index)


def test_plain_bodies_are_thin() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        points, nouns = plain_body(rng)
        assert nouns
        assert np.linalg.norm(points, axis=1).max() == pytest.approx(1)
        extent = np.linalg.svd(points - points.mean(0), compute_uv=False)
        assert extent[2] < 0.4 * extent[0]


def test_a_collection_is_laid_out_with_its_names(tmp_path: Path) -> None:
    package = tmp_path / "package"
    for name in ("chair1", "lamp2", "skipped"):
        write_box(package / "Maker" / name / f"{name}.obj")
    (package / "Maker" / "PluginFurnitureCatalog.properties").write_text(
        "name#1=Chair\nmodel#1=/chair1/chair1.obj\nname#2=Lamp\nmodel#2=/lamp2/lamp2.obj\n"
    )
    found = Package("furniture", "1", "debian")
    collection = Collection("mine", found, r"Maker/(?!skipped).*\.obj", "CC0", "Somebody")
    lay_out(collection, package, tmp_path / "out")
    files = mesh_files([tmp_path / "out"])
    assert [f.nouns for f in files] == [("chair",), ("lamp",)]
    other = Collection("none", found, r"Nowhere/.*", "CC0", "Somebody")
    with pytest.raises(DataError, match="no mesh of the collection none; expected version 1"):
        lay_out(other, package, tmp_path / "none")


def test_validation_has_sources_of_its_own_and_no_licence_forbids_derived_works() -> None:
    roles = {collection.training for collection in COLLECTIONS}
    assert roles == {True, False}
    assert len({collection.name for collection in COLLECTIONS}) == len(COLLECTIONS)
    for collection in COLLECTIONS:
        assert not re.search(r"\b(SA|ND|NC)\b", collection.licence)
        assert collection.credit
