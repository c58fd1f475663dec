"use strict";
// Sorts tables, shows the runs of a row in a dialog, switches between light and dark colours.
// Without JavaScript the page shows the same content, and links lead to the runs.

const root = document.documentElement;

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

const dialog = document.getElementById("runs");
document.addEventListener("click", (event) => {
  const link = event.target.closest("a.open");
  if (!link) {
    if (event.target === dialog) dialog.close(); // a click on the backdrop
    return;
  }
  const found = document.getElementById(decodeURIComponent(link.hash.slice(1)));
  const copy = found.cloneNode(true);
  copy.removeAttribute("id");
  dialog.querySelector(".content").replaceChildren(copy);
  dialog.showModal();
  event.preventDefault();
});

const button = document.getElementById("scheme");
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.scheme || (dark.matches ? "dark" : "light")) === "dark";
function label() {
  button.textContent = isDark() ? "Light" : "Dark";
  button.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`);
}
button.hidden = false;
button.addEventListener("click", () => {
  root.dataset.scheme = isDark() ? "light" : "dark";
  label();
});
dark.addEventListener("change", label);
label();

// Close the table of contents on narrow screens.
const contents = document.querySelector(".contents details");
if (window.matchMedia("(max-width: 60rem)").matches) contents.open = false;

// Open all details for printing, except the lists of runs.
const closed = [];
window.addEventListener("beforeprint", () => {
  for (const one of document.querySelectorAll("main details:not(.made):not([open])")) {
    one.open = true;
    closed.push(one);
  }
});
window.addEventListener("afterprint", () => {
  for (const one of closed.splice(0)) one.open = false;
});
