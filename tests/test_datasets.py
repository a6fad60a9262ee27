"""Readers: small clouds in exactly the published layouts, quirks included, and broken downloads."""

from __future__ import annotations

import csv
import os
import shutil
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from btp.data.anomaly_shapenet import NEW_CATEGORIES, AnomalyShapeNet
from btp.data.benchmark import Benchmark
from btp.data.catalog import open_dataset
from btp.data.folder import Folder
from btp.data.formats import write_labelled_txt, write_pcd, write_ply
from btp.data.real3d import Real3D
from btp.errors import ConfigError, DataError

pytestmark = pytest.mark.filterwarnings("ignore:.*going on with what is there")

RNG = np.random.default_rng(0)
OFFSET = np.array([91.4, -12.3, 214.9])  # Real3D-AD's clouds are not centred


def cloud(rows: int = 6) -> NDArray:
    return (RNG.random((rows, 3)) + OFFSET).astype(np.float32)


def inventory(name: str) -> list[dict[str, str]]:
    file = resources.files("btp.data") / "inventories" / f"{name}.csv"
    return list(csv.DictReader(file.read_text("utf-8").splitlines()))


def write_published(root: Path, name: str, labels: str, categories: set[str] | None = None) -> Path:
    """Write the published set, whole or of some categories, with a few points in every file."""
    points = cloud(3)
    write_pcd(root / "scan.pcd", points)
    write_labelled_txt(root / "gt.txt", points, np.array([True, False, False]))
    scan, text = (root / "scan.pcd").read_bytes(), (root / "gt.txt").read_bytes()
    for row in inventory(name):
        if categories is None or row["category"] in categories:
            folder = root / row["category"]
            for part in (row["split"], labels):
                (folder / part).mkdir(parents=True, exist_ok=True)
            (folder / row["split"] / row["file"]).write_bytes(scan)
            if row["gt_file"]:
                (folder / labels / row["gt_file"]).write_bytes(text)
    (root / "scan.pcd").unlink()
    (root / "gt.txt").unlink()
    return root


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both benchmarks whole: every published name, three points a file. Not to be changed."""
    return {
        "real3d": write_published(tmp_path_factory.mktemp("real3d"), "real3d", "gt"),
        "anomaly_shapenet": write_published(
            tmp_path_factory.mktemp("shapenet") / "dataset" / "pcd", "anomaly_shapenet", "GT"
        ),
    }


@pytest.fixture
def duck(tmp_path: Path) -> Path:
    return write_published(tmp_path, "real3d", "gt", {"duck"}) / "duck"


@pytest.mark.parametrize(
    ("reader", "categories", "normal", "defective"),
    [(Real3D, 12, 604, 602), (AnomalyShapeNet, 40, 600, 712)],
)
def test_the_whole_published_set(
    published: dict[str, Path],
    reader: type[Benchmark],
    categories: int,
    normal: int,
    defective: int,
) -> None:
    dataset = reader(published[reader.name])  # type: ignore[call-arg]
    assert len(dataset.categories) == categories
    assert list(dataset.categories) == sorted(dataset.categories)
    assert dataset.missing() == dataset.unexpected() == dataset.empty() == []
    listed = {}
    for category in dataset.categories:
        for split in ("train", "test"):
            samples = dataset.samples(category, split)
            assert [s.name for s in samples] == sorted(s.name for s in samples)
            listed.update({(category, split, s.path.name): s for s in samples})
    rows = {(r["category"], r["split"], r["file"]): r for r in inventory(reader.name)}
    assert listed.keys() == rows.keys()
    for key, sample in listed.items():
        assert sample.is_anomalous == (rows[key]["is_anomalous"] == "1")
        gt_file = sample.label_path.name if sample.label_path else ""
        assert gt_file == rows[key]["gt_file"]
    test = [sample.is_anomalous for key, sample in listed.items() if key[1] == "test"]
    assert (test.count(False), test.count(True)) == (normal, defective)


def test_geometry_and_labels_of_a_defective_scan_are_those_of_its_label_file(
    tmp_path: Path,
) -> None:
    scan, labelled = cloud(5), cloud(7)  # another order and number than the PCD
    labels = np.array([0, 1, 1, 0, 0, 0, 1], bool)
    names = {Real3D: ("chicken", "705_bulge", "gt", " ")}
    names[AnomalyShapeNet] = ("helmet1", "helmet1_bulge0", "GT", ",")
    for reader, (category, name, folder, delimiter) in names.items():
        root = tmp_path / reader.__name__
        write_pcd(root / category / "test" / f"{name}.pcd", scan)
        write_labelled_txt(root / category / folder / f"{name}.txt", labelled, labels, delimiter)
        dataset = reader(root, allow_missing=True)
        [sample] = dataset.samples(category, "test")
        read = dataset.read(sample)
        assert (read.category, read.name, sample.is_anomalous) == (category, name, True)
        np.testing.assert_array_equal(read.points.astype(np.float32), labelled)
        np.testing.assert_array_equal(read.labels, labels)


def test_a_normal_scan_is_its_pcd_as_it_is_stored(duck: Path) -> None:
    points = cloud(8)
    write_pcd(duck / "test" / "good.pcd", points)  # replaced below by a published name
    scan = sorted((duck / "test").glob("*_good_cut.pcd"))[0]
    (duck / "test" / "good.pcd").replace(scan)
    dataset = Real3D(duck.parent, allow_missing=True)
    sample = next(s for s in dataset.samples("duck", "test") if s.path == scan)
    read = dataset.read(sample)
    assert read.points.dtype == np.float32
    np.testing.assert_array_equal(read.points, points)
    assert read.labels is not None and read.labels.tolist() == [False] * 8
    assert not any(s.is_anomalous or s.label_path for s in dataset.samples("duck", "train"))


def test_missing_empty_and_unexpected_files_are_named(duck: Path) -> None:
    defective = sorted((duck / "gt").iterdir())
    scans = sorted((duck / "test").iterdir())
    defective[0].unlink()
    scans[0].unlink()
    defective[1].write_bytes(b"")
    (duck / "test" / "999_good.pcd").write_bytes(scans[1].read_bytes())
    (duck / "test" / ".DS_Store").write_bytes(b"")
    (duck.parent / "spoon" / "test").mkdir(parents=True)
    dataset = Real3D(duck.parent, allow_missing=True)
    absent = sorted({row["category"] for row in inventory("real3d")} - {"duck"})
    assert dataset.missing() == [
        *(f"{name}/ (the whole category)" for name in absent),
        *sorted([f"duck/gt/{defective[0].name}", f"duck/test/{scans[0].name}"]),
    ]
    empty = f"duck/gt/{defective[1].name}"
    assert dataset.empty() == [empty]
    assert dataset.unexpected() == ["spoon/ (the whole category)", "duck/test/999_good.pcd"]
    names = [sample.name for sample in dataset.samples("duck", "test")]
    assert defective[0].stem not in names and "999_good" in names
    with pytest.raises(DataError) as caught:
        Real3D(duck.parent)
    message = str(caught.value)
    assert "13 missing: airplane/ (the whole category)" in message
    assert "toffees/ (the whole category), duck/gt/" in message
    assert f"1 empty (0 bytes; 7z does this to RAR archives, use unar): {empty}" in message
    assert "2 unexpected: spoon/ (the whole category), duck/test/999_good.pcd" in message
    assert "allow_missing=true" in message


def test_an_empty_file_is_listed_and_stops_the_reading(duck: Path) -> None:
    scan = sorted((duck / "train").iterdir())[0]
    scan.write_bytes(b"")
    dataset = Real3D(duck.parent, allow_missing=True)
    samples = dataset.samples("duck", "train")
    assert len(samples) == 4
    with pytest.raises(DataError, match=rf"{scan.name}: the file is empty \(0 bytes\)"):
        dataset.read(samples[0])


def test_a_defective_scan_without_a_defect_is_an_error(duck: Path) -> None:
    label_path = sorted((duck / "gt").iterdir())[0]
    write_labelled_txt(label_path, cloud(4), np.zeros(4, bool), " ")
    dataset = Real3D(duck.parent, allow_missing=True)
    sample = next(s for s in dataset.samples("duck", "test") if s.label_path == label_path)
    with pytest.raises(DataError, match=rf"{label_path.name}: all 4 points are labelled 0"):
        dataset.read(sample)


def test_unknown_category_and_split(duck: Path) -> None:
    dataset = Real3D(duck.parent, allow_missing=True)
    with pytest.raises(ConfigError, match=r"'dukc', expected one of duck\. Did you mean 'duck'\?"):
        dataset.samples("dukc", "test")
    with pytest.raises(ConfigError, match="unknown split 'val', expected one of test, train"):
        dataset.samples("duck", "val")


@pytest.mark.parametrize("reader", [Real3D, AnomalyShapeNet, Folder])
def test_absent_dataset_folder(tmp_path: Path, reader: type[Real3D]) -> None:
    with pytest.raises(DataError, match=r"nowhere: no such folder, or an empty one; expected"):
        reader(tmp_path / "nowhere")
    (tmp_path / "Real3D-AD.zip").touch()
    with pytest.raises(DataError, match=r"holds Real3D-AD\.zip; expected") as caught:
        reader(tmp_path)
    if reader is not Folder:
        assert "official repository" in str(caught.value) and "README" in str(caught.value)


def test_anomaly_shapenet_from_any_folder_of_its_archive(published: dict[str, Path]) -> None:
    pcd = published["anomaly_shapenet"]
    listings = [AnomalyShapeNet(r).samples("cap0", "test") for r in (pcd, pcd.parents[0])]
    assert listings[0] == listings[1] == AnomalyShapeNet(pcd.parents[1]).samples("cap0", "test")
    assert {s.name.rstrip("0123456789") for s in listings[0]} >= {"cap0_hole", "cap0_positive"}


def test_new_categories_of_anomaly_shapenet(tmp_path: Path) -> None:
    write_pcd(tmp_path / "pcd" / "cap0" / "train" / "cap0_template0.pcd", cloud())
    desk = tmp_path / "new_pcd" / "desk0"
    for name in ("desk_bulge0", "desk0_bulge1", "desk0_hole0", "desk0_positive3"):
        write_pcd(desk / "test" / f"{name}.pcd", cloud())
    labels = np.array([1, 0, 0, 0, 0, 0], bool)
    write_labelled_txt(desk / "GT" / "desk0_bulge0.txt", cloud(), labels)
    write_labelled_txt(desk / "GT" / "desk0_bulge1.txt", cloud(), labels)
    assert AnomalyShapeNet(tmp_path, allow_missing=True).categories == ("cap0",)
    dataset = AnomalyShapeNet(tmp_path, allow_missing=True, include_new=True)
    assert dataset.categories == ("cap0", "desk0")
    samples = {s.name: s for s in dataset.samples("desk0", "test")}
    assert list(samples) == ["desk0_bulge1", "desk0_positive3", "desk_bulge0"]
    assert samples["desk_bulge0"].label_path == desk / "GT" / "desk0_bulge0.txt"
    assert not samples["desk0_positive3"].is_anomalous
    missing = dataset.missing()
    assert "desk0/gt/desk0_hole0.txt" in missing and dataset.unexpected() == []
    assert {f"{c}/ (the whole category)" for c in NEW_CATEGORIES if c != "desk0"} <= set(missing)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A user's folder: clouds of several kinds, one of them defective."""
    folder = tmp_path / "own" / "bracket"
    write_pcd(folder / "train" / "a.pcd", cloud())
    write_ply(folder / "test" / "b.PLY", cloud())
    (folder / "test" / "c.xyz").write_text("0 0 0\n1 1 1\n")
    write_pcd(folder / "test" / "d.pcd", cloud())
    write_labelled_txt(folder / "GT" / "b.txt", cloud(9), np.arange(9) > 6, " ")
    return folder


