"use strict";
// The page: what is pasted or dropped is parsed by the server, shown, and searched. No text is ever taken as markup.

const $ = (id) => document.getElementById(id);
const FILTERS = ["formula", "where", "elements_allowed", "elements_required", "adduct"];
const MAX_LINK = 12000;
const MAX_CHIPS = 120;
let kinds = {};
let fromText = [];
let fromFiles = [];
let asked = null; // what the answer shown was asked with
let parsing = 0;
let timer = 0; // until what is typed is parsed

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

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

// What was understood

async function parse(source, modality, number) {
  const fields = { modality: modality || undefined, number, index: $("index").value, adduct: $("adduct").value.trim() || undefined };
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
  try {
    const parsed = items(await parse(item.source, modality, number), item.source);
    const wanted = parsed.filter((one) => one.modality === modality);
    replace(item, wanted.map((one) => ({ ...one, also: [item.modality, ...item.also].filter((name) => name !== modality) })));
  } catch (error) {
    replace(item, [{ ...item, error: error.message }]);
  }
}

function replace(item, others) {
  for (const list of [fromText, fromFiles]) {
    const at = list.indexOf(item);
    if (at >= 0) list.splice(at, 1, ...others);
  }
  show();
}

function without(item, peak) {
  const lists = Object.entries(item.send).filter(([name, value]) => Array.isArray(value) && name !== "isolation");
  const [, positions] = lists.find(([, values]) => values.includes(peak.position)) || [];
  if (!positions) return;
  const at = positions.indexOf(peak.position);
  const cut = (values) => values.filter((_, i) => i !== at);
  const send = { ...item.send };
  for (const [name, values] of lists) if (values.length === positions.length) send[name] = cut(values);
  replace(item, [{ ...item, send, peaks: item.peaks.filter((one) => one !== peak) }]);
}

function chip(item, peak) {
  const kind = kinds[item.modality];
  const said = [peak.proton === undefined ? "" : `/${peak.proton.toFixed(2)}`];
  if (peak.multiplicity) said.push(` ${peak.multiplicity}`);
  if (peak.count) said.push(` ${peak.count}${kind.nuclei}`);
  const shown = `${String(+peak.position.toFixed(4))}${said.join("")}`;
  return make("li", {}, make("button", { type: "button", "aria-label": `leave out ${shown} ${kind.unit}`, onclick: () => without(item, peak) }, shown));
}

