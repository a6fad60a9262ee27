// The page: which scan, which panes, and what a person does to them.

import { loadScan, readPage } from "viewer/data";
import { byId } from "viewer/dom";
import { List, standing } from "viewer/list";
import { brief, count, extent, score } from "viewer/numbers";
import { drawAxes, drawRuler } from "viewer/overlay";
import { Pane } from "viewer/pane";
import { applyTheme, nextTheme } from "viewer/theme";
import { View } from "viewer/view";

const page = readPage();
const thresholds = new Map(); // detector -> where a person has put the slider
const panes = [0, 1].map((number) => new Pane(page, number, thresholds, refresh, aim));
const list = new List(page, choose);
const canvas = byId("canvas");
const view = makeView();
let scan = null; // `about` of the one on the screen
let cloud = null;

function makeView() {
  try {
    return new View(canvas, page.colours, () => {
      drawAxes(view.camera);
      drawRuler(view.unitsPerPixel());
      document.documentElement.dataset.ready ??= Math.round(performance.now()); // for who measures
    });
  } catch (error) {
    complain(`This browser cannot draw in three dimensions (WebGL 2): ${error.message}`);
    throw error;
  }
}

async function choose(number) {
  list.mark(number);
  const loaded = await loadScan(page, number).catch((error) => complain(`The scan cannot be shown: ${error.message}`));
  if (!loaded || list.current !== number) return; // another one has been picked meanwhile
  cloud = loaded;
  scan = cloud.about;
  describe();
  view.show(cloud);
  refresh();
  view.reset(panes[0].detector);
  remember(scan.name);
  loadScan(page, list.order[list.order.indexOf(number) + 1] ?? number); // the next one is at hand
}

function refresh() {
  panes.slice(0, view.shown).forEach((pane, number) => view.set(number, pane.show(scan)));
}

function describe() {
  byId("name").textContent = scan.name;
  byId("decision").textContent = scan.decision;
  byId("decision").dataset.decision = scan.decision;
  const box = [0, 1, 2].map((axis) => sizeAlong(axis));
  const shown = count(scan.shown);
  const facts = [
    scan.category,
    page.detectors.map((name) => `${name} ${score(standing(scan, name))}`).join(", "),
    extent(box),
    scan.shown < scan.total ? `showing ${shown} of ${count(scan.total)} points` : `${shown} points`,
    scan.hidden ? `${count(scan.hidden)} without coordinates or scores` : "",
  ];
  byId("facts").textContent = facts.filter(Boolean).join(" · ");
  byId("facts").title =
    scan.shown < scan.total
      ? "The highest scores are all kept, and an even choice of the other points. Shares and sizes of regions are of all points."
      : "";
}

function sizeAlong(axis) {
  let [low, high] = [Infinity, -Infinity];
  for (let at = axis; at < cloud.positions.length; at += 3) {
    low = Math.min(low, cloud.positions[at]);
    high = Math.max(high, cloud.positions[at]);
  }
  return high - low;
}

function aim({ centre, size }) {
  view.aim(
    centre.map((part, axis) => part - cloud.centre[axis]),
    Math.hypot(...size) / 2,
  );
}

function compare(on) {
  view.split(on ? 2 : 1);
  document.body.classList.toggle("compared", on);
  byId("compare").setAttribute("aria-pressed", on);
  byId("heads").replaceChildren(...panes.slice(0, view.shown).map((pane) => pane.head));
  byId("legends").replaceChildren(...panes.slice(0, view.shown).map((pane) => pane.legend.box));
  if (on && page.detectors.length === 1 && scan && "defective" in scan) panes[1].mode = 1;
  if (scan) refresh();
}

function resizeSpots(steps) {
  const slider = byId("spots");
  slider.value = Number(slider.value) + steps;
  view.spots = 2 ** slider.value;
  view.request();
}

/** The address names the scan, so that it can be sent and linked. */
function remember(name) {
  try {
    history.replaceState(null, "", `#scan=${encodeURIComponent(name)}`);
  } catch {
    // some browsers let no file's address be changed
  }
}

function asked() {
  const name = new URLSearchParams(location.hash.slice(1)).get("scan");
  const number = page.scans.findIndex((other) => other.name === name);
  return number >= 0 ? number : list.order[0];
}

function read(event) {
  const box = canvas.getBoundingClientRect();
  const [width, x] = [box.width / view.shown, event.clientX - box.left];
  const number = Math.min(view.shown - 1, Math.floor(x / width));
  const place = [x - number * width, event.clientY - box.top];
  const row = event.buttons || !cloud ? -1 : view.rowAt(place);
  byId("readout").hidden = row < 0;
  if (row < 0) return;
  const { labels, regions, positions, centre, scores } = cloud;
  const at = centre.map((part, axis) => brief(part + positions[3 * row + axis]));
  const lines = [
    ...page.detectors.map((name) => `${name}: ${score(scores[name][row])}`),
    labels ? `ground truth: ${labels[row] ? "defect" : "normal"}` : "",
    regions?.[row] ? `region ${regions[row]}` : "",
    `(${at.join(", ")})`,
  ];
  byId("readout").textContent = lines.filter(Boolean).join("\n");
  const [right, down] = [x, place[1]].map((at, axis) => {
    const own = axis ? byId("readout").offsetHeight : byId("readout").offsetWidth;
    const room = axis ? box.height : box.width;
    return at + 14 + own < room ? at + 14 : at - 14 - own; // never over the edge
  });
  byId("readout").style.transform = `translate(${right}px, ${down}px)`;
}

const KEYS = {
  ArrowDown: () => list.step(1),
  ArrowRight: () => list.step(1),
  ArrowUp: () => list.step(-1),
  ArrowLeft: () => list.step(-1),
  c: () => compare(view.shown === 1),
  r: () => view.reset(panes[0].detector),
  t: nextTheme,
  "+": () => resizeSpots(0.3),
  "=": () => resizeSpots(0.3),
  "-": () => resizeSpots(-0.3),
  "/": () => byId("search").focus(),
  "?": () => byId("keys").showModal(),
  ...Object.fromEntries([0, 1, 2, 3].map((mode) => [mode + 1, () => panes[0].choose(mode)])),
};

function pressed(event) {
  const writing = event.target.matches("input, select, textarea") || byId("keys").open;
  const action = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (event.key === "Escape" && event.target.id === "search") event.target.blur();
  if (writing || !action || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  byId("readout").hidden = true;
  action();
}

function complain(text) {
  byId("trouble").textContent = text;
  byId("trouble").hidden = false;
}

byId("version").textContent = `BTP ${page.version}, with three.js (MIT licence, in this file's source)`;
byId("compare").addEventListener("click", () => compare(view.shown === 1));
byId("reset").addEventListener("click", KEYS.r);
byId("spots").addEventListener("input", () => resizeSpots(0));
byId("theme").addEventListener("click", nextTheme);
byId("help").addEventListener("click", KEYS["?"]);
byId("scope").addEventListener("change", (event) => {
  for (const pane of panes) pane.scope = event.target.value;
  refresh();
});
canvas.addEventListener("pointermove", read);
canvas.addEventListener("pointerleave", () => (byId("readout").hidden = true));
canvas.addEventListener("webglcontextlost", () => complain("The graphics card was lost; load the page again."));
addEventListener("keydown", pressed);
addEventListener("hashchange", () => choose(asked()));

applyTheme();
compare(false);
choose(asked());
window.viewer = { page, panes, view, list, choose }; // for the console
