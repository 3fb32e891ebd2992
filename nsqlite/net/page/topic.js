// One topic with its channels, and tables of clients.

// ---------------------------------------------------------------------------------------------- clients

const CLIENT_COLUMNS = [["Ready", "ready_count"], ["In flight", "in_flight_count"], ["Messages", "message_count"], ["Finished", "finish_count"], ["Requeued", "requeue_count"]];

function whoCell(client) {
  // bdi: a name that turns the direction of writing turns its own alone
  const cell = make("td", { role: "cell" }, make("bdi", {}, client.client_id || "(no name)"));
  const more = [client.hostname === client.client_id ? "" : client.hostname, client.user_agent].filter(Boolean);
  if (more.length) cell.append(make("small", {}, ...more.flatMap((text, index) => [index ? " · " : "", make("bdi", {}, text)])));
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
