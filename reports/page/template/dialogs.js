// Shows the runs of a row, and the decisions of a run, in a dialog.

const runs = document.getElementById("runs");
const shown = []; // ids of the articles in the dialog, the visible one last

function copyArticle(id) {
  const copy = document.getElementById(id).cloneNode(true);
  copy.removeAttribute("id");
  copy.hidden = false;
  return copy;
}

function showLast() {
  const content = runs.querySelector(".content");
  content.replaceChildren(copyArticle(shown.at(-1)));
  watchWidths(content);
  runs.querySelector(".back").hidden = shown.length < 2;
  if (!runs.open) runs.showModal();
  runs.scrollTop = 0;
}

document.addEventListener("click", (event) => {
  for (const dialog of document.querySelectorAll("dialog[open]")) {
    if (event.target === dialog) dialog.close(); // a click on the backdrop
  }
  const link = event.target.closest("a.open");
  if (!link) return;
  if (!runs.open) shown.length = 0;
  shown.push(decodeURIComponent(link.hash.slice(1)));
  showLast();
  event.preventDefault();
});
runs.querySelector(".back").addEventListener("click", () => {
  shown.pop();
  showLast();
});
