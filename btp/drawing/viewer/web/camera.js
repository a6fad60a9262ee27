// From which side to look at a scan, and what lies under the pointer.

const AZIMUTH = (35 * Math.PI) / 180; // as in pictures.py
const ELEVATION = (25 * Math.PI) / 180;

/** Unit vector to the viewer: of sixteen sides, the one that sees most of what is marked. */
export function bestView(cloud, detector) {
  const spot = markedSpot(cloud, detector);
  let [best, most] = [null, -Infinity];
  for (let step = 0; step < 8; step++) {
    for (const side of [1, -1]) {
      const towards = direction(AZIMUTH + (step * Math.PI) / 4, side * ELEVATION);
      const seen = towards.reduce((sum, part, axis) => sum + part * spot[axis], 0);
      if (seen > most + 1e-9) [best, most] = [towards, seen];
    }
  }
  return best;
}

/**
 * The nearest point whose spot covers a place of a pane: its row, or -1.
 *
 * @param size of the pane, in CSS pixels like the place.
 * @param spot radius of a spot at a distance of 1, likewise.
 */
export function rowUnder(cloud, camera, [x, y], [width, height], spot) {
  const matrix = camera.projectionMatrix.clone().multiply(camera.matrixWorldInverse).elements;
  const { positions } = cloud;
  let [found, nearest] = [-1, Infinity];
  for (let row = 0; row < positions.length / 3; row++) {
    const [px, py, pz] = [positions[3 * row], positions[3 * row + 1], positions[3 * row + 2]];
    const w = matrix[3] * px + matrix[7] * py + matrix[11] * pz + matrix[15];
    const right = (matrix[0] * px + matrix[4] * py + matrix[8] * pz + matrix[12]) / w;
    const up = (matrix[1] * px + matrix[5] * py + matrix[9] * pz + matrix[13]) / w;
    const dx = ((right + 1) / 2) * width - x;
    const dy = ((1 - up) / 2) * height - y;
    const reach = Math.max(3, spot / w);
    if (w > 0 && w < nearest && dx * dx + dy * dy < reach * reach) [found, nearest] = [row, w];
  }
  return found;
}

/** Mean of the anomalous points, or without ground truth of the highest scores, off the middle. */
function markedSpot({ positions, labels, scores }, detector) {
  let marked = labels ? [...labels.keys()].filter((row) => labels[row]) : [];
  if (marked.length === 0) {
    const values = scores[detector];
    const highest = Float32Array.from(values).sort();
    const limit = highest[Math.floor(0.99 * (values.length - 1))];
    marked = [...values.keys()].filter((row) => values[row] >= limit);
  }
  const whole = meanOf(positions, [...Array(positions.length / 3).keys()]);
  return meanOf(positions, marked).map((part, axis) => part - whole[axis]);
}

function meanOf(positions, rows) {
  const sum = [0, 0, 0];
  for (const row of rows) for (let axis = 0; axis < 3; axis++) sum[axis] += positions[3 * row + axis];
  return sum.map((part) => part / rows.length);
}

function direction(azimuth, elevation) {
  const flat = Math.cos(elevation);
  return [flat * Math.cos(azimuth), flat * Math.sin(azimuth), Math.sin(elevation)];
}
