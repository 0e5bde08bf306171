// Shows one picture at a time: moves and zooms it, opens boxes, finds them, and walks the gradient back.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const by = (id) => document.getElementById(id);
const stage = by("stage");
const sections = [...document.querySelectorAll(".picture")];
const svgs = sections.map((section) => section.querySelector("svg"));
const nodes = svgs.map((svg) => [...svg.querySelectorAll(".node")]); // in the order of boxes
const edges = svgs.map((svg) => [...svg.querySelectorAll(".edge")]); // in the order of arrows
const sizes = svgs.map((svg) => [svg.viewBox.baseVal.width, svg.viewBox.baseVal.height]);

let trail = []; // pictures, from a level to the part that is shown
let chosen = null; // a box of the picture that is shown
const picture = () => trail[trail.length - 1];
const boxes = () => data.pictures[picture()].boxes;
const arrows = () => data.pictures[picture()].arrows;

function element(tag, text, parent) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

// "loss" of "loss = mean"; the frame "t = 2" is no t.
function nameOf({ kind, label }) {
  const end = label.lastIndexOf(" = ");
  return end > 0 && ["op", "fused"].includes(kind) ? label.slice(0, end) : label;
}

// -- which picture is shown: the address keeps it, so that the browser's own back works

function go(pictures) {
  location.hash = pictures.join(".");
  show(pictures);
}

function fromAddress() {
  const found = location.hash.slice(1).split(".").map(Number);
  const known = found.every((k, n) => k in data.pictures && (n > 0 || k < data.tabs.length));
  return known && location.hash ? found : [first];
}

function show(pictures) {
  trail = pictures;
  sections.forEach((section, k) => { section.hidden = k !== picture(); });
  [...by("tabs").children].forEach((tab, k) => {
    tab.setAttribute("aria-selected", k === trail[0]);
    tab.tabIndex = k === trail[0] ? 0 : -1;
  });
  const list = by("trail").firstElementChild;
  list.replaceChildren();
  trail.forEach((k, n) => {
    const item = element("li", "", list);
    const name = n ? data.pictures[k].name : "Whole picture";
    if (n === trail.length - 1) element("span", name, item).setAttribute("aria-current", "page");
    else element("button", name, item).onclick = () => go(trail.slice(0, n + 1));
  });
  by("trail").hidden = trail.length === 1;
  if (!views[picture()]) fit(false);
  place();
  addBadges();
  choose(null);
  reset();
  find();
}

function out() {
  if (trail.length > 1) go(trail.slice(0, -1));
}

function enter(k) {
  go([...trail, k]);
  stage.focus();
}

data.tabs.forEach((name, k) => {
  if (data.tabs.length === 1) return;
  const tab = element("button", { "as drawn": "As drawn", closed: "Closed", all: "All" }[name] || name, by("tabs"));
  tab.type = "button";
  tab.setAttribute("role", "tab");
  tab.setAttribute("aria-controls", "stage");
  tab.title = {
    "as drawn": "The picture as it was drawn (d)", closed: "Each part as one box (c)", all: "Everything opened (a)",
  }[name] || `At most ${name} frames around each other (${name})`;
  tab.onclick = () => go([k]);
});
by("tabs").onkeydown = (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const tabs = [...by("tabs").children];
  const next = tabs[tabs.indexOf(event.target) + step];
  if (!next) return;
  next.click();
  next.focus();
  event.stopPropagation();
};
addEventListener("hashchange", () => {
  const there = fromAddress();
  if (there.join() !== trail.join()) show(there);
});

// -- moving and zooming: what part of a picture the window shows

const views = []; // of each picture that was shown: x and y of its upper left corner, and pixels per unit

const READABLE = 0.6; // pixels per unit

const room = () => [stage.clientWidth, stage.clientHeight - 44]; // above the buttons
const whole = (k) => Math.min(room()[0] / sizes[k][0], room()[1] / sizes[k][1], 1.6);

function fit(all) {
  const k = picture();
  const scale = all ? whole(k) : Math.max(whole(k), READABLE); // of a large picture, its beginning is shown
  const [wide, high] = room().map((size) => size / scale);
  const [width, height] = sizes[k];
  const start = nodes[k].length ? nodes[k][0].querySelector("path").getBBox().x : 0;
  const x = wide >= width ? (width - wide) / 2 : Math.min(Math.max(0, start - wide / 3), width - wide);
  views[k] = { x, y: Math.min(0, (height - high) / 2), scale, fitted: true };
  place();
}

