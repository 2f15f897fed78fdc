// Small helpers to build the page. Text is always set as text, never as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** Makes an element. Props: "class", "text", "on" (listeners), attributes; false and null leave one out. */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === "text") node.textContent = value;
    else if (name === "on") for (const [type, listener] of Object.entries(value)) node.addEventListener(type, listener);
    else if (value !== false && value != null) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

const PATHS = {
  play: "M8 5.5v13l10.5-6.5z",
  pause: "M7 5.5h3.6v13H7zM13.4 5.5H17v13h-3.6z",
  cancel: "M6.7 5.3 12 10.6l5.3-5.3 1.4 1.4-5.3 5.3 5.3 5.3-1.4 1.4-5.3-5.3-5.3 5.3-1.4-1.4 5.3-5.3-5.3-5.3z",
};

/** Draws one of the icons; the button around it has the words. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** A button that shows an icon and says what it does. */
export function iconButton(name, label, listener) {
  return el("button", { type: "button", class: "icon", "aria-label": label, title: label, on: { click: listener } }, icon(name));
}

/** Shows or hides, without replacing what is the same already. */
export function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

/** Sets text only if it changes, so that screen readers and selections are left alone. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Units for people.

export function duration(ms) {
  if (ms == null) return "";
  const total = Math.floor(ms / 1000);
  const pad = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(total / 3600);
  const rest = `${hours ? pad(Math.floor(total / 60) % 60) : Math.floor(total / 60)}:${pad(total % 60)}`;
  return hours ? `${hours}:${rest}` : rest;
}

export function bytes(n) {
  if (n == null) return "";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  for (; n >= 1000 && unit < units.length - 1; unit++) n /= 1000;
  return `${unit && n < 100 ? n.toFixed(1) : Math.round(n)} ${units[unit]}`;
}

/** Rounds a remaining time to what can be said honestly. */
export function remaining(ms) {
  if (ms == null) return "";
  const seconds = Math.ceil(ms / 1000);
  return seconds < 90 ? `${seconds} s left` : `${Math.round(seconds / 60)} min left`;
}

const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

export const dateTime = (text) => DAY.format(new Date(text));
export const clock = (text) => CLOCK.format(new Date(text));

/** A measured level, with a real minus sign; digital silence has none. */
export function level(value, unit) {
  if (value == null) return `−∞ ${unit}`;
  return `${value.toFixed(1).replace("-", "−")} ${unit}`;
}

export const nameOf = (recording) => recording.title || recording.filename || "Untitled";