def test_folder(own: Path) -> None:
    dataset = Folder(own.parent)
    assert (dataset.name, dataset.categories) == ("own", ("bracket",))
    assert [s.path.name for s in dataset.samples("bracket", "train")] == ["a.pcd"]
    samples = dataset.samples("bracket", "test")
    assert [(s.name, s.is_anomalous) for s in samples] == [("b", True), ("c", False), ("d", False)]
    clouds = [dataset.read(sample) for sample in samples]
    assert [len(read.points) for read in clouds] == [9, 2, 6]
    assert [int(read.labels.sum()) for read in clouds if read.labels is not None] == [2, 0, 0]
    assert Folder(own.parent, name="brackets").name == "brackets"


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("test/notes.docx", r"notes.docx: not a cloud; expected files ending in \.3mf"),
        ("test/d.ply", "several files are named d; expected one cloud a name"),
        ("GT/e.txt", r"e.txt: a label file for no scan; expected the name of a scan"),
        ("GT/d.csv", r"d.csv: a label file for no scan"),
    ],
)
def test_folder_with_a_stray_file(own: Path, file: str, message: str) -> None:
    (own / file).write_text("0 0 0 1\n")
    with pytest.raises(DataError, match=message):
        Folder(own.parent)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("0\n0\n1\n", r"d\.txt.*1 columns, expected four: x y z label"),
        ("0 0 0 0\n1 1 1 0\n", r"d\.txt.*all 2 points are labelled 0.*remove it if the scan is"),
    ],
)
def test_folder_with_labels_of_another_form(own: Path, labels: str, message: str) -> None:
    (own / "GT" / "d.txt").write_text(labels)
    dataset = Folder(own.parent)
    with pytest.raises(DataError, match=message):
        dataset.read(dataset.samples("bracket", "test")[2])


