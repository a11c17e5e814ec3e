// The status page: what /events sends, shown. Everything that comes is text, and becomes text: no markup is made of it.
import { drawn, pulse } from "./picture.js";

const DAY = 86400;
const shown = new Map(); // section → what it was made of
const HISTORY_SECONDS = 15;
let values = []; // those of the last seconds, of one process, the oldest first
let before = null; // the oldest of them, to compare with
let value = null;
let received = 0; // when it came, by this clock
let calls = new Set();

const $ = (id) => document.getElementById(id);

export function made(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, content] of Object.entries(attributes)) if (content) node.setAttribute(key, content);
  node.append(...children.filter((child) => child !== "" && child !== null));
  return node;
}

// --- words ---

const now = () => value.at + (performance.now() - received) / 1000; // by the server's clock

function spoken(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 90) return `${whole} s`;
  if (whole < 90 * 60) return `${Math.round(whole / 60)} min`;
  if (whole < 36 * 3600) return `${Math.round(whole / 360) / 10} h`;
  return `${Math.round(whole / DAY)} days`;
}

function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (bytes >= 1000 && unit < units.length - 1) { bytes /= 1000; unit += 1; }
  return `${unit && bytes < 100 ? bytes.toFixed(1) : Math.round(bytes)} ${units[unit]}`;
}

const clock = (at) => new Date(at * 1000).toLocaleTimeString([], { hour12: false });
const counted = (number, one, many) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
const duration = (ms) => (ms < 1000 ? `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

// --- numbers ---

function series(of, name, ...wanted) {
  const found = (of?.numbers?.[name] ?? []).filter(([words]) => wanted.every((word, at) => word === null || words[at] === word));
  return found.reduce((sum, [, number]) => sum + number, 0);
}

const least = (name) => Math.min(...(value.numbers[name] ?? []).map(([, number]) => number));
const has = (name) => name in value.numbers;

function rate(name, ...wanted) {
  if (!before || value.at - before.at < 0.05) return null;
  return Math.max(0, (series(value, name, ...wanted) - series(before, name, ...wanted)) / (value.at - before.at));
}

// --- how it is: what somebody who is woken at night should read first ---

function verdicts() {
  const found = [];
  const say = (level, what, todo) => found.push({ level, what, todo });
  for (const peer of value.peers ?? [])
    if (peer.stream === "down")
      say("bad", `No stream to ${peer.name}`, `Who reaches us through it can't call us. Run: eps doctor ${peer.name}`);
  const confirmed = series(value, "eps_directory_confirmed_timestamp_seconds");
  if (value.program.startsWith("eps") && has("eps_directory_confirmed_timestamp_seconds")) {
    const age = value.at - confirmed;
    if (!confirmed) say("bad", "No directory yet", "No service directory has ever confirmed one. Run: eps doctor");
    else if (age > 900) say("bad", `No service directory has confirmed the directory for ${spoken(age)}`, "News, revocations too, are not known here. Run: eps doctor");
  }
  const first = least("eps_certificate_expiry_timestamp_seconds") - value.at;
  if (first < 0) say("bad", `A certificate has ended ${spoken(-first)} ago`, "See Certificates below.");
  else if (first < 30 * DAY) say(first < 3 * DAY ? "bad" : "warn", `A certificate ends in ${spoken(first)}`, "See Certificates below; have the next one made and pinned.");
  if (series(value, "eps_audit_failing")) say("bad", "The audit log can't be written", "Its disk may be full, or its folder may not be written to. The program's log says which.");
  const unwritten = series(value, "eps_audit_lines_lost");
  if (unwritten) say("bad", `${counted(unwritten, "call has", "calls have")} no line in the audit log`, "It could not be written then. The program's log says when.");
  const limit = series(value, "eps_tunnels_limit");
  const taken = series(value, "eps_tunnels_open") + series(value, "eps_tunnels_waiting");
  if (limit && taken / limit > 0.8) say("bad", `${Math.round((100 * taken) / limit)} % of the proxy's places are taken`, "Beyond them no tunnel can be made. Use another proxy, too.");
  const unknown = value.calls.filter((call) => call.direction === "local" && call.outcome === "unknown").length;
  if (unknown) say("bad", `Of ${counted(unknown, "call", "calls")} nobody knows whether it was executed`, "Find out at the other operator before anybody repeats them.");
  const recent = value.calls.filter((call) => value.at - call.at < 300);
  const failed = recent.filter((call) => call.reason && call.outcome !== "unknown");
  if (failed.length) say("warn", `${failed.length} of the last ${counted(recent.length, "call", "calls")} failed`, `Reasons: ${[...new Set(failed.map((call) => call.reason))].join(", ")}. Their meaning, and what to do: reference-reasons.md`);
  if (series(value, "eps_calls_held")) say("warn", `${counted(series(value, "eps_calls_held"), "call waits", "calls wait")} for a peer that can't be reached`, "They fail after some seconds.");
  if (series(value, "eps_directory_marked_sections")) say("warn", "Sections of the directory are not what their last record says", "eps sd get-entries shows which (marks). Have them submitted anew.");
  if (rate("eps_store_errors")) say("bad", "A store can't be used", "The log names it: look at the disk, or at the Redis server.");
  if (rate("eps_log_lines_lost")) say("warn", "Log lines are lost", "What takes the log is too slow, or has no room.");
  const lost = value.ended.filter((one) => value.at - one.at < 300 && ["request_failed", "lonely_first", "lonely_second", "unused", "no_relay", "no_target", "no_tls"].includes(one.outcome));
  if (lost.length) say("warn", `${counted(lost.length, "tunnel", "tunnels")} did not come about in the last minutes`, "See Tunnels that ended; howto-proxy.md says what each outcome means.");
  if (!found.length) say("ok", "All is well", "Nothing that this process sees needs anybody.");
  return found;
}

