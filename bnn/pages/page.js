// Sorts a table by the column whose heading is pressed: upward, then downward. Missing values stay below.
document.querySelectorAll("table.sortable").forEach((table) => {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const keyed = [...body.rows].map((row) => {
        const { value } = row.cells[column].dataset, text = row.cells[column].textContent;
        return { row, text, number: value === undefined ? NaN : Number(value) };
      });
      const named = keyed.every(({ row }) => row.cells[column].classList.contains("name"));
      keyed.sort((a, b) => {
        if (named) return (down ? -1 : 1) * a.text.localeCompare(b.text, "en", { numeric: true });
        if (Number.isNaN(a.number) || Number.isNaN(b.number)) return Number.isNaN(a.number) - Number.isNaN(b.number);
        return (down ? -1 : 1) * (a.number - b.number);
      });
      body.append(...keyed.map(({ row }) => row));
    });
  });
});
document.querySelectorAll("input[data-shows]").forEach((box) => {
  box.closest("label").hidden = false;
  const show = () => document.getElementById(box.dataset.shows).classList.toggle("wide", box.checked);
  box.addEventListener("change", show);
  show();
});
