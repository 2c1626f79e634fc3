"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { x, y, value, names, smiles, notes, paints, low, high, radius, chunk, depictions } = data;
  const n = x.length;
  const canvas = document.getElementById("dots");
  const card = document.getElementById("card");
  const pen = canvas.getContext("2d");
  const shown = new Set((names || []).map((_, i) => i));
  let scale = 1, dx = 0, dy = 0, width = 0, height = 0, hover = -1, kept = -1, drag = null, due = false;

  const stops = ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"]
    .map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  const none = () => getComputedStyle(document.documentElement).getPropertyValue("--none").trim();
  const paint = (v) => {
    if (v === null || v < 0 && names) return null;
    if (names) return paints[v];
    const at = Math.min(1, Math.max(0, (v - low) / (high - low))) * (stops.length - 1);
    const a = stops[Math.floor(at)], b = stops[Math.ceil(at)], part = at % 1;
    return `rgb(${a.map((c, k) => Math.round(c + (b[k] - c) * part)).join(" ")})`;
  };
  const colours = value.map(paint);
  const visible = (i) => !names || value[i] < 0 || shown.has(value[i]);

  // x and y are in 0..1; one unit fills the shorter side
  const side = () => Math.min(width, height) * 0.92;
  const px = (i) => width / 2 + ((x[i] - 0.5) * side() * data.aspect) * scale + dx;
  const py = (i) => height / 2 - ((y[i] - 0.5) * side()) * scale + dy;
  const size = () => radius * Math.min(3, Math.sqrt(scale));

  function draw() {
    due = false;
    const grey = none(), r = size();
    pen.clearRect(0, 0, width, height);
    pen.globalAlpha = 0.78;
    for (const pass of [false, true]) {
      for (let i = 0; i < n; i++) {
        if ((colours[i] !== null) !== pass || !visible(i)) continue;
        const a = px(i), b = py(i);
        if (a < -r || b < -r || a > width + r || b > height + r) continue;
        pen.fillStyle = colours[i] || grey;
        pen.beginPath();
        pen.arc(a, b, r, 0, 6.2832);
        pen.fill();
      }
    }
    pen.globalAlpha = 1;
    pen.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--ink");
    for (const i of new Set([kept, hover])) {
      if (i < 0) continue;
      pen.lineWidth = i === kept ? 3 : 2;
      pen.beginPath();
      pen.arc(px(i), py(i), r + 3, 0, 6.2832);
      pen.stroke();
    }
  }
  const redraw = () => { if (!due) { due = true; requestAnimationFrame(draw); } };

  function resize() {
    const box = canvas.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
    width = box.width; height = box.height;
    canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    redraw();
  }

  function nearest(a, b) {
    let best = -1, least = (size() + 8) ** 2;
    for (let i = 0; i < n; i++) {
      const d = (px(i) - a) ** 2 + (py(i) - b) ** 2;
      if (d < least && visible(i)) { least = d; best = i; }
    }
    return best;
  }

  // structures are kept deflated, some hundred together, and unpacked when one of them is wanted
  const unpacked = new Map();
  function structures(number) {
    if (!unpacked.has(number)) {
      const bytes = Uint8Array.from(atob(depictions[number]), (c) => c.charCodeAt(0));
      const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
      unpacked.set(number, new Response(stream).text().then((text) => JSON.parse(text)));
    }
    return unpacked.get(number);
  }

  function line(name, text) {
    const p = document.createElement("p");
    p.className = name;
    p.textContent = text;
    return p;
  }

  async function tell(i) {
    if (i < 0) return;
    const all = await structures(Math.floor(i / chunk));
    if (i !== (hover >= 0 ? hover : kept)) return;
    const figure = document.createElement("div");
    // made by RDKit, texts in it escaped, when the page was written
    figure.innerHTML = all[i % chunk];
    card.replaceChildren(figure, line("value", notes[i]), line("smiles", smiles[i]));
  }

  const place = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  canvas.addEventListener("pointermove", (event) => {
    const [a, b] = place(event);
    if (drag) { dx += a - drag[0]; dy += b - drag[1]; drag = [a, b]; redraw(); return; }
    const found = nearest(a, b);
    if (found !== hover) { hover = found; tell(hover >= 0 ? hover : kept); redraw(); }
  });
  canvas.addEventListener("pointerdown", (event) => { drag = place(event); canvas.dataset.down = drag.join(); canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointerup", (event) => {
    const at = place(event);
    const [a, b] = (canvas.dataset.down || "0,0").split(",").map(Number);
    drag = null;
    if (Math.hypot(at[0] - a, at[1] - b) < 4) { hover = nearest(...at); kept = hover; tell(kept); redraw(); }
  });
  canvas.addEventListener("pointerleave", () => { drag = null; hover = -1; tell(kept); redraw(); });
  canvas.addEventListener("dblclick", () => { scale = 1; dx = dy = 0; redraw(); });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const [a, b] = place(event), factor = Math.exp(-event.deltaY * 0.0015);
    const next = Math.min(60, Math.max(0.5, scale * factor)), by = next / scale;
    dx = (a - width / 2) * (1 - by) + dx * by;
    dy = (b - height / 2) * (1 - by) + dy * by;
    scale = next;
    redraw();
  }, { passive: false });
  for (const box of document.querySelectorAll("input[data-category]")) {
    box.addEventListener("change", () => {
      const i = Number(box.dataset.category);
      if (box.checked) shown.add(i); else shown.delete(i);
      redraw();
    });
  }
  new ResizeObserver(resize).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  resize();
  const chosen = Number(new URLSearchParams(location.hash.slice(1)).get("show") || -1);
  if (chosen >= 0 && chosen < n) { kept = chosen; tell(kept); }
})();