// --- sections ---

function section(id, key, make) {
  const text = JSON.stringify(key);
  const there = key !== null && key !== undefined && key.length !== 0;
  $(id).hidden = !there;
  if (!there || shown.get(id) === text) return;
  shown.set(id, text);
  const body = $(id).querySelector(".body, ul, dl, .picture");
  body.replaceChildren(...[make(key)].flat());
}

function table(caption, columns, rows) {
  const heads = columns.map(([title, kind]) => made("th", { scope: "col", class: kind === "number" ? "number" : "" }, title));
  const lines = rows.map(({ cells, isNew }) =>
    made("tr", { class: isNew ? "new" : "" }, ...cells.map((cell, at) => made("td", { class: columns[at][1] }, cell))));
  return made("table", {}, made("caption", {}, caption), made("thead", {}, made("tr", {}, ...heads)), made("tbody", {}, ...lines));
}

const badge = (word, level) => made("span", { class: `badge ${level}` }, word);

function levelOf(outcome, reason) {
  if (["ok", "finished", "idle", "kept", "repeated", "withdrawn"].includes(outcome)) return "ok";
  if (["unknown", "executed"].includes(outcome)) return "bad";
  return outcome === "error" && !reason ? "wait" : ["caller_gone", "stopped", "no_token"].includes(outcome) ? "" : "warn";
}

function callTable(list) {
  const rows = list.slice(0, 15).map((call) => {
    const id = `${call.at} ${call.peer} ${call.method}`;
    const isNew = calls.size > 0 && !calls.has(id);
    if (isNew) pulse(call.peer, call.direction, levelOf(call.outcome, call.reason));
    const arrow = call.direction === "local" ? "→" : "←";
    const why = [call.stage, call.reason, call.code ? `code ${call.code}` : ""].filter(Boolean).join(" · ");
    const who = made("span", {}, made("span", { "aria-hidden": "true" }, `${arrow} `), made("b", {}, call.peer), made("code", {}, ` ${call.method}`));
    who.setAttribute("title", call.direction === "local" ? "from us" : "to us");
    return { isNew, cells: [clock(call.at), who, badge(call.outcome.replaceAll("_", " "), levelOf(call.outcome, call.reason)), why, duration(call.ms)] };
  });
  calls = new Set(list.map((call) => `${call.at} ${call.peer} ${call.method}`));
  return table("The last calls, the newest first", [["Time", "time"], ["Call", "who"], ["Outcome", ""], ["Why", "muted"], ["Took", "number"]], rows);
}

function tunnelTable(list) {
  const former = new Map((before?.tunnels ?? []).map((one) => [one.id, one]));
  const per = before ? value.at - before.at : 0;
  const rows = list.slice(0, 25).map((one) => {
    const was = former.get(one.id);
    const flows = one.bytes.map((bytes, at) => (was && per > 0.05 ? `${size(Math.max(0, bytes - was.bytes[at]) / per)}/s` : "–"));
    const who = made("span", {}, made("b", {}, one.caller || "a TLS client"), " → ", made("b", {}, one.callee || "behind a private proxy"));
    return { cells: [who, spoken(one.age), `${flows[1]} → ← ${flows[0]}`, size(one.bytes[0] + one.bytes[1])] };
  });
  return table("Tunnels that are open, the newest first", [["Who", "who"], ["Age", "number"], ["Now", "number"], ["In all", "number"]], rows);
}

