"use strict";
// The page asks for its figures every two seconds and puts them into the document as text, never as markup.

const INTERVAL_MS = 2000;
const PATIENCE_MS = 6000;
const WINDOWS = [60, 120, 300];
const BINS = 50;
const BIN_SECONDS = 6;
const STEP = 100;
const SVG = "http://www.w3.org/2000/svg";
const KEY = "nsqlite-token";

const at = (id) => document.getElementById(id);
const view = { topic: "", filter: "", order: "name", limit: STEP, producers: false };
let serial = 0;
let timer = 0;
let lostAt = 0;
let startNs = "";
let mode = "read-only";
let latest = null;
let heldToken = "";
let windowSeconds = 300;

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

// ---------------------------------------------------------------------------------------------- charts

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

// ---------------------------------------------------------------------------------------------- the node

class Totals {
  constructor() {
    this.cells = [
      this.cell("Published", new Chart(["in"], "Messages published a second", { unit: "/s" })),
      this.cell("Finished", new Chart(["out"], "Messages finished a second", { unit: "/s" })),
      this.cell("Waiting", new Chart(["depth"], "Messages that wait")),
    ];
    this.pairs = {};
    const list = make("dl", { class: "pairs" });
    for (const name of ["Deferred", "Clients", "Topics", "Channels"]) {
      const value = make("dd");
      this.pairs[name.toLowerCase()] = value;
      list.append(make("div", {}, make("dt", {}, name), value));
    }
    this.flying = make("span", { class: "number" });
    at("totals").append(...this.cells.map((each) => each.element), make("div", { class: "total" }, make("span", { class: "label" }, "In flight"), this.flying, list));
  }

  cell(label, chart) {
    const value = make("span");
    const unit = make("small");
    const element = make("div", { class: "total" }, make("span", { class: "label" }, label), make("span", { class: "number" }, value, unit), chart.element);
    return { element, chart, value, unit };
  }

  update(data) {
    const last = (list) => (list.length ? list[list.length - 1] : 0);
    const values = [last(data.history.in), last(data.history.out), data.totals.depth];
    this.cells.forEach((cell, index) => {
      say(cell.value, index < 2 ? rate(values[index]) : number(values[index]));
      say(cell.unit, index < 2 ? "/s" : "");
      cell.chart.update(data.history, data.ages);
    });
    say(this.flying, number(data.totals.in_flight));
    for (const [name, element] of Object.entries(this.pairs)) say(element, number(data.totals[name]));
  }
}

function facts(node) {
  const texts = [
    `Up ${duration(node.up_seconds)}`,
    `durability ${node.durability}`,
    node.durability === "memory" ? `${bytes(node.store_bytes)} in memory` : `${bytes(node.store_bytes)} on disk, ${bytes(node.journal_bytes)} of it journal`,
    `nsqlite ${node.version}`,
    `${mode} page`,
  ];
  sync(at("facts"), texts.map((text, index) => ({ index, text })), (each) => each.index, () => {
    const element = make("span");
    return { element, update: (each) => say(element, each.text) };
  });
}

// ---------------------------------------------------------------------------------------------- all topics

function topicLink(name) {
  return `#/topic/${encodeURIComponent(name)}`;
}

function badges(parent, thing) {
  const texts = thing.paused ? ["paused"] : [];
  if (thing.name.endsWith("#ephemeral")) texts.push("ephemeral");
  sync(parent, texts, (text) => text, (text) => ({ element: make("span", { class: `badge ${text}` }, text), update() {} }));
}