function place() {
  const view = views[picture()];
  const box = [view.x, view.y, stage.clientWidth / view.scale, stage.clientHeight / view.scale];
  svgs[picture()].setAttribute("viewBox", box.map((x) => x.toFixed(2)).join(" "));
}

function move(dx, dy) {
  const view = views[picture()];
  view.x += dx / view.scale;
  view.y += dy / view.scale;
  view.fitted = false;
  place();
}

function zoom(factor, x = stage.clientWidth / 2, y = stage.clientHeight / 2) {
  const view = views[picture()];
  const scale = Math.min(8, Math.max(0.05, view.scale * factor));
  view.x += x / view.scale - x / scale;
  view.y += y / view.scale - y / scale;
  view.scale = scale;
  view.fitted = false;
  place();
}

function reveal(node) {
  const [seen, around] = [node.getBoundingClientRect(), stage.getBoundingClientRect()];
  const inside = seen.left >= around.left && seen.right <= around.right
    && seen.top >= around.top && seen.bottom <= around.bottom;
  if (inside) return;
  move((seen.left + seen.right - around.left - around.right) / 2,
    (seen.top + seen.bottom - around.top - around.bottom) / 2);
}

new ResizeObserver(() => {
  if (!trail.length) return;
  if (views[picture()].fitted) fit(false);
  else place();
}).observe(stage);

stage.addEventListener("wheel", (event) => {
  event.preventDefault();
  const around = stage.getBoundingClientRect();
  // Two fingers that slide on a touch pad come as a wheel with small or sideways steps, a pinch as one with Ctrl.
  const slides = !event.ctrlKey && event.deltaMode === 0 && (event.deltaX !== 0 || Math.abs(event.deltaY) < 40);
  if (slides) move(event.deltaX, event.deltaY);
  else {
    zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002)), event.clientX - around.left, event.clientY - around.top);
  }
}, { passive: false });

const fingers = new Map();
let dragged = false;
stage.addEventListener("pointerdown", (event) => {
  if (event.button || event.target.closest("#zoom")) return;
  fingers.set(event.pointerId, event);
  dragged = false;
});
stage.addEventListener("pointermove", (event) => {
  const before = fingers.get(event.pointerId);
  if (!before) return;
  const [dx, dy] = [event.clientX - before.clientX, event.clientY - before.clientY];
  if (!dragged && fingers.size === 1 && Math.hypot(dx, dy) < 5) return; // a click with a hand that trembles
  if (!dragged) stage.setPointerCapture(event.pointerId);
  dragged = true;
  stage.classList.add("dragged");
  const others = [...fingers.values()].filter((finger) => finger.pointerId !== event.pointerId);
  if (others.length) {
    const far = (finger) => Math.hypot(finger.clientX - others[0].clientX, finger.clientY - others[0].clientY);
    const around = stage.getBoundingClientRect();
    zoom(far(event) / Math.max(1, far(before)), others[0].clientX - around.left, others[0].clientY - around.top);
  } else move(-dx, -dy);
  fingers.set(event.pointerId, event);
});
for (const kind of ["pointerup", "pointercancel"]) {
  stage.addEventListener(kind, (event) => {
    fingers.delete(event.pointerId);
    stage.classList.remove("dragged");
  });
}
by("closer").onclick = () => zoom(1.25);
by("farther").onclick = () => zoom(0.8);
by("fit").onclick = () => fit(true);
addEventListener("beforeprint", () => fit(true));

// -- boxes

nodes.forEach((drawn, k) => drawn.forEach((node, b) => {
  const box = data.pictures[k].boxes[b];
  node.tabIndex = 0;
  node.setAttribute("role", "button");
  if ("opens" in box) {
    node.classList.add("opens");
    node.setAttribute("aria-description", "opens");
  }
  node.addEventListener("focus", () => { choose(b); reveal(node); });
  node.addEventListener("click", () => { if (!dragged) press(node); }); // browsers differ in where a drag's click goes
}));

function press(node) {
  const b = nodes[picture()].indexOf(node);
  if ("opens" in boxes()[b]) enter(boxes()[b].opens);
  else choose(b);
}

