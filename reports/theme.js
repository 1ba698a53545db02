"use strict";
// Runs before anything is drawn, so that the page never flashes in the other theme.
document.documentElement.classList.add("scripted");
try {
  const theme = localStorage.getItem("qwen3_eval.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch { /* a browser may refuse storage; the system's theme stands */ }
