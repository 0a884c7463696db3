// Sends a file in parts, each when the kernel asks for it: a websocket's message may have ten megabytes at the
// most, and neither side ever holds more than a part.
const PART = 1 << 20;

function render({ model, el }) {
  el.classList.add("ps-upload");
  const button = document.createElement("button");
  button.className = "lm-Widget jupyter-widgets jupyter-button widget-button";
  button.textContent = "Upload a checkpoint …";
  const input = document.createElement("input");
  input.type = "file";
  input.accept = model.get("suffixes").join(",");
  input.hidden = true;
  input.setAttribute("aria-label", "Checkpoint to upload");
  const said = document.createElement("span");
  said.setAttribute("role", "status");
  el.append(button, input, said);

  let file = null;
  const end = (text, problem) => {
    file = null;
    input.value = "";
    button.textContent = "Upload a checkpoint …";
    said.className = problem ? "ps-problem" : "ps-note";
    said.textContent = text;
  };
  const usual = () => end(model.get("promise"), false);

  button.addEventListener("click", () => {
    if (!file) return input.click();
    model.send({ type: "cancel" });
    usual();
  });
  input.addEventListener("change", () => {
    if (!input.files.length) return;
    file = input.files[0];
    button.textContent = "Cancel";
    model.send({ type: "begin", name: file.name, size: file.size });
  });

  const send = async (place) => {
    const from = file;
    said.className = "ps-note";
    said.textContent = `${from.name}: ${Math.floor((100 * place) / from.size)} % sent`;
    try {
      const part = await from.slice(place, place + PART).arrayBuffer();
      if (file === from) model.send({ type: "part", place }, undefined, [part]);
    } catch {
      model.send({ type: "cancel" });
      end(`${from.name} could not be read.`, true);
    }
  };
  const receive = (message) => {
    if (message.type === "next" && file) send(message.place);
    if (message.type === "end") end(message.text, message.problem);
  };
  model.on("msg:custom", receive);
  usual();
  return () => model.off("msg:custom", receive);
}

export default { render };
