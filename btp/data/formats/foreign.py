"""Files that are not what their suffix says, told by their first bytes."""

from __future__ import annotations

_PACKED = "unpack it first"
_STARTS: tuple[tuple[bytes, tuple[str, ...], str, str], ...] = (
    # first bytes, suffixes that have them, what it is, what to do
    (b"version https://git-lfs", (), "a Git LFS pointer", "run `git lfs pull` where it came from"),
    (b"\x1f\x8b", (), "a gzip file", _PACKED),
    (b"BZh", (), "a bzip2 file", _PACKED),
    (b"\xfd7zXZ", (), "an xz file", _PACKED),
    (b"\x28\xb5\x2f\xfd", (), "a zstd file", _PACKED),
    (b"7z\xbc\xaf", (), "a 7z archive", _PACKED),
    (b"Rar!", (), "a RAR archive", _PACKED),
    (b"PK\x03\x04", (".npz", ".3mf"), "a ZIP archive", _PACKED),
    (b"\x93NUMPY", (".npy",), "a NumPy file", "name it .npy"),
    (b"\x89PNG", (), "a PNG image", "expected points"),
    (b"\xff\xd8\xff", (), "a JPEG image", "expected points"),
    (b"%PDF", (), "a PDF document", "expected points"),
    (b"\xd0\xcf\x11\xe0", (), "an old Office document", "save its table as CSV"),
    (b"\x89HDF", (), "an HDF5 file", "save its points as .npy or .ply"),
    (b"ASTM-E57", (".e57",), "an E57 file", "name it .e57"),
    (b"LASF", (".las", ".laz"), "a LAS file", "name it .las"),
    (b"glTF", (".glb",), "a GLB file", "name it .glb"),
    (b"ply\n", (".ply",), "a PLY file", "name it .ply"),
    (b"ply\r", (".ply",), "a PLY file", "name it .ply"),
    (b"# .PCD", (".pcd",), "a PCD file", "name it .pcd"),
    (b"<!DOCTYPE", (), "a web page", "download the file itself"),
    (b"<html", (), "a web page", "download the file itself"),
)
LONGEST = max(len(start) for start, *_ in _STARTS)


def foreign(start: bytes, suffix: str) -> str | None:
    """Return what a file of this suffix is by its first bytes, and what to do; None if it may be.

    Args:
        start: at least the first `LONGEST` bytes.
        suffix: in lower case, with its dot.
    """
    for first, suffixes, what, todo in _STARTS:
        if start.startswith(first) and suffix not in suffixes:
            return f"{what}, not a {suffix} file; {todo}"
    return None