function shownName(name) {
  return name.replace(/#ephemeral$/, "");
}

function cellOf(value) {
  const element = make("td", { class: value, role: "cell" });
  return {
    element,
    set(count) {
      say(element, number(count));
      element.classList.toggle("zero", count === 0);
    },
  };
}

function sparkCell(kind, unit) {
  const spark = new Spark(kind);
  const value = make("b", { "data-unit": unit });
  const element = make("td", { class: "n", role: "cell" }, make("div", { class: "with-spark" }, spark.element, value));
  return {
    element,
    set(count, values) {
      say(value, kind === "in" ? rate(count) : number(count));
      value.classList.toggle("zero", count === 0);
      spark.update(values);
    },
  };
}

function topicRow(topic) {
  const marks = make("span");
  const name = make("td", { role: "cell" }, make("a", { href: topicLink(topic.name) }, shownName(topic.name)), marks);
  const rate = sparkCell("in", "/s");
  const depth = sparkCell("depth", "waiting");
  const flying = cellOf("n small");
  const deferred = cellOf("n small optional");
  const channels = cellOf("n small optional");
  const clients = cellOf("n small");
  const element = make("tr", { role: "row" }, name, ...[rate, depth, flying, deferred, channels, clients].map((each) => each.element));
  return {
    element,
    update(each) {
      badges(marks, each);
      rate.set(each.rate, each.spark);
      depth.set(each.depth, each.spark);
      flying.set(each.in_flight);
      deferred.set(each.deferred);
      channels.set(each.channels);
      clients.set(each.clients);
    },
  };
}

function filterField(label) {
  return make("input", { type: "search", placeholder: label, "aria-label": label, spellcheck: "false", autocomplete: "off", oninput: (event) => {
    view.filter = event.target.value.trim();
    view.limit = STEP;
    clearTimeout(timer);
    timer = setTimeout(poll, 120);
  } });
}

function orderField(orders) {
  const options = orders.map(([value, text]) => make("option", { value }, text));
  const select = make("select", { "aria-label": "Order", onchange: () => {
    view.order = select.value;
    poll();
  } }, ...options);
  select.value = view.order;
  return select;
}

function moreButton() {
  const button = make("button", { class: "more", type: "button", onclick: () => {
    view.limit += STEP;
    poll();
  } });
  button.show = (shown, count) => {
    button.hidden = shown >= count;
    say(button, `Show more of ${number(count)}`);
  };
  return button;
}

class Topics {
  constructor() {
    this.count = make("span");
    this.body = make("tbody", { role: "rowgroup" });
    const heads = [["Topic", ""], ["Published/s", "n"], ["Waiting", "n"], ["In flight", "n small"], ["Deferred", "n small optional"], ["Channels", "n small optional"], ["Clients", "n small"]];
    const head = make("tr", { role: "row" }, ...heads.map(([text, name]) => make("th", { class: name, scope: "col", role: "columnheader" }, text)));
    this.table = make("table", { class: "topics", role: "table", "aria-label": "Topics" }, make("thead", { role: "rowgroup" }, head), this.body);
    this.none = make("p", { class: "none" });
    this.more = moreButton();
    this.producers = producersPart();
    const tools = make("div", { class: "tools" }, filterField("Filter topics"), orderField([["name", "By name"], ["depth", "Most waiting"], ["rate", "Busiest"]]));
    at("view").replaceChildren(make("div", { class: "bar" }, make("h2", {}, "Topics", this.count), tools), this.table, this.none, this.more, this.producers.element);
  }

  update(data) {
    const { rows, count } = data.topics;
    say(this.count, number(count));
    sync(this.body, rows, (each) => each.name, topicRow);
    this.table.hidden = !rows.length;
    this.none.hidden = rows.length > 0;
    say(this.none, view.filter ? `No topic has “${view.filter}” in its name.` : "No topics yet. The first message that is published to one makes it.");
    this.more.show(rows.length, count);
    this.producers.update(data.producers);
  }
}

// ---------------------------------------------------------------------------------------------- clients

const CLIENT_COLUMNS = [["Ready", "ready_count"], ["In flight", "in_flight_count"], ["Messages", "message_count"], ["Finished", "finish_count"], ["Requeued", "requeue_count"]];

function whoCell(client) {
  const cell = make("td", { role: "cell" }, client.client_id || "(no name)");
  const more = [client.hostname && client.hostname !== client.client_id ? client.hostname : "", client.user_agent].filter(Boolean).join(" · ");
  if (more) cell.append(make("small", {}, more));
  return cell;
}

function labelled(label, name = "n") {
  return make("td", { class: name, role: "cell", "data-label": label });
}

function clientTable(label, columns, fill) {
  const body = make("tbody", { role: "rowgroup" });
  const heads = ["Client", "Address", ...columns, "Connected"].map((text, index) => make("th", { class: index > 1 ? "n" : "", scope: "col", role: "columnheader" }, text));
  const table = make("table", { class: "clients", role: "table", "aria-label": label }, make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...heads)), body);
  table.show = (clients) => {
    const seen = new Map();
    const keyed = clients.map((client) => {
      const base = [client.client_id, client.remote_address, client.connect_ts, client.hostname, client.user_agent].join("\n");
      seen.set(base, (seen.get(base) || 0) + 1);
      return { client, key: `${base}\n${seen.get(base)}` };
    });
    sync(body, keyed, (each) => each.key, ({ client }) => {
      const address = make("td", { class: "address wide", role: "cell" }, client.remote_address || "in the process");
      const cells = columns.map((text) => labelled(text));
      const since = labelled("Connected");
      const element = make("tr", { role: "row" }, whoCell(client), address, ...cells, since);
      return { element, update(each) {
        fill(cells, each.client);
        say(since, each.client.connect_ts ? duration(Date.now() / 1000 - each.client.connect_ts) : "–");
      } };
    });
  };
  return table;
}

