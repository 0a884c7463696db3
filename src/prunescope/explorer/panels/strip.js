// A bar a layer. One of them is in the order of Tab; arrow keys go from bar to bar, Enter or Space chooses. With
// Shift a click or an arrow key takes all bars from the one shown; with Ctrl a click or Space takes one in or out.
function render({ model, el }) {
  el.classList.add("ps-bars");
  const list = document.createElement("div");
  list.className = "ps-bars-row";
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Layers of the network, a bar each");
  list.setAttribute("aria-orientation", "horizontal");
  list.setAttribute("aria-multiselectable", "true");
  const says = document.createElement("div");
  says.className = "ps-bars-says";
  el.append(list, says);

  const choose = (bar) => {
    model.set("chosen", bar.dataset.key);
    model.save_changes();
  };
  const together = (bars) => {
    model.set("together", bars.map(({ dataset }) => dataset.key));
    model.save_changes();
  };
  const all = () => [...list.children];
  const isIn = (bar) => bar.getAttribute("aria-selected") === "true";
  const upTo = (bar) => {
    const [first, last] = [all().indexOf(here()), all().indexOf(bar)].sort((a, b) => a - b);
    together(all().slice(first, last + 1));
  };
  const inOrOut = (bar) => together(all().filter((each) => isIn(each) !== (each === bar)));
  const take = (bar, { shiftKey, ctrlKey, metaKey }) => {
    if (!model.get("grouping")) choose(bar);
    else if (shiftKey) upTo(bar);
    else if (ctrlKey || metaKey) inOrOut(bar);
    else choose(bar);
  };
  const tell = (bar) => (says.textContent = bar?.title ?? "");
  const here = () => list.querySelector('[aria-current="true"]') ?? list.firstElementChild;
  const fill = (bar, { key, weights, pruned, says: text, here: shown, within }) => {
    bar.dataset.key = key;
    bar.title = text;
    bar.setAttribute("aria-label", text);
    bar.setAttribute("aria-current", shown);
    bar.setAttribute("aria-selected", shown || within);
    bar.classList.toggle("ps-in-scope", within);
    bar.tabIndex = shown ? 0 : -1;
    bar.style.flexGrow = Math.sqrt(weights);
    bar.style.setProperty("--pruned", `${100 * pruned}%`);
  };
  const show = () => {
    const bars = model.get("bars");
    const focused = list.contains(document.activeElement);
    while (list.children.length > bars.length) list.lastElementChild.remove();
    bars.forEach((bar, place) => {
      let box = list.children[place];
      if (!box) {
        box = document.createElement("div");
        box.className = "ps-layer-bar";
        box.setAttribute("role", "option");
        list.append(box);
      }
      fill(box, bar);
    });
    if (focused) here()?.focus({ preventScroll: true });
    if (!list.matches(":hover")) tell(here());
    el.classList.toggle("ps-locked", model.get("locked"));
  };
  const bar = (event) => event.target.closest(".ps-layer-bar");
  list.addEventListener("click", (event) => bar(event) && take(bar(event), event));
  list.addEventListener("pointerover", (event) => bar(event) && tell(bar(event)));
  list.addEventListener("pointerleave", () => tell(here()));
  list.addEventListener("focusin", (event) => tell(bar(event)));
  list.addEventListener("keydown", (event) => {
    const box = bar(event);
    if (!box) return;
    const to = {
      ArrowRight: box.nextElementSibling, ArrowDown: box.nextElementSibling,
      ArrowLeft: box.previousElementSibling, ArrowUp: box.previousElementSibling,
      Home: list.firstElementChild, End: list.lastElementChild,
    }[event.key];
    if (event.key === "Enter" || event.key === " ") take(box, event);
    else if (!to) return;
    else {
      to.focus();
      if (event.shiftKey && model.get("grouping")) upTo(to);
    }
    event.preventDefault();
    event.stopPropagation();
  });
  model.on("change:bars change:locked", show);
  show();
  return () => model.off("change:bars change:locked", show);
}

export default { render };
