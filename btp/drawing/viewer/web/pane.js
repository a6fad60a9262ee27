// One of the two views: what it shows, its controls above and its legend below the picture.

import { OUTSIDE, REGIONS, VERDICTS, css, channels } from "viewer/colours";
import { equalThreshold, rangeOf, shareAbove } from "viewer/data";
import { element } from "viewer/dom";
import { Legend } from "viewer/legend";
import { count, extent, percent, score } from "viewer/numbers";

/** How points are coloured; the place of each is its number in the shader. */
export const MODES = [
  { name: "Score", title: "Anomaly score", needs: null },
  { name: "Truth", title: "Ground truth", needs: "defective" },
  { name: "Right / wrong", title: "Score above the threshold against ground truth", needs: "defective" },
  { name: "Regions", title: "Connected defect regions", needs: "regions" },
];
const [SCORE, TRUTH, VERDICT, REGION] = MODES.keys();

export class Pane {
  /**
   * @param changed called when a person has changed what the pane shows.
   * @param aim called with the centre and size of a region to look at.
   */
  constructor(page, number, thresholds, changed, aim) {
    Object.assign(this, { page, number, thresholds, changed, aim, mode: SCORE });
    this.detector = page.detectors[Math.min(number, page.detectors.length - 1)];
    this.legend = new Legend(page.colours, (value) => {
      thresholds.set(this.detector, value);
      changed();
    });
    this.tabs = MODES.map(({ name, title }, mode) =>
      element("button", {
        textContent: name,
        title: `${title} (${mode + 1})`,
        onclick: () => this.choose(mode),
      }),
    );
    const group = element("div", { className: "tabs" }, ...this.tabs);
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", "Colour by");
    this.regions = element("div", { className: "regions" });
    this.head = element("div", { className: "head" }, this.#detectors(), group, this.regions);
  }

  choose(mode) {
    if (!this.#possible(mode)) return;
    this.mode = mode;
    this.changed();
  }

  /** Threshold in force for a scan: where a person has put it, else the scan's own. */
  threshold(scan) {
    return this.thresholds.get(this.detector) ?? this.own(scan) ?? this.range(scan).low;
  }

  /** The scan's threshold; for other detectors than the first, one that marks as many points. */
  own(scan) {
    const [first] = this.page.detectors;
    if (this.detector === first || scan.threshold === null) return scan.threshold;
    return equalThreshold(this.page.scans, first, scan.threshold, this.detector, this.range(scan));
  }

  range(scan) {
    return this.scope === "own"
      ? rangeOf([scan.detectors[this.detector]])
      : this.page.ranges[this.detector];
  }

  /** Put the pane on the screen for a scan, and return what the view has to draw. */
  show(scan) {
    this.scan = scan;
    if (!this.#possible(this.mode)) this.mode = SCORE;
    const [range, threshold] = [this.range(scan), this.threshold(scan)];
    this.tabs.forEach((tab, mode) => {
      tab.disabled = !this.#possible(mode);
      tab.setAttribute("aria-pressed", mode === this.mode);
    });
    this.legend.show({
      summary: scan.detectors[this.detector],
      total: scan.total,
      range,
      threshold,
      own: this.own(scan),
      swatches: this.#swatches(threshold),
      sliding: this.mode !== TRUTH,
    });
    this.#listRegions(threshold);
    const all = threshold <= range.low; // at the slider's left end
    return { detector: this.detector, mode: this.mode, threshold: all ? -1e30 : threshold, ...range };
  }

  #possible(mode) {
    const { needs } = MODES[mode];
    return needs === null || needs in this.scan;
  }

  #detectors() {
    const { detectors } = this.page;
    if (detectors.length === 1) return element("span", { className: "only", textContent: detectors[0] });
    const options = detectors.map((name) => element("option", { value: name, textContent: name }));
    const choice = element("select", {}, ...options);
    choice.setAttribute("aria-label", "Detector");
    choice.value = this.detector;
    choice.addEventListener("change", () => {
      this.detector = choice.value;
      this.changed();
    });
    return choice;
  }

  #swatches(threshold) {
    const { colours } = this.page;
    const { total, defective } = this.scan;
    const summary = this.scan.detectors[this.detector];
    if (this.mode === TRUTH) {
      const share = defective ? `${percent(defective / total)} of the points` : "none in this scan";
      return [{ colour: colours[colours.length - 2], text: `defect: ${share}` }];
    }
    if (this.mode === VERDICT) {
      const above = total * shareAbove(summary, total, threshold);
      const hits = { ...summary, counts: summary.defective };
      const found = defective ? defective * shareAbove(hits, defective, threshold) : 0;
      const about = (value) => count(Math.round(value));
      return [
        { colour: VERDICTS.found, text: `defect found: ${about(found)}` },
        { colour: VERDICTS.missed, text: `defect missed: ${about(defective - found)}` },
        { colour: VERDICTS.alarm, text: `false alarm: ${about(Math.max(0, above - found))} points` },
      ];
    }
    if (this.mode === REGION) return [{ colour: OUTSIDE, text: "in no region" }];
    return [];
  }

  /** The regions that reach above the threshold; a click looks at one. */
  #listRegions(threshold) {
    this.regions.replaceChildren();
    this.regions.hidden = this.mode !== REGION;
    if (this.mode !== REGION) return;
    const { regions } = this.scan;
    const visible = regions.filter((region) => region.highest[this.detector] > threshold);
    const chips = visible.map((region) => {
      const dot = element("i", { className: "dot" });
      dot.style.background = css(channels(REGIONS[(region.number - 1) % REGIONS.length]));
      const text = `${extent(region.size)}, up to ${score(region.highest[this.detector])}`;
      const title = `${count(region.points)} points; click to look at it`;
      const onclick = () => this.aim(region);
      return element("button", { className: "region", title, onclick }, dot, text);
    });
    const below = regions.length - visible.length;
    const note = `${visible.length} of ${regions.length} regions reach above the threshold`;
    this.regions.append(element("span", { textContent: below || !regions.length ? note : "" }), ...chips);
  }
}