function clientsPart(channel) {
  const summary = make("summary");
  const rest = make("p", { class: "label" });
  const table = clientTable(`Clients of channel ${channel}`, CLIENT_COLUMNS.map(([text]) => text), (cells, client) => {
    CLIENT_COLUMNS.forEach(([, field], index) => say(cells[index], number(client[field])));
  });
  const element = make("details", {}, summary, table, rest);
  return { element, update(each) {
    say(summary, each.client_count ? plural(each.client_count, "client") : "No clients");
    element.classList.toggle("vacant", !each.client_count);
    summary.tabIndex = each.client_count ? 0 : -1;
    table.hidden = !each.clients.length;
    table.show(each.clients);
    const hidden = each.client_count - each.clients.length;
    rest.hidden = hidden <= 0;
    say(rest, `and ${number(hidden)} more`);
  } };
}

function producersPart() {
  const table = clientTable("Clients that publish", ["Published"], (cells, client) => {
    say(cells[0], client.topics.map(([topic, count]) => `${topic} ${number(count)}`).join(", ") || "–");
  });
  const rest = make("p", { class: "label" });
  const element = make("details", { class: "producers", ontoggle: () => {
    view.producers = element.open;
    if (element.open) poll();
  } }, make("summary", {}, "Clients that publish"), table, rest);
  element.open = view.producers;
  return { element, update(found) {
    const rows = found ? found.rows : [];
    table.hidden = !rows.length;
    table.show(rows);
    rest.hidden = !found || (rows.length > 0 && found.count === rows.length);
    say(rest, rows.length ? `and ${number(found ? found.count - rows.length : 0)} more` : "Nobody has published over the network.");
  } };
}

// ---------------------------------------------------------------------------------------------- one topic

function ratePair(came) {
  const words = [came.toLowerCase(), "finished"];
  const rates = new Chart(["in", "out"], `Messages ${words.join(" and ")} a second`, { isTall: true, unit: "/s", words });
  const depth = new Chart(["depth"], "Messages that wait", { isTall: true });
  const value = { in: make("b"), out: make("b"), depth: make("b") };
  const legend = (...parts) => make("div", { class: "legend" }, ...parts.map(([kind, text]) => make("span", {}, make("i", { class: `is-${kind}`, "aria-hidden": "true" }), text, " ", value[kind])));
  const element = make("div", { class: "pair" },
    make("div", {}, legend(["in", came], ["out", "Finished"]), rates.element),
    make("div", {}, legend(["depth", "Waiting"]), depth.element));
  return { element, update(history, ages, waiting) {
    const last = (list) => (list && list.length ? list[list.length - 1] : 0);
    say(value.in, `${rate(last(history && history.in))}/s`);
    say(value.out, `${rate(last(history && history.out))}/s`);
    say(value.depth, number(waiting));
    rates.update(history, ages);
    depth.update(history, ages);
  } };
}

