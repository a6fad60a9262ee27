// Making elements. Text is always set as text: nothing from a scan is read as HTML.

/** An element with properties and children; a child that is null is left out. */
export function element(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

const SVG = "http://www.w3.org/2000/svg";

/** An SVG element with attributes. */
export function drawing(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return fill(made, {}, children);
}

export const byId = (id) => document.getElementById(id);

function fill(made, { dataset = {}, ...properties }, children) {
  Object.assign(made, properties);
  Object.assign(made.dataset, dataset);
  made.append(...children.filter((child) => child !== null));
  return made;
}
