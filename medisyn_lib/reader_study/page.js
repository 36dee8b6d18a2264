"use strict";
// One reader's study, all in this page: it shows items, keeps the answers in this browser, and hands them
// out as files. It sends nothing: the page's policy forbids every request.

const study = JSON.parse(document.getElementById("study").textContent);
const scales = {
  realism: { legend: "How realistic does the image look?", low: "1 clearly artificial", high: "5 like a real image" },
  alignment: { legend: "How well does the description fit the image?", low: "1 not at all", high: "5 completely" },
};
const keptAs = `medisyn-reader-study/${study.study}/${study.reader}`;
const at = (id) => document.getElementById(id);

// place: -1 before the first item, items.length after the last; consent: when it was given
let state = { place: -1, answers: {}, consent: "", rested: false };
let shownSince = 0;
let zoom = 1; // screen pixels for each of the image's own
const largestZoom = 16;
const half = Math.floor(study.items.length / 2); // where a break is offered

// Answers survive a reload, a crash and a pause.
function save() {
  try {
    localStorage.setItem(keptAs, JSON.stringify(state));
  } catch {
    warn("This browser does not keep answers: do not close the page before you have downloaded them.");
  }
}

function restore() {
  try {
    const kept = JSON.parse(localStorage.getItem(keptAs));
    if (kept && kept.answers) state = kept;
  } catch {
    warn("This browser does not keep answers: do not close the page before you have downloaded them.");
  }
}

function warn(text) {
  at("notice").textContent = text;
  at("notice").hidden = false;
}

