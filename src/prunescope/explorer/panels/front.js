// The front: a dashed line of what is predicted, dots of what was measured, the target and what is allowed.
const SPACE = "http://www.w3.org/2000/svg";
const HEIGHT = 96, LEFT = 34, RIGHT = 8, TOP = 8, BOTTOM = 18;

function render({ model, el }) {
  el.classList.add("ps-front");
  const make = (tag, values, text) => {
    const part = document.createElementNS(SPACE, tag);
    Object.entries(values).forEach(([name, value]) => part.setAttribute(name, value));
    if (text) part.textContent = text;
    return part;
  };
  const picture = make("svg", { role: "img", height: HEIGHT, width: "100%" });
  el.append(picture);

  const show = () => {
    const { line = [], dots = [], target, allowed, most = 1, says = "" } = model.get("front");
    const width = picture.clientWidth || el.clientWidth || 320;
    const x = (share) => LEFT + share * (width - LEFT - RIGHT);
    const y = (drop) => HEIGHT - BOTTOM - (Math.max(0, drop) / most) * (HEIGHT - TOP - BOTTOM);
    picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    picture.setAttribute("aria-label", says);
    const parts = [
      make("path", { d: `M${LEFT} ${TOP}V${HEIGHT - BOTTOM}H${width - RIGHT}`, class: "ps-axis" }),
      make("text", { x: LEFT - 4, y: TOP + 8, "text-anchor": "end" }, `${Math.round(1000 * most) / 10}`),
      make("text", { x: LEFT - 4, y: HEIGHT - BOTTOM, "text-anchor": "end" }, "0"),
      make("text", { x: LEFT + 4, y: TOP + 8 }, "points lost: ┄ predicted, ● measured"),
      ...[0, 0.25, 0.5, 0.75, 1].map((share) =>
        make(
          "text",
          { x: x(share), y: HEIGHT - 5, "text-anchor": share === 1 ? "end" : "middle" },
          share === 1 ? "100 % pruned" : `${100 * share}`,
        ),
      ),
    ];
    if (allowed !== null && allowed !== undefined)
      parts.push(make("path", { d: `M${LEFT} ${y(allowed)}H${width - RIGHT}`, class: "ps-allowed" }));
    if (target) parts.push(make("path", { d: `M${x(target)} ${TOP}V${HEIGHT - BOTTOM}`, class: "ps-target" }));
    if (line.length)
      parts.push(
        make("path", { d: `M${line.map(([share, drop]) => `${x(share)} ${y(drop)}`).join("L")}`, class: "ps-line" }),
      );
    dots.forEach(({ share, drop, says: text, here }) => {
      const dot = make("circle", { cx: x(share), cy: y(drop), r: here ? 5 : 3.5, class: here ? "ps-dot ps-best" : "ps-dot" });
      dot.append(make("title", {}, text));
      parts.push(dot);
    });
    picture.replaceChildren(...parts);
  };
  const watch = new ResizeObserver(show);
  watch.observe(el);
  model.on("change:front", show);
  show();
  return () => {
    watch.disconnect();
    model.off("change:front", show);
  };
}

export default { render };
