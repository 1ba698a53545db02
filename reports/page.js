"use strict";
// The theme switch: the system's, light or dark. The choice is kept for all pages.
(() => {
  const root = document.documentElement;
  const fields = document.getElementById("theme");
  for (const input of fields.querySelectorAll("input")) input.checked = input.value === (root.dataset.theme ?? "system");
  fields.addEventListener("change", (event) => {
    const theme = event.target.value;
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
    try {
      if (theme === "system") localStorage.removeItem("qwen3_eval.theme");
      else localStorage.setItem("qwen3_eval.theme", theme);
    } catch { /* a browser may refuse storage; the choice holds for this view */ }
  });
})();
