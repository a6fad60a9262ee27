// The numbered colour bar of a pane, the histogram of the scores on it, and the threshold slider.

import { blend, css } from "viewer/colours";
import { shareAbove } from "viewer/data";
import { drawing, element } from "viewer/dom";
import { brief, percent, ticks } from "viewer/numbers";

const STEPS = 1000; // of the slider
let made = 0;

export class Legend {
  /**
   * @param colours stops of the scale.
   * @param moved called with the new threshold, or with null to go back to the scan's own.
   */
  constructor(colours, moved) {
    this.colours = colours;
    const id = `legend-${made++}`;
    this.clip = drawing("rect", { y: 0, height: 100 });
    this.all = drawing("path", { class: "below" });
    this.above = drawing("path", { class: "above", fill: `url(#${id}-g)`, "clip-path": `url(#${id}-c)` });
    this.bar = drawing("rect", { y: 88, height: 12, width: 1000, class: "below" });
    const lit = { y: 88, height: 12, width: 1000, fill: `url(#${id}-g)` };
    this.truth = drawing("path", { class: "truth" });
    this.chart = drawing(
      "svg",
      { viewBox: "0 0 1000 100", preserveAspectRatio: "none", "aria-hidden": "true" },
      drawing("clipPath", { id: `${id}-c` }, this.clip),
      this.#gradient(`${id}-g`),
      this.all,
      this.above,
      this.truth,
      this.bar,
      drawing("rect", { ...lit, "clip-path": `url(#${id}-c)` }),
    );
    this.slider = element("input", { type: "range", min: 0, max: STEPS, step: 1 });
    this.slider.setAttribute("aria-label", "Threshold: points above it are coloured");
    this.slider.addEventListener("input", () => moved(this.#value()));
    this.slider.addEventListener("pointerup", () => this.slider.blur()); // arrows go on to scans
    this.numbers = element("div", { className: "numbers" });
    this.words = element("p", { className: "words" });
    this.own = element("button", { className: "link", onclick: () => moved(null) });
    this.scale = element("div", { className: "scale" }, this.chart, this.slider, this.numbers);
    this.box = element("div", { className: "legend" }, this.words, this.scale);
  }

  /**
   * @param summary the scan's scores of the pane's detector.
   * @param range low and high end of the colours.
   * @param threshold in force; `own` is the scan's, or null.
   * @param swatches what the colours of this mode mean: [{colour, text}], none for the score.
   */
  show({ summary, total, range, threshold, own, swatches, sliding }) {
    this.range = range;
    const place = (value) => (1000 * (value - range.low)) / (range.high - range.low);
    const outline = (counts) => histogram(counts, summary, place);
    this.all.setAttribute("d", outline(summary.counts));
    this.above.setAttribute("d", outline(summary.counts));
    const outlined = swatches.length ? [] : (summary.defective ?? []);
    this.truth.setAttribute("d", tops(outlined, summary, place));
    const start = Math.min(Math.max(place(threshold), 0), 1000);
    this.clip.setAttribute("x", start);
    this.clip.setAttribute("width", 1000 - start);
    this.slider.value = Math.round((start / 1000) * STEPS);
    this.slider.setAttribute("aria-valuetext", brief(threshold));
    this.scale.classList.toggle("idle", !sliding);
    this.numbers.replaceChildren(...ticks(range.low, range.high).map((tick) => number(tick, place)));
    this.#describe(summary, total, threshold, own, swatches, sliding);
  }

  #describe(summary, total, threshold, own, swatches, sliding) {
    const parts = swatches.map(({ colour, text }) => {
      const dot = element("i", { className: "dot" });
      dot.style.background = colour;
      return element("span", { className: "swatch" }, dot, text);
    });
    if (sliding) {
      const share = percent(shareAbove(summary, total, threshold));
      const all = threshold <= this.range.low;
      const value = element("b", { textContent: all ? "all points" : brief(threshold) });
      const text = all ? ["Coloured: ", value] : ["Coloured above ", value, ` (${share} of the points)`];
      parts.unshift(element("span", {}, ...text));
    }
    this.own.textContent = own === null ? "colour all" : `back to ${brief(own)}`;
    this.own.hidden = !sliding || Math.abs((own ?? this.range.low) - threshold) < 1e-9;
    const outlined = !swatches.length && summary.defective?.some((count) => count > 0);
    const outline = element("span", { className: "swatch" }, element("i", { className: "outline" }), "defect points");
    this.words.replaceChildren(...parts, this.own, ...(outlined ? [outline] : []));
  }

  #value() {
    const { low, high } = this.range;
    return low + (this.slider.value / STEPS) * (high - low);
  }

  #gradient(id) {
    const stops = Array.from({ length: 9 }, (_, i) =>
      drawing("stop", { offset: i / 8, "stop-color": css(blend(this.colours, i / 8)) }),
    );
    const across = { id, gradientUnits: "userSpaceOnUse", x1: 0, x2: 1000, y1: 0, y2: 0 };
    return drawing("linearGradient", across, ...stops);
  }
}

/** A histogram's outline. Heights are logarithms, so that a few points show beside many. */
function histogram(counts, summary, place) {
  const bars = steps(counts, summary, place);
  return `M${bars[0].from} 84${bars.map(({ y, to }) => `V${y}H${to}`).join("")}V84Z`;
}

/** The upper edges of another one's bars, drawn to the same scale. */
function tops(counts, summary, place) {
  const bars = steps(counts, summary, place).filter((bar) => bar.count > 0);
  return bars.map(({ from, to, y }) => `M${from} ${y}H${to}`).join("");
}

function steps(counts, { low, high, counts: all }, place) {
  const most = Math.log1p(Math.max(...inPairs(all)));
  const start = place(low);
  const width = (2 * ((high > low ? place(high) : start + 8) - start)) / counts.length;
  return inPairs(counts).map((count, bin) => ({
    count,
    from: (start + bin * width).toFixed(1),
    to: (start + (bin + 1) * width).toFixed(1),
    y: (84 - (76 * Math.log1p(count)) / most).toFixed(1),
  }));
}

/** Two bins in one bar: calmer to look at. */
function inPairs(counts) {
  return counts.filter((_, bin) => bin % 2 === 0).map((count, pair) => count + counts[2 * pair + 1]);
}

function number({ value, text }, place) {
  const made = element("span", { textContent: text });
  made.style.left = `${place(value) / 10}%`;
  return made;
}
