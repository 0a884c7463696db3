// A bar a layer. One of them is in the order of Tab; arrow keys go from bar to bar, Enter or Space chooses.
function render({ model, el }) {
  el.classList.add("ps-bars");
  const list = document.createElement("div");
  list.className = "ps-bars-row";
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Layers of the network, a bar each");
  list.setAttribute("aria-orientation", "horizontal");
  const says = document.createElement("div");
  says.className = "ps-bars-says";
  el.append(list, says);

  const choose = (bar) => {
    model.set("chosen", bar.dataset.key);
    model.save_changes();
  };
  const tell = (bar) => (says.textContent = bar?.title ?? "");
  const here = () => list.querySelector('[aria-selected="true"]') ?? list.firstElementChild;
  const fill = (bar, { key, weights, pruned, says: text, here: shown }) => {
    bar.dataset.key = key;
    bar.title = text;
    bar.setAttribute("aria-label", text);
    bar.setAttribute("aria-selected", shown);
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
  list.addEventListener("click", (event) => bar(event) && choose(bar(event)));
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
    if (event.key === "Enter" || event.key === " ") choose(box);
    else if (to) to.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  model.on("change:bars change:locked", show);
  show();
  return () => model.off("change:bars change:locked", show);
}

export default { render };
