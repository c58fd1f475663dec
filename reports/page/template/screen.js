// Switches between light and dark colours, and adapts the page to narrow screens and to paper.

const root = document.documentElement;
const scheme = document.getElementById("scheme");
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.scheme || (dark.matches ? "dark" : "light")) === "dark";
function label() {
  scheme.textContent = isDark() ? "Light" : "Dark";
  scheme.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`);
}
scheme.hidden = false;
scheme.addEventListener("click", () => {
  root.dataset.scheme = isDark() ? "light" : "dark";
  label();
});
dark.addEventListener("change", label);
label();

// Close the table of contents and the filter on narrow screens.
if (window.matchMedia("(max-width: 60rem)").matches) {
  for (const part of document.querySelectorAll(".side details")) part.open = false;
}

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
