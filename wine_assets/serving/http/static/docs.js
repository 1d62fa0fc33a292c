"use strict";

// The page about the routes, from their description.

const GROUPS = [
  ["Predictions by name", (path) => path === "/predict"],
  ["Open Inference Protocol V2", (path) => path.startsWith("/v2") && !path.startsWith("/v2/health")],
  ["Health and figures", (path) => path.startsWith("/v2/health") || path === "/metrics"],
  ["Pages and their description", () => true],
];

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
  made.append(...children);
  return made;
}

const code = (text) => element("code", {}, text);
const linkTo = (name) => element("a", { href: `#schema-${name}` }, name);
const anchorOf = (method, path) => `${method}-${path.replace(/[^a-z0-9]+/gi, "-").replace(/^-|-$/g, "") || "index"}`;
const table = (rows) => element("table", {}, element("tbody", {}, ...rows.filter(Boolean)));
const row = (name, ...cells) =>
  element("tr", {}, element("th", { scope: "row" }, name), ...cells.map((cell) => element("td", {}, ...cell)));
const block = (text) => element("pre", { tabindex: "0" }, code(text));

const WIDTH = 84;

const isPlain = (value) => typeof value !== "object" || value === null;

// JSON, in as few lines as fit; a list of plain values is one, and folds where the page ends.
function written(value, indent = "") {
  const line = JSON.stringify(value, null, 1).replace(/\n\s*/g, " ").replace(/([[{]) | ([\]}])/g, "$1$2");
  const isList = Array.isArray(value);
  if (isPlain(value) || line.length + indent.length <= WIDTH || (isList && value.every(isPlain))) return line;
  const deeper = `${indent}  `;
  const lines = isList
    ? value.map((one) => deeper + written(one, deeper))
    : Object.entries(value).map(([name, one]) => `${deeper}${JSON.stringify(name)}: ${written(one, deeper)}`);
  const [open, close] = isList ? "[]" : "{}";
  return `${open}\n${lines.join(",\n")}\n${indent}${close}`;
}

function methodsOf(described) {
  return Object.entries(described.paths).flatMap(([path, item]) =>
    Object.entries(item)
      .filter(([method]) => method !== "parameters")
      .map(([method, operation]) => ({ path, method, operation, parameters: item.parameters ?? [] })),
  );
}

function grouped(routes) {
  const groups = GROUPS.map(([title]) => ({ title, routes: [] }));
  routes.forEach((route) => groups[GROUPS.findIndex(([, holds]) => holds(route.path))].routes.push(route));
  return groups.filter((group) => group.routes.length);
}

// --- a route -----------------------------------------------------------------

function cardOf(route, described, known) {
  const { path, method, operation } = route;
  const id = anchorOf(method, path);
  const open = operation.security && !operation.security.length && described.security?.length;
  const title = element("h3", { id: `${id}-title` }, badge(method), code(path));
  if (open) title.append(element("span", { class: "tag" }, "needs no token"));
  const card = element("article", { id, class: "card route", "aria-labelledby": title.id }, title);
  card.append(element("p", {}, `${operation.summary}.`));
  card.append(...parametersOf(route), ...requestOf(route, described, known), ...answersOf(operation, described, known));
  return card;
}

const badge = (method) => element("span", { class: `method ${method}` }, method.toUpperCase());

function parametersOf({ parameters, operation }) {
  const all = [...parameters, ...(operation.parameters ?? [])];
  if (!all.length) return [];
  const rows = all.map((one) => row(code(one.name), [one.description ?? ""], wordsOf(one.schema)));
  return [element("h4", {}, "Parameters"), table(rows)];
}

function requestOf({ path, method, operation }, described, known) {
  if (!operation.requestBody) return [];
  const [type, { schema, example }] = Object.entries(operation.requestBody.content)[0];
  const body = example ?? exampleOf(schema, described.components.schemas, known);
  const address = location.origin + filled(path, described);
  const json = JSON.stringify(body).replaceAll("'", "\\u0027");
  const option = method === "post" ? "" : ` --request ${method.toUpperCase()}`;
  return [
    element("h4", {}, "Request"),
    element("p", {}, ...wordsOf(schema), element("span", { class: "tag" }, ` as ${type}`)),
    block(`curl ${address}${option} --json '${json}'`),
  ];
}

// The path with the values that its parameters may have, where there is one only.
function filled(path, described) {
  const values = (described.paths[path].parameters ?? []).map((one) => [one.name, one.schema.enum?.[0]]);
  return values.reduce((text, [name, value]) => (value ? text.replace(`{${name}}`, value) : text), path);
}

function answersOf(operation, described, known) {
  const answers = Object.entries(operation.responses);
  const good = answers.filter(([status]) => status < "300");
  const refused = answers.filter(([status]) => status >= "300");
  const rows = refused.map(([status, one]) => row(code(status), [one.description]));
  return [
    ...good.flatMap(([status, one]) => answerOf(status, one, described, known)),
    element("details", {}, element("summary", {}, `${refused.length} refusals`), table(rows)),
  ];
}

