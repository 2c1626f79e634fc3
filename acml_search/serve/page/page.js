// The page: what is pasted or dropped is parsed by the server, shown, and searched. No text is ever taken as markup.

import { $, comparer, make, runTable, scrolled, sortable } from "./answers.js";

const FILTERS = ["formula", "where", "elements_allowed", "elements_required", "adduct"];
const MAX_LINK = 12000;
const MAX_CHIPS = 120;
let kinds = {};
let spaces = {}; // of each index
let fromText = [];
let fromFiles = [];
let asked = []; // what the answers shown were asked with, one of each index
let drawn = null; // shows a structure in the editor
let parsing = 0;
let timer = 0; // until what is typed is parsed

function say(text, wrong = false) {
  $("status").textContent = text;
  $("status").classList.toggle("wrong", wrong);
}

async function ask(path, options = {}) {
  const token = sessionStorage.getItem("token");
  const headers = { ...options.headers, ...(token ? { authorization: `Bearer ${token}` } : {}) };
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("the server does not answer; is it running?");
  }
  if (answer.status === 401) {
    [$("login").hidden, $("all").hidden] = [false, true];
    $("token").focus();
  }
  if (!answer.ok) {
    const document_ = await answer.json().catch(() => ({}));
    throw new Error([...(document_.notes || []), document_.error || `the server answers ${answer.status}`].join("; "));
  }
  return answer;
}

const post = (path, body) =>
  ask(path, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } });

async function image(url) {
  const blob = await (await ask(url)).blob();
  return make("img", { src: URL.createObjectURL(blob), alt: "the structure", class: "drawn" });
}

const drawing = (smiles) => image(`/api/structure.svg?smiles=${encodeURIComponent(smiles)}`);

const indexes = () => ($("index").value ? [$("index").value] : [...$("index").options].map((one) => one.value).filter(Boolean));
const first = () => indexes()[0];

// What was understood

async function parse(source, modality, number) {
  const fields = { modality: modality || undefined, number, index: first(), adduct: $("adduct").value.trim() || undefined, picture: true };
  if (source.file === undefined) return (await post("/api/parse", { text: source.text, ...fields })).json();
  const form = new FormData();
  form.append("file", source.file, source.file.name);
  for (const [name, value] of Object.entries(fields)) if (value !== undefined) form.append(name, value);
  return (await ask("/api/parse", { method: "POST", body: form })).json();
}

function items(parsed, source) {
  const found = parsed.observations.map((one) => ({ ...one, source }));
  if (parsed.smiles) found.unshift({ smiles: parsed.smiles, source });
  return found;
}

async function readText() {
  const text = $("text").value;
  const turn = ++parsing;
  clearTimeout(timer);
  timer = 0;
  if (!text.trim()) {
    fromText = [];
    show();
    return;
  }
  let found = [];
  try {
    const source = { text };
    found = items(await parse(source, $("as").value), source);
    say("");
  } catch (error) {
    found = [{ error: error.message, source: { text } }];
  }
  if (turn !== parsing) return; // something else was typed meanwhile
  fromText = found;
  show();
}

async function readFiles(files) {
  for (const file of files) {
    say(`reading ${file.name} …`);
    try {
      fromFiles.push(...items(await parse({ file }, $("as").value), { file }));
      say("");
    } catch (error) {
      fromFiles.push({ error: error.message, given: file.name, source: { file } });
      say("");
    }
  }
  show();
}

async function again(item, modality, number) {
  item.node.inert = true;
  try {
    const parsed = items(await parse(item.source, modality, number), item.source);
    const wanted = parsed.filter((one) => one.modality === modality);
    replace(item, wanted.map((one) => ({ ...one, also: [item.modality, ...item.also].filter((name) => name !== modality) })));
  } catch (error) {
    replace(item, [{ ...item, error: error.message }]);
  }
}

const all = () => [...fromText, ...fromFiles];
const node = (item) => (item.node = shown(item));

function replace(item, others) { // the rest stays as it is, also what is being typed there
  for (const list of [fromText, fromFiles]) {
    const at = list.indexOf(item);
    if (at >= 0) list.splice(at, 1, ...others);
  }
  item.node.replaceWith(...others.map(node));
  for (const one of all()) if (one.smiles && !others.includes(one)) one.node.replaceWith(node(one)); // it tells whether it is searched
  $("go").disabled = !usable().length;
}

