"use strict";
// Numbers as people read them, and elements, into which everything goes as text, never as markup. The first of the
// page's files: page.py puts them together in the order elements, charts, overview, topic, page, as one script.

const SVG = "http://www.w3.org/2000/svg";
const at = (id) => document.getElementById(id);

// ---------------------------------------------------------------------------------------------- numbers

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const compact = new Intl.NumberFormat("en", { notation: "compact", minimumSignificantDigits: 3, maximumSignificantDigits: 3 });

function number(value) {
  return value < 100000 ? grouped.format(value) : compact.format(value);
}

function rate(value) {
  return value > 0 && value < 100 ? value.toFixed(1) : number(value);
}

function bytes(value) {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let power = 0;
  while (value >= 1024 && power < units.length - 1) {
    value /= 1024;
    power += 1;
  }
  return `${value < 100 && power ? value.toFixed(1) : Math.round(value)} ${units[power]}`;
}

function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 90) return `${s} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} days`;
}

function plural(count, word) {
  return `${number(count)} ${word}${count === 1 ? "" : "s"}`;
}

// ---------------------------------------------------------------------------------------------- elements

function make(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function say(element, text) {
  text = String(text);
  if (element.textContent !== text) element.textContent = text;
}

function drawn(tag, props) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(props)) element.setAttribute(name, value);
  return element;
}

// Rows are kept and changed in place, so that focus, selection and open parts survive.
function sync(parent, items, key, create) {
  const known = parent.known || (parent.known = new Map());
  const wanted = new Set();
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    wanted.add(name);
    let row = known.get(name);
    if (!row) known.set(name, (row = create(item)));
    if (row.element === place) place = place.nextElementSibling;
    else parent.insertBefore(row.element, place);
    row.update(item);
  }
  for (const [name, row] of known) {
    if (!wanted.has(name)) {
      row.element.remove();
      known.delete(name);
    }
  }
}
