// Where we are, what is asked every two seconds, and what is changed when somebody wants it.

const INTERVAL_MS = 2000;
const PATIENCE_MS = 6000;
const STEP = 100;
const KEY = "nsqlite-token";

const view = { topic: "", filter: "", order: "name", limit: STEP, producers: false };
let serial = 0;
let timer = 0;
let lostAt = 0;
let startNs = "";
let mode = "read-only";
let latest = null;
let heldToken = "";

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
  const notice = make("div", { class: "notice" }, make("span", {}, text));
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
  state(data.node.health === "OK" ? "live" : "bad", data.node.health === "OK" ? "Live" : "Live, store failing");
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
  at("health").hidden = text === "OK";
  if (text !== "OK") say(at("health"), `The last write to the store failed: ${text.replace(/^NOK - /, "")}`);
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
