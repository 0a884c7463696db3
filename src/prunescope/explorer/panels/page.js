// Saves files, and keeps the state in the page's address: nothing comes back to the kernel over this bridge.
const LONG = 4000;

function address(query, ours) {
  const url = new URL(window.location.href);
  ours.forEach((name) => url.searchParams.delete(name));
  new URLSearchParams(query).forEach((value, name) => url.searchParams.set(name, value));
  return url;
}

function save(name, content) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content]));
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Pages served without TLS have no clipboard.
    const field = document.createElement("textarea");
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
}

function render({ model, el }) {
  el.classList.add("ps-page");
  const button = document.createElement("button");
  button.className = "lm-Widget jupyter-widgets jupyter-button widget-button";
  button.textContent = "Copy link";
  button.title = "The address of this page shows exactly this state to whoever opens it";
  const said = document.createElement("span");
  said.setAttribute("aria-live", "polite");
  el.append(button, said);
  button.addEventListener("click", async () => {
    const { href } = address(model.get("query"), model.get("ours"));
    await copy(href);
    said.textContent =
      href.length > LONG
        ? ` Copied: ${href.length.toLocaleString("en")} characters, which some programs cut. The plan file under Export carries the steps whole.`
        : " Copied.";
  });

  let timer;
  const show = () => {
    button.hidden = !model.get("query");
    said.textContent = "";
    clearTimeout(timer);
    // Browsers refuse more than some hundred changes of the address in half a minute.
    timer = setTimeout(() => {
      const query = model.get("query");
      if (query) window.history.replaceState(window.history.state, "", address(query, model.get("ours")));
    }, 400);
  };
  const receive = (message, buffers) => {
    if (message.type === "save") save(message.name, buffers[0]);
  };
  model.on("change:query", show);
  model.on("msg:custom", receive);
  show();
  return () => {
    clearTimeout(timer);
    model.off("change:query", show);
    model.off("msg:custom", receive);
  };
}

export default { render };