// A record with other peaks in place of one, or after all: its lists hold a value of each peak
function spliced(record, n, peak, others, lists) {
  const own = Object.entries(record).filter(([name, values]) => Array.isArray(values) && name !== "isolation" && values.length === n);
  const positions = peak && own.map(([, values]) => values).find((values) => values.includes(peak.position));
  const at = peak ? positions.indexOf(peak.position) : n;
  const made = { ...record };
  for (const name of new Set([...own.map(([name]) => name), ...Object.keys(lists)])) {
    made[name] = [...(record[name] || Array(n).fill(null))];
    made[name].splice(at, peak ? 1 : 0, ...(lists[name] || others.map(() => null)));
  }
  return made;
}

async function correct(item, peak, text) { // no text leaves the peak out, no peak adds one
  item.node.inert = true;
  try {
    const [one] = text ? (await parse({ text }, item.modality)).observations : [];
    const lists = one ? Object.fromEntries(Object.entries(one.send).filter(([, values]) => Array.isArray(values))) : {};
    const others = one ? one.peaks : [];
    const peaks = [...item.peaks];
    peaks.splice(peak ? peaks.indexOf(peak) : peaks.length, peak ? 1 : 0, ...others);
    const other = (record) => record && spliced(record, item.peaks.length, peak, others, lists);
    const made = { ...item, send: other(item.send), bare: other(item.bare), peaks, error: undefined };
    replace(item, [made.bare ? await detailed(made, made.told) : made]);
  } catch (error) {
    replace(item, [{ ...item, error: error.message }]);
  }
}

// An observation with what its details (DEPT) tell; bare: its record without them
async function detailed(item, told) {
  const bare = item.bare || item.send;
  const body = { [item.modality]: [bare], index: first(), ...Object.fromEntries(Object.entries(told).filter(([, text]) => text)) };
  const [one] = (await (await post("/api/parse", body)).json()).observations;
  return { ...item, ...one, given: item.given, also: item.also, told, bare, error: undefined };
}

function written(item, peak) { // as the readers of its modality take it
  const kind = kinds[item.modality];
  const short = (x) => String(+x.toFixed(4));
  const position = peak.low === undefined ? short(peak.position) : `${short(peak.low)}-${short(peak.high)}`;
  if (peak.proton !== undefined) return `${position}/${+peak.proton.toFixed(3)}`;
  if (!kind.nuclei) return peak.intensity === undefined ? position : `${position} ${+peak.intensity.toPrecision(4)}`;
  const couplings = peak.couplings ? `J = ${peak.couplings.join(", ")} Hz` : "";
  const said = [peak.multiplicity, couplings, peak.count ? `${peak.count}${kind.nuclei}` : ""].filter(Boolean).join(", ");
  return said ? `${position} (${said})` : position;
}

function edited(item, peak, place) {
  const input = make("input", { "aria-label": peak ? "correct this peak" : "another peak", value: peak ? written(item, peak) : "", spellcheck: "false" });
  const done = () => (input.value.trim() && !(peak && input.value === written(item, peak)) ? correct(item, peak, input.value.trim()) : replace(item, [item]));
  input.addEventListener("blur", done);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape") input.value = "";
    if (["Enter", "Escape"].includes(event.key)) {
      event.preventDefault();
      input.blur();
    }
  });
  place.replaceChildren(input);
  input.focus();
}

function chip(item, peak) {
  const said = written(item, peak);
  const place = make("li", {});
  place.append(
    make("button", { type: "button", title: "correct it", onclick: () => edited(item, peak, place) }, said),
    make("button", { type: "button", class: "leave", "aria-label": `leave out ${said}`, onclick: () => correct(item, peak, "") }, "×"),
  );
  return place;
}

function details(item) { // of 13C: what DEPT shows
  const line = make("div", { class: "line" });
  for (const name of kinds[item.modality].details) {
    const input = make("input", { value: item.told?.[name] || "", spellcheck: "false", placeholder: name === "dept135" ? "23.9, 121.2, -60.4" : "121.2" });
    input.addEventListener("change", async () => {
      item.node.inert = true;
      const told = { ...item.told, [name]: input.value.trim() };
      const made = await detailed(item, told).catch((error) => ({ ...item, told, error: error.message }));
      replace(item, [made]);
    });
    line.append(make("label", {}, `${name.toUpperCase().replace("DEPT", "DEPT-")} `, input));
  }
  return line;
}

