// Keeps a text in the browser. It may refuse (private windows, full or forbidden storage): then nothing is kept,
// and the page says so where it can be seen.
function render({ model, el }) {
  const refused = () => {
    el.textContent = "This browser does not keep the answers: export them before you leave the page.";
    el.setAttribute("role", "alert");
  };
  const keep = () => {
    try {
      localStorage.setItem(model.get("key"), model.get("text"));
    } catch {
      refused();
    }
  };
  model.on("change:text", keep);
  try {
    const kept = localStorage.getItem(model.get("key"));
    if (kept && !model.get("text")) {
      model.set("found", kept);
      model.save_changes();
    }
  } catch {
    refused();
  }
  return () => model.off("change:text", keep);
}
export default { render };
