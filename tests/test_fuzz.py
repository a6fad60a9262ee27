"""Damaged scans of every format: a result or a BTPError, in bounded time and memory."""

from __future__ import annotations

import contextlib
import io
import pickle
import signal
import struct
import tracemalloc
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from mutate import mutate

from btp.data.formats import (
    POINT_SUFFIXES,
    read_labelled_points,
    write_labelled_txt,
    write_pcd,
    write_ply,
)
from btp.data.reading import read_scan
from btp.errors import BTPError

CASES = Path(__file__).parent / "cases"
TRUTH = dict(np.load(CASES / "truth.npz"))
FEW, MANY = 25, 400  # damaged files of each kind
SECONDS = 10
TIMES, ROOM = 10, 6 << 20  # of the file's bytes; and what sampling a mesh takes in any case


def kinds(folder: Path) -> dict[str, bytes]:
    """A whole file of every kind that is read, by its name."""
    import trimesh

    cloud, mesh = TRUTH["cloud"], trimesh.Trimesh(TRUTH["vertices"], TRUTH["faces"], process=False)
    files = {
        f"{way}{path.suffix}": path.read_bytes()
        for way in ("odd",)
        for path in sorted(CASES.glob("*19.ply"))
    }
    for name in ("ply09.ply", "ply11.ply", "ply20.ply", "ply18.ply", "obj03.obj", "off05.off"):
        files[name] = (CASES / name).read_bytes()
    for name in ("stl17.stl", "stl07.stl", "pcd22.pcd", "txt01.txt", "txt06.csv", "txt14.txt"):
        files[name] = (CASES / name).read_bytes()
    files["scan.pts"] = (CASES / "txt02.txt").read_bytes()
    files["scan.xyz"] = (CASES / "txt04.xyz").read_bytes()
    write_pcd(folder / "a.pcd", cloud)
    write_ply(folder / "a.ply", cloud, {"anomaly": cloud[:, 0]})
    np.save(folder / "a.npy", cloud)
    np.savez_compressed(folder / "a.npz", points=cloud)
    for suffix in (".glb", ".3mf"):
        mesh.export(folder / f"a{suffix}")
    with contextlib.suppress(ImportError):
        import laspy

        las = laspy.LasData(laspy.LasHeader(point_format=2, version="1.2"))
        las.x, las.y, las.z = cloud.T
        las.write(str(folder / "a.las"))
        las.write(str(folder / "a.laz"))
    with contextlib.suppress(ImportError):
        import pye57

        e57 = pye57.E57(str(folder / "a.e57"), mode="w")
        e57.write_scan_raw({f"cartesian{a}": c.copy() for a, c in zip("XYZ", cloud.T, strict=True)})
        e57.close()
    files |= {path.name: path.read_bytes() for path in folder.iterdir()}
    header = (
        b"VERSION .7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 8\nHEIGHT 1\n"
        b"POINTS 8\nDATA binary_compressed\n"
    )
    plain = np.arange(24, dtype="<f4").tobytes()
    packed = b"".join(b"\x1f" + plain[at : at + 32] for at in range(0, 96, 32))
    files["packed.pcd"] = header + struct.pack("<II", len(packed), 96) + packed
    return files


@contextlib.contextmanager
def bounded(size: int, what: str) -> Iterator[None]:
    """Fail what takes longer than `SECONDS`, or more memory than `TIMES` the file."""

    def late(*_: object) -> None:
        raise TimeoutError(f"{what}: more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
        assert peak < TIMES * size + ROOM, f"{what}: {peak:,} bytes for a file of {size:,}"
    finally:
        tracemalloc.stop()
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def try_damaged(folder: Path, count: int) -> tuple[int, int]:
    """Read damaged files of every kind; returns how many were tried and how many read."""
    (folder / "whole").mkdir()
    tried = read = 0
    for name, data in kinds(folder / "whole").items():
        path = folder / f"damaged{Path(name).suffix}"
        path.write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert len(read_scan(path).points) > 5  # what is damaged below is whole
            for seed in range(count):
                path.write_bytes(mutate(data, np.random.default_rng([seed, len(data)])))
                tried += 1
                with bounded(path.stat().st_size, f"{name}, seed {seed}"):
                    try:
                        scan = read_scan(path)
                        assert np.isfinite(scan.judged).all() and len(scan.points)
                        read += 1
                    except BTPError as error:
                        assert str(path) in str(error) or "the scan" in str(error)
                    except Exception as error:
                        error.add_note(f"{name}, seed {seed}")
                        raise
    return tried, read


def test_damaged_scans(tmp_path: Path) -> None:
    tried, read = try_damaged(tmp_path, FEW)
    assert tried >= 25 * FEW - 100 and 0 < read < tried


@pytest.mark.slow
def test_thousands_of_damaged_scans(tmp_path: Path) -> None:
    tried, read = try_damaged(tmp_path, MANY)
    assert tried > 2000 and 0 < read < tried


def test_damaged_labels(tmp_path: Path) -> None:
    path = tmp_path / "gt.txt"
    write_labelled_txt(path, TRUTH["cloud"], TRUTH["cloud"][:, 0] > 0)
    data = path.read_bytes()
    for seed in range(100):
        path.write_bytes(mutate(data, np.random.default_rng(seed)))
        with contextlib.suppress(BTPError):
            points, labels = read_labelled_points(path)
            assert len(points) == len(labels) and np.isfinite(points).all()


@pytest.mark.parametrize("suffix", POINT_SUFFIXES)
def test_the_content_of_every_kind_under_every_suffix(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "whole").mkdir()
    for name, data in kinds(tmp_path / "whole").items():
        path = tmp_path / f"wrong{suffix}"
        path.write_bytes(data)
        with warnings.catch_warnings(), bounded(len(data), f"{name} as {suffix}"):
            warnings.simplefilter("ignore")
            with contextlib.suppress(BTPError):
                read_scan(path)


class Run:
    """Writes a file where it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


def test_no_file_runs_code_or_writes_elsewhere(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    inside = tmp_path / "inside"
    inside.mkdir()
    evil = np.empty(1, object)
    evil[0] = Run(str(ran))
    np.save(inside / "a.npy", evil, allow_pickle=True)
    np.savez(inside / "b.npz", points=evil)
    (inside / "c.npy").write_bytes(pickle.dumps(Run(str(ran))))
    for suffix in (".npz", ".3mf"):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("../../ran", b"escaped")
            archive.writestr("/ran.npy", b"escaped")
        (inside / f"d{suffix}").write_bytes(buffer.getvalue())
    for path in sorted(inside.iterdir()):
        with pytest.raises(BTPError):
            read_scan(path)
    assert not ran.exists() and sorted(p.name for p in tmp_path.iterdir()) == ["inside"]
