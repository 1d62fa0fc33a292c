"use strict";

// The page at `/`: values by sliders, and what the model says of them.

const LOOK_AGAIN_MS = 2000;
const SETTLED_MS = 600;
const AT_MEDIANS = "Every feature is at its training median, so none pulls. Move one.";
const page = { model: null, values: {}, rows: {}, busy: false, stale: false, before: null, failed: false, timer: 0, again: 0 };

const blockOf = (text) => JSON.parse(text.getElementById("model").textContent);
const positive = () => String(page.model.classes.at(-1));
const negative = () => String(page.model.classes[0]);
const medianOf = (feature) => rounded(feature.median);
const readable = (name) => name.replaceAll("_", " ");

// --- what is shown -----------------------------------------------------------

function show(model) {
  if (model?.sha256 !== page.model?.sha256) page.before = null;
  page.model = model;
  byId("desk").hidden = !model?.features.length;
  if (!model) return lookAgain("No model is loaded. This page looks again until there is one.");
  document.title = `${model.name}, version ${model.version}`;
  if (!model.features.length) return say("The model served has no manifest, so its ranges aren't known here.");
  const kept = page.values;
  page.values = Object.fromEntries(model.features.map((one) => [one.name, kept[one.name] ?? medianOf(one)]));
  showRows(model.features);
  showNames();
  showFacts(model);
  changed();
}

function showRows(features) {
  const focused = document.activeElement?.id;
  page.rows = {};
  byId("features").replaceChildren(...features.map(rowOf));
  features.forEach((feature) => showValue(feature));
  if (focused) byId(focused)?.focus();
}

function rowOf(feature, place) {
  const item = byId("feature").content.firstElementChild.cloneNode(true);
  const part = (name) => item.querySelector(`.${name}`);
  const row = Object.fromEntries(["slider", "number", "bar", "amount", "note"].map((name) => [name, part(name)]));
  Object.assign(row.slider, { id: `slider-${place}`, min: feature.low, max: feature.high, step: stepOf(feature) });
  Object.assign(row.number, { id: `number-${place}`, step: "any" });
  row.note.id = `note-${place}`;
  row.number.setAttribute("aria-label", `${readable(feature.name)}, any value`);
  row.number.setAttribute("aria-describedby", row.note.id);
  Object.assign(part("name"), { htmlFor: row.slider.id, textContent: readable(feature.name) });
  part("spread").firstElementChild.setAttribute("d", outline(feature));
  part("track").style.setProperty("--median", (feature.median - feature.low) / (feature.high - feature.low || 1));
  row.slider.addEventListener("input", () => set(feature, row.slider.valueAsNumber));
  row.number.addEventListener("input", () => type(feature, row));
  row.number.addEventListener("blur", () => showValue(feature));
  row.item = item;
  page.rows[feature.name] = row;
  return item;
}

function showNames() {
  byId("which").textContent = `${page.model.name}, version ${page.model.version}`;
  byId("positive").textContent = positive();
  byId("towards-left").textContent = `\u2190 to class ${negative()}`;
  byId("towards-right").textContent = `to class ${positive()} \u2192`;
}

function showFacts(model) {
  const facts = [
    ["Name", model.name],
    ["Version", model.version],
    ["Published", date(model.published), model.published],
    ["Family", readable(model.family)],
    ["SHA-256", model.sha256.slice(0, 12), model.sha256],
  ];
  const figures = Object.entries(model.metrics).map(([name, value]) => [titleOf(name), value.toFixed(4), String(value)]);
  byId("facts").replaceChildren(...facts.map(factOf));
  byId("figures").replaceChildren(...figures.map(factOf));
  byId("measured").hidden = !figures.length;
}

function titleOf(name) {
  const words = readable(name).replace(/^./, (letter) => letter.toUpperCase());
  return words.replace(/\b(roc|auc)\b/gi, (word) => word.toUpperCase());
}

function date(text) {
  const moment = new Date(text);
  if (Number.isNaN(moment.getTime())) return text;
  return moment.toLocaleString("en", { dateStyle: "medium", timeStyle: "short" });
}

function factOf([name, value, title]) {
  const group = document.createElement("div");
  const term = document.createElement("dt");
  const text = document.createElement("dd");
  term.textContent = name;
  text.textContent = value;
  if (title) text.title = title;
  group.append(term, text);
  return group;
}

function showValue(feature) {
  const { slider, number, note, item } = page.rows[feature.name];
  const value = page.values[feature.name];
  slider.value = value;
  number.removeAttribute("aria-invalid");
  if (document.activeElement !== number) number.value = value;
  const outside = value < feature.low || value > feature.high;
  item.classList.toggle("outside", outside);
  note.textContent = outside
    ? `Outside of what the model was trained on, ${rounded(feature.low)} to ${rounded(feature.high)}.`
    : "";
}

function showAnswer(predictions) {
  const { features } = page.model;
  const [now, ...without] = predictions;
  const level = logOdds(now, positive());
  const pulls = without.map((one) => level - logOdds(one, positive()));
  const end = reach(pulls);
  features.forEach((feature, place) => showPull(page.rows[feature.name], pulls[place], end));
  const probability = now.probabilities[positive()];
  const atMedians = features.every((one) => page.values[one.name] === medianOf(one));
  if (atMedians) page.before = { probability, level };
  showProbability(probability, now.label);
  document.querySelector(".verdict").classList.toggle("moved", page.before !== null && !atMedians);
  byId("explained").textContent = atMedians ? AT_MEDIANS : explanation(predictions, pulls, level);
}

