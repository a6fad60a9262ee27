"""Set-up's promises: import loads little, no system libraries, a torchvision that imports."""

from __future__ import annotations

import importlib.metadata
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from packaging.markers import Marker

import btp

# Part of every glibc system or of the wheel; libX11 and libGL are what the 0.19 wheel adds to it.
SYSTEM_LIBRARIES = {
    *("ld-linux-x86-64.so.2", "libc.so.6", "libdl.so.2", "libgcc_s.so.1", "libm.so.6"),
    *("libpthread.so.0", "librt.so.1", "libstdc++.so.6", "libgomp.so.1"),
    *("libX11.so.6", "libGL.so.1", "libudev.so.1"),
}

FAILING_IMPORT = """
import torch
torch.version.cuda = {cuda!r}
from btp.runtime.torchvision_shim import ensure_importable
ensure_importable()
"""


def run(code: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ)
    if path is not None:
        environment["PYTHONPATH"] = f"{path}{os.pathsep}{environment.get('PYTHONPATH', '')}"
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )


def fake_torchvision(folder: Path, body: str) -> Path:
    (folder / "torchvision.py").write_text(body)
    return folder


HEAVY = {"torch", "numpy", "scipy", "hydra", "open3d", "open_clip", "timm", "sklearn", "matplotlib"}


def imported(code: str) -> set[str]:
    """The heavy packages that some code imports in a new process."""
    done = run(f"import sys\n{code}\nprint(*sys.modules)")
    assert done.returncode == 0, done.stderr
    return HEAVY & set(done.stdout.split())


def test_import_loads_no_package() -> None:
    assert imported("import btp; dir(btp)") == set()


def test_modules_load_only_what_they_work_with() -> None:
    needed = {"torch", "numpy", "scipy"}
    assert imported("import btp; btp.metrics, btp.geometry.sampling") <= needed


def test_help_loads_nothing_that_scores() -> None:
    code = "import sys\nfrom btp.commands import entry\nsys.argv[1:] = {}\nentry.main()"
    assert imported(code.format(["--help"])) == set()
    assert imported(code.format(["predict", "--help"])) <= {"hydra"}


def test_types_of_what_load_gives_are_exported() -> None:
    assert {btp.Prediction.__name__, btp.Inspector.__name__} == {"Prediction", "Inspector"}
    assert btp.GoodScans.__module__ == "btp.inspect.reference"


def test_unknown_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'btp' has no attribute 'nothing'"):
        _ = btp.nothing
    assert {"load", "metrics", "geometry", "__version__"} <= set(dir(btp))


def test_version_is_the_installed_one() -> None:
    assert btp.__version__ == importlib.metadata.version("btp")


def test_open_clip_imports_after_the_shim() -> None:
    done = run(
        "from btp.runtime.torchvision_shim import ensure_importable\n"
        "ensure_importable(); ensure_importable()\n"
        "import open_clip, timm, torchvision.transforms; print(open_clip.__version__)"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == importlib.metadata.version("open_clip_torch")


def test_shim_is_inactive_where_torchvision_imports(tmp_path: Path) -> None:
    path = fake_torchvision(tmp_path, "print('imported')")
    code = (
        "from btp.runtime import torchvision_shim; import torch\n"
        "torchvision_shim.ensure_importable()\n"
        "print(torchvision_shim._declared, hasattr(torch.ops.torchvision, 'nms'))"
    )
    assert run(code, path).stdout.split("\n") == ["imported", "[] False", ""]


@pytest.mark.parametrize("cuda", [None, "13.0"])
def test_shim_declares_only_beside_a_cpu_torch(tmp_path: Path, cuda: str | None) -> None:
    body = (
        "import torch\n"
        "if not hasattr(torch.ops.torchvision, 'nms'):\n"
        "    raise RuntimeError('operator torchvision::nms does not exist')\n"
        "print('imported')"
    )
    done = run(FAILING_IMPORT.format(cuda=cuda), fake_torchvision(tmp_path, body))
    if cuda is None:
        assert (done.returncode, done.stdout) == (0, "imported\n"), done.stderr
    else:
        assert done.stderr.endswith("RuntimeError: operator torchvision::nms does not exist\n")


@pytest.mark.parametrize(
    "error", ["RuntimeError('operator torchvision::roi_align does not exist')", "OSError('disk')"]
)
def test_shim_passes_other_errors_on(tmp_path: Path, error: str) -> None:
    path = fake_torchvision(tmp_path, f"print('tried')\nraise {error}")
    done = run(FAILING_IMPORT.format(cuda=None), path)
    name, _, message = error.partition("('")
    assert done.stderr.endswith(f"{name}: {message[:-2]}\n")
    assert done.stdout == "tried\n"


def test_pins_cover_what_is_installed(repository: Path) -> None:
    pins = {}
    for line in (repository / "constraints.txt").read_text().splitlines():
        pin, _, marker = line.partition(";")
        if pin and not pin.startswith("#") and (not marker or Marker(marker).evaluate()):
            name, _, version = pin.partition("==")
            pins[name] = version.strip()
    assert torch.__version__.partition("+")[0] == pins["torch"]
    for name in ("numpy", "scipy", "torchvision", "timm", "open_clip_torch", "scikit-learn"):
        assert importlib.metadata.version(name).partition("+")[0] == pins[name.replace("_", "-")]


@pytest.mark.skipif(sys.platform != "linux", reason="reads ELF files")
def test_open3d_links_no_unusual_library() -> None:
    try:
        files = importlib.metadata.files("open3d-cpu") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("Open3D is not installed")
    libraries = [Path(str(file.locate())) for file in files if ".so" in file.name]
    extensions = [path for path in libraries if path.name.startswith("pybind.")]
    assert extensions
    shipped = {path.name for path in libraries}
    for extension in extensions:
        assert needed_libraries(extension) - shipped <= SYSTEM_LIBRARIES


def needed_libraries(path: Path) -> set[str]:
    """The DT_NEEDED entries of a 64-bit little-endian ELF file."""
    data = path.read_bytes()
    assert data[:6] == b"\x7fELF\x02\x01"
    (offset,), (size, count) = (
        struct.unpack_from("<Q", data, 40),
        struct.unpack_from("<HH", data, 58),
    )
    # Of each section: type, offset, size, and the index of its string table.
    sections = []
    for header in range(offset, offset + size * count, size):
        _, kind, _, _, start, length, link = struct.unpack_from("<IIQQQQI", data, header)
        sections.append((kind, start, length, link))
    ((_, start, length, link),) = [
        section for section in sections if section[0] == 6
    ]  # SHT_DYNAMIC
    strings = sections[link][1]
    entries = [struct.unpack_from("<qQ", data, start + i) for i in range(0, length, 16)]
    names = [strings + value for tag, value in entries if tag == 1]  # DT_NEEDED
    return {data[name : data.index(b"\0", name)].decode() for name in names}