// A checksum (CRC-32) of what an item showed, so that an edited page is noticed when answers are read in.
function checksum(item) {
  let crc = 0xffffffff;
  for (const byte of new TextEncoder().encode([item.kind, item.modality, item.caption, ...item.images].join("\n"))) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function show(id) {
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== id;
  at("pause").hidden = id !== "item";
  const answered = study.items.filter(complete).length;
  at("progress").max = study.items.length;
  at("progress").value = answered;
  at("count").textContent = `${answered} of ${study.items.length} answered`;
  window.scrollTo(0, 0);
  const heading = at(id).querySelector("h1");
  if (heading) heading.focus({ preventScroll: true });
}

function questions(item) {
  return item.kind === "pair" ? ["choice"] : ["realism", "alignment"];
}

function complete(item) {
  const answer = state.answers[item.token];
  return Boolean(answer) && questions(item).every((name) => name in answer);
}

// Radio buttons, so that assistive software knows what they are; `values` are the answers.
function choices(name, legend, values, ends) {
  const row = make("div", { className: "choices" });
  for (const value of values) {
    const input = make("input", { type: "radio", name, value: String(value) });
    input.addEventListener("change", () => answer(name, value));
    row.append(make("label", { className: "choice" }, input, make("span", { textContent: String(value) })));
  }
  const field = make("fieldset", {}, make("legend", { textContent: legend }), row);
  if (ends) {
    const words = ends.map((textContent) => make("span", { textContent }));
    field.append(make("p", { className: "ends" }, ...words));
  }
  return field;
}

function picture(item, number, label) {
  const image = make("img", { src: item.images[number], alt: label ? `Image ${label}` : "Image to judge", draggable: false });
  const frame = make("div", { className: "frame", tabIndex: -1 }, image);
  return make("figure", {}, frame, ...(label ? [make("figcaption", { textContent: label })] : []));
}

// The largest whole multiple of the image's own size that fits its frame.
function fitting() {
  const multiples = [...document.querySelectorAll(".frame img")].map((image) => {
    const { clientWidth, clientHeight } = image.parentElement;
    return Math.floor(Math.min(clientWidth / image.naturalWidth, clientHeight / image.naturalHeight));
  });
  return Math.min(...multiples);
}

function fit() {
  const images = [...document.querySelectorAll(".frame img")];
  Promise.all(images.map((image) => image.decode())).then(() => {
    const multiple = fitting();
    setZoom(multiple);
    if (multiple < 1) return; // larger than its frame, it is scrolled there
    for (const image of images) image.parentElement.style.height = `${zoom * image.naturalHeight}px`;
  });
}

// Grey values from level - window / 2 to level + window / 2 are spread over black to white.
function setWindow() {
  const window = Number(at("window").value);
  const level = Number(at("level").value);
  for (const channel of ["red", "green", "blue"]) {
    at(channel).setAttribute("slope", String(256 / window));
    at(channel).setAttribute("intercept", String(0.5 - level / window));
  }
}

function resetWindow() {
  at("window").value = "256";
  at("level").value = "128";
  setWindow();
}

function showItem() {
  if (!state.consent) return show("consent");
  if (state.place < 0) return show("intro");
  if (state.place >= study.items.length) return show("done");
  if (state.place === half && !state.rested) return show("break");
  const item = study.items[state.place];
  const pair = item.kind === "pair";
  const training = "truth" in item ? ", for training" : "";
  at("question").textContent = `${item.modality}, item ${state.place + 1} of ${study.items.length}${training}`;
  at("caption").textContent = pair ? "" : `Description: ${item.caption}`;
  at("caption").hidden = pair;
  at("item").className = (pair ? "two" : "one") + (item.grey ? " grey-scale" : "");
  at("grey").hidden = !item.grey;
  resetWindow();
  at("stage").replaceChildren(...(pair ? [picture(item, 0, "A"), picture(item, 1, "B")] : [picture(item, 0, "")]));
  at("form").replaceChildren(
    ...questions(item).map((name) =>
      pair
        ? choices(name, "Which of the two images is synthetic?", ["A", "B"])
        : choices(name, scales[name].legend, [1, 2, 3, 4, 5], [scales[name].low, scales[name].high]),
    ),
  );
  mark();
  at("back").disabled = state.place === 0;
  shownSince = Date.now();
  show("item");
  fit();
}

// Shows what is chosen, and lets the reader on once all is answered.
function mark() {
  const item = study.items[state.place];
  const given = state.answers[item.token] || {};
  for (const input of at("form").querySelectorAll("input")) input.checked = String(given[input.name]) === input.value;
  at("next").disabled = !complete(item);
  at("truth").textContent = item.truth || "";
  at("truth").hidden = !(item.truth && complete(item));
  at("next").textContent = state.place + 1 === study.items.length ? "Finish" : "Next";
}

function answer(name, value) {
  const item = study.items[state.place];
  const given = (state.answers[item.token] ??= { shown: checksum(item), seconds: 0 });
  given[name] = value;
  save();
  mark();
}

function spend() {
  const item = study.items[state.place];
  const given = item && state.answers[item.token];
  if (given) given.seconds = Math.round(10 * given.seconds + (Date.now() - shownSince) / 100) / 10;
}

function go(step) {
  if (at("item").hidden || (step > 0 && at("next").disabled) || (step < 0 && state.place === 0)) return;
  spend();
  state.place += step;
  save();
  showItem();
}

function setZoom(value) {
  zoom = Math.min(largestZoom, Math.max(1, value));
  at("zoom").textContent = `${zoom} : 1`;
  for (const image of document.querySelectorAll(".frame img")) {
    const frame = image.parentElement;
    const [width, height] = [zoom * image.naturalWidth, zoom * image.naturalHeight];
    image.style.width = `${width}px`;
    frame.tabIndex = width > frame.clientWidth || height > frame.clientHeight ? 0 : -1; // to scroll by keys
  }
}

function rest() {
  state.rested = true;
  save();
  showItem();
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (!at("break").hidden && event.key === "Enter" && document.activeElement.tagName !== "BUTTON") return rest();
  if (at("item").hidden) return;
  const item = study.items[state.place];
  const key = event.key.toLowerCase();
  if (item.kind === "pair" && (key === "a" || key === "b")) answer("choice", key.toUpperCase());
  else if (item.kind === "rating" && key >= "1" && key <= "5" && key.length === 1) {
    const given = state.answers[item.token] || {};
    const focused = document.activeElement.name; // a scale that has the focus is the one that is meant
    const name = focused in scales ? focused : questions(item).find((one) => !(one in given)) || "alignment";
    answer(name, Number(key));
  } else if (key === "enter" && document.activeElement.tagName !== "BUTTON") go(1);
  else if (key === "backspace") go(-1);
  else if (key === "+" || key === "=") setZoom(zoom + 1);
  else if (key === "-") setZoom(zoom - 1);
  else return;
  event.preventDefault();
}

function download(name, type, text) {
  const link = make("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function downloadJson() {
  const { format, study: name, reader } = study;
  const { consent, answers } = state;
  const content = { format, study: name, reader, consent, answers, saved: new Date().toISOString() };
  download(`${name}-${reader}.json`, "application/json", JSON.stringify(content, null, 1));
}

// A spreadsheet takes a cell that begins so for a formula; an apostrophe before it makes it text.
function cell(value) {
  const text = value === undefined ? "" : String(value);
  return `"${(/^\s*[=+\-@\t\r\n|%]/.test(text) ? "'" : "") + text.replaceAll('"', '""')}"`;
}

function downloadCsv() {
  const rows = [["study", "reader", "item", "question", "modality", "description", "synthetic", "realism", "alignment",
    "seconds"]];
  study.items.forEach((item, number) => {
    const given = state.answers[item.token] || {};
    rows.push([study.study, study.reader, number + 1, item.kind, item.modality, item.caption, given.choice,
      given.realism, given.alignment, given.seconds]);
  });
  const lines = rows.map((row) => row.map(cell).join(",")).join("\r\n");
  download(`${study.study}-${study.reader}.csv`, "text/csv", `${lines}\r\n`);
}

function onClick(id, action) {
  at(id).addEventListener("click", action);
}

restore();
at("reader").textContent = study.reader;
at("agree").addEventListener("change", () => {
  at("proceed").disabled = !at("agree").checked;
});
onClick("proceed", () => {
  state.consent = new Date().toISOString();
  save();
  showItem();
});
onClick("refreshed", rest);
at("window").addEventListener("input", setWindow);
at("level").addEventListener("input", setWindow);
onClick("reset", resetWindow);
onClick("start", () => {
  state.place = 0;
  save();
  showItem();
});
onClick("next", () => go(1));
onClick("back", () => go(-1));
onClick("larger", () => setZoom(zoom + 1));
onClick("smaller", () => setZoom(zoom - 1));
onClick("pause", () => {
  spend();
  save();
  show("paused");
});
onClick("resume", showItem);
onClick("backup", downloadJson);
onClick("json", downloadJson);
onClick("csv", downloadCsv);
onClick("review", () => {
  state.place = study.items.length - 1;
  showItem();
});
document.addEventListener("keydown", onKey);
at("form").addEventListener("submit", (event) => event.preventDefault());
showItem();
