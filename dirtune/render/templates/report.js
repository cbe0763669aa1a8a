"use strict";
// The charts, the buttons and the folds of a report. Vega interprets the expressions of the
// specifications (`ast`), because the page's policy forbids code made from text.
(() => {
  const specs = JSON.parse(document.getElementById("charts").textContent);
  const said = document.getElementById("said");

  function button(text, color, pressed) {
    const made = document.createElement("button");
    made.type = "button";
    made.append(document.createElement("span"), text);
    made.firstChild.className = "swatch";
    made.firstChild.style.background = color;
    made.setAttribute("aria-pressed", "true");
    made.addEventListener("click", () => {
      const on = made.getAttribute("aria-pressed") !== "true";
      made.setAttribute("aria-pressed", String(on));
      pressed(on);
    });
    return made;
  }

  function legend(place, spec, view) {
    const hidden = new Set();
    const buttons = spec.usermeta.series.map(([name, color]) => button(name, color, (on) => {
      hidden[on ? "delete" : "add"](name);
      view.signal("hidden", [...hidden]).run();
    }));
    place.replaceChildren(...buttons);
    place.hidden = buttons.length === 0;
  }

  async function draw(place) {
    if (place.dataset.drawn) return;
    place.dataset.drawn = "pending";
    const spec = structuredClone(specs[place.dataset.chart]);
    spec.width = "container";
    // The buttons replace a legend that only a mouse can reach.
    if (spec.usermeta.series.length) {
      for (const layer of spec.layer ?? [spec]) {
        for (const channel of ["color", "fill"]) {
          const used = layer.encoding?.[channel];
          if (used?.field === "series") used.legend = null;
          if (used?.condition?.field === "series") used.condition.legend = null;
        }
      }
    }
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const { view } = await vegaEmbed(place, spec, {
      actions: false, ast: true, renderer: "svg", tooltip: { theme: dark ? "dark" : "light" },
    });
    legend(place.previousElementSibling, spec, view);
    place.dataset.drawn = "done";
  }

  function charts(within) {
    for (const place of within.querySelectorAll("[data-chart]")) {
      if (place.closest("details:not([open])") === null) draw(place);
    }
  }

  async function copy(from) {
    const text = from.previousElementSibling.textContent.trimEnd();
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      getSelection().selectAllChildren(from.previousElementSibling);
      document.execCommand("copy");
    }
    said.textContent = "Copied.";
    from.textContent = "Copied";
    setTimeout(() => { from.textContent = "Copy"; said.textContent = ""; }, 2000);
  }

  const sections = [...document.querySelectorAll("details.section")];
  const all = document.getElementById("all");
  all.addEventListener("click", () => {
    const open = all.textContent === "Open all";
    for (const section of sections) section.open = open;
    all.textContent = open ? "Close all" : "Open all";
  });
  for (const section of sections) section.addEventListener("toggle", () => charts(section));
  for (const from of document.querySelectorAll(".copy")) {
    from.addEventListener("click", () => copy(from));
  }
  charts(document);
})();
