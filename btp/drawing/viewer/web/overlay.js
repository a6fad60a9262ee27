// What lies over the picture: the directions of the axes, and a ruler.

import { byId, drawing } from "viewer/dom";
import { brief, roundBelow } from "viewer/numbers";

const AXES = ["x", "y", "z"];

/** The scan's axes as the camera sees them, the farthest first. */
export function drawAxes(camera) {
  const seen = camera.matrixWorldInverse.elements;
  const ends = AXES.map((name, axis) => {
    const [x, y, depth] = [seen[4 * axis], -seen[4 * axis + 1], seen[4 * axis + 2]];
    return { name, x, y, depth };
  });
  ends.sort((a, b) => a.depth - b.depth);
  const parts = ends.flatMap(({ name, x, y }) => [
    drawing("line", { x2: 24 * x, y2: 24 * y, class: name }),
    drawing("text", { x: 33 * x, y: 33 * y }, name),
  ]);
  byId("axes").replaceChildren(...parts);
}

/** A round length, at the depth of the point that the camera turns around. */
export function drawRuler(unitsPerPixel) {
  const length = roundBelow(140 * unitsPerPixel);
  byId("ruler").style.width = `${length / unitsPerPixel}px`;
  byId("ruler").firstElementChild.textContent = `${brief(length)} units`;
}
