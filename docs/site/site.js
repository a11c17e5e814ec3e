"use strict";
// The menu is open where there is room for it; the search's words are loaded when somebody first looks for something.

const MOST = 12;
const menu = document.getElementById("menu");
const words = document.getElementById("words");
const found = document.getElementById("found");
const said = document.getElementById("said");
const wide = matchMedia("(min-width: 48.01rem)");

const unfold = () => { menu.open = wide.matches; };
wide.addEventListener("change", unfold);
unfold();

let loading = null;
function load() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "search.js";
    script.addEventListener("load", () => resolve(window.found_in.map((row) => ({ row, text: row.slice(2).join("\n").toLowerCase() }))));
    script.addEventListener("error", reject);
    document.head.append(script);
  });
  return loading;
}

function score({ row, text }, wanted) {
  let sum = 0;
  for (const word of wanted) {
    if (!text.includes(word)) return 0;
    const [, , title, heading, body] = row;
    sum += 1 + 8 * heading.toLowerCase().includes(word) + 4 * title.toLowerCase().includes(word);
    sum += Math.min(body.toLowerCase().split(word).length - 1, 5) / 2;
  }
  return sum;
}

function around(text, word) {
  const at = Math.max(text.toLowerCase().indexOf(word), 0);
  const begin = Math.max(at - 60, 0);
  return (begin ? "… " : "") + text.slice(begin, at + 120) + (at + 120 < text.length ? " …" : "");
}

function marked(text, wanted) {
  const pieces = document.createDocumentFragment();
  const pattern = new RegExp(`(${wanted.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|")})`, "gi");
  text.split(pattern).forEach((piece, index) => {
    if (index % 2) pieces.append(Object.assign(document.createElement("mark"), { textContent: piece }));
    else pieces.append(piece);
  });
  return pieces;
}

function line({ row: [page, anchor, title, heading, body] }, wanted) {
  const item = document.createElement("li");
  const link = Object.assign(document.createElement("a"), { href: `${page}#${anchor}` });
  const head = document.createElement("b");
  head.append(marked(heading, wanted));
  const small = document.createElement("small");
  small.append(heading === title ? "" : `${title} · `, marked(around(body, wanted[0]), wanted));
  link.append(head, small);
  item.append(link);
  return item;
}

async function look() {
  const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
  if (!wanted.length) { found.hidden = true; said.textContent = ""; return; }
  const all = await load();
  const hits = all.map((entry) => [score(entry, wanted), entry]).filter(([points]) => points).sort((a, b) => b[0] - a[0]);
  found.replaceChildren(...hits.slice(0, MOST).map(([, entry]) => line(entry, wanted)));
  if (!hits.length) {
    const nothing = document.createElement("li");
    nothing.append(Object.assign(document.createElement("p"), { textContent: "Nothing has all of these words." }));
    found.append(nothing);
  }
  found.hidden = false;
  said.textContent = `${hits.length} found`;
}

words.addEventListener("focus", () => load().catch(() => {}));
words.addEventListener("input", look);
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== words && !event.ctrlKey && !event.metaKey && !event.altKey) { event.preventDefault(); words.focus(); }
  if (event.key === "Escape") { found.hidden = true; words.blur(); }
  if ((event.key === "ArrowDown" || event.key === "ArrowUp") && !found.hidden) {
    const links = [...found.querySelectorAll("a")];
    const at = links.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1);
    (links[at] ?? words).focus();
    event.preventDefault();
  }
});
document.addEventListener("click", (event) => { if (!event.target.closest("[role=search]")) found.hidden = true; });