function addBadges() {
  for (const node of svgs[picture()].querySelectorAll(".opens:not(.marked)")) {
    const { x, y, width } = node.querySelector("path").getBBox();
    const badge = document.createElementNS("http://www.w3.org/2000/svg", "g");
    badge.setAttribute("class", "badge");
    badge.setAttribute("transform", `translate(${x + width} ${y})`);
    badge.innerHTML = '<circle r="7"/><path d="M-4 0H4M0 -4V4"/>';
    node.append(badge);
    node.classList.add("marked");
  }
}

function choose(b) {
  chosen = b;
  nodes[picture()].forEach((node, k) => node.classList.toggle("chosen", k === b));
  const shown = data.pictures[picture()];
  const box = b === null ? null : shown.boxes[b];
  by("chosen").textContent = box ? box.label : trail.length > 1 ? shown.name : document.title;
  const facts = by("facts");
  facts.replaceChildren();
  for (const [name, text] of box ? box.facts : []) {
    element("dt", name, facts);
    element("dd", text, facts).className = name === "equation" ? "math" : "";
  }
  by("open").hidden = !box || !("opens" in box);
  by("note").textContent = box ? "" : [shown.note, data.leftOut].filter(Boolean).join("; ")
    || "Choose a box to see what is known of it. A box with a + opens.";
}
by("open").onclick = () => enter(boxes()[chosen].opens);

// -- finding

// hₜ₋₁ and h_{t-1} are the same, and so are (2,3) and (2, 3).
const plain = (text) => text.replace(/[₀-₎ₐ-ₜᵢ-ᵥ]+/g, "_$&").normalize("NFKC").toLowerCase().replace(/[{}\s]/g, "").replace(/−/g, "-");
const texts = data.pictures.map((shown) => shown.boxes.map((box) => box.find.map(plain)));
let hits = []; // [picture, box], those of the picture that is shown first
let at = -1;

function find() {
  const query = plain(by("query").value);
  const search = (k) => texts[k].flatMap((found, b) => found.some((text) => text.includes(query)) ? [[k, b]] : []);
  const parts = data.pictures.map((_, k) => k).filter((k) => k >= data.tabs.length && k !== picture());
  hits = query ? [picture(), ...parts].flatMap(search) : [];
  at = -1;
  nodes.forEach((drawn) => drawn.forEach((node) => node.classList.remove("hit")));
  hits.forEach(([k, b]) => nodes[k][b].classList.add("hit"));
  const here = hits.filter(([k]) => k === picture()).length;
  const inside = hits.length > here ? `, ${hits.length - here} in parts` : "";
  by("found").textContent = !query ? "" : hits.length ? `${here} here${inside}` : "no match";
  by("next").disabled = !hits.length;
}

function next() {
  if (!hits.length) return;
  const [all, now] = [hits, (at + 1) % hits.length];
  const [k, b] = all[now];
  if (k !== picture()) {
    const way = [k];
    while (data.pictures[way[0]].around !== null) way.unshift(data.pictures[way[0]].around);
    go([trail[0], ...way]);
  }
  hits = all; // the order stays while one goes on from hit to hit
  at = now;
  choose(b);
  reveal(nodes[k][b]);
  by("found").textContent = `${at + 1} of ${hits.length}`;
}

by("query").oninput = find;
by("query").onkeydown = (event) => {
  if (event.key === "Enter") next();
  else if (event.key === "Escape") endSearch();
  else return;
  event.preventDefault();
  event.stopPropagation();
};
by("next").onclick = next;

function endSearch() {
  by("query").value = "";
  find();
  stage.focus();
}

// -- the gradient, one box at a time, from the output back: newest first, as the engine goes

let order = []; // boxes
let steps = 0; // how many of them are done; the last one is the one that is told of
let playing = null;

function reset() {
  pause();
  order = data.pictures[picture()].order;
  by("stepper").hidden = !data.pictures[picture()].start;
  stepTo(0);
}

function pause() {
  clearInterval(playing);
  playing = null;
  by("play").setAttribute("aria-pressed", "false");
  by("play").textContent = "Play";
}

function play() {
  if (playing !== null) return pause();
  if (steps === order.length) stepTo(0);
  playing = setInterval(() => {
    stepTo(steps + 1);
    if (steps >= order.length) pause();
  }, 1400);
  by("play").setAttribute("aria-pressed", "true");
  by("play").textContent = "Pause";
}

