"use strict";
// Runs the script of a reader's page in node on a stand-in for a browser, answers it by keyboard, reloads it half-way
// and prints what it would download. It sees the page's logic; layout and policy need a browser.
const vm = require("node:vm");
const html = require("node:fs").readFileSync(process.argv[2], "utf-8");
const inside = (pattern) => html.match(pattern)[1];
const script = inside(/<script>([^]*?)<\/script>/);
const sections = [...html.matchAll(/<section id="(\w+)"/g)].map((found) => found[1]);
const kept = new Map(); // what the browser's local storage holds
const files = [];

class Element {
  constructor(tag, id = "") {
    Object.assign(this, { tagName: tag.toUpperCase(), id, children: [], heard: {}, hidden: false, disabled: false });
  }
  append(...more) { this.children.push(...more); }
  replaceChildren(...more) { this.children = more; }
  addEventListener(kind, does) { this.heard[kind] = does; }
  all() { return this.children.flatMap((child) => [child, ...child.all()]); }
  querySelectorAll(tag) { return this.all().filter((one) => one.tagName === tag.toUpperCase()); }
  querySelector() { return new Element("h1"); }
  setAttribute() {}
  decode() { return Promise.resolve(); }
  focus() {}
  remove() {}
  click() { if (this.heard.click) this.heard.click(); }
}

function open() {
  const known = new Map();
  const byId = (id) => {
    if (!html.includes(`id="${id}"`)) throw new Error(`the page has no element ${id}`);
    if (!known.has(id)) known.set(id, new Element(sections.includes(id) ? "section" : "div", id));
    return known.get(id);
  };
  byId("study").textContent = inside(/id="study">([^]*?)<\/script>/);
  const document = new Element("document");
  Object.assign(document, {
    getElementById: byId,
    createElement: (tag) => new Element(tag),
    body: new Element("body"),
    activeElement: new Element("body"),
    documentElement: { style: { setProperty() {} } },
    querySelectorAll: (what) => (what.startsWith(".frame") ? [] : sections.map(byId)),
  });
  const localStorage = { getItem: (key) => kept.get(key) ?? null, setItem: (key, text) => kept.set(key, text) };
  const address = { createObjectURL: (blob) => files.push(blob), revokeObjectURL() {} };
  const window = { scrollTo() {} };
  const world = { document, localStorage, window, Blob, TextEncoder, URL: address, setTimeout() {}, console };
  vm.runInNewContext(script, world); // no fetch, no XMLHttpRequest: asking the network for anything throws
  const press = (key) => document.heard.keydown({ key, preventDefault() {} });
  return { byId, press, items: JSON.parse(byId("study").textContent).items };
}

function answer(page, from, to) {
  for (const item of page.items.slice(from, to)) {
    for (const key of item.kind === "pair" ? ["b"] : ["4", "2"]) page.press(key);
    page.press("Enter");
    if (!page.byId("break").hidden) page.press("Enter"); // rested
  }
}

let page = open();
const total = page.items.length;
const half = Math.floor(total / 2);
page.byId("proceed").click();
page.byId("start").click();
answer(page, 0, half);
page.press("Enter"); // nothing is chosen yet: it stays
page = open(); // reloaded
const resumed = page.byId("question").textContent;
page.press("Backspace");
const before = page.byId("question").textContent;
page.press("Enter");
page.byId("pause").click();
page.press("b"); // a paused page takes no answer
page.byId("resume").click();
answer(page, half, total);
for (const id of ["json", "csv"]) page.byId(id).click();
Promise.all(files.map((blob) => blob.text())).then(([json, csv]) => {
  const done = [page.byId("count").textContent, sections.filter((id) => !page.byId(id).hidden)];
  console.log(JSON.stringify({ resumed, before, done, json, csv }));
});
