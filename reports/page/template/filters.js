// Shows only the rows of the chosen models, data sets and methods. No choice means all.

const filters = document.getElementById("filters");
const axes = [...filters.querySelectorAll("fieldset")].map((set) => set.dataset.axis);
const selector = axes.map((axis) => `main [data-${axis}]`).join(",");
const filtered = [...document.querySelectorAll(selector)];
const blocks = [...document.querySelectorAll("table.sortable tr.block")].map((head) => {
  const rows = [];
  for (let row = head.nextElementSibling; row && !row.classList.contains("block"); row = row.nextElementSibling) rows.push(row);
  return { head, rows };
});
const emptied = [...document.querySelectorAll("table.sortable")].map((table) => {
  const note = document.createElement("p");
  note.className = "nothing";
  note.hidden = true;
  note.textContent = "No row of this table matches the filter.";
  table.closest(".scroll").after(note);
  return { table, note };
});

function applyFilters() {
  const chosen = new Map(axes.map((axis) => [axis, new Set()]));
  for (const box of filters.querySelectorAll("input:checked")) chosen.get(box.name).add(box.value);
  for (const part of filtered) {
    part.hidden = axes.some((axis) => axis in part.dataset && chosen.get(axis).size && !chosen.get(axis).has(part.dataset[axis]));
  }
  for (const { head, rows } of blocks) head.hidden = rows.every((row) => row.hidden);
  for (const { table, note } of emptied) {
    const rows = [...table.tBodies[0].rows];
    const none = rows.length > 0 && rows.every((row) => row.hidden);
    note.hidden = !none;
    table.closest(".scroll").hidden = none;
  }
  const rows = filtered.filter((part) => part.tagName === "TR");
  const active = [...chosen.values()].some((names) => names.size);
  filters.querySelector("output").textContent = active
    ? `Rows shown: ${rows.filter((row) => !row.hidden).length} of ${rows.length}.`
    : "All rows are shown.";
  filters.querySelector("button").hidden = !active;
  filters.toggleAttribute("data-active", active);
}
filters.addEventListener("change", applyFilters);
filters.addEventListener("reset", (event) => {
  event.preventDefault(); // the boxes would change only after this event
  for (const box of filters.querySelectorAll("input")) box.checked = false;
  applyFilters();
});
filters.hidden = false;
applyFilters();
