// Sorts tables, and shows a hint above each table or figure that is wider than its frame.

function sorted(rows, column, descending) {
  const orders = new Map(rows.map((row) => [row, row.cells[column].dataset.order]));
  const numeric = [...orders.values()].every((text) => text === "" || !Number.isNaN(Number(text)));
  return [...rows].sort((a, b) => {
    const [x, y] = [orders.get(a), orders.get(b)];
    if (x === "" || y === "") return (x === "") - (y === ""); // unknown values are last in both orders
    const order = numeric ? Number(x) - Number(y) : x.localeCompare(y, "en", { numeric: true });
    return descending ? -order : order;
  });
}

for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const rows = original.filter((row) => !row.classList.contains("block"));
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    if (!button) return;
    button.addEventListener("click", () => {
      const next = { none: "ascending", ascending: "descending", descending: "none" };
      const order = next[head.getAttribute("aria-sort")];
      for (const other of heads) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", order);
      table.toggleAttribute("data-sorted", order !== "none");
      body.append(...(order === "none" ? original : sorted(rows, column, order === "descending")));
    });
  });
}

// Without this script, CSS shows the hints on all narrow screens.
document.documentElement.dataset.script = "";
const sizes = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const frame = target.closest(".scroll");
    if (frame) frame.toggleAttribute("data-wide", frame.scrollWidth > frame.clientWidth + 1);
  }
});
function watchWidths(part) {
  for (const frame of part.querySelectorAll(".scroll")) {
    sizes.observe(frame);
    for (const child of frame.children) sizes.observe(child);
  }
}
watchWidths(document);