function reading(item) { // a picture beside what it was read as
  const { picture, size, doubtful, smiles, probability } = item.reading;
  const svg = (tag, attributes) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    return node;
  };
  const [width, height] = size;
  const drawing_ = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": "the picture" });
  drawing_.append(svg("image", { href: picture, width, height }), ...doubtful.map(([x, y]) => svg("circle", { class: "doubt", cx: x * width, cy: y * height, r: 12 })));
  const pair = make("div", { class: "line" }, drawing_);
  drawing(smiles).then((one) => pair.append(one), () => {});
  const other = () => {
    replace(item, []);
    candidate(smiles);
  };
  const said = `read with a probability of ${probability.toFixed(2)} as `;
  const sure = doubtful.length ? "; circles mark what was read with little certainty " : " ";
  return make("div", {}, pair, make("p", {}, said, make("span", { class: "smiles" }, smiles), sure, make("button", { type: "button", onclick: other }, "Correct it")));
}

function shown(item) {
  const remove = make("button", { type: "button", "aria-label": "remove", onclick: () => replace(item, []) }, "remove");
  if (item.smiles) {
    const place = make("div", { class: "seen" }, make("h2", {}, "structure", remove), make("p", { class: "smiles" }, item.smiles));
    if (spectra().length) place.append(make("p", { class: "note" }, "Spectra are searched, so this structure is not. "), make("button", { type: "button", onclick: () => compared(item.smiles) }, "Is it this one?"));
    drawing(item.smiles).then((picture) => place.append(picture), () => {});
    return place;
  }
  if (!item.modality) return make("div", { class: "seen wrong" }, make("h2", {}, item.given || "not understood", remove), make("p", {}, item.error));
  const kind = kinds[item.modality];
  const head = make("h2", {}, make("span", { class: `swatch m m-${item.modality}` }));
  if (item.also && item.also.length) {
    const choice = make("select", { "aria-label": "read as", onchange: (event) => again(item, event.target.value, item.number || undefined) });
    for (const name of [item.modality, ...item.also]) choice.append(make("option", { value: name }, kinds[name].title));
    head.append(choice);
  } else head.append(kind.title);
  const peaks = item.peaks || [];
  const conditions = ["solvent", "adduct", "collision_energy"].map((name) => item[name]).filter(Boolean);
  if (item.field_mhz) conditions.push(`${item.field_mhz} MHz`);
  if (item.precursor_mz) conditions.push(`precursor m/z ${item.precursor_mz}`);
  const count = peaks.length ? `${peaks.length} peak${peaks.length > 1 ? "s" : ""}` : "";
  head.append(make("small", {}, [count, ...conditions].filter(Boolean).join(", ")));
  if (item.of) {
    const number = make("input", { type: "number", min: 1, max: item.of, value: item.number, "aria-label": "number of the spectrum in its file" });
    number.addEventListener("change", () => again(item, item.modality, +number.value));
    head.append("number", number, `of ${item.of}`);
  }
  head.append(remove);
  const place = make("div", { class: "seen" }, head);
  if (item.reading) place.append(reading(item));
  if (peaks.length) {
    const few = kind.nuclei || peaks.length <= MAX_CHIPS ? peaks : [...peaks].sort((a, b) => (b.intensity || 0) - (a.intensity || 0)).slice(0, MAX_CHIPS).sort((a, b) => a.position - b.position);
    const more = make("li", {});
    more.append(make("button", { type: "button", onclick: () => edited(item, null, more) }, "add"));
    place.append(make("ul", { class: "chips", "aria-label": `peaks in ${kind.unit}` }, ...few.map((peak) => chip(item, peak)), more));
    if (few.length < peaks.length) place.append(make("p", { class: "hint" }, `and ${peaks.length - few.length} smaller ones`));
    if (kind.details.length) place.append(details(item));
  }
  for (const one of item.left_out || []) place.append(make("p", { class: "hint" }, `left out “${one.text.trim()}”: ${one.why}`));
  for (const note of item.notes || []) if (!/: left out |FILE#n/.test(note) && !item.reading) place.append(make("p", { class: "note" }, note));
  if (item.error) place.append(make("p", { class: "wrong" }, item.error));
  return place;
}

const usable = () => all().filter((item) => item.smiles || item.send);
const spectra = () => usable().filter((item) => item.send);

function show() {
  $("understood").replaceChildren(...all().map(node));
  $("go").disabled = !usable().length;
}

// The search

function conditions() {
  const body = { k: +$("k").value || 10 };
  for (const name of FILTERS) if ($(name).value.trim()) body[name] = $(name).value.trim();
  for (const name of ["mass", "tol"]) {
    const text = $(name).value.trim().replace(",", ".");
    if (text && !Number.isFinite(+text)) throw new Error(`${text} is no number`);
    if (text) body[name === "mass" ? "mass" : $("unit").value] = +text;
  }
  if ($("any_mass").checked) body.any_mass = true;
  return body;
}

function observed() {
  const body = {};
  for (const item of spectra()) (body[item.modality] = body[item.modality] || []).push(item.send);
  const structure = usable().find((item) => item.smiles);
  return spectra().length || !structure ? body : { smiles: structure.smiles };
}

async function search(body, where = indexes()) {
  say("searching …");
  $("go").disabled = true;
  try {
    const begun = performance.now();
    const bodies = where.map((index) => ({ ...body, index }));
    const parser = new DOMParser();
    const parts = [];
    for (const one of bodies) {
      const page = await (await post("/api/search", { ...one, format: "html" })).text();
      const made = parser.parseFromString(page.replace(/<style>.*?<\/style>/s, ""), "text/html");
      if (bodies.length > 1) {
        parts.push(make("h2", { class: "of-index" }, one.index));
        for (const node of made.querySelectorAll("[id]")) node.id += ` ${one.index}`;
        for (const link of made.querySelectorAll("a[href^='#']")) link.setAttribute("href", `${link.getAttribute("href")} ${one.index}`);
        if (parts.length > 1) made.querySelectorAll("header .asked").forEach((node) => node.remove());
      }
      parts.push(...made.querySelectorAll("body > header, body > main, body > footer"));
    }
    const plain = { header: "div", main: "div", footer: "div" };
    $("shown").replaceChildren(...parts.map((part) => (plain[part.localName] ? make("div", { class: `of-${part.localName}` }, ...part.childNodes) : part)));
    for (const article of $("shown").querySelectorAll("article")) article.querySelector("h3").after(buttons(article));
    $("shown").querySelectorAll("table.hits").forEach(sortable);
    for (const table of $("shown").querySelectorAll("table.peaks")) {
      const place = document.createComment("");
      table.replaceWith(place);
      place.replaceWith(scrolled(table, "peaks"));
    }
    for (const wide of $("shown").querySelectorAll(".wide, .spectrum")) wide.tabIndex = 0;
    asked = bodies;
    $("map").open = false;
    document.querySelector("[data-form=mztab]").hidden = Object.keys(kinds).some((name) => name !== "lc_ms" && body[name]) || !body.lc_ms;
    $("answer").hidden = false;
    say(`answered in ${((performance.now() - begun) / 1000).toFixed(2)} s`);
    $("answer").scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  } catch (error) {
    say(error.message, true);
  }
  $("go").disabled = !usable().length;
}

const similar = (smiles) => search({ smiles, ...conditions() });

function buttons(article) {
  const smiles = article.querySelector("dd.smiles").textContent;
  const line = make("div", { class: "line" }, make("button", { type: "button", onclick: () => similar(smiles) }, "Similar molecules"));
  if (checkable().length) line.append(make("button", { type: "button", onclick: () => compared(smiles) }, "Is it this one?"));
  line.append(comparer(article), make("button", { type: "button", onclick: () => candidate(smiles) }, "Edit"));
  return line;
}

// A structure: drawn, searched, compared with the spectra

async function editor() {
  if (drawn) return;
  try {
    const { edit } = await import("./editor.js");
    $("drawn").hidden = false;
    drawn = edit($("drawn"), (smiles) => ($("candidate").value = smiles));
    drawn($("candidate").value.trim());
  } catch {
    $("no-drawing").hidden = false;
  }
}

async function candidate(smiles) {
  $("candidate").value = smiles;
  $("checks").open = true;
  await editor();
  if (drawn) drawn(smiles);
  $("candidate").scrollIntoView({ block: "center" });
  $("candidate").focus();
}

const compared = (smiles) => candidate(smiles).then(checkOne);
const checkable = () => spectra().filter((item) => kinds[item.modality].checks);

async function checkOne() {
  const body = { smiles: $("candidate").value.trim(), index: first(), isomers: true };
  for (const item of checkable()) (body[item.modality] = body[item.modality] || []).push(item.send);
  $("checked").textContent = "comparing …";
  try {
    if (!checkable().length) throw new Error("give NMR spectra above; the structure is compared with them");
    const found = await (await post("/api/check", body)).json();
    const better = found.better.length ? `${found.better.length} of ${found.alternatives.length} isomers fit better: ${found.better.slice(0, 3).join(", ")}` : `none of ${found.alternatives.length} isomers fits better`;
    const lines = [`probability ${found.probability.toFixed(3)} by the spectra alone; ${better}`];
    for (const one of found.misfits.slice(0, 8)) {
      const where = one.atoms.length ? ` of atoms ${one.atoms.join(", ")}` : "";
      const seen = one.observed === null ? `predicted at ${one.predicted}, not observed` : one.predicted === null ? `${one.observed} is not explained` : `${one.observed} observed, ${one.predicted} predicted`;
      lines.push(`${kinds[one.modality].title}${where}: ${seen}${one.said ? ` (${one.said})` : ""}`);
    }
    $("checked").replaceChildren(await drawing(found.smiles), ...lines.concat(found.notes).map((text) => make("p", {}, text)));
  } catch (error) {
    $("checked").replaceChildren(make("p", { class: "wrong" }, error.message));
  }
}

async function take(form) {
  try {
    for (const body of asked) save(await (await post("/api/search", { ...body, format: form })).blob(), `answer${asked.length > 1 ? ` ${body.index.replaceAll("/", " ")}` : ""}.${form}`);
  } catch (error) {
    say(error.message, true);
  }
}

function save(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

// A map of the library, with the hits of the first list marked

async function map() {
  const [{ index }] = asked;
  const list = $("shown").querySelector("section.list");
  const rows = [...list.querySelectorAll("table.hits > tbody > tr")].map((row) => [row.cells[0].textContent, /key (\d+)/.exec(row.cells[2].textContent)[1]]).sort((a, b) => a[0] - b[0]).slice(0, 30);
  const space = spaces[index].find((name) => asked[0][name]) || (spaces[index].includes("smiles") ? "smiles" : spaces[index][0]);
  const url = `/api/map?space=${space}&keys=${rows.map(([, key]) => key).join(",")}&index=${encodeURIComponent(index)}`;
  try {
    const found = await (await ask(url)).json();
    const canvas = $("dots");
    [canvas.width, canvas.height] = [canvas.clientWidth * devicePixelRatio, canvas.clientHeight * devicePixelRatio];
    const pen = canvas.getContext("2d");
    const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
    const places = [...found.molecules, ...found.hits];
    const ends = [0, 1].map((axis) => places.reduce(([low, high], at) => [Math.min(low, at[axis]), Math.max(high, at[axis])], [Infinity, -Infinity]));
    const on = (at) => [0, 1].map((axis) => 0.04 + (0.92 * (at[axis] - ends[axis][0])) / (ends[axis][1] - ends[axis][0] || 1)).map((part, axis) => part * (axis ? canvas.height : canvas.width));
    const dot = (at, radius) => {
      pen.beginPath();
      pen.arc(...on(at), radius * devicePixelRatio, 0, 7);
      pen.fill();
    };
    pen.fillStyle = colour("--missing");
    pen.globalAlpha = 0.5;
    for (const at of found.molecules) dot(at, 1.5);
    pen.globalAlpha = 1;
    pen.font = `bold ${13 * devicePixelRatio}px system-ui, sans-serif`;
    for (const [i, at] of [...found.hits.entries()].reverse()) {
      const [x, y] = on(at);
      pen.fillStyle = colour(i ? "--fair" : "--poor");
      dot(at, i ? 4 : 6);
      pen.fillStyle = colour("--ink");
      if (i < 10) pen.fillText(rows[i][0], x + 7 * devicePixelRatio, y - 4 * devicePixelRatio);
    }
    $("about-map").textContent = `${found.molecules.length.toLocaleString()} molecules of ${index} in the space ${space}, and the first ${rows.length} hits by their ranks, along the two directions in which the library differs most (${Math.round(100 * found.share)} % of the variance).`;
  } catch (error) {
    $("about-map").textContent = error.message;
  }
}

// A link that holds the query: behind the #, which no browser sends to a server

function encoded(body) {
  const bytes = new TextEncoder().encode(JSON.stringify(body));
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function decoded(text) {
  const bytes = Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
  return JSON.parse(new TextDecoder().decode(bytes));
}

async function copyLink() {
  const code = encoded({ ...asked[0], index: asked.length > 1 ? "" : asked[0].index });
  if (code.length > MAX_LINK) {
    say("this query is too large for a link; download the JSON, which holds it", true);
    return;
  }
  history.replaceState(null, "", `#q=${code}`);
  try {
    await navigator.clipboard.writeText(location.href);
    say("the link is in the clipboard and in the address bar");
  } catch {
    say("the link is in the address bar");
  }
}

async function openLink() {
  if (!location.hash.startsWith("#q=")) return;
  try {
    const body = decoded(location.hash.slice(3));
    for (const name of [...FILTERS, "mass", "k"]) if (body[name] !== undefined) $(name).value = body[name];
    for (const name of ["tol_ppm", "tol_da"]) if (body[name] !== undefined) [$("unit").value, $("tol").value] = [name, body[name]];
    if (body.index !== undefined) $("index").value = body.index;
    $("any_mass").checked = Boolean(body.any_mass);
    const given = Object.fromEntries(Object.entries(body).filter(([name]) => kinds[name] || name === "smiles"));
    fromFiles = items(await (await post("/api/parse", given)).json(), {});
    show();
    await search({ ...body, index: undefined });
  } catch (error) {
    say(`the link cannot be read: ${error.message}`, true);
  }
}

// Runs

const runs = () => JSON.parse(localStorage.getItem("runs") || "[]");
const keepRuns = (list) => localStorage.setItem("runs", JSON.stringify(list));

async function startRun(file) {
  say(`sending ${file.name} …`);
  try {
    const form = new FormData();
    form.append("ask", JSON.stringify({ index: first(), modality: $("run-as").value || undefined, ...conditions() }));
    form.append("file", file, file.name);
    const run = await (await ask("/api/runs", { method: "POST", body: form })).json();
    keepRuns([...runs(), run.id]);
    say("");
    followRun(run.id);
  } catch (error) {
    say(error.message, true);
  }
}

async function followRun(id) {
  const bar = make("progress", { "aria-label": "progress" });
  const text = make("span", {});
  const line = make("div", { class: "line" });
  const entry = make("li", {}, text, " ", bar, line);
  const drop = async () => {
    await ask(`/api/runs/${id}`, { method: "DELETE" }).catch(() => {});
    keepRuns(runs().filter((one) => one !== id));
    entry.remove();
  };
  const cancel = make("button", { type: "button", onclick: drop }, "Cancel");
  line.append(cancel);
  $("run-list").prepend(entry);
  $("runs").open = true;
  const state = (run) => {
    text.textContent = `${run.name}: ${run.state}, ${run.done}${run.total ? ` of ${run.total}` : ""} queries${run.error ? `; ${run.error}` : ""}`;
    if (run.total) [bar.max, bar.value] = [run.total, run.done];
    if (["queued", "running"].includes(run.state)) return;
    bar.remove();
    cancel.textContent = "Remove";
    if (run.state !== "done") return;
    const result = (form) => ask(`/api/runs/${id}/result?format=${form}`);
    for (const [form, name] of Object.entries({ html: "Page", csv: "CSV", jsonl: "JSON Lines", parquet: "Parquet", ...(run.modality === "lc_ms" ? { mztab: "mzTab-M" } : {}) }))
      line.append(make("button", { type: "button", onclick: () => result(form).then((answer) => answer.blob()).then((blob) => save(blob, `${run.name}.${form}`)).catch((error) => say(error.message, true)) }, name));
    result("tsv").then((answer) => answer.text()).then((rows) => entry.append(runTable(rows))).catch((error) => say(error.message, true));
  };
  try {
    const reader = (await ask(`/api/runs/${id}/events`)).body.pipeThrough(new TextDecoderStream()).getReader();
    let kept = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const events = (kept + value).split("\n\n");
      kept = events.pop();
      for (const event of events) if (event.startsWith("data: ")) state(JSON.parse(event.slice(6)));
    }
  } catch (error) {
    text.textContent = `run ${id.slice(0, 6)}: ${error.message}`;
    bar.remove();
    keepRuns(runs().filter((one) => one !== id));
  }
}

// The beginning

async function begin() {
  let about;
  try {
    about = await (await ask("/api/indexes")).json();
  } catch (error) {
    say(error.message, true);
    return;
  }
  [$("login").hidden, $("all").hidden] = [true, false];
  spaces = Object.fromEntries(about.indexes.map((one) => [one.name, one.modalities]));
  kinds = Object.fromEntries(about.modalities.map((kind) => [kind.name, kind]));
  $("index").replaceChildren(...about.indexes.map((one) => make("option", { value: one.name }, `${one.name} (${one.molecules.toLocaleString()} molecules)`)));
  if (about.indexes.length > 1) $("index").append(make("option", { value: "" }, "all of them"));
  for (const kind of about.modalities) {
    $("as").append(make("option", { value: kind.name, title: kind.help }, kind.title));
    if (!kind.picture) $("run-as").append(make("option", { value: kind.name }, kind.title));
  }
  const columns = () => {
    const insert = (name) => {
      $("where").setRangeText(name, $("where").selectionStart, $("where").selectionEnd, "end");
      $("where").focus();
    };
    const shared = indexes().map((name) => about.indexes.find((one) => one.name === name).columns);
    const names = shared[0].filter((name) => shared.every((others) => others.includes(name)));
    $("columns").replaceChildren("columns", ...names.map((name) => make("button", { type: "button", onclick: () => insert(name) }, name)));
  };
  $("index").addEventListener("change", columns);
  columns();
  $("k").max = about.limits.k;
  $("version").textContent = `acml-search ${about.version}. What you send stays on this server for the time of the search.`;
  say("");
  await openLink();
  runs().forEach(followRun);
}

$("text").addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(readText, 400);
});
$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("ask").requestSubmit();
});
$("as").addEventListener("change", readText);
$("files").addEventListener("change", (event) => readFiles([...event.target.files]).then(() => (event.target.value = "")));
$("run-file").addEventListener("change", (event) => startRun(event.target.files[0]).then(() => (event.target.value = "")));
$("clear").addEventListener("click", () => {
  [fromText, fromFiles, $("text").value] = [[], [], ""];
  history.replaceState(null, "", location.pathname);
  $("answer").hidden = true;
  $("checked").replaceChildren();
  say("");
  show();
  $("text").focus();
});
$("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (timer) await readText();
  if (!usable().length) return;
  try {
    await search({ ...observed(), ...conditions() });
  } catch (error) {
    say(error.message, true);
  }
});
$("check").addEventListener("click", checkOne);
$("similar").addEventListener("click", () => {
  if ($("candidate").value.trim()) similar($("candidate").value.trim());
});
$("checks").addEventListener("toggle", () => $("checks").open && editor());
$("candidate").addEventListener("change", () => drawn && drawn($("candidate").value.trim()));
$("candidate").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  (checkable().length ? $("check") : $("similar")).click();
});
$("map").addEventListener("toggle", () => $("map").open && map());
$("link").addEventListener("click", copyLink);
for (const button of document.querySelectorAll("[data-form]")) button.addEventListener("click", () => take(button.dataset.form));
$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", $("token").value);
  begin();
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
for (const name of ["dragleave", "drop"]) document.addEventListener(name, () => document.body.classList.remove("dropping"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  readFiles([...event.dataTransfer.files]);
});
document.addEventListener("paste", (event) => {
  const files = [...event.clipboardData.files];
  if (!files.length) return;
  event.preventDefault();
  readFiles(files);
});
begin();
