// Numbers as people write them.

/** A score or a length with three significant digits, without a tail of zeros. */
export function brief(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(2);
  const digits = Math.max(0, 2 - Math.floor(Math.log10(size)));
  return value.toLocaleString("en", { maximumFractionDigits: digits });
}

/** A score with the same digits in every line of a list. */
export function score(value) {
  return Math.abs(value) < 100 ? value.toFixed(3) : brief(value);
}

export function count(value) {
  return value.toLocaleString("en");
}

/** A share in percent, never 0 or 100 where it is not. */
export function percent(share) {
  if (share > 0 && share < 0.0005) return "< 0.1 %";
  if (share < 1 && share > 0.9995) return "> 99.9 %";
  return `${(100 * share).toFixed(1)} %`;
}

/** Three lengths in the scan's units, such as "12.5 × 8 × 0.31 units". */
export function extent(lengths) {
  return `${lengths.map(brief).join(" × ")} units`;
}

/** The largest of 1, 2 or 5 times a power of ten that is not above `value`. */
export function roundBelow(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [5, 2, 1].find((factor) => factor * power <= value * (1 + 1e-9)) * power;
}

/** Round numbers between two values, about five. */
export function ticks(low, high) {
  const step = roundBelow((high - low) / 4);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const places = Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
  return places.map((value) => ({ value, text: value.toFixed(Math.min(digits, 12)) }));
}
