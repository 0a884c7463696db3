// Tells the kernel how many CSS pixels the picture may be wide and whether the page is dark, and gives the
// picture the name and value that a screen reader says. And it takes care that no picture waits on its way.

// ipympl makes a data URL of every picture, for notebooks that are opened without a kernel, which takes longer
// than showing it: one when it rests is enough. And it lays pictures down pixel by pixel; a coarse one, sent
// while something moves on a screen of many pixels, is to fill the canvas.
function quicken(figure) {
  const { offscreen_canvas: canvas, offscreen_context: context, image } = figure;
  if (!canvas || !context || !image || canvas.quick) return Boolean(canvas?.quick);
  canvas.quick = true;
  const draw = (picture) =>
    CanvasRenderingContext2D.prototype.drawImage.call(context, picture, 0, 0, canvas.width, canvas.height);
  context.drawImage = (picture) => picture.naturalWidth && draw(picture);
  const url = canvas.toDataURL.bind(canvas);
  canvas.toDataURL = () => figure.get("_data_url");
  let timer;
  image.addEventListener("load", () => {
    clearTimeout(timer);
    timer = setTimeout(() => figure.set("_data_url", url()), 1000);
  });
  return true;
}

// Nagle's algorithm: a server keeps a small message until the page has confirmed the one before, which a page
// that has rested does 40 ms late unless it has something to send. So it has: once a hand has asked, the page
// answers the first message that comes, and the kernel's that it is at work, with an empty one. The picture
// finds its way clear. While a hand goes on asking its own messages do that; under Voilà nothing waits.
const RESTED = 100;
function confirm(model, el) {
  const messages = model.widget_manager.kernel?.anyMessage;
  let asked, first;
  let last = -Infinity;
  const answer = (_kernel, { direction, msg }) => {
    if (direction === "send" && model.get("hands").includes(msg.content.comm_id)) {
      const now = performance.now();
      if (now - last > RESTED && el.closest(".jp-NotebookPanel")) [asked, first] = [msg.header.msg_id, true];
      last = now;
    } else if (direction === "recv" && asked) {
      const begun = msg.parent_header.msg_id === asked;
      if (first || begun) model.send({});
      [asked, first] = [begun ? undefined : asked, false];
    }
  };
  messages?.connect(answer);
  return () => messages?.disconnect(answer);
}

function render({ model, el }) {
  el.classList.add("ps-ruler");
  let timer, explorer;

  const set = (name, value) => {
    if (value !== model.get(name)) {
      model.set(name, value);
      model.save_changes();
    }
  };
  const CANVAS = ".jupyter-matplotlib-canvas-div";
  const picture = () => explorer?.querySelector(CANVAS);

  const isDark = () => {
    for (let box = el; box; box = box.parentElement) {
      const parts = getComputedStyle(box).backgroundColor.match(/[\d.]+/g)?.map(Number) ?? [];
      if (parts.length >= 3 && parts[3] !== 0) return 0.3 * parts[0] + 0.6 * parts[1] + 0.1 * parts[2] < 110;
    }
    return false;
  };
  const describe = () => {
    const value = model.get("value");
    for (const [name, text] of Object.entries({
      role: "slider",
      "aria-label": "Picture of what is pruned. Arrow keys prune one more or one less; Shift with left and right " +
        "walks along the bars, Space prunes or keeps one by hand",
      "aria-valuemin": 0,
      "aria-valuemax": value.units,
      "aria-valuenow": value.pruned,
      "aria-valuetext": value.sentence,
    })) {
      const box = picture();
      if (box && box.getAttribute(name) !== String(text)) box.setAttribute(name, text);
    }
    for (const [name, text] of Object.entries(model.get("others"))) {
      const box = explorer?.querySelector(`.${name} ${CANVAS}`);
      if (box && box.getAttribute("aria-label") !== text) {
        box.setAttribute("role", "img");
        box.setAttribute("aria-label", text);
      }
    }
    // ipywidgets gives the handle of a slider no name.
    for (const handle of explorer?.querySelectorAll(".noUi-handle:not([aria-label])") ?? []) {
      const label = handle.closest(".widget-slider")?.querySelector(".widget-label")?.textContent;
      handle.setAttribute("aria-label", label || "Amount, by hand");
    }
  };
  // A notebook's cell is no page: how the explorer is laid out goes by the explorer's own width.
  const WIDE = 1100, NARROW = 700;
  const arrange = () => {
    const width = explorer?.clientWidth;
    if (!width) return;
    explorer.classList.toggle("ps-wide", width >= WIDE);
    explorer.classList.toggle("ps-narrow", width < NARROW);
  };
  const tell = () => {
    const panels = Math.floor(explorer?.querySelector(".ps-panels")?.clientWidth ?? 0);
    if (panels > 0) set("panel_width", panels);
    const width = Math.floor(el.clientWidth);
    if (width > 0) set("width", width);
    set("dark", isDark());
  };
  // ipympl swallows every key over a picture; Tab must lead out of it, and shortcuts must keep working. And it
  // passes over the repetitions of a key that is held: one goes on whenever the kernel has answered the last, so
  // that nothing is left to do when the key is let go. Space would only turn a bar to and fro.
  const ours = /^(Arrow.*|Page(Up|Down)| )$/;
  const spare = (event) => {
    const over = event.target.closest(CANVAS);
    if (!over || (over === picture() && ours.test(event.key) && !event.repeat)) return;
    event.stopImmediatePropagation();
    if (over !== picture() || !ours.test(event.key)) return;
    event.preventDefault();
    if (event.key !== " " && !(event.ctrlKey || event.altKey || event.metaKey)) repeat(event);
  };
  let figure, waiting;
  const repeat = ({ key, shiftKey }) => {
    if (waiting || !figure) return;
    waiting = true;
    const status = ({ content }) => (waiting &&= content.execution_state !== "idle");
    figure.send({ type: "key_press", key: `${shiftKey ? "shift+" : ""}k${key}`, guiEvent: {} }, { iopub: { status } });
  };
  const later = () => {
    if (!explorer && (explorer = el.closest(".prunescope"))) {
      explorer.addEventListener("keydown", spare, true);
      parts.observe(explorer, { childList: true, subtree: true });
      size.observe(explorer);
    }
    arrange();
    clearTimeout(timer);
    timer = setTimeout(tell, 80);
  };

  const parts = new MutationObserver(describe);
  const size = new ResizeObserver(() => (later(), describe()));
  size.observe(el);
  const theme = new MutationObserver(later);
  for (const box of [document.documentElement, document.body]) theme.observe(box, { attributes: true });
  model.on("change:value change:others", describe);
  const help = () => {
    const id = model.get("canvas");
    if (id) model.widget_manager.get_model(id).then((found) => set("stretches", quicken((figure = found))));
  };
  model.on("change:canvas", help);
  help();
  const leave = confirm(model, el);
  return () => {
    leave();
    clearTimeout(timer);
    size.disconnect();
    parts.disconnect();
    theme.disconnect();
    explorer?.removeEventListener("keydown", spare, true);
    model.off("change:value change:others", describe);
    model.off("change:canvas", help);
  };
}

export default { render };
