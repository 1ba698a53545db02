"use strict";
// The reader for questions that turned; reader.js comes before it.
(() => {
  const { OUTCOMES, make, makeButton, makeText, addJump, inflate, readText, drawThinking } = reader;
  const TURNED = { right: "↑ wrong to right", wrong: "↓ right to wrong", better: "↑ better", worse: "↓ worse" };
  const $ = (id) => document.getElementById(id);

  let index, budgetNames, rows;
  let shown = []; // the flips that pass the filters
  let selected = -1; // a flip, not a place in `shown`
  let turn = 0; // the latest choice; a slower one before it is dropped
  const side = [0, 0]; // which repeat each side shows

  const placeName = (flip) => (flip.mode === "thinking" ? budgetNames.get(String(flip.budget)) : flip.mode);
  const score = (value) => (Number.isInteger(value) ? String(value) : value.toFixed(2));
  const label = (flip) => (flip.sample_id.startsWith(`${flip.task}/`) ? flip.sample_id : `${flip.task} ${flip.sample_id}`);
  const pairName = (flip) => `${index.runs[flip.runs[0]]} → ${index.runs[flip.runs[1]]}`;

  // ---- The list. Flips are few enough that each has its row; the filters hide and show.
  function drawRow(flip, i) {
    const row = make("div", "flip");
    row.id = `flip-${i}`;
    row.dataset.flip = i;
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", "false");
    const title = make("div");
    title.append(make("bdi", "", label(flip)), ` · ${placeName(flip)}`);
    const detail = make("div", "soft");
    detail.append(make("span", `outcome ${flip.change > 0 ? "correct" : "incorrect"}`, TURNED[flip.turned]));
    if (flip.turned === "better" || flip.turned === "worse") detail.append(` · ${flip.scores.map(score).join(" → ")}`);
    if (index.runs.length > 2) detail.append(` · ${pairName(flip)}`);
    row.append(title, detail);
    return row;
  }

  function applyFilters() {
    const form = $("filters").elements;
    const query = form.query.value.trim().toLowerCase();
    shown = [];
    index.flips.forEach((flip, i) => {
      const passes =
        (!form.pair.value || form.pair.value === flip.runs.join()) &&
        (!form.task.value || form.task.value === flip.task) &&
        (!form.mode.value || form.mode.value === flip.mode) &&
        (!form.budget.value || form.budget.value === String(flip.budget)) &&
        (!form.turned.value || form.turned.value.split(",").includes(flip.turned)) &&
        (!query || [flip.task, flip.sample_id, flip.group, flip.target, ...flip.sides.flat().map((r) => index.records[r].extracted)]
          .some((text) => text != null && String(text).toLowerCase().includes(query)));
      rows[i].hidden = !passes;
      if (passes) shown.push(i);
    });
    $("status").textContent = `${shown.length.toLocaleString("en")} of ${index.flips.length.toLocaleString("en")} flips`;
    return open(shown.includes(selected) ? selected : shown.length ? shown[0] : -1);
  }

  function step(event) {
    if (event.key === "Enter" && selected >= 0) {
      event.preventDefault();
      $("record").focus();
    }
    const place = shown.indexOf(selected);
    const to = {
      ArrowDown: place + 1, ArrowUp: place - 1, PageDown: place + 8, PageUp: place - 8, Home: 0, End: shown.length - 1,
    }[event.key];
    if (to === undefined || !shown.length) return;
    event.preventDefault();
    open(shown[Math.min(shown.length - 1, Math.max(0, to))]);
  }

  function mark(i) {
    if (selected >= 0) rows[selected].setAttribute("aria-selected", "false");
    selected = i;
    if (i < 0) {
      $("list").removeAttribute("aria-activedescendant");
      return;
    }
    rows[i].setAttribute("aria-selected", "true");
    $("list").setAttribute("aria-activedescendant", rows[i].id);
    const list = $("list");
    const top = rows[i].offsetTop;
    const bottom = top + rows[i].offsetHeight;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (bottom > list.scrollTop + list.clientHeight) list.scrollTop = bottom - list.clientHeight;
  }

  function leave() {
    if (matchMedia("(max-width: 48rem)").matches) $("filters").scrollIntoView();
    $("list").focus({ preventScroll: true });
  }

  // ---- One flip: both sides of it.
  async function open(i, repeats = [0, 0]) {
    const mine = ++turn;
    mark(i);
    const pane = $("record");
    if (i < 0) {
      pane.replaceChildren(make("p", "soft", "No question that turned passes these filters."));
      return;
    }
    const flip = index.flips[i];
    [side[0], side[1]] = repeats;
    const records = flip.sides.map((of, s) => index.records[of[side[s]]]);
    const texts = await Promise.all(records.map((record) => readText(record.text)));
    if (mine !== turn) return; // a quicker choice came in between
    pane.replaceChildren(...drawFlip(i, flip, records, texts));
    pane.scrollTop = 0;
  }

  function drawFlip(i, flip, records, texts) {
    const title = make("h3");
    title.append(make("bdi", "", label(flip)), ` · ${placeName(flip)} `);
    title.append(make("span", `outcome ${flip.change > 0 ? "correct" : "incorrect"}`, TURNED[flip.turned]));
    const back = makeButton("Back to the list", leave);
    back.id = "back";
    const parts = [title, back, drawSiblings(i, flip)];
    const facts = make("dl", "facts");
    addFact(facts, "target", flip.target);
    parts.push(facts);
    const prompts = texts.map((text) => text?.prompt);
    const same = prompts[0] === prompts[1];
    if (same && prompts[0]) parts.push(drawFolded("Prompt", prompts[0]));
    const sides = make("div", "sides");
    sides.append(...[0, 1].map((s) => drawSide(i, flip, s, records[s], texts[s], !same)));
    const jumps = make("div", "jumps between"); // where one stands below the other
    [...sides.children].forEach((pane, s) => addJump(jumps, `to ${index.runs[flip.runs[s]]}`, pane, "start"));
    parts.push(jumps, sides);
    return parts;
  }

  // The other points at which the same question turned.
  function drawSiblings(i, flip) {
    const siblings = make("nav", "siblings");
    siblings.setAttribute("aria-label", "The same question where it turned");
    index.flips.forEach((other, j) => {
      if (other.sample_id !== flip.sample_id || other.task !== flip.task || other.runs.join() !== flip.runs.join()) return;
      const button = makeButton(`${placeName(other)} `, async () => {
        await open(j);
        document.querySelector('.siblings [aria-current="true"]').focus();
      });
      button.append(make("span", `outcome ${other.change > 0 ? "correct" : "incorrect"}`, TURNED[other.turned].split(" ")[0]));
      button.setAttribute("aria-label", `${placeName(other)}: ${TURNED[other.turned].slice(2)}`);
      button.setAttribute("aria-current", String(j === i));
      siblings.append(button);
    });
    return siblings;
  }

  function drawSide(i, flip, s, record, text, ownPrompt) {
    const pane = make("section", "side");
    const heading = make("h4");
    heading.append(make("bdi", "", index.runs[flip.runs[s]]), " ", make("span", `outcome ${record.outcome}`, OUTCOMES[record.outcome]));
    pane.append(heading, drawRepeats(i, flip, s), drawFacts(record));
    if (!text) {
      pane.append(make("p", "soft", "These texts are left out to keep the page small; they are in the run's samples.parquet."));
      return pane;
    }
    if (text.clipped) pane.append(make("p", "soft", "A long text is clipped here; all of it is in the run's samples.parquet."));
    if (ownPrompt) pane.append(drawFolded("Prompt", text.prompt));
    const answer = text.answers[record.completion_key];
    if (text.thinking) {
      const thinking = drawThinking(text, flip.budget, formatBudget, index.stop_texts[flip.runs[s]]);
      const jumps = make("div", "jumps");
      pane.append(jumps, make("h5", "", "Thinking"), thinking);
      addJump(jumps, "to the cut", thinking.querySelector(".here"));
      const answerHeading = make("h5", "", "Answer");
      pane.append(answerHeading);
      addJump(jumps, "to the answer", answerHeading);
    } else pane.append(make("h5", "", "Answer"));
    pane.append(answer == null ? make("p", "soft", "None was generated.") : makeText(answer));
    return pane;
  }

  function drawRepeats(i, flip, s) {
    const repeats = make("nav", "siblings");
    repeats.setAttribute("aria-label", `Repeats of ${index.runs[flip.runs[s]]}`);
    if (flip.repeats[s] < 2) return repeats;
    flip.sides[s].forEach((r, n) => {
      const record = index.records[r];
      const button = makeButton(`repeat ${record.repeat + 1} `, async () => {
        const chosen = [...side];
        chosen[s] = n;
        await open(i, chosen);
        document.querySelectorAll(".side")[s].querySelector('[aria-current="true"]').focus();
      });
      button.append(make("span", `outcome ${record.outcome}`, OUTCOMES[record.outcome].split(" ")[0]));
      button.setAttribute("aria-label", `repeat ${record.repeat + 1}: ${OUTCOMES[record.outcome].slice(2)}`);
      button.setAttribute("aria-current", String(n === side[s]));
      repeats.append(button);
    });
    const more = flip.repeats[s] - flip.sides[s].length;
    if (more > 0) repeats.append(make("span", "soft", `${more} more in the run's own report`));
    return repeats;
  }

  function drawFacts(record) {
    const facts = make("dl", "facts");
    const tokens = (n) => n.toLocaleString("en");
    const ending = record.forced ? ", cut by the budget" : record.thinking_tokens ? ", ended by the model" : "";
    addFact(facts, "read as", record.extracted);
    addFact(facts, "why", record.reason);
    addFact(facts, "thinking", `${tokens(record.thinking_tokens)} tokens${record.truncated && !record.answer_tokens ? ", never closed" : ending}`);
    addFact(facts, "answer", `${tokens(record.answer_tokens)} tokens${record.truncated && record.answer_tokens ? ", truncated" : ""}`);
    return facts;
  }

  const addFact = (facts, name, value) => reader.addFact(facts, name, value == null || value === "" ? "–" : value);

  function drawFolded(name, text) {
    const folded = make("details");
    folded.open = text.length < 1500;
    folded.append(make("summary", "", name), makeText(text));
    return folded;
  }

  // As `qwen3_eval.budget.format_budget`: a trace may be cut where no question turned.
  function formatBudget(budget) {
    return typeof budget === "number" && budget && budget % 1024 === 0 ? `${budget / 1024}k` : String(budget);
  }

  function fill(select, all, options) {
    select.append(new Option(all, ""));
    for (const [value, text] of options) select.append(new Option(text, value));
    select.closest("label").hidden = options.length < 2;
  }

  const pairs = (values) => [...new Set(values)].map((v) => [v, v]);

  async function start() {
    if (!$("filters")) return; // nothing turned
    if (typeof DecompressionStream === "undefined") {
      $("status").textContent = "This browser is too old to read single questions; flips.csv lists them.";
      return;
    }
    index = await inflate($("flips"));
    budgetNames = new Map(index.budgets.map(([value, name]) => [String(value), name]));
    const form = $("filters").elements;
    const seen = new Map(index.flips.map((flip) => [flip.runs.join(), pairName(flip)]));
    fill(form.pair, "all runs", [...seen]);
    fill(form.task, "all tasks", pairs(index.flips.map((flip) => flip.task)));
    fill(form.mode, "all modes", pairs(index.flips.map((flip) => flip.mode)));
    fill(form.budget, "all budgets", index.budgets.map(([value, name]) => [value, value === 0 ? "0 (no thinking)" : name]));
    const has = (kind) => index.flips.some((flip) => flip.turned === kind);
    const ways = [["right", "wrong to right"], ["wrong", "right to wrong"]];
    if (has("better") || has("worse")) ways.unshift(["right,better", "better"], ["wrong,worse", "worse"]);
    fill(form.turned, "both ways", ways);
    rows = index.flips.map(drawRow);
    $("list").append(...rows);
    $("filters").hidden = $("panes").hidden = false;
    $("filters").addEventListener("submit", (event) => event.preventDefault());
    $("filters").addEventListener("change", applyFilters);
    let typing;
    form.query.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(applyFilters, 150); });
    $("list").addEventListener("keydown", step);
    $("record").addEventListener("keydown", (event) => { if (event.key === "Escape") leave(); });
    $("list").addEventListener("click", async (event) => {
      const row = event.target.closest(".flip");
      if (!row) return;
      await open(Number(row.dataset.flip));
      if (matchMedia("(max-width: 48rem)").matches) $("record").scrollIntoView();
    });
    await applyFilters();
  }

  start().then(() => { document.body.dataset.ready = "true"; }); // it can be used (and tested) from here on
})();
