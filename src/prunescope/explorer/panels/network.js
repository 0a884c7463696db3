// Layers × amounts. One cell is in the order of Tab; arrow keys go from cell to cell, Enter opens the layer there.
function render({ model, el }) {
  el.classList.add("ps-grid");
  const table = document.createElement("table");
  table.setAttribute("role", "grid");
  table.setAttribute("aria-label", "What each layer loses at each amount");
  el.append(table);

  const cellOf = (text, says, tag = "td") => {
    const cell = document.createElement(tag);
    cell.textContent = text;
    if (says) cell.title = says;
    return cell;
  };
  const show = () => {
    const { amounts = [], rows = [] } = model.get("table");
    const [row, column] = [...at()];
    const focused = table.contains(document.activeElement);
    const head = document.createElement("tr");
    head.append(cellOf("% pruned", "", "th"), ...amounts.map((amount) => cellOf(amount, "", "th")));
    head.append(cellOf("goal", "What the allocation prunes of the layer", "th"));
    const lines = rows.map(({ name, label, here, share, at: place, cells }) => {
      const line = document.createElement("tr");
      line.dataset.name = name;
      line.classList.toggle("ps-here", here);
      const first = cellOf(label, name, "th");
      first.scope = "row";
      line.append(first);
      cells.forEach(({ text, says, state, worse }, number) => {
        const cell = cellOf(text, `${label}, ${says}`);
        cell.className = `ps-cell ps-${state}`;
        cell.tabIndex = -1;
        cell.dataset.place = number;
        cell.setAttribute("aria-label", cell.title);
        cell.classList.toggle("ps-much", worse > 0.45);
        cell.style.setProperty("--worse", `${Math.round(100 * Math.max(0, worse))}%`);
        if (place * 100 >= Number(amounts[number]) - 1e-6) cell.classList.add("ps-within");
        line.append(cell);
      });
      line.append(cellOf(share));
      return line;
    });
    table.replaceChildren(head, ...lines);
    const cell = find(row, column) ?? find(0, 0);
    if (cell) cell.tabIndex = 0;
    if (focused) cell?.focus({ preventScroll: true });
  };
  let place = [0, 0];
  const at = () => place;
  const find = (row, column) => table.rows[row + 1]?.querySelectorAll(".ps-cell")[column];
  const go = (row, column) => {
    const cell = find(row, column);
    if (!cell) return;
    find(...place)?.setAttribute("tabindex", -1);
    place = [row, column];
    cell.tabIndex = 0;
    cell.focus();
  };
  const open = (cell) => {
    model.set("chosen", [cell.closest("tr").dataset.name, Number(cell.dataset.place ?? -1)]);
    model.save_changes();
  };
  table.addEventListener("click", (event) => {
    const cell = event.target.closest(".ps-cell, tr[data-name] th");
    if (!cell) return;
    if (cell.matches(".ps-cell")) place = [cell.closest("tr").rowIndex - 1, Number(cell.dataset.place)];
    open(cell);
  });
  table.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (steps) go(place[0] + steps[0], place[1] + steps[1]);
    else if ((event.key === "Enter" || event.key === " ") && event.target.matches(".ps-cell")) open(event.target);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  model.on("change:table", show);
  show();
  return () => model.off("change:table", show);
}

export default { render };
