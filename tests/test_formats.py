"""Formats: round trips against what numpy, Open3D and hand-written bytes say, and bad input."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from btp.data.formats import (
    POINT_SUFFIXES,
    read_labelled_points,
    read_mesh,
    read_points,
    read_scalars,
    write_labelled_txt,
    write_pcd,
    write_ply,
)
from btp.data.formats.pcd import decode_pcd, encode_pcd
from btp.data.formats.ply import decode_ply, decode_ply_scalars, encode_ply
from btp.errors import DataError

SQUARE = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.5]])
OBJ_SQUARE = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0.5\n"


def clouds(dtype: type = np.float32, finite: bool = True) -> st.SearchStrategy[NDArray]:
    width = 32 if dtype is np.float32 else 64
    values = st.floats(width=width, allow_nan=not finite, allow_infinity=not finite)
    # Repeated values, so that compression has something to refer back to.
    shape = st.tuples(st.integers(1, 60), st.just(3))
    return arrays(dtype, shape, elements=st.one_of(values, st.sampled_from([0.0, 1.5])))


def lzf_compress(plain: bytes) -> bytes:
    """A plain LZF encoder: the longest match within 8 KiB, found by trying every start."""
    packed, literals, position = bytearray(), bytearray(), 0

    def flush() -> None:
        for start in range(0, len(literals), 32):
            run = literals[start : start + 32]
            packed.extend(bytes([len(run) - 1]) + run)
        literals.clear()

    while position < len(plain):
        best, origin = 0, 0
        for start in range(max(0, position - 8192), position):
            length = 0
            while (
                length < 264
                and position + length < len(plain)
                and plain[start + length] == plain[position + length]
            ):
                length += 1
            if length > best:
                best, origin = length, start
        if best < 3:
            literals.append(plain[position])
            position += 1
            continue
        flush()
        distance, extra = position - origin - 1, best - 2
        packed.append(min(extra, 7) << 5 | distance >> 8)
        if extra >= 7:
            packed.append(extra - 7)
        packed.append(distance & 255)
        position += best
    flush()
    return bytes(packed)


def pcd(points: NDArray, encoding: str, height: int = 1) -> bytes:
    """A PCD file with a colour before and two padding bytes between its coordinates."""
    size = points.dtype.itemsize
    real = points.dtype
    record = np.dtype([("rgb", "<u4"), ("x", real), ("_", "u1", (2,)), ("y", real), ("z", real)])
    rows = np.zeros(len(points), record)
    rows["rgb"], rows["_"] = np.arange(len(points)), 7
    for i, axis in enumerate("xyz"):
        rows[axis] = points[:, i]
    header = (
        f"# a comment\nVERSION .7\nFIELDS rgb x _ y z\nSIZE 4 {size} 1 {size} {size}\n"
        f"TYPE U F U F F\nCOUNT 1 1 2 1 1\nWIDTH {len(points) // height}\nHEIGHT {height}\n"
        f"POINTS {len(points)}\nDATA {encoding}\n"
    ).encode()
    if encoding == "ascii":
        return (
            header
            + "".join(
                f"{row['rgb']} {row['x']!s} 7 7 {row['y']!s} {row['z']!s}\n" for row in rows
            ).encode()
        )
    if encoding == "binary":
        return header + rows.tobytes()
    fields = b"".join(np.ascontiguousarray(rows[name]).tobytes() for name in record.names or ())
    packed = lzf_compress(fields)
    return header + struct.pack("<II", len(packed), len(fields)) + packed


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("encoding", ["ascii", "binary", "binary_compressed"])
def test_pcd_round_trip(encoding: str, dtype: type) -> None:
    @settings(max_examples=25, deadline=None)
    @given(clouds(dtype, finite=False))
    def check(points: NDArray) -> None:
        read = decode_pcd(pcd(points, encoding))
        assert read.dtype == dtype
        np.testing.assert_array_equal(read, points)

    check()


@given(clouds())
@settings(max_examples=25, deadline=None)
def test_written_pcd_and_ply_are_read_back(points: NDArray) -> None:
    np.testing.assert_array_equal(decode_pcd(encode_pcd(points)), points)
    scores, colors = points[:, 0] * 2, (np.abs(points) % 256).astype(np.uint8)
    np.testing.assert_array_equal(decode_ply(encode_ply(points)).points, points)
    encoded = encode_ply(points, {"score": scores}, colors)
    np.testing.assert_array_equal(decode_ply(encoded).points, points)


@given(clouds(), st.sampled_from([",", " "]))
@settings(max_examples=25, deadline=None)
def test_labelled_text_round_trip(
    tmp_path_factory: pytest.TempPathFactory, points: NDArray, delimiter: str
) -> None:
    path = tmp_path_factory.mktemp("gt") / "scan.txt"
    labels = np.arange(len(points)) % 3 == 0
    write_labelled_txt(path, points, labels, delimiter)
    read, read_labels = read_labelled_points(path)
    np.testing.assert_array_equal(read.astype(np.float32), points)
    np.testing.assert_array_equal(read_labels, labels)
    assert read.shape == points.shape and read_labels.dtype == bool


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("ascii_text", [False, True])
def test_pcd_of_open3d(tmp_path: Path, ascii_text: bool, compressed: bool) -> None:
    o3d = pytest.importorskip("open3d")
    points = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32).round(3)
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points))
    cloud.normals = o3d.utility.Vector3dVector(np.ones_like(points))
    path = tmp_path / "a.pcd"
    o3d.io.write_point_cloud(str(path), cloud, write_ascii=ascii_text, compressed=compressed)
    np.testing.assert_allclose(read_points(path), points, atol=1e-6)
    write_pcd(tmp_path / "b.pcd", points)
    np.testing.assert_array_equal(o3d.io.read_point_cloud(str(tmp_path / "b.pcd")).points, points)


def test_ply_scalars_and_colours_are_stored_by_name(tmp_path: Path) -> None:
    import trimesh

    points = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    scores = np.linspace(0, 1, 20)
    colors = np.arange(60, dtype=np.uint8).reshape(20, 3)
    write_ply(tmp_path / "a.ply", points, {"score": scores}, colors)
    loaded = trimesh.load(tmp_path / "a.ply")
    data = loaded.metadata["_ply_raw"]["vertex"]["data"]
    np.testing.assert_array_equal(loaded.vertices, points)
    np.testing.assert_array_equal(loaded.colors[:, :3], colors)
    np.testing.assert_array_equal(data["scalar_score"].ravel(), scores.astype(np.float32))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ply"]


def stored_as(encoded: bytes) -> str:
    return next(kind for kind in ("double", "float") if f"property {kind} x".encode() in encoded)


def test_ply_keeps_the_shape_far_from_the_origin() -> None:
    """A grid of spacing 0.001 about 1, 1,000 and 1,000,000 units away; float32 keeps 1 in 10^7."""
    grid = np.mgrid[:20, :20].reshape(2, -1).T * 0.001
    near = np.column_stack([grid, np.zeros(len(grid))])
    for offset, kind in ((1.0, "float"), (1000.0, "double"), (1e6, "double")):
        encoded = encode_ply(near + offset, {"score": np.arange(400.0)})
        assert stored_as(encoded) == kind
        read = decode_ply(encoded).points
        assert np.abs(read - (near + offset)).max() <= 1e-3 * 0.001
        np.testing.assert_array_equal(
            decode_ply_scalars(encoded, ["score"])["score"], np.arange(400.0)
        )


@pytest.mark.parametrize(
    ("points", "kind"),
    [
        ((SQUARE + 1e6).astype(np.float32), "float"),  # nothing more to keep
        (SQUARE + 1e6, "float"),  # whole and half numbers are exact in float32
        (SQUARE * 1e-50, "double"),
        (SQUARE * 1e50, "double"),
        (np.full((3, 3), 1 / 3), "double"),  # equal points tell no spacing
        (np.full((1, 3), 1 / 3), "double"),
        (np.full((4, 3), np.nan), "float"),
        (np.insert(SQUARE / 3, 1, np.nan, axis=0), "float"),
        (np.insert(SQUARE / 3 + 1e5, 1, np.nan, axis=0), "double"),
    ],
)
def test_which_ply_needs_double(points: NDArray, kind: str) -> None:
    assert stored_as(encode_ply(points)) == kind


def test_scalars_come_back_and_absent_ones_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    write_ply(path, SQUARE, {"score": np.array([0.25, np.nan, 1, 2])})
    points, scalars = read_scalars(path, ["score"])
    np.testing.assert_array_equal(points, SQUARE)
    np.testing.assert_array_equal(scalars["score"], [0.25, np.nan, 1, 2])
    with pytest.raises(DataError, match=r"a\.ply: .*no values region of its vertices"):
        read_scalars(path, ["score", "region"])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"a\.ply: .*cut off"):
        read_scalars(path, ["score"])


@pytest.mark.parametrize("suffix", [".las", ".laz"])
def test_las(tmp_path: Path, suffix: str) -> None:
    laspy = pytest.importorskip("laspy", reason="the extra las is not installed")
    points = np.random.default_rng(0).uniform(-5, 5, (500, 3)).round(3)
    points += np.array([4e5, 5e6, 100])
    header = laspy.LasHeader(point_format=2, version="1.2")
    header.scales, header.offsets = [0.001] * 3, [4e5, 5e6, 0]
    file = laspy.LasData(header)
    file.x, file.y, file.z = points.T
    file.red = np.arange(500)
    path = tmp_path / f"scan{suffix}"
    file.write(str(path))
    read = read_points(path)
    assert read.dtype == np.float64
    np.testing.assert_allclose(read, points, atol=1e-6)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=rf"scan\{suffix}: not readable as {suffix[1:]}"):
        read_points(path)
    path.write_bytes(b"LASF")
    with pytest.raises(DataError, match="not a whole LAS file"):
        read_points(path)


def test_las_without_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "laspy", None)
    (tmp_path / "scan.laz").write_bytes(b"LASF")
    with pytest.raises(DataError, match=r"scan\.laz: .*not installed; install the extra `las`"):
        read_points(tmp_path / "scan.laz")


@pytest.mark.parametrize("order", ["<", ">"])
def test_ply_of_both_byte_orders(tmp_path: Path, order: str) -> None:
    name = {"<": "little", ">": "big"}[order]
    rows = np.zeros(4, [("a", "u1"), ("x", order + "f8"), ("y", order + "f8"), ("z", order + "f8")])
    for i, axis in enumerate("xyz"):
        rows[axis] = SQUARE[:, i]
    header = (
        f"ply\nformat binary_{name}_endian 1.0\nelement vertex 4\nproperty uchar a\n"
        "property double x\nproperty double y\nproperty double z\nend_header\n"
    )
    (tmp_path / "a.ply").write_bytes(header.encode() + rows.tobytes())
    points = read_points(tmp_path / "a.ply")
    assert points.dtype == np.dtype("float64")
    np.testing.assert_array_equal(points, SQUARE)


def test_organised_pcd_with_holes(tmp_path: Path) -> None:
    points = np.arange(18, dtype=np.float32).reshape(6, 3)
    points[[1, 4], 2] = np.nan
    path = tmp_path / "scan.pcd"
    path.write_bytes(pcd(points, "binary", height=2))
    with pytest.raises(DataError, match=r"scan.pcd: 2 of 6 points are NaN.* first row 1"):
        read_points(path)
    np.testing.assert_array_equal(read_points(path, "keep"), points)
    np.testing.assert_array_equal(read_points(path, "drop"), points[[0, 2, 3, 5]])
    path.write_bytes(pcd(points * np.nan, "binary"))
    with pytest.raises(DataError, match="6 points, none of them finite"):
        read_points(path, "drop")


TEXTS = {
    "space.xyz": "0 0 0\n1 0 0\n1 1 0\n0 1 .5\n",
    "tabs.txt": "\n# x y z\n0\t0\t0\n1\t0  0\n1 1 0\n\n0 1 0.5\n",
    "comma.txt": "0, 0, 0, 9\n1, 0, 0, 9\n1, 1, 0, 9\n0, 1, 5e-1, 9\n",
    "semicolon.csv": "0;0;0\n1;0;0\n1;1;0\n0;1;0.5\n",
    "header.csv": '"Z","id","X","Y"\n0,1,0,0\n0,2,1,0\n0,3,1,1\n0.5,4,0,1\n',
    "cloudcompare.txt": "//X Y Z R\n0 0 0 255\n1 0 0 255\n1 1 0 255\n0 1 0.5 255\n",
    "windows.txt": "\ufeff0,0,0\r\n1,0,0\r\n1,1,0\r\n0,1,0.5\r\n",
    "cloud.obj": OBJ_SQUARE,
    "mesh.obj": OBJ_SQUARE + "vt 0 0\nvt 1 1\nf 3/1 4/2 1/1\nf 1/2 2/2 3/2\n",
    "mesh.off": "# made by hand\nOFF 4 2 0\n0 0 0\n1 0 0\n1 1 0\n0 1 .5\n3 0 1 2\n3 0 2 3\n",
    "mesh.ply": "ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\n"
    "property float z\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n"
    "0 0 0\n1 0 0\n1 1 0\n0 1 0.5\n4 0 1 2 3\n",
}


@pytest.mark.parametrize("name", TEXTS)
def test_text_and_mesh_files_as_points(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(TEXTS[name].encode())
    np.testing.assert_array_equal(read_points(tmp_path / name), SQUARE)


@pytest.mark.parametrize("name", ["mesh.obj", "mesh.off", "mesh.ply"])
def test_meshes_keep_the_vertices_of_the_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(TEXTS[name])
    vertices, faces = read_mesh(tmp_path / name)
    np.testing.assert_array_equal(vertices, SQUARE)
    assert vertices.dtype == np.float64 and faces.dtype == np.int64
    assert {frozenset(face) for face in faces.tolist()} == {
        frozenset((0, 1, 2)),
        frozenset((0, 2, 3)),
    }


def test_obj_polygons_and_negative_indices(tmp_path: Path) -> None:
    (tmp_path / "a.obj").write_text(OBJ_SQUARE + "f -4 -3 -2 -1\n")
    assert read_mesh(tmp_path / "a.obj")[1].tolist() == [[0, 1, 2], [0, 2, 3]]


def test_stl_is_a_soup_of_triangles(tmp_path: Path) -> None:
    triangles = SQUARE[[[0, 1, 2], [0, 2, 3]]].astype("<f4")
    facets = b"".join(bytes(12) + triangle.tobytes() + b"\0\0" for triangle in triangles)
    path = tmp_path / "a.stl"
    path.write_bytes(bytes(80) + struct.pack("<I", 2) + facets)
    vertices, faces = read_mesh(path)
    np.testing.assert_array_equal(vertices[faces], triangles)
    assert read_points(path).shape == (6, 3)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"a\.stl"):
        read_mesh(path)


def test_numpy_files(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.hstack((SQUARE, SQUARE)).astype(np.float32))
    assert read_points(tmp_path / "a.npy").dtype == np.float32
    np.testing.assert_array_equal(read_points(tmp_path / "a.npy"), SQUARE)
    for arrays_ in ({"xyz": SQUARE, "normals": SQUARE + 1}, {"arr_0": SQUARE}):
        np.savez_compressed(tmp_path / "a.npz", **arrays_)
        np.testing.assert_array_equal(read_points(tmp_path / "a.npz"), SQUARE)
    np.save(tmp_path / "ints.npy", SQUARE.astype(np.int32))
    assert read_points(tmp_path / "ints.npy").dtype == np.float64


def npz(**content: NDArray) -> Callable[[Path], None]:
    return lambda path: np.savez(path, **content)


def npy(content: NDArray) -> Callable[[Path], None]:
    return lambda path: np.save(path, content, allow_pickle=True)


PCD = pcd(SQUARE.astype(np.float32), "binary")
BAD = {
    "empty.pcd": (b"", r"empty \(0 bytes\).*7z.*unar"),
    "lfs.ply": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
    "scan.ptx": (b"1 2", r"'\.ptx' are not read; known are " + ", ".join(POINT_SUFFIXES)),
    "cut.pcd": (PCD[:-5], r"holds 67 bytes of points, its header announces 72 \(4 points of 18"),
    "long.pcd": (PCD + PCD[-18:], "holds 90 bytes"),
    "head.pcd": (PCD[:40], "no DATA line"),
    "xy.pcd": (PCD.replace(b"y z", b"y q"), "fields rgb x _ y q, expected x, y and z"),
    "points.pcd": (PCD.replace(b"POINTS 4", b"POINTS 5"), r"POINTS 5, but WIDTH x HEIGHT is 4"),
    "type.pcd": (PCD.replace(b"TYPE U F", b"TYPE U Q"), "TYPE Q, SIZE 4"),
    "kind.pcd": (PCD.replace(b"DATA binary", b"DATA base64"), "data is 'base64', expected ascii"),
    "rows.pcd": (pcd(SQUARE, "ascii") + b"1 1 1 1 1 1\n", "holds 5 points, its header announces 4"),
    "lzf.pcd": (pcd(SQUARE, "binary_compressed")[:-9], "cut off: [0-9]+ of [0-9]+ compressed"),
    "cut.ply": (encode_ply(SQUARE)[:-1], "cut off: 47 bytes, 4 vertices need 48"),
    "rows.ply": (TEXTS["mesh.ply"][:-10].encode(), "holds 4 rows, its header announces 5"),
    "xy.ply": (encode_ply(SQUARE).replace(b"float z", b"float w"), "properties x, y, w"),
    "not.ply": (b"solid", "this is not a PLY file"),
    "decimal.xyz": (b"1,5 2,5 3,5\n", "line 1 is '1,5 2,5 3,5', expected numbers"),
    "mixed.xyz": (b"1 2 3\n1,2,3\n", "number of columns changed from 3 to 1 at row 2 of numbers"),
    "ragged.xyz": (b"1 2 3\n1 2\n", "number of columns changed from 3 to 2"),
    "two.csv": (b"1,2\n1,2\n", r"shape \[2, 2\], expected numbers of shape \[R, 3\]"),
    "names.csv": (b"a,b,c\n1,2,3\n", "columns are named a, b, c, expected x, y and z"),
    "header.txt": (b"x y z\n", "no row of numbers"),
    "binary.txt": (b"\x93\xff\x00", "not readable as txt"),
    "face.obj": (OBJ_SQUARE.encode() + b"f 1 2 9\n", "name the vertices 0 to 8"),
    "line.obj": (b"v 0 0\n", "line 1 is 'v 0 0'"),
    "cut.off": (TEXTS["mesh.off"][:-8].encode(), "cut off: 5 rows, its header announces 4"),
    "nothing.off": (b"OFF", "not readable as off"),
    "none.obj": (b"o thing\n", "no points; expected at least one"),
    "object.npy": (npy(np.array([{}], dtype=object)), "not readable as npy"),
    "flat.npy": (npy(np.zeros(9)), r"float64 with shape \[9\]"),
    "features.npz": (npz(features=SQUARE), "arrays features, expected exactly one of points"),
    "both.npz": (npz(points=SQUARE, xyz=SQUARE), "arrays points, xyz, expected exactly one"),
    "zip.npz": (b"PK\x03\x04 cut", "not readable as npz"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_named_and_explained(tmp_path: Path, name: str) -> None:
    content, message = BAD[name]
    path = tmp_path / name
    content(path) if callable(content) else path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_points(path)
    assert str(path) in str(caught.value)


def test_absent_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.pcd: no such file"):
        read_points(tmp_path / "a.pcd")
    (tmp_path / "b.ply").mkdir()
    with pytest.raises(DataError, match=r"b\.ply: cannot be opened \(Is a directory\)"):
        read_points(tmp_path / "b.ply")


def test_a_cloud_is_no_mesh(tmp_path: Path) -> None:
    write_pcd(tmp_path / "a.pcd", SQUARE)
    with pytest.raises(DataError, match=r"'\.pcd' hold no mesh; expected one of \.3mf"):
        read_mesh(tmp_path / "a.pcd")
    write_ply(tmp_path / "a.ply", SQUARE)
    with pytest.raises(DataError, match="4 vertices and no faces"):
        read_mesh(tmp_path / "a.ply")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 0 0\n", "3 columns, expected four: x y z label"),
        ("0,0,0,1,1\n", "5 columns"),
        ("0 0 0 0\n0 0 0 -1\n", r"label -1\.0 in row 1 \(1 such rows\), expected 0"),
        ("0 0 0 nan\n", "label nan in row 0"),
        ("0 0 0 good\n", "no row of numbers|line 1 is"),
        ("0 0 0 1\n0 nan 0 1\n", "1 of 2 points are NaN or infinite, first row 1"),
        ("", "empty"),
    ],
)
def test_bad_label_files(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "gt.txt").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_labelled_points(tmp_path / "gt.txt")
    assert "gt.txt" in str(caught.value)


@pytest.mark.parametrize("delimiter", [" ", ",", "\t", " , "])
def test_labels_of_any_delimiter_and_number(tmp_path: Path, delimiter: str) -> None:
    rows = [["0.5", "1", "2", "0"], ["1", "2", "3", "1.0"], ["2", "3", "4", "2"]]
    (tmp_path / "gt.txt").write_text("\n".join(delimiter.join(row) for row in rows))
    points, labels = read_labelled_points(tmp_path / "gt.txt")
    assert points.tolist() == [[0.5, 1, 2], [1, 2, 3], [2, 3, 4]]
    assert labels.tolist() == [False, True, True]
