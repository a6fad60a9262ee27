"""Constructive solid geometry on point samples: bodies that can be sampled, joined and cut.

A solid is two functions: one draws points of its surface, uniform by area, the other tells what
lies inside. Joining and cutting then need no mesh booleans: a union drops the points of each body
that lie inside another, a difference also takes the tool's surface inside the body, turned inside
out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Relief = Callable[[Array, Array], Array]  # (angle, height) -> factor on the radius


class Solid(NamedTuple):
    """A body in space.

    Attributes:
        draw: (points per unit area, generator) -> points [N, 3] and outward unit normals [N, 3].
        contains: points [N, 3] -> bool [N], True inside.
    """

    draw: Callable[[float, np.random.Generator], tuple[Array, Array]]
    contains: Callable[[Array], Mask]


def sample(solid: Solid, count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draw exactly `count` points, uniform by area.

    Returns:
        Points [count, 3] and outward unit normals [count, 3], in random order.
    """
    density = 100.0
    points, normals = solid.draw(density, rng)
    while len(points) < count:
        density *= 1.05 * max(count / max(len(points), 1), 1.05)
        points, normals = solid.draw(density, rng)
    chosen = rng.permutation(len(points))[:count]
    return points[chosen], normals[chosen]


def union(*solids: Solid) -> Solid:
    """Join bodies; surface inside another body vanishes."""

    def draw(density: float, rng: np.random.Generator) -> tuple[Array, Array]:
        drawn = [solid.draw(density, rng) for solid in solids]
        kept = [
            ~_any(points, [other for other in solids if other is not solid])
            for solid, (points, _) in zip(solids, drawn, strict=True)
        ]
        pairs = list(zip(drawn, kept, strict=True))
        return (
            np.concatenate([points[keep] for (points, _), keep in pairs]),
            np.concatenate([normals[keep] for (_, normals), keep in pairs]),
        )

    return Solid(draw, lambda points: _any(points, solids))


def difference(body: Solid, *tools: Solid) -> Solid:
    """Cut the tools out of the body; the cut surface is the tools', turned inside out."""
    tool = union(*tools) if len(tools) > 1 else tools[0]

    def draw(density: float, rng: np.random.Generator) -> tuple[Array, Array]:
        points, normals = body.draw(density, rng)
        cut, cut_normals = tool.draw(density, rng)
        outside, inside = ~tool.contains(points), body.contains(cut)
        return (
            np.concatenate([points[outside], cut[inside]]),
            np.concatenate([normals[outside], -cut_normals[inside]]),
        )

    return Solid(draw, lambda points: body.contains(points) & ~tool.contains(points))


def moved(
    solid: Solid, rotation: Array | None = None, offset: Sequence[float] = (0, 0, 0)
) -> Solid:
    """Rotate a body by `rotation` [3, 3] about the origin, then shift it by `offset`."""
    turn = np.eye(3) if rotation is None else rotation
    shift = np.asarray(offset, float)

    def draw(density: float, rng: np.random.Generator) -> tuple[Array, Array]:
        points, normals = solid.draw(density, rng)
        return points @ turn.T + shift, normals @ turn.T

    return Solid(draw, lambda points: solid.contains((points - shift) @ turn))


def revolve(profile: Array, relief: Relief | None = None, step: float = 0.05) -> Solid:
    """Turn a closed outline about the z axis.

    Args:
        profile: [P, 2] radius and height of a closed outline; a radius of 0 is on the axis.
        relief: optional factor on the radius by angle and height: flutes, lobes, threads.
        step: longest piece of outline between two rings of vertices; fine enough for the relief.
    """
    outline = densify(profile, step)
    if _signed_area(outline) < 0:
        outline = outline[::-1]
    outline = np.concatenate([outline, outline[:1]])
    angle = np.linspace(0, 2 * np.pi, 129)[None, :]
    radius, height = outline[:, :1], outline[:, 1:]
    wavy = radius * (relief(angle, height) if relief else np.ones_like(angle))
    level = np.broadcast_to(height, wavy.shape)
    grid = np.stack([wavy * np.cos(angle), wavy * np.sin(angle), level], -1)

    def contains(points: Array) -> Mask:
        radius = np.hypot(points[:, 0], points[:, 1])
        if relief:
            radius = radius / relief(np.arctan2(points[:, 1], points[:, 0]), points[:, 2])
        return inside_outlines(np.stack([radius, points[:, 2]], 1), [profile])

    return Solid(draw_triangles(grid_triangles(grid)), contains)