function endedTable(list) {
  const rows = list.slice(0, 12).map((one) => {
    const who = one.caller || one.callee ? `${one.caller || "?"} → ${one.callee || "?"}` : "nobody that showed a token";
    return { cells: [clock(one.at), who, badge(one.outcome.replaceAll("_", " "), levelOf(one.outcome, "")), one.reason, `${spoken(one.seconds)}, ${size(one.bytes[0] + one.bytes[1])}`] };
  });
  return table("Tunnels that ended, the newest first", [["Time", "time"], ["Who", "who"], ["Outcome", ""], ["Why", "muted"], ["Lived, bytes", "number"]], rows);
}

const WAYS = { direct: "directly", proxy: "through ", stream: "on its stream to us", none: "no way", own: "ourselves" };

function peerTable(list) {
  const rows = list.toSorted((a, b) => (a.way === "none") - (b.way === "none")).map((peer) => {
    if ("reached" in peer) // a service directory's
      return { cells: [made("b", {}, peer.name), peer.groups.join(", "), peer.reached, counted(peer.certificates, "certificate", "certificates")] };
    const links = value.links[peer.name] ?? [];
    const state = peer.stream === "down" ? badge("stream down", "bad") : links.length ? badge(links.join(", "), "ok") : made("span", { class: "muted" }, "idle");
    return { cells: [made("b", {}, peer.name), peer.groups.join(", "), WAYS[peer.way] + (peer.way === "proxy" ? peer.via : ""), state] };
  });
  return table("Operators, and how each is reached", [["Operator", "who"], ["Groups", "muted"], ["Reached", ""], ["Now", ""]], rows);
}

function changeList(list) {
  return list.slice(0, 8).map((one) => {
    const lines = one.lines.map((line) => made("span", { class: line.startsWith("+") ? "plus" : line.startsWith("-") ? "minus" : "" }, `${line}\n`));
    if (one.more) lines.push(made("span", { class: "muted" }, `and ${one.more} more`));
    const date = new Date(one.at * 1000).toISOString().slice(0, 16).replace("T", " ");
    return made("div", { class: "change" },
      made("p", {}, made("b", {}, one.operator || "nobody"), one.section + (one.root ? ", the root" : ""), made("span", { class: "muted" }, `${date} UTC, signed by ${one.signed_by}`)),
      lines.length ? made("pre", {}, ...lines) : "");
  });
}

const SUMS = { eps_calls: "calls", eps_tunnels: "tunnels", eps_refused: "turned away", eps_announcements: "announcements", eps_call_failures: "failed calls", eps_tunnel_failures: "no tunnel" };

function outcomeLists() {
  return Object.entries(SUMS).filter(([name]) => value.numbers[name]?.length).map(([name, title]) => {
    const items = value.numbers[name].toSorted((a, b) => b[1] - a[1]).slice(0, 12).map(([words, number]) =>
      made("li", {}, made("b", {}, number.toLocaleString("en")), ` ${words.filter(Boolean).join(" · ").replaceAll("_", " ")}`));
    return made("div", { class: "change" }, made("p", { class: "muted" }, title), made("ul", { class: "outcomes" }, ...items));
  });
}

function certificateTable(list) {
  const rows = list.toSorted((a, b) => a[1] - b[1]).map(([[setting], ends]) => {
    const left = ends - value.at;
    const level = left < 3 * DAY ? "bad" : left < 30 * DAY ? "warn" : "ok";
    return { cells: [made("code", {}, setting.replace(/\.certificate_file$/, "")), new Date(ends * 1000).toISOString().slice(0, 10), badge(left < 0 ? "ended" : spoken(left), level)] };
  });
  return table("Our certificates, the first to end at the top", [["Setting", "who"], ["Ends", "time"], ["In", "number"]], rows);
}