function stepTo(n) {
  steps = Math.max(0, Math.min(n, order.length));
  const done = new Set(order.slice(0, steps));
  const now = steps ? order[steps - 1] : -1;
  const gets = new Set(arrows().filter(([, target]) => target === now).map(([source]) => source));
  svgs[picture()].classList.toggle("stepping", steps > 0);
  nodes[picture()].forEach((node, b) => {
    node.classList.toggle("now", b === now);
    node.classList.toggle("done", done.has(b) && b !== now);
    node.classList.toggle("gets", gets.has(b) && boxes()[b].kind !== "input");
  });
  edges[picture()].forEach((edge, k) => {
    const [source, target] = arrows()[k];
    edge.classList.toggle("flows", target === now && boxes()[source].kind !== "input");
  });
  by("back").disabled = by("reset").disabled = !steps;
  by("step").disabled = by("play").disabled = steps === order.length;
  tell(now, done);
  if (steps) reveal(nodes[picture()][now]);
}

function tell(now, done) {
  const told = by("told");
  told.replaceChildren();
  if (!steps) {
    element("p", data.pictures[picture()].start, told);
    return;
  }
  const box = boxes()[now];
  const [forward, words] = box.rule;
  const head = element("p", `Step ${steps} of ${order.length}: `, told);
  element("strong", box.label, head);
  const name = nameOf(box);
  const arriving = `g = ∂L/∂${name.includes(" ") || name === box.label ? "out" : name}`;
  if (box.kind !== "outside") element("p", `${arriving}: ${box.gradient || "not computed"}`, told).className = "math";
  if (forward) element("p", forward, told).className = "math";
  if (words) element("p", words, told).className = "quiet";
  const list = element("ul", "", told);
  arrows().forEach(([source, target], k) => {
    const from = boxes()[source];
    if (target !== now || from.kind === "input") return;
    const place = arrows().slice(0, k).filter(([, other]) => other === now).length;
    const [called, way] = box.gets[place];
    const item = element("li", "", list);
    const whose = element("div", "", item);
    element("strong", nameOf(from), whose);
    if (called && called !== nameOf(from)) whose.append(`, here ${called}`);
    element("div", way ? `∂L/∂${called || "x"} += ${way}` : "gets its part of the gradient", item).className = "math";
    const uses = arrows().filter(([other]) => other === source);
    const arrived = uses.filter(([, other]) => done.has(other)).length;
    const parts = uses.length > 1 ? `${arrived} of ${uses.length} parts so far` : "this is all of it";
    element("div", arrived < uses.length ? parts : `${parts}: ${from.gradient || "not computed"}`, item).className = "sofar";
  });
  if (steps === order.length) element("p", "The gradient has arrived everywhere.", told);
  if (!box.gradient) element("p", "Numbers come with ts.graph(loss, grad=True).", told).className = "quiet";
}

by("step").onclick = () => { pause(); stepTo(steps + 1); };
by("back").onclick = () => { pause(); stepTo(steps - 1); };
by("reset").onclick = reset;
by("play").onclick = play;

// -- keys

const keys = {
  ArrowLeft: () => move(-60, 0), ArrowRight: () => move(60, 0), ArrowUp: () => move(0, -60), ArrowDown: () => move(0, 60),
  "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), 0: () => fit(true),
  "/": () => by("query").select(), n: next,
  Backspace: out,
  Escape: () => (by("query").value ? endSearch() : out()),
  s: () => by("step").click(), b: () => by("back").click(), p: () => by("play").click(), r: () => by("reset").click(),
  d: () => go([0]), a: () => go([data.tabs.length - 1]),
  c: () => data.tabs[1] === "closed" && go([1]),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input")) return;
  const node = event.target.closest(".node");
  const level = data.tabs.indexOf(event.key);
  if (node && (event.key === "Enter" || event.key === " ")) press(node);
  else if (level > 0) go([level]);
  else if (event.key in keys) keys[event.key]();
  else return;
  event.preventDefault();
});

// The picture as it was drawn, where it can be read whole; else the level that shows most and can.
const levels = data.tabs.map((_, k) => k);
const first = whole(0) >= READABLE ? 0 : levels.findLast((k) => whole(k) >= READABLE) ?? 0;
show(fromAddress());
