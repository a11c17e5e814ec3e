// The picture of the network: us in the middle, who is next to us around, and lines that live.
const SVG = "http://www.w3.org/2000/svg";
const MOST = 24; // operators that are drawn; more would be a hairball
let places = new Map();
let ways = new Map(); // peer → the nodes on the way to it
let root = null;
let key = "";

function shape(name, attributes, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, content] of Object.entries(attributes)) node.setAttribute(key, content);
  node.append(...children);
  return node;
}

const short = (name) => (name.length > 22 ? `${name.slice(0, 21)}…` : name);

// What is drawn: nodes {name, kind, live, down, sub}, edges {from, to, state}.
function graph(value) {
  const us = value.program === "sd" ? "service directory" : value.program.includes("proxy") ? "this proxy" : value.name;
  const nodes = new Map([[us, { name: us, kind: "us" }]]);
  const edges = [];
  const node = (name, kind, more = {}) => {
    if (!nodes.has(name)) nodes.set(name, { name, kind });
    return Object.assign(nodes.get(name), more);
  };
  const edge = (from, to, state) => edges.push({ from, to, state });
  ways = new Map();
  if (value.peers) {
    const confirmed = (value.numbers.eps_directory_confirmed_timestamp_seconds ?? [[[], 0]])[0][1];
    node("service directory", "sd", { sub: confirmed ? "" : "not heard of yet" });
    edge(us, "service directory", confirmed && value.at - confirmed < 900 ? "live" : "down");
    const proxies = new Set(value.peers.map((peer) => peer.via).filter(Boolean));
    const near = value.peers.filter((peer) => peer.way !== "none" || peer.stream || value.links[peer.name]);
    for (const peer of near.sort((a, b) => proxies.has(b.name) - proxies.has(a.name)).slice(0, MOST)) {
      const links = value.links[peer.name] ?? [];
      const isLive = links.length > 0;
      node(peer.name, proxies.has(peer.name) ? "proxy" : "peer", { live: isLive, down: peer.stream === "down" });
      const via = peer.way === "proxy" && peer.via !== us && peer.via !== value.name ? peer.via : "";
      const state = peer.stream === "down" ? "down" : isLive ? "live" : "";
      if (via) node(via, "proxy");
      edge(via || us, peer.name, state);
      ways.set(peer.name, via ? [us, via, peer.name] : [us, peer.name]);
    }
  } else if (value.operators) {
    for (const one of value.operators.filter((each) => each.via)) node(one.via, "proxy");
    for (const one of value.operators.slice(0, MOST)) {
      node(one.name, nodes.get(one.name)?.kind ?? "peer");
      edge(one.via && nodes.has(one.via) && one.via !== one.name ? one.via : us, one.name, "");
    }
    for (const one of nodes.values()) if (one.kind === "proxy" && !edges.some((each) => each.to === one.name)) edge(us, one.name, "");
  } else if (value.tunnels || value.announcements) {
    const pairs = [...(value.tunnels ?? []).map((one) => [one, "live"]), ...(value.ended ?? []).map((one) => [one, ""])];
    for (const [one, state] of pairs)
      for (const name of [one.caller, one.callee].filter((each) => each && !each.startsWith("tls:"))) {
        if (!nodes.has(name) && nodes.size > MOST) continue;
        if (!nodes.has(name)) edge(us, name, state);
        node(name, "peer", state ? { live: true } : {});
      }
    for (const one of value.announcements ?? []) if (!nodes.has(one.operator) && nodes.size <= MOST) { node(one.operator, "peer"); edge(us, one.operator, ""); }
  }
  return { us, nodes: [...nodes.values()], edges };
}

