// The page's data: what is known of all scans at once, and each scan's points when it is looked at.

const KEPT = 8; // scans that stay decoded
const LEVELS = 63; // of a normal's coordinates; see columns.py
const decoded = new Map();

/**
 * What the writer knows of the scans: see `about` in encoding.py.
 * Adds to it: `detectors`, their names; `ranges`, detector -> {low, high} over all scans.
 */
export function readPage() {
  const page = JSON.parse(document.getElementById("page").textContent);
  page.detectors = Object.keys(page.scans[0].detectors);
  page.ranges = Object.fromEntries(
    page.detectors.map((name) => [name, rangeOf(page.scans.map((scan) => scan.detectors[name]))]),
  );
  return page;
}

/** Lowest and highest of some score summaries; from 0 where none is negative, never empty. */
export function rangeOf(summaries) {
  const low = Math.min(0, ...summaries.map((summary) => summary.low));
  const high = Math.max(...summaries.map((summary) => summary.high));
  return { low, high: high > low ? high : low + 1 };
}

/** A scan's share of points above a threshold: of all its points, not only of those shown. */
export function shareAbove({ low, high, counts }, total, threshold) {
  if (threshold < low) return 1;
  if (threshold >= high) return 0;
  const place = ((threshold - low) / (high - low)) * counts.length;
  const first = Math.floor(place);
  const after = counts.slice(first + 1).reduce((sum, count) => sum + count, 0);
  return (after + counts[first] * (1 - (place - first))) / total;
}

/** Threshold of `other` above which as many points of all scans lie as above that of `first`. */
export function equalThreshold(scans, first, threshold, other, { low, high }) {
  const above = (name, value) =>
    scans.reduce((sum, { detectors, total }) => sum + total * shareAbove(detectors[name], total, value), 0);
  const wanted = above(first, threshold);
  let [below, reached] = [low, high];
  for (let halving = 0; halving < 30; halving++) {
    const middle = (below + reached) / 2;
    if (above(other, middle) > wanted) below = middle;
    else reached = middle;
  }
  return reached;
}

/** Promise of a scan's points; the last few stay in memory. */
export function loadScan(page, number) {
  const known = decoded.get(number);
  decoded.delete(number);
  decoded.set(number, known ?? decode(page, number));
  if (decoded.size > KEPT) decoded.delete(decoded.keys().next().value);
  return decoded.get(number);
}

async function decode(page, number) {
  const about = page.scans[number];
  const text = document.getElementById(`scan-${number}`).textContent;
  const column = columnReader(await decompress(text), about.shown);
  const box = [column(), column(), column()];
  const { positions, centre, radius } = place(box, about);
  const normals = unfold(column(), column());
  const scores = {};
  for (const name of page.detectors) {
    const { offset, step } = about.detectors[name];
    scores[name] = Float32Array.from(column(), (level) => offset + level * step);
  }
  const labels = "defective" in about ? column() : null;
  const regions = "regions" in about ? column() : null;
  return { about, positions, centre, radius, normals, scores, labels, regions };
}

async function decompress(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Undoes `pack` in columns.py: a function that returns the next column each time. */
function columnReader(bytes, count) {
  let start = 0;
  return () => {
    const values = new Uint16Array(count);
    let value = 0;
    for (let row = 0; row < count; row++) {
      const folded = bytes[start + row] | (bytes[start + count + row] << 8);
      value += (folded >> 1) ^ -(folded & 1);
      values[row] = value; // modulo 65,536
    }
    start += 2 * count;
    return values;
  };
}

/** Positions around the middle of the box, so that far-off coordinates stay exact in 32 bits. */
function place([x, y, z], { low, step }) {
  const middle = [x, y, z].map((levels) => levels.reduce((a, b) => Math.max(a, b), 0) / 2);
  const positions = new Float32Array(3 * x.length);
  let squared = 0;
  for (let row = 0; row < x.length; row++) {
    const [dx, dy, dz] = [x[row] - middle[0], y[row] - middle[1], z[row] - middle[2]];
    positions.set([dx * step, dy * step, dz * step], 3 * row);
    squared = Math.max(squared, dx * dx + dy * dy + dz * dz);
  }
  const centre = low.map((lowest, axis) => lowest + middle[axis] * step);
  return { positions, centre, radius: Math.sqrt(squared) * step || 1 };
}

/** Normals of `quantise_normals` in columns.py. */
function unfold(first, second) {
  const normals = new Float32Array(3 * first.length);
  for (let row = 0; row < first.length; row++) {
    const [u, v] = [(2 * first[row]) / LEVELS - 1, (2 * second[row]) / LEVELS - 1];
    const [x, y] = [(u + v) / 2, (u - v) / 2];
    const z = Math.max(0, 1 - Math.abs(x) - Math.abs(y));
    const length = Math.hypot(x, y, z);
    normals.set([x / length, y / length, z / length], 3 * row);
  }
  return normals;
}