def test_going_on_without_says_without_what(tmp_path: Path) -> None:
    write_pcd(tmp_path / "duck" / "train" / "1_template.pcd", cloud(8))
    with pytest.warns(
        UserWarning, match=r"real3d: going on with what is there: \d+ missing: airplane/"
    ):
        Real3D(tmp_path, allow_missing=True)


def test_the_fingerprint_is_of_names_and_contents_not_of_the_machine(tmp_path: Path) -> None:
    root = tmp_path / "here"
    points = cloud(400)
    for name in ("a_positive0", "a_sink0"):
        write_pcd(root / "a" / "test" / f"{name}.pcd", points)
    labels = np.arange(400) < 5
    label_path = root / "a" / "GT" / "a_sink0.txt"
    write_labelled_txt(label_path, points, labels)
    known = Folder(root).fingerprint()

    copy = shutil.copytree(root, tmp_path / "there", copy_function=shutil.copyfile)
    for path in copy.rglob("*.*"):
        os.utime(path, (1, 1))
    assert Folder(copy).fingerprint() == known

    size = label_path.stat().st_size
    write_labelled_txt(label_path, points, labels[::-1].copy())
    assert label_path.stat().st_size == size
    assert Folder(root).fingerprint() != known
    write_labelled_txt(label_path, points, labels)
    assert Folder(root).fingerprint() == known
    (root / "a" / "test" / "a_positive0.pcd").rename(root / "a" / "test" / "a_positive1.pcd")
    assert Folder(root).fingerprint() != known


def test_datasets_are_opened_by_name(own: Path) -> None:
    assert open_dataset("folder", own.parent).categories == ("bracket",)
    with pytest.raises(ConfigError, match="'shapenet' is not known; expected one of demo, real3d"):
        open_dataset("shapenet", own.parent)
    with pytest.raises(ConfigError, match="folder has no option seed; expected none besides"):
        open_dataset("folder", own.parent, seed=1)
    with pytest.raises(ConfigError, match="no option missing; expected allow_missing or include_"):
        open_dataset("anomaly_shapenet", own.parent, missing=True)


def test_a_fault_inside_a_reader_is_not_taken_for_a_wrong_option(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise TypeError("a fault of the program")

    monkeypatch.setattr(Folder, "_check_labels", broken)
    with pytest.raises(TypeError, match="a fault of the program"):
        open_dataset("folder", own.parent)
