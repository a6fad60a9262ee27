"""Odd files as programs write them: read whole or refused by name, never half."""

from __future__ import annotations

import codecs
import gzip
import io
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from btp.data.formats import read_content, read_points
from btp.data.reading import read_scan
from btp.errors import DataError

CASES = Path(__file__).parent / "cases"
TRUTH = dict(np.load(CASES / "truth.npz"))
CLOUD = TRUTH["cloud"]
SOUP = TRUTH["vertices"][TRUTH["faces"]]
ROUNDED = 1e-6  # six decimals

CLOUDS = {
    "obj08.obj": ROUNDED,
    "pcd22.pcd": ROUNDED,
    "ply03.ply": ROUNDED,
    "ply17.ply": 0,
    "ply17c.ply": 0,
    "ply18.ply": ROUNDED,
    "ply20.ply": ROUNDED,
    "ply25.ply": ROUNDED,
    "ply35.ply": 0,
    "ply42.ply": 0,
    "txt01.txt": ROUNDED,
    "txt02.txt": ROUNDED,
    "txt04.xyz": 6e-5,  # four decimals
    "txt06.csv": ROUNDED,
    "txt07.csv": ROUNDED,
    "txt14.txt": ROUNDED,
    "txt15.txt": ROUNDED,
    "txt23.csv": ROUNDED,
}


@pytest.mark.parametrize("name", CLOUDS)
def test_a_cloud_is_read_whole(name: str) -> None:
    scan = read_scan(CASES / name)
    np.testing.assert_allclose(scan.points, CLOUD, rtol=0, atol=CLOUDS[name] or 1e-30)
    assert not scan.sampled and scan.valid.all() and scan.notes == ()


@pytest.mark.parametrize("name", ["obj03.obj", "obj09.obj", "obj10.obj", "off05.off", "off09.off"])
def test_a_mesh_is_read_whole(name: str) -> None:
    content = read_content(CASES / name)
    np.testing.assert_allclose(content.points, TRUTH["vertices"], rtol=0, atol=ROUNDED)
    np.testing.assert_array_equal(content.faces, TRUTH["faces"])
    assert read_scan(CASES / name).sampled


def test_faces_before_the_vertices() -> None:
    content = read_content(CASES / "ply09.ply")
    np.testing.assert_array_equal(content.points, TRUTH["vertices"])
    np.testing.assert_array_equal(content.faces, TRUTH["faces"])


def test_triangles_quads_and_a_pentagon() -> None:
    content = read_content(CASES / "ply19.ply")
    assert content.points.shape == (9, 3)
    assert len(content.faces) == 1 + 1 + 2 + 3
    assert sorted(np.unique(content.faces)) == list(range(9))


def test_triangle_strips_are_triangles(tmp_path: Path) -> None:
    content = read_content(CASES / "ply11.ply")
    np.testing.assert_array_equal(content.points, TRUTH["vertices"])
    known = {tuple(sorted(face)) for face in TRUTH["faces"].tolist()}
    found = {tuple(sorted(face)) for face in content.faces.tolist()}
    assert len(found) == 300 and found <= known
    header = (
        "ply\nformat ascii 1.0\nelement vertex 5\nproperty float x\nproperty float y\n"
        "property float z\nelement tristrips 1\nproperty list int int vertex_indices\nend_header\n"
    )
    rows = "0 0 0\n1 0 0\n0 1 0\n1 1 0\n0 2 0\n"
    (tmp_path / "a.ply").write_text(f"{header}{rows}9 0 1 2 3 -1 2 3 3 4\n")
    faces = read_content(tmp_path / "a.ply").faces
    assert faces.tolist() == [[0, 1, 2], [2, 1, 3], [3, 3, 4]][:2]


@pytest.mark.parametrize("name", ["pcd07.pcd", "ply26.ply"])
def test_rows_of_nan_ind_have_no_score(name: str) -> None:
    scan = read_scan(CASES / name)
    np.testing.assert_allclose(scan.points[scan.valid], CLOUD[scan.valid], atol=ROUNDED)
    assert np.flatnonzero(~scan.valid).tolist() == list(range(0, 400, 7))


@pytest.mark.parametrize("name", ["obj14.obj", "ply32.ply", "ply48.ply"])
def test_stray_faces_leave_a_cloud(name: str) -> None:
    with pytest.warns(UserWarning, match=r"faces use only [346] of 400 vertices"):
        scan = read_scan(CASES / name)
    np.testing.assert_allclose(scan.judged, CLOUD, atol=ROUNDED)
    assert not scan.sampled and "passed over" in scan.notes[0]


