"use strict";
// What the readers of single texts share. Texts come from a model: they are only ever set through textContent.
const reader = (() => {
  const OUTCOMES = { correct: "✓ correct", incorrect: "✗ incorrect", no_answer: "∅ no answer", error: "! error" };
  const KEPT_BLOCKS = 12; // inflated blocks of texts that are kept

  function make(tag, className, text) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  }

  function makeButton(name, action) {
    const button = make("button", "", name);
    button.type = "button";
    button.onclick = action;
    return button;
  }

  function makeText(text) {
    const element = make("pre", "text", text);
    element.dir = "auto";
    return element;
  }

  function addFact(facts, name, value) {
    const shown = make("dd", "", String(value));
    shown.dir = "auto";
    facts.append(make("dt", "", name), shown);
  }

  function addJump(jumps, name, target, block = "center") {
    if (target) jumps.append(makeButton(name, () => target.scrollIntoView({ block })));
  }

  async function inflate(script) {
    const bytes = Uint8Array.from(atob(script.textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).json();
  }

  // ---- Texts: one block is inflated when one of its traces is wanted; some traces have none.
  const kept = [];
  const homes = new Map(); // a trace's place -> its block, and which of the block's texts it is
  for (const script of document.querySelectorAll("script.block")) {
    const block = { script, texts: null };
    script.dataset.places.split(" ").forEach((place, at) => homes.set(Number(place), { block, at }));
  }

  function openBlock(block) {
    if (!block.texts) {
      block.texts = inflate(block.script);
      kept.push(block);
      if (kept.length > KEPT_BLOCKS) kept.shift().texts = null;
    }
    return block.texts;
  }

  async function readText(place) {
    const home = homes.get(place);
    return home && (await openBlock(home.block))[home.at];
  }

  // The whole trace, with a line where each budget cut it; what the chosen budget did not see is dimmed.
  function drawThinking(text, chosen, nameBudget, stopText) {
    const pane = makeText("");
    let from = 0;
    let unseen = false;
    const piece = (to) => {
      if (to > from) pane.append(make("span", unseen ? "unused" : "", text.thinking.slice(from, to)));
      from = Math.max(from, to);
    };
    for (const [budget, offset] of text.cuts) {
      piece(Math.min(offset, text.thinking.length));
      const here = String(budget) === String(chosen);
      pane.append(make("span", here ? "cut here" : "cut", `cut at ${nameBudget(budget)}`));
      if (!here) continue;
      if (stopText) pane.append(make("ins", "stop", stopText));
      unseen = true;
      if (from < text.thinking.length) pane.append(make("span", "cut", "the trace goes on for larger budgets"));
    }
    piece(text.thinking.length);
    return pane;
  }

  return { OUTCOMES, make, makeButton, makeText, addFact, addJump, inflate, homes, openBlock, readText, drawThinking };
})();
