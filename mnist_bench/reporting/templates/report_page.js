"use strict";
// Adds sorting, filtering and the hiding of columns. Without it, the whole page is readable.

const UNKNOWN = "–";

function element(name, properties, ...children) {
  const created = Object.assign(document.createElement(name), properties);
  created.append(...children);
  return created;
}

// Numbers sort by the value that the cell was formatted from, words by their text.
function sortKey(row, index, isNumeric) {
  const cell = row.cells[index];
  if (isNumeric) return "value" in cell.dataset ? Number(cell.dataset.value) : null;
  const text = cell.textContent;
  return text === UNKNOWN ? null : text;
}

function compare(a, b) {
  return typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
}

function sortRows(body, rows, index, direction) {
  const isNumeric = rows.some((row) => "value" in row.cells[index].dataset);
  const keyed = rows.map((row) => [sortKey(row, index, isNumeric), row]);
  const known = keyed.filter(([key]) => key !== null);
  const unknown = keyed.filter(([key]) => key === null); // last in both directions
  if (direction !== "none") {
    known.sort(([a], [b]) => (direction === "ascending" ? compare(a, b) : compare(b, a)));
    body.append(...[...known, ...unknown].map(([, row]) => row));
  } else {
    body.append(...rows);
  }
}

function makeSortable(table, rows) {
  const headers = [...table.tHead.rows[0].cells];
  const next = { none: "ascending", ascending: "descending", descending: "none" };
  headers.forEach((header, index) => {
    if (!header.textContent) return;
    const button = element("button", { type: "button" }, ...header.childNodes);
    button.addEventListener("click", () => {
      const direction = next[header.getAttribute("aria-sort") ?? "none"];
      headers.forEach((each) => each.removeAttribute("aria-sort"));
      if (direction !== "none") header.setAttribute("aria-sort", direction);
      sortRows(table.tBodies[0], rows, index, direction);
    });
    header.append(button);
  });
}

// Rows that contain every word that is typed, in any cell.
function makeFilterable(container, rows) {
  const input = element("input", { type: "search", autocomplete: "off" });
  const output = element("output");
  const texts = rows.map((row) => [...row.cells].map((cell) => cell.textContent).join(" "));
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/);
    rows.forEach((row, index) => {
      row.hidden = !words.every((word) => texts[index].toLowerCase().includes(word));
    });
    const shown = rows.filter((row) => !row.hidden).length;
    output.textContent = shown === rows.length ? "" : `${shown} of ${rows.length} rows`;
  });
  const label = element("label", {}, "Filter rows ", input);
  container.before(element("p", { className: "controls" }, label, " ", output));
}

// Marks the columns whose cells are equal in all rows; true if there are some.
function markEqualColumns(table, rows) {
  const indices = [...table.tHead.rows[0].cells].map((_, index) => index);
  const equal = indices.filter((index) =>
    rows.every((row) => row.cells[index].textContent === rows[0].cells[index].textContent),
  );
  if (rows.length < 2 || equal.length === 0 || equal.length === indices.length) return false;
  for (const row of table.rows) equal.forEach((index) => row.cells[index].classList.add("equal"));
  return true;
}

function addHidingOfColumns() {
  const input = element("input", { type: "checkbox", autocomplete: "off" });
  input.addEventListener("change", () => {
    document.body.classList.toggle("without-equal", input.checked);
  });
  const label = element("label", {}, input, " Hide columns that are equal in all rows");
  document.querySelector("nav details").append(element("p", { className: "controls" }, label));
}

// Beside the page the contents are open, above it they are folded.
function foldContents() {
  const isWide = matchMedia("(min-width: 75rem)");
  const contents = document.querySelector("nav details");
  const update = () => { contents.open = isWide.matches; };
  isWide.addEventListener("change", update);
  update();
}

// A link to a folded part unfolds it.
function unfoldTarget() {
  const details = document.getElementById(location.hash.slice(1))?.closest("details");
  if (details) details.open = true;
}

let hasEqualColumns = false;
for (const table of document.querySelectorAll(".scroll > table")) {
  const rows = [...table.tBodies[0].rows];
  if (rows.length > 1) makeSortable(table, rows);
  if (rows.length > 8) makeFilterable(table.parentElement, rows);
  hasEqualColumns = markEqualColumns(table, rows) || hasEqualColumns;
}
if (hasEqualColumns) addHidingOfColumns();
foldContents();
unfoldTarget();
addEventListener("hashchange", unfoldTarget);
