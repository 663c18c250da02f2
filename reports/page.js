"use strict";
// Figures sort by their value, words by the alphabet, empty and unknown cells come last; pinned rows stay on top.
const number = (text) => (/^[\d.,]+/.test(text) ? parseFloat(text.replace(/,/g, "")) : NaN);
const compare = (a, b) => {
  const [left, right] = [number(a), number(b)];
  return isNaN(left) || isNaN(right) ? a.localeCompare(b) : left - right;
};
for (const button of document.querySelectorAll("thead button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th");
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const text = (row) => row.cells[head.cellIndex].textContent.trim().replace(/^unknown$/, "");
    for (const body of head.closest("table").querySelectorAll("tbody:not(.pinned)")) {
      const rows = [...body.rows].sort((a, b) => {
        const [left, right] = [text(a), text(b)];
        if (!left || !right) return !left - !right;
        return down ? compare(right, left) : compare(left, right);
      });
      body.append(...rows);
    }
  });
}
