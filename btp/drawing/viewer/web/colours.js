// Colours. Scores have those of the pictures (`COLOURS` in pictures.py), which come with the page.

/** Beside the ground truth: Okabe and Ito's colours, told apart without full colour vision. */
export const VERDICTS = { found: "#009e73", missed: "#0072b2", alarm: "#e69f00" };

export const REGIONS = [
  "#d55e00",
  "#0072b2",
  "#009e73",
  "#cc79a7",
  "#e69f00",
  "#56b4e9",
  "#7a4fb5",
  "#a6a000",
];

export const OUTSIDE = "#8d8d8d"; // above the threshold, but in no region

/** Red, green and blue in 0..1 of "#rrggbb". */
export function channels(colour) {
  return [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16) / 255);
}

/** Colour of a value in 0..1 between evenly spaced stops: red, green and blue in 0..1. */
export function blend(stops, value) {
  const place = Math.min(Math.max(value, 0), 1) * (stops.length - 1);
  const first = Math.min(Math.floor(place), stops.length - 2);
  const [from, to] = [channels(stops[first]), channels(stops[first + 1])];
  return from.map((start, channel) => start + (to[channel] - start) * (place - first));
}

/** A CSS colour of red, green and blue in 0..1. */
export function css(colour) {
  return `rgb(${colour.map((channel) => Math.round(255 * channel)).join(" ")})`;
}
