// Charts of the last minutes, large and small, as SVG.

const WINDOWS = [60, 120, 300];
const BINS = 50;
const BIN_SECONDS = 6;
let windowSeconds = 300;

// Five minutes, and less while there is less to show.
function chooseWindow(ages) {
  const oldest = ages.length ? ages[0] : 0;
  windowSeconds = WINDOWS.find((each) => oldest <= each) || WINDOWS[WINDOWS.length - 1];
}

function windowText() {
  return `${windowSeconds / 60} min`;
}

function lineOf(points, height, top) {
  let path = "";
  let isDown = false;
  for (const [x, value] of points) {
    if (value === null) {
      isDown = false;
      continue;
    }
    const y = height - (value / top) * height;
    path += `${isDown ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}${isDown ? "" : "h0"}`; // h0: one value alone is a dot
    isDown = true;
  }
  return path;
}

function areaOf(points, height, top) {
  const there = points.filter(([, value]) => value !== null);
  if (there.length < 2) return "";
  const line = lineOf(there, height, top);
  return `${line}L${there[there.length - 1][0].toFixed(1)} ${height}L${there[0][0].toFixed(1)} ${height}Z`;
}

// The next of 1, 2, 5, 10, 20, 50 ... so that a chart's scale seldom changes.
function roundTop(value) {
  if (value <= 1) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find((each) => each * power >= value);
}

class Chart {
  constructor(kinds, what, { isTall = false, words = [], unit = "" } = {}) {
    this.kinds = kinds;
    this.what = what;
    this.words = words;
    this.unit = unit;
    this.shown = unit ? rate : number;
    this.svg = drawn("svg", { viewBox: "0 0 300 100", preserveAspectRatio: "none", role: "img" });
    this.svg.append(drawn("line", { x1: 0, x2: 300, y1: 100, y2: 100 }), drawn("line", { x1: 0, x2: 300, y1: 0, y2: 0, class: "scale" }));
    this.areas = kinds.map((kind) => this.add("path", `area is-${kind}`));
    this.lines = kinds.map((kind) => this.add("path", `line is-${kind}`));
    this.mark = this.add("line", "at");
    this.mark.setAttribute("visibility", "hidden");
    this.topLabel = make("span", { class: "top-of", "aria-hidden": "true" });
    this.left = make("span");
    this.right = make("span");
    this.element = make("div", { class: isTall ? "chart tall" : "chart" }, this.svg, this.topLabel, make("div", { class: "axis", "aria-hidden": "true" }, this.left, this.right));
    this.series = [];
    this.pointed = null;
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.point(null));
  }

  add(tag, name) {
    const element = drawn(tag, { class: name });
    this.svg.append(element);
    return element;
  }

  update(history, ages) {
    this.series = this.kinds.map((kind) => {
      const values = history ? history[kind] : [];
      const own = ages.slice(ages.length - values.length);
      return values.map((value, index) => [300 * (1 - own[index] / windowSeconds), value]);
    });
    const highest = Math.max(0, ...this.series.flat().map(([, value]) => value));
    const top = roundTop(highest);
    this.series.forEach((points, index) => {
      this.lines[index].setAttribute("d", lineOf(points, 100, top));
      this.areas[index].setAttribute("d", areaOf(points, 100, top));
    });
    say(this.topLabel, highest > 0 ? number(top) : "");
    const now = this.series.map((points) => this.shown(points.length ? points[points.length - 1][1] : 0)).join(" and ");
    this.svg.setAttribute("aria-label", `${this.what} over the last ${windowText()}: now ${now}, at most ${this.shown(highest)}`);
    this.caption();
  }

  point(event) {
    if (event === null) {
      this.pointed = null;
    } else {
      const box = this.svg.getBoundingClientRect();
      this.pointed = ((event.clientX - box.left) / box.width) * 300;
    }
    this.caption();
  }

  caption() {
    const points = this.series[0] || [];
    if (this.pointed === null || !points.length) {
      this.mark.setAttribute("visibility", "hidden");
      say(this.left, `${windowText()} ago`);
      say(this.right, "now");
      return;
    }
    let best = 0;
    points.forEach(([x], index) => {
      if (Math.abs(x - this.pointed) < Math.abs(points[best][0] - this.pointed)) best = index;
    });
    const x = points[best][0];
    for (const [name, value] of Object.entries({ x1: x, x2: x, y1: 0, y2: 100, visibility: "visible" })) this.mark.setAttribute(name, value);
    const values = this.series.map((each, index) => {
      const found = each[best - points.length + each.length];
      return `${this.shown(found ? found[1] : 0)}${this.unit}${this.words.length ? ` ${this.words[index]}` : ""}`;
    });
    say(this.left, `${duration((1 - x / 300) * windowSeconds)} ago`);
    say(this.right, values.join(", "));
  }
}

class Spark {
  constructor(kind) {
    this.kind = kind;
    this.element = drawn("svg", { viewBox: `0 0 ${BINS - 1} 24`, preserveAspectRatio: "none", class: "spark", "aria-hidden": "true" });
    this.area = drawn("path", { class: `area is-${kind}` });
    this.line = drawn("path", { class: `line is-${kind}` });
    this.element.append(this.area, this.line);
  }

  update(spark) {
    const room = Math.min(BINS, windowSeconds / BIN_SECONDS);
    const values = spark ? spark[this.kind].slice(-room) : [];
    const points = values.map((value, index) => [(BINS - 1) * (1 - (values.length - 1 - index) / (room - 1)), value]);
    const top = Math.max(1, ...points.map(([, value]) => value || 0));
    this.line.setAttribute("d", lineOf(points, 24, top));
    this.area.setAttribute("d", areaOf(points, 24, top));
  }
}
