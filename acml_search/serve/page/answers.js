// What an answer can do: tables sort, two hits stand side by side, a peak lights its atoms and an atom its peaks.

export const $ = (id) => document.getElementById(id);

export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

// Tables

function shownIn(cell) {
  const text = (cell.querySelector(":scope > .digits") || cell).textContent.trim();
  const number = Number(text.replaceAll("−", "-").replace(/ Da$/, "") || NaN);
  return Number.isNaN(number) ? text.toLowerCase() : number;
}

export function sortable(table) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  for (const [at, head] of heads.entries()) {
    if (!body.rows.length || body.rows[0].cells[at].querySelector(".mol")) continue;
    const sort = () => {
      const rows = [...body.rows].map((row) => [shownIn(row.cells[at]), row]);
      const known = rows.filter(([value]) => value !== "");
      const numbers = known.every(([value]) => typeof value === "number");
      const before = head.getAttribute("aria-sort");
      const down = before ? before === "ascending" : numbers;
      const compare = numbers ? (a, b) => a[0] - b[0] : (a, b) => String(a[0]).localeCompare(String(b[0]));
      known.sort((a, b) => (down ? -compare(a, b) : compare(a, b)));
      body.append(...known.map(([, row]) => row), ...rows.filter(([value]) => value === "").map(([, row]) => row));
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
    };
    head.replaceChildren(make("button", { type: "button", class: "sort", onclick: sort }, ...head.childNodes));
  }
}

function* cells(text) { // of tab-separated text, in which a cell may stand in quotes
  let row = [];
  for (const [, quoted, bare, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^\t\n]*))(\t|\n)/g)) {
    row.push(quoted === undefined ? bare : quoted.replaceAll('""', '"'));
    if (end === "\t") continue;
    yield row;
    row = [];
  }
}

const NAMES = ["title", "name", "feature_id", "spectrum_id", "id", "query_name", "query_smiles", "row"];
const SHOWN = { pepmass: "precursor m/z", precursor_mz: "precursor m/z", status: "status", formula: "formula", smiles: "first hit", probability: "probability", q_value: "q-value", message: "message" };

export const scrolled = (table, label) => make("div", { class: "wide", tabindex: 0, role: "group", "aria-label": label }, table);

// The first hit of every query of a run, from its tab-separated rows
export function runTable(text) {
  const [head, ...rows] = cells(text);
  const at = Object.fromEntries(head.map((name, i) => [name, i]));
  const first = rows.filter((row) => at.rank === undefined || ["", "1"].includes(row[at.rank]));
  const some = (name) => at[name] !== undefined && first.some((row) => row[at[name]]);
  const names = Object.keys(SHOWN).filter(some);
  const label = NAMES.find((name) => some(name) && new Set(first.map((row) => row[at[name]])).size > first.length / 2) || head[0];
  const body = first.map((row) => make("tr", {}, ...[label, ...names].map((name) => make("td", { class: name === "smiles" ? "smiles" : "digits" }, row[at[name]]))));
  const heads = ["query", ...names.map((name) => SHOWN[name])].map((name) => make("th", { scope: "col" }, name));
  const table = make("table", { class: "hits" }, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...body));
  sortable(table);
  return scrolled(table, "answers of the run");
}

// Two hits side by side

let first = null;

export function comparer(article) {
  const button = make("button", { type: "button", "aria-pressed": "false" }, "Compare");
  button.addEventListener("click", () => {
    const other = first;
    if (other) other.button.setAttribute("aria-pressed", "false");
    first = null;
    if (other && other.button === button) return;
    if (!other || !other.article.isConnected) {
      first = { article, button };
      button.setAttribute("aria-pressed", "true");
      return;
    }
    const copies = [other.article, article].map((one) => one.cloneNode(true));
    for (const copy of copies) {
      copy.removeAttribute("id");
      copy.querySelector(".line").remove();
    }
    $("sides").replaceChildren(...copies);
    $("compare").showModal();
  });
  return button;
}

// Peaks and their atoms

const MARKED = "[data-atom], .num, .peaks tbody tr, .plot g";

function atoms(text) {
  return text.split(", ").flatMap((part) => {
    const [low, high = low] = part.split("–").map(Number);
    return Array.from({ length: high - low + 1 }, (_, i) => `atom ${low + i}`);
  });
}

function marks(node) { // what an element of a hit's reason is about: atoms and a peak
  if (node.matches("[data-atom], .num")) return [`atom ${node.dataset.atom ?? node.textContent}`];
  const row = node.matches("tr");
  const at = row ? node.cells[1].textContent : node.querySelector("title").textContent;
  const peak = /^(?:m\/z |observed )?(-?[\d.]+)/.exec(at.replace("−", "-"));
  const listed = row ? node.querySelector(".atoms")?.textContent : /atoms ([\d–, ]+)$/.exec(at)?.[1];
  return [...(listed ? atoms(listed) : []), ...(peak && !/predicted, not/.test(at) ? [`peak ${peak[1]}`] : [])];
}

document.addEventListener("pointerover", ({ target }) => {
  for (const node of document.querySelectorAll(".lit")) node.classList.remove("lit");
  const node = target.closest(MARKED);
  const reason = node?.closest(".reason");
  if (!reason) return;
  const atom = "[data-atom], .num";
  const about = marks(node);
  const peaks = about.filter((one) => one.startsWith("peak"));
  for (const other of reason.querySelectorAll(MARKED)) {
    const wanted = other.matches(atom) || !peaks.length ? about : peaks; // peaks may share atoms
    other.classList.toggle("lit", marks(other).some((one) => wanted.includes(one)));
  }
});