function answerOf(status, { content = {} }, described, known) {
  const types = Object.entries(content);
  const words = types.map(([type, { schema }]) => [...wordsOf(schema), tagged(` as ${type}`)]);
  const parts = [element("h4", {}, `Answer, ${status}`), element("p", {}, ...joined(words, ", or "))];
  const json = content["application/json"];
  const example = json && (json.example ?? exampleOf(json.schema, described.components.schemas, known));
  return example && Object.keys(example).length ? [...parts, block(written(example))] : parts;
}

const tagged = (text) => element("span", { class: "tag" }, text);

// --- a schema ----------------------------------------------------------------

function shapeOf(name, schema) {
  const title = element("h3", { id: `schema-${name}-title` }, name);
  const card = element("article", { id: `schema-${name}`, class: "card shape", "aria-labelledby": title.id }, title);
  if (schema.description) card.append(element("p", {}, schema.description));
  const properties = Object.entries(schema.properties ?? {});
  if (!properties.length) card.append(...alternativesOf(schema));
  else card.append(table(properties.map(([field, one]) => propertyOf(field, one, schema.required ?? []))));
  return card;
}

function propertyOf(field, schema, required) {
  const name = element("span", {}, code(field), tagged(required.includes(field) ? "" : " optional"));
  return row(name, wordsOf(schema));
}

// Alternatives that are objects each have a table of their own.
function alternativesOf(schema) {
  const options = optionsOf(schema) ?? [];
  if (!options.some((one) => one.properties)) return [element("p", {}, ...wordsOf(schema))];
  return options.map((one, place) =>
    element("details", {}, element("summary", {}, `Form ${place + 1} of ${options.length}`),
      table(Object.entries(one.properties).map(([field, inner]) => propertyOf(field, inner, one.required ?? [])))),
  );
}

// --- the page ----------------------------------------------------------------

function showContents(groups) {
  const links = groups.flatMap(({ title, routes }) => [
    element("h2", {}, title),
    ...routes.map(({ method, path }) => linkToRoute(method, path)),
  ]);
  byId("contents").replaceChildren(...links, element("h2", {}, element("a", { href: "#schemas" }, "Schemas")));
  byId("contents").hidden = false;
}

function linkToRoute(method, path) {
  const parts = path.split(/(?=\/)/).flatMap((part) => [element("wbr"), part]);
  return element("a", { href: `#${anchorOf(method, path)}` }, badge(method), element("span", {}, ...parts));
}

function show(described, known) {
  const groups = grouped(methodsOf(described));
  const schemas = Object.entries(described.components.schemas);
  const about = element("section", { class: "card" }, element("p", {}, described.info.description));
  const listed = groups.flatMap(({ title, routes }) => [
    element("h2", {}, title),
    ...routes.map((route) => cardOf(route, described, known)),
  ]);
  const shapes = schemas.map(([name, schema]) => shapeOf(name, schema));
  byId("listed").replaceChildren(about, ...listed, element("h2", { id: "schemas" }, "Schemas"), ...shapes);
  showContents(groups);
  if (location.hash) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

// What the server has to say of itself and of its model makes better examples than words out of nowhere.
async function examples() {
  const [server, page] = await Promise.all([ask("/v2"), ask("/")]);
  const known = { ServerMetadata: await server.json() };
  const text = new DOMParser().parseFromString(await page.text(), "text/html");
  const model = JSON.parse(text.getElementById("model").textContent);
  if (!model?.features.length) return known;
  const metadata = await (await ask(`/v2/models/${encodeURIComponent(model.name)}`)).json();
  return { ...known, ModelMetadata: metadata, ...ofRows(model, metadata) };
}

const named = (names, values) => names.map((name, place) => [name, values[place]]);

function ofRows({ name, version, features, classes }, { inputs, outputs }) {
  const medians = features.map((one) => Number(one.median.toPrecision(7)));
  const label = classes.at(-1);
  const shares = classes.map((one) => (one === label ? 0.75 : 0.25 / (classes.length - 1)));
  const data = { label: [label], probabilities: shares };
  const tensor = (one) => ({ ...one, shape: [1, ...one.shape.slice(1)], data: data[one.name] ?? medians });
  return {
    Row: Object.fromEntries(named(features.map((one) => one.name), medians)),
    Prediction: { label, probabilities: Object.fromEntries(named(classes, shares)), model_version: version },
    RequestInput: tensor(inputs[0]),
    InferenceResponse: { model_name: name, model_version: version, outputs: outputs.map(tensor), id: "" },
    ModelReady: { name, ready: true },
  };
}

async function start() {
  try {
    const described = await (await ask("/openapi.json")).json();
    show(described, await examples());
  } catch (refusal) {
    if (!(refusal instanceof Refusal)) throw refusal;
    say(refusal.status === 401 ? whenUnauthorized() : refusal.message);
    if (refusal.status === 401) askForToken(start);
  }
}

start();