function strip(names) {
  const values = names.map(() => make("dd"));
  const element = make("dl", { class: "strip" }, ...names.map((name, index) => make("div", {}, make("dt", {}, name), values[index])));
  return { element, update: (counts) => counts.forEach((count, index) => say(values[index], number(count))) };
}

function actionsOf(kind, state) {
  const element = make("div", { class: "actions" });
  const button = (verb, name) => make("button", { type: "button", class: name, onclick: () => ask(kind, verb, state()) });
  const pause = make("button", { type: "button", onclick: () => ask(kind, state().paused ? "unpause" : "pause", state()) });
  const empty = button("empty", "");
  const remove = button("delete", "danger");
  say(empty, "Empty");
  say(remove, "Delete");
  element.append(pause, empty, remove);
  return { element, update(each) {
    element.hidden = mode !== "read-write";
    say(pause, each.paused ? "Unpause" : "Pause");
    for (const [one, verb] of [[pause, each.paused ? "Unpause" : "Pause"], [empty, "Empty"], [remove, "Delete"]]) one.setAttribute("aria-label", `${verb} ${kind} ${each.name}`);
  } };
}

function channelPart(topic, channel) {
  let now = channel;
  const marks = make("span");
  const actions = actionsOf("channel", () => ({ ...now, topic }));
  const charts = ratePair("Routed");
  const counts = strip(["In flight", "Deferred", "Requeued", "Timed out", "Routed", "Finished"]);
  const clients = clientsPart(channel.name);
  const element = make("section", { class: "channel", "aria-label": `Channel ${channel.name}` },
    make("div", { class: "title" }, make("h3", {}, shownName(channel.name), marks), actions.element), charts.element, counts.element, clients.element);
  return { element, update({ each, ages }) {
    now = each;
    badges(marks, each);
    actions.update(each);
    charts.update(each.history, ages, each.depth);
    counts.update([each.in_flight, each.deferred, each.requeued, each.timed_out, each.messages, each.finished]);
    clients.update(each);
  } };
}

class Topic {
  constructor(name) {
    this.name = name;
    this.marks = make("span");
    this.actions = actionsOf("topic", () => this.now);
    this.charts = ratePair("Published");
    this.counts = strip(["Waiting in the topic itself", "In flight", "Deferred", "Clients", "Published"]);
    this.count = make("span");
    this.list = make("div");
    this.filter = filterField("Filter channels");
    this.order = orderField([["name", "By name"], ["depth", "Most waiting"]]);
    this.tools = make("div", { class: "tools" }, this.filter, this.order);
    this.none = make("p", { class: "none" });
    this.more = moreButton();
    this.whole = make("div", {}, this.charts.element, this.counts.element, make("div", { class: "bar" }, make("h2", {}, "Channels", this.count), this.tools), this.list, this.more);
    at("view").replaceChildren(
      make("a", { class: "crumb", href: "#/" }, "← All topics"),
      make("div", { class: "title" }, make("h1", { tabindex: "-1" }, shownName(name), this.marks), this.actions.element),
      this.whole, this.none);
  }

  update(data) {
    const topic = data.topic;
    this.now = topic;
    this.whole.hidden = !topic;
    this.actions.element.hidden = !topic;
    this.none.hidden = Boolean(topic && topic.rows.length);
    say(this.none, !topic ? "There is no such topic on this node." : view.filter ? `No channel has “${view.filter}” in its name.` : "No channels yet: messages wait in the topic for the first one.");
    if (!topic) return;
    badges(this.marks, topic);
    this.actions.update(topic);
    this.charts.update(topic.history, data.ages, topic.depth);
    this.counts.update([topic.own_depth, topic.in_flight, topic.deferred, topic.clients, topic.messages]);
    say(this.count, number(topic.count));
    this.tools.hidden = topic.channels < 6 && !view.filter;
    sync(this.list, topic.rows.map((each) => ({ each, ages: data.ages })), ({ each }) => each.name, ({ each }) => channelPart(topic.name, each));
    this.more.show(topic.rows.length, topic.count);
  }
}