function shown(item) {
  const remove = make("button", { type: "button", "aria-label": "remove", onclick: () => replace(item, []) }, "remove");
  if (item.smiles) {
    const place = make("div", { class: "seen" }, make("h3", {}, "structure", remove), make("p", { class: "smiles" }, item.smiles));
    drawing(item.smiles).then((picture) => place.append(picture), () => {});
    return place;
  }
  if (!item.modality) return make("div", { class: "seen wrong" }, make("h3", {}, item.given || "not understood", remove), make("p", {}, item.error));
  const kind = kinds[item.modality];
  const head = make("h3", {}, make("span", { class: `swatch m m-${item.modality}` }));
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
  if (item.source.file && kind.picture) {
    const picture = make("img", { src: URL.createObjectURL(item.source.file), alt: `the picture ${item.given}` });
    place.append(picture);
    const read = item.notes.map((note) => /read as (\S+?)[,;]?(?:\s|$)/.exec(note)).find(Boolean);
    if (read) drawing(read[1]).then((drawn) => picture.after(drawn), () => {});
  }
  if (peaks.length) {
    const few = kind.nuclei || peaks.length <= MAX_CHIPS ? peaks : [...peaks].sort((a, b) => (b.intensity || 0) - (a.intensity || 0)).slice(0, MAX_CHIPS).sort((a, b) => a.position - b.position);
    place.append(make("ul", { class: "chips", "aria-label": `peaks in ${kind.unit}; press one to leave it out` }, ...few.map((peak) => chip(item, peak))));
    if (few.length < peaks.length) place.append(make("p", { class: "hint" }, `and ${peaks.length - few.length} smaller ones`));
  }
  for (const one of item.left_out || []) place.append(make("p", { class: "hint" }, `left out “${one.text.trim()}”: ${one.why}`));
  for (const note of item.notes || []) if (!/: left out |FILE#n/.test(note)) place.append(make("p", { class: "note" }, note));
  if (item.error) place.append(make("p", { class: "wrong" }, item.error));
  return place;
}

const usable = () => [...fromText, ...fromFiles].filter((item) => item.smiles || item.send);

function show() {
  $("understood").replaceChildren(...[...fromText, ...fromFiles].map(shown));
  $("go").disabled = !usable().length;
}

// The search

function conditions() {
  const body = { index: $("index").value, k: +$("k").value || 10 };
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
  for (const item of usable()) {
    if (item.smiles) body.smiles = item.smiles;
    else (body[item.modality] = body[item.modality] || []).push(item.send);
  }
  return body;
}

async function search(body) {
  say("searching …");
  $("go").disabled = true;
  try {
    const begun = performance.now();
    const page = await (await post("/api/search", { ...body, format: "html" })).text();
    const parts = new DOMParser().parseFromString(page.replace(/<style>.*?<\/style>/s, ""), "text/html");
    $("shown").replaceChildren(...parts.querySelectorAll("body > header, body > main, body > footer"));
    for (const article of $("shown").querySelectorAll("article")) article.querySelector("h3").after(buttons(article));
    asked = body;
    $("answer").hidden = false;
    say(`answered in ${((performance.now() - begun) / 1000).toFixed(2)} s`);
    $("answer").scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  } catch (error) {
    say(error.message, true);
  }
  $("go").disabled = !usable().length;
}

function buttons(article) {
  const smiles = article.querySelector("dd.smiles").textContent;
  const similar = () => {
    fromFiles = [];
    $("text").value = smiles;
    readText().then(() => search({ ...observed(), index: $("index").value, k: +$("k").value || 10 }));
  };
  const check = () => {
    $("candidate").value = smiles;
    $("checks").open = true;
    checkOne().then(() => $("checks").scrollIntoView({ block: "center" }));
  };
  const line = make("div", { class: "line" }, make("button", { type: "button", onclick: similar }, "Similar molecules"));
  if (usable().some((item) => item.send && kinds[item.modality].checks)) line.append(make("button", { type: "button", onclick: check }, "Is it this one?"));
  return line;
}

async function checkOne() {
  const body = { smiles: $("candidate").value.trim(), index: $("index").value, isomers: true };
  for (const item of usable()) if (item.send && kinds[item.modality].checks) body[item.modality] = item.send;
  $("checked").textContent = "comparing …";
  try {
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
    const blob = await (await post("/api/search", { ...asked, format: form })).blob();
    save(blob, `answer.${form}`);
  } catch (error) {
    say(error.message, true);
  }
}

function save(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
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
  const code = encoded(asked);
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
    if (body.index) $("index").value = body.index;
    $("any_mass").checked = Boolean(body.any_mass);
    const given = Object.fromEntries(Object.entries(body).filter(([name]) => kinds[name] || name === "smiles"));
    fromFiles = items(await (await post("/api/parse", given)).json(), {});
    show();
    await search(body);
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
    const { index, ...others } = conditions();
    form.append("ask", JSON.stringify({ index, modality: $("run-as").value || undefined, ...others }));
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
    for (const form of ["html", "csv", "jsonl", "parquet"])
      line.append(make("button", { type: "button", onclick: () => ask(`/api/runs/${id}/result?format=${form}`).then((answer) => answer.blob()).then((blob) => save(blob, `${run.name}.${form}`), (error) => say(error.message, true)) }, form === "html" ? "Page" : form.toUpperCase()));
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
  kinds = Object.fromEntries(about.modalities.map((kind) => [kind.name, kind]));
  $("index").replaceChildren(...about.indexes.map((one) => make("option", { value: one.name }, `${one.name} (${one.molecules.toLocaleString()} molecules)`)));
  for (const kind of about.modalities) {
    $("as").append(make("option", { value: kind.name, title: kind.help }, kind.title));
    if (!kind.picture) $("run-as").append(make("option", { value: kind.name }, kind.title));
  }
  const columns = () => {
    $("columns").textContent = `Columns: ${about.indexes.find((one) => one.name === $("index").value).columns.join(", ")}`;
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
$("candidate").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  checkOne();
});
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
