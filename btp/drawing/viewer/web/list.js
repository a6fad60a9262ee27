// The list of scans: order, search, and which one is shown.

import { byId, element } from "viewer/dom";
import { count, score } from "viewer/numbers";

/** What a scan is judged by: its object score, or its highest point score where there is none. */
export function standing(scan, detector) {
  return scan.detectors[detector].object ?? scan.detectors[detector].high;
}

export class List {
  /** @param chosen called with the number of the scan that a person picks. */
  constructor(page, chosen) {
    this.page = page;
    this.box = byId("list");
    this.chosen = chosen;
    this.detector = page.detectors[0];
    const scores = page.scans.map((scan) => standing(scan, this.detector));
    this.low = Math.min(0, ...scores);
    this.high = Math.max(...scores, this.low + 1e-12);
    this.rows = page.scans.map((scan, number) => this.#row(scan, number));
    for (const id of ["search", "sort"]) byId(id).addEventListener("input", () => this.arrange());
    this.arrange();
  }

  /** Put the scans that fit the search in order. */
  arrange() {
    const words = byId("search").value.toLowerCase().split(/\s+/);
    const fits = (scan) => {
      const text = `${scan.name} ${scan.category} ${scan.decision}`.toLowerCase();
      return words.every((word) => text.includes(word));
    };
    const { scans } = this.page;
    this.order = [...scans.keys()].filter((number) => fits(scans[number]));
    this.order.sort(comparison(scans, this.detector, byId("sort").value));
    this.box.replaceChildren(...this.order.map((number) => this.rows[number]));
    const all = `${count(scans.length)} scan${scans.length === 1 ? "" : "s"}`;
    const found = this.order.length === scans.length ? all : `${count(this.order.length)} of ${all}`;
    byId("count").textContent = `${found}, scored by ${this.page.detectors.join(" and ")}`;
  }

  /** Show which scan is looked at. */
  mark(number) {
    this.current = number;
    this.rows.forEach((row, other) => row.setAttribute("aria-selected", other === number));
    this.box.setAttribute("aria-activedescendant", this.rows[number].id);
    this.rows[number].scrollIntoView({ block: "nearest" });
  }

  /** Pick the scan some places further down. */
  step(places) {
    const from = this.order.indexOf(this.current);
    const to = Math.min(Math.max(from + places, 0), this.order.length - 1);
    if (this.order.length && to !== from) this.chosen(this.order[to]);
  }

  #row(scan, number) {
    const value = standing(scan, this.detector);
    const share = (value - this.low) / (this.high - this.low);
    const bar = element("i", { className: "bar" });
    bar.style.width = `${Math.max(2, 100 * share)}%`;
    const known = "defective" in scan ? (scan.defective ? "has a defect" : "no defect") : null;
    const facts = [scan.category, known].filter(Boolean).join(" · ");
    const row = element(
      "li",
      { id: `row-${number}`, title: scan.name },
      element("span", { className: "name", textContent: scan.name }),
      element("span", { className: "value", textContent: score(value) }),
      element("span", { className: "facts", textContent: facts }),
      decisionChip(scan.decision),
      element("span", { className: "track" }, bar),
    );
    row.setAttribute("role", "option");
    row.addEventListener("click", () => this.chosen(number));
    return row;
  }
}

function decisionChip(decision) {
  return element("span", { className: "chip", dataset: { decision }, textContent: decision });
}

function comparison(scans, detector, order) {
  const byScore = (a, b) => standing(scans[b], detector) - standing(scans[a], detector);
  const by = (field) => (a, b) =>
    scans[a][field].localeCompare(scans[b][field], undefined, { numeric: true });
  return {
    highest: byScore,
    lowest: (a, b) => byScore(b, a),
    category: (a, b) => by("category")(a, b) || byScore(a, b),
    name: by("name"),
  }[order];
}
