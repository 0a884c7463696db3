// Layers × amounts, and at the end of each row what goes of the layer: a slider, and a pin that keeps it. One cell
// is in the order of Tab; arrow keys go from cell to cell, Enter opens the layer there. The allocation is the line.
const SPACE = "http://www.w3.org/2000/svg";

function render({ model, el }) {
  el.classList.add("ps-grid");
  const holder = document.createElement("div");
  holder.className = "ps-grid-holder";
  const table = document.createElement("table");
  table.setAttribute("role", "grid");
  table.setAttribute("aria-label", "What each layer loses at each amount");
  const drawn = document.createElementNS(SPACE, "svg");
  drawn.setAttribute("class", "ps-steps-line");
  drawn.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(SPACE, "path");
  drawn.append(line);
  holder.append(table, drawn);
  el.append(holder);

  const cellOf = (text, says, tag = "td") => {
    const cell = document.createElement(tag);
    cell.textContent = text;
    if (says) cell.title = says;
    return cell;
  };
  const pin = (name, share) => {
    model.set("pinned", [name, share]);
    model.save_changes();
  };
  const measured = ({ text, says, state, worse }, number, label) => {
    const cell = cellOf(text, `${label}, ${says}`);
    cell.className = `ps-cell ps-${state}`;
    cell.tabIndex = -1;
    cell.dataset.place = number;
    cell.setAttribute("aria-label", cell.title);
    cell.classList.toggle("ps-much", worse > 0.45);
    cell.style.setProperty("--worse", `${Math.round(100 * Math.max(0, worse))}%`);
    return cell;
  };
  const goes = ({ label, name, share, pinned, fixed }) => {
    const cell = document.createElement("td");
    cell.className = "ps-goes";
    if (share === null) return cell;
    const locked = model.get("locked") || fixed;
    const amount = document.createElement("input");
    Object.assign(amount, { type: "range", min: 0, max: 100, step: 1, value: Math.round(100 * share), disabled: locked });
    amount.dataset.name = name;
    amount.setAttribute("aria-label", `${label}: percent pruned`);
    amount.title = fixed ? "Left alone" : "Drag to prune so much of this layer whatever the rule says; the others are solved again";
    const says = cellOf(`${Math.round(100 * share)}`, "", "span");
    amount.addEventListener("input", () => (says.textContent = amount.value));
    amount.addEventListener("change", () => pin(name, Number(amount.value) / 100));
    const button = document.createElement("button");
    button.className = "ps-pin";
    button.textContent = pinned ? "●" : "○";
    button.disabled = locked;
    button.setAttribute("aria-pressed", pinned);
    button.setAttribute("aria-label", `Pin ${label}`);
    button.title = pinned ? "Pinned: let the rule decide again" : "Pin this amount";
    button.dataset.name = name;
    button.addEventListener("click", () => pin(name, pinned ? null : Math.round(1e4 * share) / 1e4));
    cell.append(amount, says, button);
    return cell;
  };
  const rowOf = (row) => {
    const tr = document.createElement("tr");
    tr.dataset.name = row.name;
    tr.classList.toggle("ps-here", row.here);
    const first = cellOf(row.label, row.name, "th");
    first.scope = "row";
    tr.append(first, ...row.cells.map((cell, number) => measured(cell, number, row.label)), goes(row));
    return tr;
  };
  const show = () => {
    const { amounts = [], rows = [] } = model.get("table");
    const focused = table.contains(document.activeElement) ? document.activeElement : null;
    const held = focused?.matches("input, button") ? `${focused.tagName}[data-name="${CSS.escape(focused.dataset.name)}"]` : "";
    const head = document.createElement("tr");
    head.append(cellOf(amounts.length ? "% pruned" : "layer", "", "th"), ...amounts.map((amount) => cellOf(amount, "", "th")));
    head.append(cellOf("goes", "What the allocation prunes of the layer", "th"));
    table.replaceChildren(head, ...rows.map(rowOf));
    const cell = find(...place) ?? find(0, 0);
    if (cell) cell.tabIndex = 0;
    if (held) table.querySelector(held)?.focus({ preventScroll: true });
    else if (focused) cell?.focus({ preventScroll: true });
    draw();
  };

  // The line: at each row where its share lies between the middles of the columns.
  const draw = () => {
    const { at = [], rows = [] } = model.get("table");
    const lines = [...table.querySelectorAll("tr[data-name]")];
    const shown = rows.length && at.length && rows.every(({ share }) => share !== null) && lines.length === rows.length;
    if (!shown) return line.setAttribute("d", "");
    const cells = [...lines[0].querySelectorAll(".ps-cell")];
    const middles = cells.map((cell) => cell.offsetLeft + cell.offsetWidth / 2);
    const left = cells[0].offsetLeft, right = cells.at(-1).offsetLeft + cells.at(-1).offsetWidth;
    const shares = [0, ...at.filter((share) => share > 0 && share < 1), 1];
    const places = [left, ...middles.filter((_, number) => at[number] > 0 && at[number] < 1), right];
    const x = (share) => {
      const next = Math.max(1, shares.findIndex((known) => known >= share));
      const part = (share - shares[next - 1]) / (shares[next] - shares[next - 1]);
      return places[next - 1] + part * (places[next] - places[next - 1]);
    };
    const path = lines.map((row, number) => {
      const place = x(rows[number].share).toFixed(1);
      return `${number ? "L" : "M"}${place} ${row.offsetTop}L${place} ${row.offsetTop + row.offsetHeight}`;
    });
    line.setAttribute("d", path.join(""));
    drawn.setAttribute("width", table.offsetWidth);
    drawn.setAttribute("height", table.offsetHeight);
  };

  let place = [0, 0];
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
    if (!event.target.matches(".ps-cell")) return;
    const steps = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (steps) go(place[0] + steps[0], place[1] + steps[1]);
    else if (event.key === "Enter" || event.key === " ") open(event.target);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  const watch = new ResizeObserver(draw);
  watch.observe(table);
  model.on("change:table change:locked", show);
  show();
  return () => {
    watch.disconnect();
    model.off("change:table change:locked", show);
  };
}

export default { render };
