// Light, dark, or as the system has it. The choice is not kept: a file's page has no storage.

import { byId } from "viewer/dom";

const THEMES = [
  { name: "", title: "Colours as the system", label: "◐" },
  { name: "light", title: "Light", label: "☀" },
  { name: "dark", title: "Dark", label: "☾" },
];
let current = 0;

export function applyTheme() {
  const { name, title, label } = THEMES[current];
  document.documentElement.dataset.theme = name;
  byId("theme").textContent = label;
  byId("theme").title = `${title} (T)`;
  byId("theme").setAttribute("aria-label", title);
}

export function nextTheme() {
  current = (current + 1) % THEMES.length;
  applyTheme();
}