function figures() {
  const found = [];
  const add = (title, number, unit = "", level = "") => found.push([title, number, unit, level]);
  if (has("eps_calls_in_flight")) {
    const ok = series(value, "eps_calls", null, "ok");
    const perSecond = rate("eps_calls");
    add("Calls", perSecond === null ? "–" : perSecond < 10 ? perSecond.toFixed(1) : Math.round(perSecond), "a second");
    const all = series(value, "eps_calls");
    add("Answered well", all ? `${Math.floor((1000 * ok) / all) / 10} %` : "–", all ? `of ${all.toLocaleString("en")}` : "no calls yet");
    const inFlight = series(value, "eps_calls_in_flight"), held = series(value, "eps_calls_held");
    add("In flight", inFlight, held ? `${held} wait` : "", held ? "warn" : "");
    const times = value.calls.filter((call) => call.outcome === "ok").map((call) => call.ms).sort((a, b) => a - b);
    add("Usual time", times.length ? duration(times[times.length >> 1]) : "–", times.length ? `of the last ${times.length}` : "");
    const streams = (value.peers ?? []).filter((peer) => peer.stream);
    const up = streams.filter((peer) => peer.stream === "up").length;
    if (streams.length) add("Streams we hold", `${up}/${streams.length}`, "up", up < streams.length ? "bad" : "");
  }
  if (has("eps_tunnels_open")) {
    const limit = series(value, "eps_tunnels_limit");
    add("Tunnels open", series(value, "eps_tunnels_open").toLocaleString("en"), limit ? `of ${limit.toLocaleString("en")}` : "");
    add("Waiting for a side", series(value, "eps_tunnels_waiting"));
    const flow = rate("eps_tunnel_bytes");
    add("Relayed", flow === null ? "–" : `${size(flow)}/s`, `${size(series(value, "eps_tunnel_bytes"))} in all`);
  }
  if (series(value, "eps_directory_records")) {
    add("Operators", series(value, "eps_directory_operators"), counted(series(value, "eps_directory_records"), "record", "records"));
    const confirmed = series(value, "eps_directory_confirmed_timestamp_seconds");
    if (confirmed) add("Directory confirmed", spoken(value.at - confirmed), "ago", value.at - confirmed > 900 ? "bad" : "");
  }
  add("Turned away", series(value, "eps_refused").toLocaleString("en"), "since the start");
  return found;
}

function figureList(list) {
  return list.map(([title, number, unit, level]) =>
    made("div", {}, made("dt", {}, title), made("dd", { class: level }, String(number), unit ? made("small", {}, ` ${unit}`) : "")));
}

function render() {
  const title = value.name.replace(/^the (public|private) proxy /, "").replace(/^the service directory$/, "Service directory") || "starting";
  $("name").textContent = title;
  $("program").textContent = { eps: "EPS server", sd: "SD", "public-proxy": "Public proxy", "private-proxy": "Private proxy" }[value.program] ?? value.program;
  document.title = `${verdicts()[0].level === "ok" ? "" : "⚠ "}${title} · EPS status`;
  section("verdict", verdicts(), (list) => list.map((one) => made("li", { class: one.level }, made("b", {}, one.what), made("span", {}, one.todo))));
  section("figures", figures(), figureList);
  section("calls", value.program.startsWith("eps") ? [value.calls, value.calls.length] : null, ([list]) => list.length ? callTable(list) : made("p", { class: "muted" }, "None yet. The next one appears here at once."));
  section("tunnels", value.tunnels ? [value.tunnels, value.tunnels.length] : null, ([list]) => list.length ? tunnelTable(list) : made("p", { class: "muted" }, "None is open."));
  section("ended", value.program.includes("proxy") ? value.ended : null, endedTable);
  section("peers", value.peers ?? value.operators, (list) => peerTable(list));
  section("changes", value.changes, changeList);
  section("announcements", value.announcements, (list) => table("Announced domains", [["Domain", "who"], ["Operator", ""]], list.map((one) => ({ cells: [made("code", {}, one.domain), one.operator] }))));
  section("outcomes", Object.keys(SUMS).filter((name) => value.numbers[name]?.length).map((name) => value.numbers[name]), outcomeLists);
  section("certificates", value.numbers.eps_certificate_expiry_timestamp_seconds, certificateTable);
  drawn($("network"), value);
  tick();
}

function tick() {
  if (value === null) return;
  $("facts").textContent = `version ${value.version}, process ${value.pid}, up ${spoken(now() - value.started_at)}${value.listening.length ? ` · ${value.listening.join(" · ")}` : ""}`;
}

function live(word, level) {
  if ($("live").textContent === word) return;
  $("live").textContent = word;
  $("live").className = `badge ${level}`;
}

// --- what comes ---

const AWAY_SECONDS = 5; // longer than between two values
let source = null;

function listen() {
  source?.close();
  source = new EventSource("events");
  source.onmessage = (message) => {
    const next = JSON.parse(message.data);
    if (values[0]?.pid !== next.pid) values = [];
    values.push(next);
    while (values.length > 2 && next.at - values[0].at > HISTORY_SECONDS) values.shift();
    before = values.length > 1 ? values[0] : null;
    value = next;
    received = performance.now();
    live("live", "ok");
    render();
  };
  source.onerror = () => {
    live("no connection: trying again", "bad");
    source.close(); // a browser's own pauses grow, and after some answers it gives up for good
    setTimeout(listen, 1000);
  };
}

setInterval(() => {
  if (value !== null && performance.now() - received > AWAY_SECONDS * 1000) live("no news: trying again", "bad");
  tick();
}, 1000);
addEventListener("resize", () => value && drawn($("network"), value));
listen();