def extrude(outlines: Sequence[Array], height: float) -> Solid:
    """Pull closed outlines, holes among them (even-odd rule), along z to ±height / 2."""
    walls = []
    for outline in outlines:
        # Holes are wound against the outer outline: their walls face away from the material.
        others = [other for other in outlines if other is not outline]
        hole = inside_outlines(outline[:1], others)[0]
        loop = outline if (_signed_area(outline) > 0) != hole else outline[::-1]
        loop = np.concatenate([loop, loop[:1]])
        levels = np.array([-height / 2, height / 2])
        grid = np.stack([np.column_stack([loop, np.full(len(loop), z)]) for z in levels])
        walls.append(grid_triangles(grid))
    draw_walls = draw_triangles(np.concatenate(walls))
    corners = np.concatenate(list(outlines))
    low, extent = corners.min(0), np.ptp(corners, axis=0)

    def draw(density: float, rng: np.random.Generator) -> tuple[Array, Array]:
        points, normals = draw_walls(density, rng)
        flat = low + extent * rng.random((round(2 * density * float(extent.prod())), 2))
        flat = flat[inside_outlines(flat, outlines)]
        side = rng.choice([-1.0, 1.0], len(flat))
        caps = np.column_stack([flat, side * height / 2])
        cap_normals = np.column_stack([np.zeros_like(flat), side])
        return np.concatenate([points, caps]), np.concatenate([normals, cap_normals])

    def contains(points: Array) -> Mask:
        within = np.abs(points[:, 2]) < height / 2
        within[within] = inside_outlines(points[within, :2], outlines)
        return within

    return Solid(draw, contains)


def sweep(path: Array, radius: float | Array) -> Solid:
    """Make a round bar along a path, with rounded ends.

    Args:
        path: [S, 3] points of the centre line, dense against its curvature.
        radius: one radius, or one for each point of the path.
    """
    widths = np.broadcast_to(np.asarray(radius, float), len(path))
    tree, reach = cKDTree(path), float(widths.max())  # the bar is a row of balls

    def contains(points: Array) -> Mask:
        distance, nearest = tree.query(points, distance_upper_bound=reach)  # beyond: inf, row S
        return np.asarray(distance < np.append(widths, 0)[nearest])

    path, radii = _with_round_ends(path, widths)
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    side = np.empty_like(path)
    side[0] = np.cross(tangent[0], np.eye(3)[np.argmin(np.abs(tangent[0]))])
    side[0] /= np.linalg.norm(side[0])
    for i in range(1, len(path)):  # carried along, so that the cross-section does not twist
        side[i] = side[i - 1] - tangent[i] * (side[i - 1] @ tangent[i])
        side[i] /= np.linalg.norm(side[i])
    up = np.cross(tangent, side)
    angle = np.linspace(0, 2 * np.pi, 49)[None, :, None]
    ring = np.cos(angle) * side[:, None] + np.sin(angle) * up[:, None]  # [S, 49, 3]
    grid = path[:, None] + radii[:, None, None] * ring
    return Solid(draw_triangles(grid_triangles(grid)), contains)


def superquadric(size: Sequence[float], roundness: tuple[float, float]) -> Solid:
    """Make a body between box, ball and octahedron (Barr, 1981).

    It holds the points with (|x/a|^(2/e2) + |y/b|^(2/e2))^(e2/e1) + |z/c|^(2/e1) <= 1.

    Args:
        size: half axes a, b, c.
        roundness: (e1, e2): 1 is round, towards 0 a box, 2 an octahedron.
    """
    tall, wide = roundness
    v = np.linspace(-np.pi / 2, np.pi / 2, 65)[:, None]
    u = np.linspace(-np.pi, np.pi, 129)[None, :]

    def power(value: Array, exponent: float) -> Array:
        return np.sign(value) * np.abs(value) ** exponent

    ring = power(np.cos(v), tall)
    grid = np.stack(
        [
            size[0] * ring * power(np.cos(u), wide),
            size[1] * ring * power(np.sin(u), wide),
            size[2] * power(np.sin(v), tall) * np.ones_like(u),
        ],
        -1,
    )

    def contains(points: Array) -> Mask:
        x, y, z = np.abs(points / np.asarray(size)).T
        level = (x ** (2 / wide) + y ** (2 / wide)) ** (wide / tall) + z ** (2 / tall)
        return np.asarray(level < 1)

    return Solid(draw_triangles(grid_triangles(grid)), contains)