// ---------------------------------------------------------------------------------------------- changing something

function consequence(kind, verb, thing) {
  const waiting = `${plural(thing.depth, "message")} that ${thing.depth === 1 ? "waits" : "wait"}, ${number(thing.in_flight)} in flight and ${number(thing.deferred)} deferred`;
  const texts = {
    "pause topic": "Messages that are published from now on wait in the topic; its channels get none until it is unpaused.",
    "unpause topic": "What has waited in the topic goes to its channels, and so does what is published from now on.",
    "pause channel": "Its clients get no more messages until it is unpaused; what is in flight may still be finished.",
    "unpause channel": "Its clients get messages again.",
    "empty topic": `${plural(thing.own_depth || 0, "message")} that ${thing.own_depth === 1 ? "waits" : "wait"} in the topic itself ${thing.own_depth === 1 ? "is" : "are"} gone for good. Its channels keep theirs.`,
    "empty channel": `${waiting} are gone for good.`,
    "delete topic": `The topic, ${plural(thing.channels || 0, "channel")} and ${waiting} are gone for good.`,
    "delete channel": `The channel is gone for good, and with it ${waiting}. Its clients are disconnected.`,
  };
  return texts[`${verb} ${kind}`];
}

const DONE = { pause: "paused", unpause: "not paused any more", empty: "emptied", delete: "deleted" };

function ask(kind, verb, thing) {
  const dialog = at("dialog");
  const yes = at("dialog-yes");
  const title = `${verb[0].toUpperCase()}${verb.slice(1)} ${kind}`;
  say(at("dialog-title"), `${title} ${thing.name}?`);
  say(at("dialog-text"), consequence(kind, verb, thing));
  say(at("dialog-error"), "");
  say(yes, title);
  yes.className = verb === "empty" || verb === "delete" ? "primary danger" : "primary";
  yes.disabled = false;
  yes.onclick = async (event) => {
    event.preventDefault();
    yes.disabled = true;
    const refusal = await change(kind, verb, thing);
    yes.disabled = false;
    if (refusal) {
      say(at("dialog-error"), refusal);
      return;
    }
    dialog.close();
    notify(`${kind[0].toUpperCase()}${kind.slice(1)} ${thing.name} is ${DONE[verb]}.`);
    if (kind === "topic" && verb === "delete") location.hash = "#/";
    poll();
  };
  at("dialog-no").onclick = () => dialog.close();
  dialog.showModal();
}

async function change(kind, verb, thing) {
  const query = new URLSearchParams(kind === "topic" ? { topic: thing.name } : { topic: thing.topic, channel: thing.name });
  try {
    const answer = await fetch(`${kind}/${verb}?${query}`, { method: "POST", headers: bearer(), signal: AbortSignal.timeout(15000) });
    if (answer.ok) return "";
    const told = await answer.json().catch(() => ({}));
    return `The node refused: ${told.message || answer.status}.`;
  } catch {
    return "The node did not answer; it may have done it, or not.";
  }
}

function notify(text, kind = "") {
  const notice = make("div", { class: "notice", "data-is": kind }, make("span", {}, text));
  const remove = () => notice.remove();
  notice.append(make("button", { type: "button", class: "quiet", onclick: remove }, "Dismiss"));
  at("notices").append(notice);
  while (at("notices").children.length > 3) at("notices").firstElementChild.remove();
  if (kind !== "stays") setTimeout(remove, 8000);
}

// ---------------------------------------------------------------------------------------------- asking

