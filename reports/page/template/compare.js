// Compares two cells side by side: their numbers, their seeds and their freeze moments.

const compare = document.getElementById("compare");
const [first, second] = compare.querySelectorAll("select");
const cells = new Map([...document.querySelectorAll(".dossier")].map((article) => [article.id, article]));
const tray = document.getElementById("tray");
let picked = ""; // id of the cell that was picked first

function make(tag, text, className) {
  const element = document.createElement(tag);
  element.textContent = text;
  if (className) element.className = className;
  return element;
}

function makeRow(head, values, className) {
  const row = document.createElement("tr");
  const name = make("th", head);
  name.scope = "row";
  row.append(name, ...values.map((value) => (value instanceof Node ? value : make("td", value, className))));
  return row;
}

function fillSelect(select) {
  for (const section of document.querySelectorAll("main > section")) {
    const group = document.createElement("optgroup");
    group.label = section.dataset.label || "";
    for (const { id, dataset } of section.querySelectorAll(".dossier")) group.append(new Option(`${dataset.method} · ${dataset.model} · ${dataset.data}`, id));
    if (group.children.length) select.append(group);
  }
}

// Formats a number as the tables do: with a minus sign (−), and without a sign if it rounds to zero.
function format(value, digits, sign = true) {
  const rounded = Number(value.toFixed(digits));
  const text = (rounded === 0 ? 0 : rounded).toFixed(digits).replace("-", "−"); // no "−0.00"
  return (sign && rounded > 0 ? "+" : "") + text;
}

const readFacts = (cell) => new Map([...cell.querySelectorAll("dl > div")].map((fact) => [fact.children[0].textContent, fact.children[1].textContent]));
const readSeeds = (cell) => new Map([...cell.querySelectorAll("tr[data-seed]")].map((row) => [row.dataset.seed, row]));

function addFacts(body, pair) {
  const facts = pair.map(readFacts);
  for (const axis of ["model", "data", "method"]) body.append(makeRow(axis[0].toUpperCase() + axis.slice(1), pair.map((cell) => cell.dataset[axis])));
  for (const name of new Set(facts.flatMap((one) => [...one.keys()]))) body.append(makeRow(name, facts.map((one) => one.get(name) || "–")));
}

// Returns the differences of the seeds that both cells have, second minus first.
function addSeeds(body, pair) {
  const seeds = pair.map(readSeeds);
  const paired = pair[0].dataset.samples === pair[1].dataset.samples;
  const differences = [];
  for (const seed of new Set(seeds.flatMap((one) => [...one.keys()]))) {
    const scores = seeds.map((one) => one.get(seed)?.dataset.score || "");
    const known = paired && scores.every((score) => score !== "");
    const difference = Number(scores[1]) - Number(scores[0]);
    if (known) differences.push(difference);
    const pictures = seeds.map((one) => {
      const place = document.createElement("td");
      const link = one.get(seed)?.querySelector("a.open");
      if (link) place.append(link.cloneNode(true));
      return place;
    });
    const texts = scores.map((score) => (score === "" ? "–" : format(Number(score), 2, false)));
    const row = makeRow(seed, [...texts, known ? format(difference, 2) : "–"], "right");
    row.append(...pictures);
    body.append(row);
  }
  return differences;
}

function summarize(differences, pair) {
  const n = differences.length;
  const lines = [];
  if (pair[0] === pair[1]) lines.push("Both sides are the same cell. Choose another one.");
  else if (pair[0].dataset.data !== pair[1].dataset.data) lines.push("The cells use different data sets, so their seeds are not paired.");
  else if (pair[0].dataset.samples !== pair[1].dataset.samples) lines.push(`The cells differ in the evaluation samples or in the metric (${pair.map((cell) => cell.dataset.samples).join("; ")}), so the seeds are not paired.`);
  else if (!n) lines.push("No seed has a result in both cells.");
  else {
    const mean = differences.reduce((sum, value) => sum + value, 0) / n;
    let text = `Second minus first: ${format(mean, 2)} points`;
    if (n > 1) {
      const variance = differences.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1);
      const half = compare.dataset.quantiles.split(" ")[n - 2] * Math.sqrt(variance / n);
      text += `, 95 % t interval [${format(mean - half, 2)}, ${format(mean + half, 2)}]`;
    }
    lines.push(`${text}, over ${n} paired seed${n === 1 ? "" : "s"}.`);
  }
  const devices = pair.map((cell) => cell.dataset.devices);
  if (devices[0] && devices[1] && devices[0] !== devices[1]) lines.push("The runs used different devices, so their times are not comparable.");
  return lines.join(" ");
}

function fill(table, pair, heads) {
  const row = document.createElement("tr");
  row.append(...heads.map((head) => Object.assign(make("th", head), { scope: "col" })));
  table.tHead.replaceChildren(row);
  table.tBodies[0].replaceChildren();
  return table.tBodies[0];
}

function showComparison() {
  const pair = [first, second].map((select) => cells.get(select.value));
  const [facts, seeds] = compare.querySelectorAll("table");
  addFacts(fill(facts, pair, ["", "First", "Second"]), pair);
  const differences = addSeeds(fill(seeds, pair, ["Seed", "First", "Second", "Second − first", "Freezing, first", "Freezing, second"]), pair);
  compare.querySelector(".under").textContent = summarize(differences, pair);
}

function openComparison(one, other) {
  [first.value, second.value] = [one, other];
  unpick();
  showComparison();
  if (!compare.open) compare.showModal();
}

function unpick() {
  picked = "";
  tray.hidden = true;
  for (const button of document.querySelectorAll(".pick[aria-pressed=true]")) button.setAttribute("aria-pressed", "false");
}

function pick(button) {
  const id = button.dataset.cell;
  if (picked === id) unpick();
  else if (picked) openComparison(picked, id);
  else {
    picked = id;
    button.setAttribute("aria-pressed", "true");
    tray.querySelector("span").textContent = cells.get(id).querySelector("h4").textContent;
    tray.hidden = false;
  }
}

for (const link of document.querySelectorAll("table.sortable a.open")) {
  const button = make("button", "compare", "pick");
  button.type = "button";
  button.dataset.cell = link.hash.slice(1);
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => pick(button));
  link.after(" ", button);
}
tray.querySelector("button").addEventListener("click", unpick);
for (const select of [first, second]) {
  fillSelect(select);
  select.addEventListener("change", showComparison);
}
const opener = document.getElementById("open-compare");
opener.hidden = cells.size < 2;
opener.addEventListener("click", () => openComparison(...[...cells.keys()].slice(0, 2)));
watchWidths(compare);
