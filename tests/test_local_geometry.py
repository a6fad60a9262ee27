import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from btp.errors import DataError
from btp.geometry import local_geometry as module
from btp.geometry.local_geometry import channel_names, local_geometry, surface_channels
from btp.geometry.orientation import oriented_normals

NAMES = channel_names()


def described(dense: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Local geometry, with the spacing in units of its median over the queries."""
    return surface_channels(local_geometry(dense, queries))[:, : len(NAMES)]


def ball(count: int, rng: np.random.Generator) -> np.ndarray:
    points = rng.standard_normal((count, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def column(features: np.ndarray, name: str) -> np.ndarray:
    """A channel as it was before scaling and compression."""
    kind = name.rstrip("0123456789_")
    if kind in module.CROSS_CHANNELS:
        place, level, spread = (
            module.CROSS_CHANNELS.index(kind),
            module.CROSS_LEVEL,
            module.CROSS_SPREAD,
        )
    else:
        place, level, spread = module.SCALE_CHANNELS.index(kind), module.LEVEL, module.SPREAD
    value = features[:, NAMES.index(name)] * spread[place] + level[place]
    if kind in ("crease", "tilt"):
        return np.exp(value) - 1e-3
    if kind == "thickness":
        return np.exp(value) - 0.01
    if kind == "drift":
        return value**2
    return value if kind in ("elongation", "spacing") else np.sinh(value) / 20


def naive_scale(cloud, normals, point, size):
    """The channels of one neighbourhood, by loops and LAPACK; without spacing."""
    order = np.argsort(np.linalg.norm(cloud - point, axis=1))[:size]
    near = cloud[order].astype(float)
    radius = np.linalg.norm(near[-1] - point)
    centroid = near.mean(0)
    values, vectors = np.linalg.eigh(np.cov((near - centroid).T, bias=True))
    own = normals[order[0]]
    normal = vectors[:, 0] * (1 if vectors[:, 0] @ own >= 0 else -1)
    heights = np.array([(q - point) @ normal for q in near]) / radius
    flat = centroid - point - ((centroid - point) @ normal) * normal
    cosines = np.abs([normals[j] @ own for j in order])
    skew = np.cbrt(((heights - heights.mean()) ** 3).mean())
    return {
        "elongation": 1 - np.sqrt(values[1] / values[2]),
        "thickness": np.sqrt(values[0]) / radius,
        "offset": heights.mean(),
        "drift": np.linalg.norm(flat) / radius,
        "skew": skew,
        "top": heights.max(),
        "bottom": heights.min(),
        "crease": 1 - cosines.mean(),
    }, (normal, centroid, radius)


def test_naive_twin():
    rng = np.random.default_rng(0)
    cloud = (ball(600, rng) * (1, 0.7, 0.4)).astype(np.float32)
    cloud += rng.normal(0, 0.01, cloud.shape).astype(np.float32)
    cloud = (cloud - cloud.mean(0)) / np.ptp(cloud, axis=0).max()
    got = described(cloud, np.arange(40))
    normals = oriented_normals(cloud)
    for i in range(40):
        twins = {size: naive_scale(cloud, normals, cloud[i], size) for size in (16, 48, 128)}
        for size, (values, _) in twins.items():
            for name, value in values.items():
                assert column(got, f"{name}{size}")[i] == pytest.approx(value, abs=3e-3), name
        (normal, centroid, _), (wide, wide_centroid, radius) = twins[16][1], twins[48][1]
        step = (centroid - wide_centroid) @ wide / radius
        assert column(got, "step16_48")[i] == pytest.approx(step, abs=3e-3)
        assert column(got, "tilt16_48")[i] == pytest.approx(1 - abs(normal @ wide), abs=3e-3)


def test_contrast_is_relative_to_the_cloud():
    geometry = np.zeros((2, len(NAMES)), np.float32)
    geometry[:, NAMES.index("offset16")] = 1, 3
    geometry[:, NAMES.index("spacing48")] = 4, 8
    channels = surface_channels(geometry)
    assert channels.shape == (2, module.CHANNELS)
    given, contrast = np.split(channels, 2, axis=1)
    np.testing.assert_array_equal(given[:, NAMES.index("offset16")], [1, 3])
    np.testing.assert_array_equal(given[:, NAMES.index("spacing48")], [-2, 2])
    found = contrast[:, [NAMES.index(name) for name in ("offset16", "spacing48", "top16")]]
    np.testing.assert_allclose(found, [[-1 / 1.2, -2 / 2.2, 0], [1 / 1.2, 2 / 2.2, 0]], rtol=1e-6)


def test_samplings_stand_out_each_from_itself():
    geometry = np.random.default_rng(0).normal(size=(3, 20, len(NAMES))).astype(np.float32)
    spacing = ["spacing" in name for name in NAMES]
    together, alone = surface_channels(geometry), np.stack([surface_channels(g) for g in geometry])
    others = [*~np.array(spacing)] * 2
    np.testing.assert_array_equal(together[..., others], alone[..., others])
    spacings = together[..., : len(NAMES)][..., spacing].reshape(-1, 3)
    np.testing.assert_allclose(np.median(spacings, 0), 0, atol=1e-6)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3))
def test_pose_and_scale_do_not_matter(seed, scale):
    rng = np.random.default_rng(seed)
    cloud = ball(2000, rng) * (1, 0.7, 0.4)
    turn = Rotation.random(rng=rng).as_matrix()
    moved = scale * (cloud @ turn.T + rng.standard_normal(3))
    rows = np.arange(0, 2000, 40)
    difference = np.abs(described(cloud, rows) - described(moved, rows))
    assert np.quantile(difference, 0.98) < 2e-2  # rounding may swap equally far neighbours


def test_plane_is_flat_and_its_border_drifts():
    rng = np.random.default_rng(1)
    plane = np.column_stack([rng.uniform(-1, 1, (8000, 2)), np.zeros(8000)])
    inner = described(plane, np.flatnonzero(np.abs(plane).max(1) < 0.7))
    border = described(plane, np.flatnonzero(np.abs(plane).max(1) > 0.99))
    for name in ("thickness48", "offset48", "top128", "crease128", "step16_48", "tilt48_128"):
        assert np.abs(column(inner, name)).max() < 1e-3, name
    assert column(inner, "drift128").mean() < 0.08
    assert column(border, "drift128").mean() > 0.3


def test_ball_has_the_offset_of_its_cap():
    rng = np.random.default_rng(2)
    features = described(ball(12_000, rng), np.arange(1000))
    # 128 of 12,000 even points: a cap of height 2 * 128 / 12,000 on the unit ball.
    height = 2 * 128 / 12_000
    radius = np.sqrt(2 * height)
    assert column(features, "offset128").mean() == pytest.approx(-height / 2 / radius, rel=0.03)
    assert column(features, "bottom128").mean() == pytest.approx(-height / radius, rel=0.05)


def test_a_dent_has_the_other_sign_than_a_bump():
    rng = np.random.default_rng(3)
    cloud = ball(12_000, rng)
    near = np.exp(-(((cloud - (0, 0, 1)) / 0.15) ** 2).sum(1))
    middle = np.array([[0.0, 0, 1]])
    bump = described(cloud * (1 + 0.06 * near)[:, None], middle * 1.06)
    dent = described(cloud * (1 - 0.06 * near)[:, None], middle * 0.94)
    assert column(bump, "offset128")[0] < -0.05 < 0.05 < column(dent, "offset128")[0]


def test_density_hardly_matters_above_the_limit():
    rng = np.random.default_rng(5)
    queries = ball(300, rng)
    sparse = described(ball(16_384, rng) * (1, 0.8, 0.6), queries * (1, 0.8, 0.6))
    dense = described(ball(60_000, rng) * (1, 0.8, 0.6), queries * (1, 0.8, 0.6))
    for name in ("offset128", "thickness128", "crease128", "spacing48"):
        assert column(sparse, name).mean() == pytest.approx(column(dense, name).mean(), abs=0.01)


def test_a_cloud_smaller_than_the_neighbourhood():
    cloud = ball(32, np.random.default_rng(6))
    features = described(cloud, np.arange(32))
    assert features.shape == (32, len(NAMES))
    np.testing.assert_array_equal(column(features, "offset48"), column(features, "offset128"))


def test_rows_and_points_agree():
    cloud = ball(500, np.random.default_rng(7))
    rows = np.array([3, 499, 0])
    np.testing.assert_array_equal(described(cloud, rows), described(cloud, cloud[rows]))


@pytest.mark.parametrize(
    ("cloud", "words"), [(np.zeros((100, 3)), "all points"), (np.ones((5, 3)), r"\(5, 3\).*16")]
)
def test_bad_clouds(cloud, words):
    with pytest.raises(DataError, match=words):
        described(cloud, np.arange(3))


def test_known_normals_change_nothing():
    rng = np.random.default_rng(3)
    cloud = ball(900, rng) * (3, 2, 1) + 5
    rows = rng.permutation(900)[: module.CHUNK + 50]
    known = module.dense_normals(cloud, 700)
    assert known.shape == (700, 3)
    np.testing.assert_array_equal(
        local_geometry(cloud, rows, max_dense=700, normals=known),
        local_geometry(cloud, rows, max_dense=700),
    )


def test_chunks_change_nothing(monkeypatch):
    rng = np.random.default_rng(4)
    cloud = ball(400, rng) * (1, 0.6, 0.5)
    whole = described(cloud, np.arange(300))
    monkeypatch.setattr(module, "CHUNK", 77)
    np.testing.assert_allclose(described(cloud, np.arange(300)), whole, atol=1e-4)