def test_faces_of_consecutive_rows_leave_a_cloud() -> None:
    with pytest.warns(UserWarning, match=r"edges of its 133 faces \(28\.1 long\) do not fit"):
        scan = read_scan(CASES / "ply39.ply")
    np.testing.assert_array_equal(scan.judged, CLOUD)


@pytest.mark.parametrize("name", ["stl06.stl", "stl07.stl", "stl17.stl"])
def test_all_triangles_of_all_solids(name: str) -> None:
    content = read_content(CASES / name)
    np.testing.assert_allclose(content.points.reshape(-1, 3, 3), SOUP, atol=6e-6)


REFUSED = {
    "npy03.npy": "an array of Python objects, expected numbers",
    "off10.off": "a binary OFF file, expected one of text",
    "pcd11.pcd": r"5 FIELDS \(x y z intensity class\), but 4 SIZE",
    "stl09.stl": "cut off.* 15,584 of 16,084 bytes, for 320 triangles",
    "stl11.stl": "without a triangle; the solid is empty",
    "stl18.stl": r"a gzip file, not a \.stl file; unpack it first",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_says_what_was_found(name: str) -> None:
    with pytest.raises(DataError, match=REFUSED[name]) as caught:
        read_scan(CASES / name)
    assert name in str(caught.value)


def ply(properties: str, rows: int, body: bytes, order: str = "little", end: str = "\n") -> bytes:
    header = (
        f"ply\nformat binary_{order}_endian 1.0\nelement vertex {rows}\n{properties}end_header\n"
    )
    return header.replace("\n", end).encode() + body


@pytest.mark.parametrize("extra", ["scalar_Dist (m)", "scalar_d", "x", "Übermaß %"])
def test_columns_are_where_the_header_says(tmp_path: Path, extra: str) -> None:
    """A name with a blank, or given twice, moved the coordinates by one column."""
    points = np.random.default_rng(0).uniform(-30, 30, (130_000, 3)).astype("<f4")
    values = np.arange(len(points), dtype="<f4")[:, None]
    given = "".join(f"property float {axis}\n" for axis in "xyz")
    added = f"property float {extra}\n" * 2
    (tmp_path / "after.ply").write_bytes(
        ply(given + added, len(points), np.hstack([points, values, values]).tobytes())
    )
    np.testing.assert_array_equal(read_points(tmp_path / "after.ply"), points)
    if extra != "x":
        (tmp_path / "before.ply").write_bytes(
            ply(added + given, len(points), np.hstack([values, values, points]).tobytes())
        )
        np.testing.assert_array_equal(read_points(tmp_path / "before.ply"), points)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("first", [b"", b"\n", b"\r"])
def test_the_line_end_of_the_header_is_not_taken_from_the_numbers(
    tmp_path: Path, end: str, first: bytes
) -> None:
    """A number may begin with the byte of a line feed."""
    body = CLOUD.astype("<f4").tobytes()
    body = first + body[len(first) :]
    properties = "".join(f"property float {axis}\n" for axis in "xyz")
    (tmp_path / "a.ply").write_bytes(ply(properties, 400, body, end=end))
    expected = np.frombuffer(body, "<f4").reshape(-1, 3)
    np.testing.assert_array_equal(read_points(tmp_path / "a.ply"), expected)


def lines(separator: str = " ", number: str = "{:.6f}") -> list[str]:
    return [separator.join(number.format(value) for value in row) for row in CLOUD.tolist()]


AXES = tuple(f"property float {axis}" for axis in "xyz")


def text_ply(*header: str, first: Sequence[str] = ()) -> bytes:
    return "\n".join(["ply", *header, "end_header", *first, *lines()]).encode()


SIBLINGS = {
    "bom.csv": codecs.BOM_UTF8 + "\n".join(["x,y,z", *lines(",")]).encode(),
    "utf16be.csv": codecs.BOM_UTF16_BE + "\r\n".join(lines(",")).encode("utf-16-be"),
    "utf16_without_mark.txt": "\n".join(lines()).encode("utf-16-le"),
    "utf32.xyz": "\n".join(lines()).encode("utf-32"),
    "old_mac.xyz": "\r".join(lines()).encode(),
    "next_line_in_comment.xyz": "# a\u0085b\u2028c\n".encode() + "\n".join(lines()).encode(),
    "latin1_header.csv": "x,y,z,Höhe\n".encode("latin-1")
    + "\n".join(f"{line},1" for line in lines(",")).encode(),
    "quoted.csv": "\n".join(
        ",".join(f'"{value:.6f}"' for value in row) for row in CLOUD.tolist()
    ).encode(),
    "excel_german.csv": "\n".join(["sep=;", "x;y;z", *lines(";")]).replace(".", ",").encode(),
    "tabs_between_names.txt": "\n".join(
        ["Point id\tX\tY\tZ", *(f"7\t{line}" for line in lines("\t"))]
    ).encode(),
    "pandas_unnamed.csv": "\n".join(
        [",0,1,2", *(f"{i},{line}" for i, line in enumerate(lines(",")))]
    ).encode(),
    "index_last.csv": "\n".join(
        ["y,z,x", *(",".join(line.split(",")[1:] + line.split(",")[:1]) for line in lines(","))]
    ).encode(),
    "comment_names.txt": "\n".join(
        ["//z;y;x", *(";".join(line.split(";")[::-1]) for line in lines(";"))]
    ).encode(),
    "paraview.csv": "\n".join(
        ['"Dist","Points:0","Points:1","Points:2"', *(f"1,{line}" for line in lines(","))]
    ).encode(),
    "scan.pts": "\n".join(["400", *(f"{line} -1 9 9 9" for line in lines())]).encode(),
    "trailing_tab.txt": "\n".join(f"{line}\t" for line in lines("\t")).encode(),
    "trailing_comma.csv": "\n".join(f"{line}, " for line in lines(", ")).encode(),
    "matlab.txt": b"% exported\n" + "\n".join(lines("   ", "{:.7e}")).encode(),
    "bom.off": codecs.BOM_UTF8 + "\n".join(["OFF", "400 0 0", *lines()]).encode(),
    "crlf.off": "\r\n".join(["OFF 400 0 0", *lines()]).encode(),
    "utf16.obj": "\n".join(f"v {line}" for line in lines()).encode("utf-16"),
    "old_mac.obj": "\r".join(f"v {line}" for line in lines()).encode(),
    "colours.obj": "\n".join(f"v {line} 0.5 0.5 0.5" for line in lines()).encode(),
    "lines.obj": "\n".join([*(f"v {line}" for line in lines()), "l 1 2 3", "p 4"]).encode(),
    "bom.ply": codecs.BOM_UTF8 + text_ply("format ascii 1.0", "element vertex 400", *AXES),
    "comment_end_header.ply": text_ply(
        "comment end_header follows",
        "format ascii 1.0",
        "obj_info end_header",
        "element vertex 400",
        *(axis.replace("float", "FLOAT") for axis in AXES),
        "element edge 0",
        "property int vertex1",
    ),
    "edges.ply": text_ply(
        "format ascii 1.0",
        "element edge 1",
        "property int a",
        "property int b",
        "element vertex 400",
        *AXES,
        first=["0 1"],
    ),
    "tabs.pcd": "\r\n".join(
        [
            *("version 0.7", "fields x y z", "size 4 4 4", "type F F F", "width 400", "height 1"),
            *("points 400", "data ascii", *lines("\t")),
        ]
    ).encode(),
}


@pytest.mark.parametrize("name", SIBLINGS)
def test_files_of_the_same_kinds(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(SIBLINGS[name])
    np.testing.assert_allclose(read_points(tmp_path / name), CLOUD, rtol=0, atol=3e-6)


def test_a_spreadsheet_may_begin_with_whole_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x;y;z\n1;2;3\n1,5;2;-3,25\n")
    np.testing.assert_array_equal(read_points(tmp_path / "a.csv"), [[1, 2, 3], [1.5, 2, -3.25]])
    (tmp_path / "b.csv").write_text("1;2;3\n1.234,5;2;3\n")
    with pytest.raises(DataError, match=r"could not convert string '1\.234\.5'"):
        read_points(tmp_path / "b.csv")


@pytest.mark.parametrize("word", ["-nan(ind)", "nan(snan)", "-1.#IND00", "1.#QNAN", "NaN", "-nan"])
@pytest.mark.parametrize("suffix", [".xyz", ".csv", ".obj", ".off"])
def test_every_spelling_of_nan(tmp_path: Path, word: str, suffix: str) -> None:
    rows = lines("," if suffix == ".csv" else " ")
    rows[3] = (",", " ")[suffix != ".csv"].join([word] * 3)
    if suffix == ".obj":
        rows = [f"v {row}" for row in rows]
    if suffix == ".off":
        rows = ["OFF", "400 0 0", *rows]
    (tmp_path / f"a{suffix}").write_text("\n".join(rows))
    points = read_points(tmp_path / f"a{suffix}", "keep")
    assert np.flatnonzero(np.isnan(points).any(1)).tolist() == [3] and len(points) == 400


def ascii_ply(rows: int, faces: int, body: list[str]) -> bytes:
    return "\n".join(
        ["ply", "format ascii 1.0", f"element vertex {rows}"]
        + [f"property float {axis}" for axis in "xyz"]
        + [f"element face {faces}", "property list uchar int vertex_indices", "end_header", *body]
    ).encode()


XYZ = "".join(f"property float {axis}\n" for axis in "xyz")
BINARY_STL = (
    bytes(80)
    + struct.pack("<I", 320)
    + b"".join(bytes(12) + triangle.astype("<f4").tobytes() + b"\0\0" for triangle in SOUP)
)
NOT_READ = {
    "count.txt": ("\n".join(["399", *lines()]).encode(), "announces 399 points, and 400 rows"),
    "count.pts": ("\n".join(["500", *lines()]).encode(), "announces 500 points, and 400 rows"),
    "nul.xyz": (b"\0" * 100, "binary data, expected text"),
    "zip.ply": (b"PK\x03\x04" + bytes(50), r"a ZIP archive, not a \.ply file; unpack it first"),
    "gz.npy": (gzip.compress(b"1 2 3"), "a gzip file"),
    "page.obj": (b"<!DOCTYPE html><html>", "a web page.*download the file itself"),
    "picture.xyz": (b"\x89PNG\r\n", "a PNG image"),
    "suffix.stl": (ply(XYZ, 400, CLOUD.tobytes()), r"a PLY file, not a \.stl file; name it \.ply"),
    "suffix.xyz": (b"# .PCD v0.7\n", "a PCD file"),
    "image.csv": ("\n".join([",".join(["7"] * 640)] * 480).encode(), "looks like a depth image"),
    "huge.ply": (ply(XYZ, 10**15, CLOUD.tobytes()), "cut off: 4,800 bytes, 1,000,000,000,000,000"),
    "less.ply": (ply(XYZ, 300, CLOUD.tobytes()), "holds 4,800 bytes.* announces 3,600"),
    "negative.ply": (ply(XYZ, -4, CLOUD.tobytes()), r"'element vertex -4' \(-4 rows\)"),
    "huge_text.ply": (ascii_ply(10**15, 0, lines()), "holds 400 rows.* announces 1,000,000,000"),
    "three.ply": (ascii_ply(400, 0, [f"{line} 1" for line in lines()]), "hold 4 numbers.* names 3"),
    "list.ply": (ascii_ply(400, 1, [*lines(), "4 0 1 2"]), "row 0 of 'face' is '4 0 1 2'"),
    "face.ply": (ascii_ply(400, 1, [*lines(), "3 0 1 400"]), "name the vertices 0 to 400"),
    "kind.ply": (ply("property real x\n", 1, bytes(4)), "'property real x' .*type 'real'"),
    "huge.pcd": (
        b"FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nWIDTH 999999999999\nHEIGHT 1\nDATA binary\n",
        "holds 0 bytes of points, its header announces 11,999,999,999,988",
    ),
    "wide.pcd": (
        "\n".join(
            ["FIELDS x y z", "SIZE 4 4 4", "TYPE F F F", "WIDTH 400", "DATA ascii"]
            + [f"{line} 5" for line in lines()]
        ).encode(),
        "rows hold 4 numbers, its header announces 3",
    ),
    "count.stl": (
        BINARY_STL[:80] + struct.pack("<I", 2) + BINARY_STL[84:],
        "announces 2 triangles, and there are bytes for 320",
    ),
    "cut.stl": (b"solid a\nfacet\nouter loop\nvertex 0 0 0\nvertex 1 0 0\n", "cut off: 1 solids"),
    "long.off": ("\n".join(["OFF", "399 0 0", *lines()]).encode(), "too long: 400 rows"),
    "huge.off": (b"OFF\n99999999999 0 0\n0 0 0\n", "cut off: 1 rows.* 99999999999 vertices"),
    "four.off": (b"4OFF\n1 0 0\n0 0 0 0\n", "four or more dimensions"),
    "zero.obj": (b"v 0 0 0\nf 0 1 1\n", "vertices are counted from 1"),
    "goes_on.obj": (b"v 0 0 0 \\", "goes on in one that is not there"),
    "cut.glb": (b"glTF" + struct.pack("<II", 2, 999), "cut off: 12 of 999 bytes"),
    "no.3mf": (b"no archive", "not readable as 3mf"),
}


@pytest.mark.parametrize("name", NOT_READ)
def test_what_cannot_be_read_whole_is_refused(tmp_path: Path, name: str) -> None:
    content, message = NOT_READ[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_content(tmp_path / name)


def test_bytes_after_the_last_triangle(tmp_path: Path) -> None:
    (tmp_path / "a.stl").write_bytes(BINARY_STL + b"made by a scanner")
    content = read_content(tmp_path / "a.stl")
    np.testing.assert_array_equal(content.points.reshape(-1, 3, 3), SOUP)
    assert content.notes == ("17 bytes after the last triangle passed over",)


def save(path: Path, array: NDArray) -> Path:
    np.save(path, array)
    return path


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (CLOUD.T, r"shape \[3, 400\].*transpose it"),
        (np.hstack([CLOUD, np.ones((400, 1))]).T, r"shape \[4, 400\].*transpose it"),
        (np.ones((480, 640)), r"shape \[480, 640\].*looks like a depth image"),
        (np.ones((20, 20, 3)), r"looks like an organised scan, so reshape it"),
        (np.ones((9, 3), complex), r"complex128 with shape \[9, 3\], expected numbers"),
        (np.ones((9, 3), bool), "bool"),
        (np.full((9, 3), "1"), "expected numbers"),
    ],
)
def test_arrays_of_another_shape(tmp_path: Path, array: NDArray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_content(save(tmp_path / "a.npy", array))


def test_arrays_of_other_kinds(tmp_path: Path) -> None:
    for array in (CLOUD.astype(">f4"), np.asfortranarray(CLOUD), CLOUD.astype(np.longdouble)):
        points = read_points(save(tmp_path / "a.npy", array))
        np.testing.assert_array_equal(points, CLOUD)
        assert points.dtype in (np.float32, np.float64) and points.dtype.isnative
    half = CLOUD.astype(np.float16)
    np.testing.assert_array_equal(read_points(save(tmp_path / "a.npy", half)), half)
    named = np.zeros(400, [("t", "f8"), ("x", "f4"), ("y", "f4"), ("z", "f4")])
    for axis, column in zip("xyz", CLOUD.T, strict=True):
        named[axis] = column
    np.testing.assert_array_equal(read_points(save(tmp_path / "a.npy", named)), CLOUD)


def test_an_array_larger_than_its_file(tmp_path: Path) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": (10**12, 3)}
    for name in ("a.npy", "a.npz"):
        buffer = io.BytesIO()
        np.lib.format.write_array_header_1_0(buffer, header)
        data = buffer.getvalue() + CLOUD.tobytes()
        if name == "a.npy":
            (tmp_path / name).write_bytes(data)
        else:
            with zipfile.ZipFile(tmp_path / name, "w") as archive:
                archive.writestr("points.npy", data)
        with pytest.raises(DataError, match=r"cut off: 4,800 bytes.*\[1000000000000, 3\] needs"):
            read_points(tmp_path / name)
    (tmp_path / "b.npy").write_bytes(data.replace(b"}", b" "))
    with pytest.raises(DataError, match="its header is damaged"):
        read_points(tmp_path / "b.npy")


@pytest.mark.parametrize("suffix", [".glb", ".3mf"])
def test_scenes_are_read_where_their_parts_stand(tmp_path: Path, suffix: str) -> None:
    trimesh = pytest.importorskip("trimesh")
    if suffix == ".3mf":
        pytest.importorskip("lxml")
    mesh = trimesh.Trimesh(TRUTH["vertices"], TRUTH["faces"], process=False)
    scene = trimesh.Scene([mesh])
    moved = np.eye(4)
    moved[:3, 3] = [100, 0, 0]
    scene.add_geometry(mesh.copy(), transform=moved)
    scene.export(tmp_path / f"a{suffix}")
    content = read_content(tmp_path / f"a{suffix}")
    triangles = content.points[content.faces]
    expected = np.concatenate([SOUP, SOUP + np.array([100, 0, 0])])

    def ordered(values: NDArray) -> NDArray:
        centres = values.mean(1)
        return centres[np.lexsort(centres.round(3).T)]

    np.testing.assert_allclose(ordered(triangles), ordered(expected), atol=2e-3)


def test_e57(tmp_path: Path) -> None:
    pye57 = pytest.importorskip("pye57", reason="the extra e57 is not installed")
    path = tmp_path / "a.e57"
    file = pye57.E57(str(path), mode="w")
    points = CLOUD.astype(np.float64)
    named = dict(zip(("cartesianX", "cartesianY", "cartesianZ"), points.T.copy(), strict=True))
    file.write_scan_raw(named)
    file.write_scan_raw(named, translation=np.array([100.0, 0, 0]))
    file.close()
    np.testing.assert_allclose(
        read_points(path), np.concatenate([points, points + np.array([100, 0, 0])]), atol=1e-9
    )
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(DataError, match="not a whole E57 file"):
        read_points(path)