function showPull({ bar, amount }, pull, end) {
  bar.style.setProperty("--size", Math.min(1, Math.abs(pull) / end));
  bar.classList.toggle("negative", pull < 0);
  amount.value = pull;
  amount.textContent = signed(pull);
}

function showProbability(probability, label) {
  const verdict = document.querySelector(".verdict");
  verdict.style.setProperty("--now", probability);
  verdict.style.setProperty("--before", page.before?.probability ?? 0);
  byId("probability").value = probability;
  byId("probability").textContent = percent(probability);
  byId("label").textContent = label;
  document.querySelector(".answer").classList.toggle("negative", String(label) !== positive());
  const sentence = `Label ${label}, probability of class ${positive()} ${percent(probability)}.`;
  clearTimeout(page.timer);
  page.timer = setTimeout(() => (byId("said").textContent = sentence), SETTLED_MS);
}

function explanation(predictions, pulls, level) {
  const meaning = "A bar is what a feature adds to the log-odds, compared with having its training median instead.";
  if (predictions.some((one) => isCertain(one, positive()))) {
    return `${meaning} The model is so sure here that its numbers can't tell more: a bar may be too short.`;
  }
  return page.before === null ? meaning : `${meaning} ${addition(pulls, level - page.before.level)}`;
}

function addition(pulls, way) {
  const sum = pulls.reduce((total, pull) => total + pull, 0);
  if (Math.abs(sum - way) > 0.02) return "The bars don't add up, because the model's features work together.";
  return `Together they make ${signed(sum)}: all the way from the median wine to this one.`;
}

function showCurl() {
  const row = JSON.stringify(page.values).replaceAll("'", "\\u0027");
  const header = token ? ` --header "Authorization: Bearer $TOKEN"` : "";
  byId("curl").textContent = `curl ${location.origin}/predict${header} --json '${row}'`;
}

// --- what a person does ------------------------------------------------------

function set(feature, value) {
  page.values[feature.name] = value;
  showValue(feature);
  changed();
}

function type(feature, { number, note }) {
  const value = number.valueAsNumber;
  if (Number.isFinite(value)) return set(feature, value);
  number.setAttribute("aria-invalid", "true");
  note.textContent = `Not a number; the model is still asked about ${page.values[feature.name]}.`;
}

function setAll(valueOf) {
  page.model.features.forEach((feature) => {
    page.values[feature.name] = valueOf(feature);
    showValue(feature);
  });
  changed();
}

async function copy() {
  try {
    await navigator.clipboard.writeText(byId("curl").textContent);
    byId("copy").textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(byId("curl"));
    byId("copy").textContent = "Selected";
  }
  setTimeout(() => (byId("copy").textContent = "Copy"), LOOK_AGAIN_MS);
}

// --- what the server is asked ------------------------------------------------

function changed() {
  showCurl();
  if (page.busy) page.stale = true;
  else predict();
}

// One request at a time, always about the latest values.
async function predict() {
  page.busy = true;
  do {
    page.stale = false;
    await answered().catch(refused);
  } while (page.stale);
  page.busy = false;
}

async function answered() {
  const { features, version } = page.model;
  const rows = [page.values, ...features.map((one) => ({ ...page.values, [one.name]: medianOf(one) }))];
  const headers = { "Content-Type": "application/json", "X-Exploring": "1" };
  const answer = await ask("/predict", { method: "POST", headers, body: JSON.stringify(rows) });
  const predictions = await answer.json();
  const other = predictions[0].model_version;
  if (other !== version) return follow();
  if (!page.stale) showAnswer(predictions);
  if (page.failed) say("");
  failed(false);
}

async function load() {
  const answer = await ask("/", { headers: { Accept: "text/html" } });
  return blockOf(new DOMParser().parseFromString(await answer.text(), "text/html"));
}

// Another version answered: take over its ranges and medians, then ask again.
async function follow() {
  const before = page.model.version;
  const model = await load();
  if (model?.version === before) await moment(); // another worker answered, and this one is about to follow
  show(model);
  if (model && model.version !== before) {
    say(`Version ${model.version} is served now, in place of version ${before}. Ranges and medians are its own.`);
  }
  page.stale = Boolean(model?.features.length);
}

const moment = () => new Promise((done) => setTimeout(done, SETTLED_MS));

function refused(refusal) {
  if (!(refusal instanceof Refusal)) throw refusal;
  failed(true);
  if (refusal.status === 401) {
    say(whenUnauthorized());
    return askForToken(start);
  }
  if (refusal.status === 503 || refusal.status === 0) return lookAgain(refusal.message);
  say(refusal.message);
}

// What is shown is no answer to the values shown, as long as there is none.
function failed(isSo) {
  page.failed = isSo;
  byId("desk").classList.toggle("failed", isSo);
}

function lookAgain(sentence) {
  say(sentence);
  clearTimeout(page.again);
  page.again = setTimeout(start, LOOK_AGAIN_MS);
}

async function start() {
  try {
    const model = await load();
    say("");
    show(model);
  } catch (refusal) {
    refused(refusal);
  }
}

byId("random").addEventListener("click", () => setAll(drawn));
byId("medians").addEventListener("click", () => setAll(medianOf));
byId("copy").addEventListener("click", copy);
window.addEventListener("focus", () => page.model && !page.failed && changed());
if (blockOf(document)) show(blockOf(document));
else start();
