// The figures of the whole node, and the list of its topics.

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