function placed({ us, nodes, edges }, width, height) {
  const found = new Map([[us, [width / 2, height / 2]]]);
  const inner = nodes.filter((one) => one.kind === "proxy" || one.kind === "sd");
  const outer = nodes.filter((one) => one.kind === "peer");
  const radius = Math.min(width / 2 - 70, height / 2 - 34);
  const flat = Math.max(width / 2 - 78, radius);
  const at = (angle, part) => [width / 2 + Math.cos(angle) * flat * part, height / 2 + Math.sin(angle) * (height / 2 - 32) * part];
  if (!outer.length) { inner.forEach((one, index) => found.set(one.name, at(-Math.PI / 2 + (2 * Math.PI * index) / inner.length, 0.85))); return found; }
  const behind = (one) => edges.find((edge) => edge.to === one.name)?.from ?? us;
  const order = [...inner.map((one) => one.name), us];
  outer.sort((a, b) => order.indexOf(behind(a)) - order.indexOf(behind(b)));
  const ring = [...outer];
  const sd = inner.find((one) => one.kind === "sd");
  if (sd) ring.unshift(sd);
  const turned = ring.length % 4 === 1 || !sd ? 0.12 : 0; // nobody level with us, where our own name stands
  ring.forEach((one, index) => found.set(one.name, at(-Math.PI / 2 + (2 * Math.PI * (index - (index ? turned : 0))) / ring.length, 1)));
  for (const one of inner.filter((each) => each.kind === "proxy")) {
    const mine = outer.filter((each) => behind(each) === one.name).map((each) => found.get(each.name));
    const [x, y] = mine.length ? mine.reduce(([a, b], [c, d]) => [a + c / mine.length, b + d / mine.length], [0, 0]) : at(Math.PI / 2, 0.6);
    const [dx, dy] = [x - width / 2, y - height / 2];
    const far = Math.hypot(dx / flat, dy / radius) || 0.001;
    const [ux, uy] = far < 0.2 ? [0, 1] : [dx / far / flat, dy / far / radius];
    const part = width < 480 ? 0.62 : 0.54;
    found.set(one.name, [width / 2 + ux * flat * part, height / 2 + uy * radius * part]);
  }
  return found;
}

export function drawn(section, value) {
  const whole = graph(value);
  section.hidden = whole.nodes.length < 2;
  if (section.hidden) return;
  const wide = Math.max(Math.round(section.querySelector(".picture").clientWidth), 240);
  const next = JSON.stringify([whole, wide]);
  if (next === key) return;
  key = next;
  const height = Math.round(wide < 480 ? Math.max(wide, 300) : Math.min(wide * 0.82, 430));
  places = placed(whole, wide, height);
  const live = whole.nodes.filter((one) => one.live).length, down = whole.nodes.filter((one) => one.down).length;
  const said = `${whole.us} and ${whole.nodes.length - 1} others; ${live} connected${down ? `, ${down} that should be and are not` : ""}`;
  root = shape("svg", { viewBox: `0 0 ${wide} ${height}`, role: "img", "aria-label": said });
  for (const { from, to, state } of whole.edges) {
    const [a, b] = [places.get(from), places.get(to)];
    if (a && b) root.append(shape("line", { class: `wire ${state}`, x1: a[0], y1: a[1], x2: b[0], y2: b[1] }));
  }
  for (const one of whole.nodes) root.append(...nodeShapes(one, wide));
  section.querySelector(".picture").replaceChildren(root);
  section.querySelector(".legend").textContent = value.program === "sd" ? `${said.split(";")[0]}. Lines: through whom each is reached.` : `${said}. Solid: connected. Dotted: known, no connection now. Red: should be connected.`;
}

function nodeShapes(one, width) {
  const [x, y] = places.get(one.name);
  const size = one.kind === "us" ? 11 : one.kind === "peer" ? 6.5 : 8.5;
  const kind = `node ${one.kind} ${one.down ? "down" : one.live ? "live" : ""}`;
  const body = one.kind === "proxy" ? shape("rect", { class: kind, x: x - size, y: y - size, width: 2 * size, height: 2 * size, rx: 3 })
    : one.kind === "sd" ? shape("path", { class: kind, d: `M${x} ${y - size - 2}L${x + size + 2} ${y}L${x} ${y + size + 2}L${x - size - 2} ${y}Z` })
    : shape("circle", { class: kind, cx: x, cy: y, r: size });
  const text = short(one.name);
  const half = text.length * 3.3 + 4;
  const middle = Math.min(Math.max(x, half), width - half);
  const label = shape("text", { x: middle, y: y + size + 16, "text-anchor": "middle" }, text);
  return [body, label];
}

// A call has ended: a dot runs along its way.
export function pulse(peer, direction, level) {
  if (!root || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  const way = (ways.get(peer) ?? []).map((name) => places.get(name)).filter(Boolean);
  if (way.length < 2) return;
  if (direction !== "local") way.reverse();
  const svg = root;
  const dot = shape("circle", { class: `pulse ${level === "ok" ? "" : "bad"}`, r: 4.5 });
  svg.append(dot);
  const began = performance.now(), lasts = 700;
  const step = (time) => {
    const part = Math.min((time - began) / lasts, 1) * (way.length - 1);
    const leg = Math.min(Math.floor(part), way.length - 2), rest = part - leg;
    dot.setAttribute("cx", way[leg][0] + (way[leg + 1][0] - way[leg][0]) * rest);
    dot.setAttribute("cy", way[leg][1] + (way[leg + 1][1] - way[leg][1]) * rest);
    if (part < way.length - 1 && svg.isConnected) requestAnimationFrame(step);
    else dot.remove();
  };
  requestAnimationFrame(step);
}