function token() {
  try {
    return sessionStorage.getItem(KEY) || "";
  } catch {
    return heldToken;
  }
}

function keepToken(text) {
  heldToken = text;
  try {
    sessionStorage.setItem(KEY, text);
  } catch {
    // a browser that keeps nothing: until the page is loaded again
  }
}

function bearer() {
  return token() ? { Authorization: `Bearer ${token()}` } : {};
}

function askForToken(wasWrong) {
  at("content").hidden = true;
  if (!at("token").hidden && !wasWrong) return;
  say(at("token-why"), wasWrong ? "That was not the right one." : "It is kept until this tab is closed.");
  at("token-why").classList.toggle("error", wasWrong);
  at("token").hidden = false;
  at("token-input").focus();
}

function state(kind, text) {
  at("state").dataset.is = kind;
  say(at("state-text"), text);
  document.documentElement.classList.toggle("stale", kind === "lost");
}

async function poll() {
  clearTimeout(timer);
  const own = (serial += 1);
  const query = new URLSearchParams({ topic: view.topic, filter: view.filter, order: view.order, limit: view.limit, producers: view.producers });
  let isWaiting = false;
  try {
    const answer = await fetch(`page/data?${query}`, { headers: bearer(), cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
    if (own !== serial) return;
    if (answer.status === 401) {
      isWaiting = true;
      state("", "Token needed");
      askForToken(Boolean(token()) && !at("token").hidden);
      return;
    }
    if (!answer.ok) throw new Error(String(answer.status));
    const data = await answer.json();
    if (own === serial) show(data);
  } catch {
    if (own === serial) lost();
  } finally {
    if (own === serial && !document.hidden && !isWaiting) timer = setTimeout(poll, INTERVAL_MS);
  }
}

function lost() {
  lostAt = lostAt || Date.now();
  const seconds = (Date.now() - lostAt) / 1000;
  state("lost", seconds < 3 ? "No answer, trying again" : `No answer for ${duration(seconds)}, trying again`);
}

function show(data) {
  const isBack = lostAt > 0;
  lostAt = 0;
  latest = data;
  mode = data.node.mode;
  state("live", "Live");
  if (startNs && startNs !== data.node.start_ns) notify("The node was restarted. Its counts and charts begin anew.", "stays");
  else if (isBack) notify("The node answers again.");
  startNs = data.node.start_ns;
  at("token").hidden = true;
  at("content").hidden = false;
  health(data.node.health);
  chooseWindow(data.ages);
  totals.update(data);
  if (data.topics ? !view.topic : view.topic) page.update(data);
  facts(data.node);
}

function health(text) {
  const old = at("health");
  if (text === "OK") {
    if (old) old.remove();
  } else if (old) {
    say(old, text);
  } else {
    at("notices").prepend(make("div", { class: "notice", "data-is": "bad", id: "health" }, text));
  }
}

// ---------------------------------------------------------------------------------------------- where we are

let page = null;

function go() {
  const found = /^#\/topic\/(.+)$/.exec(location.hash);
  let name = "";
  try {
    name = found ? decodeURIComponent(found[1]) : "";
  } catch {
    name = "";
  }
  const isFirst = page === null;
  Object.assign(view, { topic: name, filter: "", limit: STEP, order: "name", producers: false });
  at("totals").hidden = Boolean(name);
  page = name ? new Topic(name) : new Topics();
  document.title = `${name ? `${name} · ` : ""}${location.host} · nsqlite`;
  if (latest && !name && latest.topics) page.update(latest);
  if (!isFirst) {
    window.scrollTo(0, 0);
    (document.querySelector("#view h1") || at("main")).focus({ preventScroll: true });
  }
  poll();
}

at("token").addEventListener("submit", (event) => {
  event.preventDefault();
  keepToken(at("token-input").value.trim());
  at("token-input").value = "";
  poll();
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  at("main").focus();
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) poll();
});
window.addEventListener("hashchange", go);
say(at("host"), location.host);
const totals = new Totals();
go();