def inside_outlines(points: Array, outlines: Sequence[Array]) -> Mask:
    """Tell which points [N, 2] lie inside closed outlines [P, 2] each, by the even-odd rule."""
    order = np.argsort(points[:, 1])
    x, y = points[order].T
    odd = np.zeros(len(points), bool)
    for outline in outlines:
        for (x0, y0), (x1, y1) in zip(outline, np.roll(outline, -1, 0), strict=True):
            if y0 == y1:
                continue
            span = slice(*np.searchsorted(y, (min(y0, y1), max(y0, y1))))
            odd[span] ^= x[span] < x0 + (y[span] - y0) * (x1 - x0) / (y1 - y0)
    result = np.empty_like(odd)
    result[order] = odd
    return result


def _any(points: Array, solids: Sequence[Solid]) -> Mask:
    inside = np.zeros(len(points), bool)
    for solid in solids:
        inside[~inside] = solid.contains(points[~inside])
    return inside


def draw_triangles(
    triangles: Array,
) -> Callable[[float, np.random.Generator], tuple[Array, Array]]:
    """Return a sampler, even by area, of triangles [T, 3, 3] (counter-clockwise from outside)."""
    first, second = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    normal = np.cross(first, second)
    double_area = np.linalg.norm(normal, axis=1)
    cumulative = np.cumsum(double_area / 2)

    def draw(density: float, rng: np.random.Generator) -> tuple[Array, Array]:
        count = round(density * float(cumulative[-1]))
        chosen = np.searchsorted(cumulative, rng.random(count) * cumulative[-1])
        u, v = rng.random((2, count, 1))
        fold = u + v > 1
        u, v = np.where(fold, 1 - u, u), np.where(fold, 1 - v, v)
        points = triangles[chosen, 0] + u * first[chosen] + v * second[chosen]
        return points, normal[chosen] / double_area[chosen, None]

    return draw


def grid_triangles(grid: Array) -> Array:
    """Split a grid of vertices [U, V, 3] into triangles [T, 3, 3]; normals along d/dv x d/du."""
    a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]
    return np.concatenate([np.stack([a, b, c], 2), np.stack([a, c, d], 2)]).reshape(-1, 3, 3)


def densify(outline: Array, step: float) -> Array:
    """Split the edges of a closed outline into pieces no longer than `step`."""
    following = np.roll(outline, -1, 0)
    pieces = []
    for start, end in zip(outline, following, strict=True):
        count = max(1, int(np.ceil(np.linalg.norm(end - start) / step)))
        pieces.append(start + np.arange(count)[:, None] / count * (end - start))
    return np.concatenate(pieces)


def _signed_area(outline: Array) -> float:
    (x, y), (nx, ny) = outline.T, np.roll(outline, -1, 0).T
    return float((x * ny - nx * y).sum() / 2)


def _with_round_ends(path: Array, radii: Array) -> tuple[Array, Array]:
    """Prolong a path by half a ball of its own radius at both ends."""
    depth = np.sin(np.linspace(0, np.pi / 2, 9)[1:])
    head, tail = path[0] - path[1], path[-1] - path[-2]
    head, tail = head / np.linalg.norm(head), tail / np.linalg.norm(tail)
    shrink = np.sqrt(np.maximum(1 - depth**2, 1e-6))
    return (
        np.concatenate(
            [
                path[0] + (depth[::-1, None] * radii[0]) * head,
                path,
                path[-1] + (depth[:, None] * radii[-1]) * tail,
            ]
        ),
        np.concatenate([shrink[::-1] * radii[0], radii, shrink * radii[-1]]),
    )
