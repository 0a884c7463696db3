// Tells the kernel how many CSS pixels the picture may be wide. Nothing else crosses this bridge.
function render({ model, el }) {
  el.classList.add("ps-ruler");
  let timer;
  const tell = () => {
    const width = Math.floor(el.clientWidth);
    if (width > 0 && width !== model.get("width")) {
      model.set("width", width);
      model.save_changes();
    }
  };
  const observer = new ResizeObserver(() => {
    clearTimeout(timer);
    timer = setTimeout(tell, 80);
  });
  observer.observe(el);
  return () => {
    clearTimeout(timer);
    observer.disconnect();
  };
}

export default { render };
