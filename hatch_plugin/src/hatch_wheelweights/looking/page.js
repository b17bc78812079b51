// Sorts each table by the heading that is clicked, and filters its rows. The page is complete without it.

const compare = new Intl.Collator("en", { numeric: true }).compare;

function valueOf(row, column) {
  const cell = row.cells[column];
  return cell.dataset.number ?? cell.textContent;
}

function makeSortable(table) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.onclick = () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      const sign = down ? -1 : 1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      body.append(
        ...[...body.rows].sort((a, b) => sign * compare(valueOf(a, column), valueOf(b, column))),
      );
    };
  });
}

function makeFilterable(table) {
  const rows = [...table.tBodies[0].rows];
  const filter = table.parentNode.previousElementSibling;
  const [input, output] = filter.querySelectorAll("input, output");
  input.oninput = () => {
    const wanted = input.value.toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
    output.textContent = wanted && `${rows.filter((row) => !row.hidden).length} of ${rows.length}`;
  };
  filter.hidden = false;
}

for (const table of document.querySelectorAll("table")) {
  makeSortable(table);
  makeFilterable(table);
}
