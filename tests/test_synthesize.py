import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh

from btp.data.formats import read_points
from btp.data.synthesis.own_meshes import find_meshes, load_oriented, synthesize
from btp.data.synthesis.scanner import SetSize
from btp.errors import DataError

SMALL = SetSize(train=1, normal=0, defective=1)
SCRIPT = Path(__file__).parents[1] / "scripts" / "synthesize.py"


def outwardness(mesh: trimesh.Trimesh) -> float:
    """Share of the area whose normals point away from the origin."""
    outward = (mesh.triangles_center * mesh.face_normals).sum(1) > 0
    return float(mesh.area_faces[outward].sum() / mesh.area)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 250.0])
def test_units_are_kept(tmp_path: Path, scale: float) -> None:
    (tmp_path / "meshes").mkdir()
    trimesh.creation.box((2 * scale, scale, scale)).export(tmp_path / "meshes" / "My Box.STL")
    out = synthesize(tmp_path / "meshes", tmp_path / "out", 0, SMALL, workers=1)
    points = read_points(out / "my_box" / "train" / "my_box_template0.pcd")
    radius = np.linalg.norm(points - points.mean(0), axis=1).max()
    assert radius == pytest.approx(scale * np.sqrt(6) / 2, rel=0.02)
    assert (out / "my_box" / "GT" / "my_box_bend0.txt").is_file()


def test_flipped_faces_of_an_open_mesh_are_turned_outward(tmp_path: Path) -> None:
    ball = trimesh.creation.icosphere(3)
    faces = ball.faces[ball.triangles_center[:, 2] < 0.7].copy()  # open at the top
    faces[::3] = faces[::3, ::-1]
    path = tmp_path / "bowl.ply"
    trimesh.Trimesh(ball.vertices, faces, process=False).export(path)
    assert outwardness(load_oriented(path)) == 1.0


def test_an_inside_out_mesh_in_two_pieces_is_turned(tmp_path: Path) -> None:
    ball = trimesh.creation.icosphere(2)
    halves = []
    for sign in (-1, 1):
        half = ball.copy()
        half.update_faces(sign * half.triangles_center[:, 2] > 0.05)
        halves.append(half)
    halves[0].invert()
    path = tmp_path / "halves.off"
    trimesh.util.concatenate(halves).export(path)
    assert outwardness(load_oriented(path)) == 1.0


def test_a_cavity_keeps_its_inward_faces(tmp_path: Path) -> None:
    inner = trimesh.creation.icosphere(2, radius=0.5)
    inner.invert()
    path = tmp_path / "hollow.stl"
    trimesh.util.concatenate([trimesh.creation.icosphere(2), inner]).export(path)
    mesh = load_oriented(path)
    inside = np.linalg.norm(mesh.triangles_center, axis=1) < 0.7
    assert ((mesh.triangles_center * mesh.face_normals).sum(1)[inside] < 0).all()


def test_bad_folders_and_meshes_say_what_is_wrong(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(DataError, match="no such folder"):
        synthesize(tmp_path / "nothing", out)
    (tmp_path / "readme.txt").write_text("no mesh")
    with pytest.raises(DataError, match=r"no mesh found; expected files \.3mf"):
        find_meshes(tmp_path)
    trimesh.creation.box().export(tmp_path / "part.stl")
    trimesh.creation.box().export(tmp_path / "Part.obj")
    with pytest.raises(DataError, match=r"its category 'part' is taken by Part\.obj"):
        find_meshes(tmp_path)
    (tmp_path / "Part.obj").unlink()
    (tmp_path / "flat.obj").write_text("v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n")
    with pytest.raises(DataError, match=r"flat\.obj.*without any area"):
        synthesize(tmp_path, out)
    assert not out.exists()


def test_the_script_refuses_a_folder_in_use_in_one_line(tmp_path: Path) -> None:
    trimesh.creation.box().export(tmp_path / "box.stl")
    command = [sys.executable, str(SCRIPT), f"source={tmp_path}", f"out={tmp_path}"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert run.returncode == 2
    assert run.stderr.strip().endswith("or remove this one.")
    assert "Traceback" not in run.stderr
