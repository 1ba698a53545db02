"use strict";
// Draws the charts in place of their pictures, lets the legend hide series, and keys go from point to point.
(() => {
  const { config, specs } = JSON.parse(document.getElementById("chart-data").textContent);
  const plots = [...document.querySelectorAll(".plot")];
  const told = document.getElementById("chart-told");
  const views = [];
  const hidden = new Set(); // keys of tasks, runs and published scores

  async function draw(plot, spec) {
    const options = { config, renderer: "svg", ast: true, actions: false, tooltip: { theme: "page" } };
    const { view } = await vegaEmbed(plot, spec, options); // ast: interpreted, as the page's policy forbids eval
    views.push(view);
    await show(view);
  }

  const show = (view) => view.signal("hidden", [...hidden]).runAsync();

  // ---- The legend
  async function toggle(event) {
    const { value, checked } = event.target;
    if (checked) hidden.delete(value);
    else hidden.add(value);
    let shown = false;
    for (const panel of document.querySelectorAll(".panel[data-task]")) {
      const hide = hidden.has(panel.dataset.task);
      shown ||= panel.hidden && !hide;
      panel.hidden = hide;
    }
    await Promise.all(views.map(show));
    if (shown) dispatchEvent(new Event("resize")); // a chart that was drawn while hidden had no width
  }

  // ---- Keys
  const TO = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity };

  function step(event) {
    const plot = event.currentTarget;
    const points = [...plot.querySelectorAll("path[aria-label]")];
    if (event.key === "Escape") return leave(plot);
    if (!(event.key in TO) || !points.length) return;
    event.preventDefault();
    const from = points.findIndex((point) => point.classList.contains("at"));
    leave(plot);
    const to = from < 0 && Math.abs(TO[event.key]) === 1 ? 0 : from + TO[event.key];
    const point = points[Math.min(points.length - 1, Math.max(0, to))];
    point.classList.add("at");
    tell(point, "move");
    told.textContent = point.getAttribute("aria-label");
  }

  function leave(plot) {
    for (const point of plot.querySelectorAll(".at")) {
      point.classList.remove("at");
      tell(point, "out");
    }
    told.textContent = "";
  }

  // Vega shows and hides the tooltip as if the pointer were there.
  function tell(point, type) {
    const box = point.getBoundingClientRect();
    const place = { bubbles: true, clientX: box.x + box.width / 2, clientY: box.y + box.height / 2 };
    point.dispatchEvent(new PointerEvent(`pointer${type}`, place));
    point.dispatchEvent(new MouseEvent(`mouse${type}`, place));
  }

  async function start() {
    document.body.classList.add("drawing"); // panels take the place of the pictures, which CSS hides
    try {
      for (const [number, plot] of plots.entries()) {
        await draw(plot, specs[number]);
        await new Promise((next) => setTimeout(next)); // the reader answers in between
      }
    } catch (error) {
      document.body.classList.remove("drawing");
      console.error(error);
      return;
    }
    for (const plot of plots) {
      plot.addEventListener("keydown", step);
      plot.addEventListener("blur", () => leave(plot));
    }
    document.getElementById("legend")?.addEventListener("change", toggle);
    document.body.dataset.drawn = "true"; // the charts can be used (and tested) from here on
  }

  start();
})();
