"use strict";
// The reader for single questions; reader.js comes before it.
(() => {
  const ROW_HEIGHT = 56; // as in report.css
  const MARGIN_ROWS = 8; // drawn above and below what is visible
  const { OUTCOMES, make, makeText, addFact, addJump, inflate, homes, openBlock, readText, drawThinking } = reader;
  const $ = (id) => document.getElementById(id);

  // ---- The index: columns, one entry per record.
  let col, budgetNames, stopText;
  let questions; // "task/sample_id" -> its records
  let shown = []; // the records that pass the filters
  let selected = -1; // a record, not a place in `shown`

  const budgetName = (i) => (col.mode[i] === "thinking" ? budgetNames.get(String(col.budget[i])) : col.mode[i]);
  const label = (i) => (col.sample_id[i].startsWith(`${col.task[i]}/`) ? col.sample_id[i] : `${col.task[i]} ${col.sample_id[i]}`);
  const question = (i) => `${col.task[i]}/${col.sample_id[i]}`;

  function fill(select, all, options) {
    select.append(new Option(all, ""));
    for (const [value, text] of options) select.append(new Option(text, value));
  }

  const count = (n) => n.toLocaleString("en");
  const pairs = (values) => [...new Set(values)].map((v) => [v, v]);

  let search = 0; // the latest search; an older one stops when it sees a newer number
  async function applyFilters() {
    const mine = ++search;
    const form = $("filters").elements;
    const query = form.query.value.trim().toLowerCase();
    const passes = [];
    for (let i = 0; i < col.task.length; i++) {
      if (form.task.value && col.task[i] !== form.task.value) continue;
      if (form.mode.value && col.mode[i] !== form.mode.value) continue;
      if (form.budget.value && String(col.budget[i]) !== form.budget.value) continue;
      if (form.outcome.value && col.outcome[i] !== form.outcome.value) continue;
      passes.push(i);
    }
    const found = query ? await searchTexts(passes, query, mine) : passes;
    if (mine !== search) return;
    shown = found;
    $("list").scrollTop = 0;
    $("status").textContent = `${count(shown.length)} of ${count(col.task.length)} records`;
    if (!shown.includes(selected)) await open(shown.length ? shown[0] : -1, false);
    reveal(shown.indexOf(selected));
    draw();
  }

  async function searchTexts(candidates, query, mine) {
    const has = (text) => text != null && String(text).toLowerCase().includes(query);
    const hits = [];
    const wanted = new Map(); // block -> the candidates whose texts are in it
    for (const i of candidates) {
      if (has(label(i)) || has(col.extracted[i]) || has(col.target[i]) || has(col.reason[i])) hits.push(i);
      else {
        const home = homes.get(col.text[i]);
        if (!home) continue;
        if (!wanted.has(home.block)) wanted.set(home.block, []);
        wanted.get(home.block).push(i);
      }
    }
    let done = 0;
    for (const [block, records] of wanted) {
      $("status").textContent = `Searching … ${Math.round((100 * done++) / wanted.size)} %`;
      const texts = await openBlock(block);
      if (mine !== search) return [];
      const common = new Map(); // records of one trace share prompt and thinking
      for (const i of records) {
        const text = texts[homes.get(col.text[i]).at];
        if (!common.has(text)) common.set(text, has(text.prompt) || has(text.thinking));
        if (common.get(text) || has(text.answers[col.completion_key[i]])) hits.push(i);
      }
    }
    return hits.sort((a, b) => a - b);
  }

  // ---- The list: only the rows in view exist.
  function draw() {
    const list = $("list");
    const rows = $("rows");
    rows.style.height = `${shown.length * ROW_HEIGHT}px`;
    const first = Math.max(0, Math.floor(list.scrollTop / ROW_HEIGHT) - MARGIN_ROWS);
    const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW_HEIGHT) + MARGIN_ROWS);
    const drawn = document.createDocumentFragment();
    for (let place = first; place < last; place++) drawn.append(drawRow(place));
    rows.replaceChildren(drawn);
    if (shown.includes(selected)) list.setAttribute("aria-activedescendant", `row-${selected}`);
    else list.removeAttribute("aria-activedescendant");
  }

  function drawRow(place) {
    const i = shown[place];
    const row = make("div", "row");
    row.id = `row-${i}`;
    row.dataset.record = i;
    row.style.top = `${place * ROW_HEIGHT}px`;
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", String(i === selected));
    row.setAttribute("aria-posinset", place + 1);
    row.setAttribute("aria-setsize", shown.length);
    const title = make("div");
    title.append(make("bdi", "", label(i)), make("span", "", ` · ${budgetName(i)}`));
    if (col.repeat[i]) title.append(` · repeat ${col.repeat[i] + 1}`);
    const detail = make("div", "soft");
    detail.append(make("span", `outcome ${col.outcome[i]}`, OUTCOMES[col.outcome[i]]));
    if (col.forced[i]) detail.append(" · forced");
    if (col.truncated[i]) detail.append(" · truncated");
    if (col.extracted[i] != null) detail.append(" · ", make("bdi", "", col.extracted[i].slice(0, 80)));
    row.append(title, detail);
    return row;
  }

  function reveal(place) {
    if (place < 0) return;
    const list = $("list");
    const top = place * ROW_HEIGHT;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + ROW_HEIGHT > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW_HEIGHT - list.clientHeight;
  }

  function step(event) {
    if (event.key === "Enter" && selected >= 0) {
      event.preventDefault();
      $("record").focus();
    }
    const page = Math.max(1, Math.floor($("list").clientHeight / ROW_HEIGHT) - 1);
    const place = shown.indexOf(selected);
    const to = {
      ArrowDown: place + 1, ArrowUp: place - 1, PageDown: place + page, PageUp: place - page, Home: 0, End: shown.length - 1,
    }[event.key];
    if (to === undefined || !shown.length) return;
    event.preventDefault();
    open(shown[Math.min(shown.length - 1, Math.max(0, to))]);
  }

  // ---- The record.
  async function open(i, named = true) {
    selected = i;
    if (named) history.replaceState(null, "", link(i));
    reveal(shown.indexOf(i));
    draw();
    const pane = $("record");
    if (i < 0) {
      pane.replaceChildren(make("p", "soft", "No record passes these filters."));
      return;
    }
    const text = await readText(col.text[i]);
    if (i !== selected) return; // a quicker choice came in between
    pane.replaceChildren(...drawRecord(i, text));
    pane.scrollTop = 0;
  }

  function drawRecord(i, text) {
    const title = make("h3");
    title.append(make("bdi", "", label(i)), ` · ${budgetName(i)} `, make("span", `outcome ${col.outcome[i]}`, OUTCOMES[col.outcome[i]]));
    const back = make("button", "", "Back to the list");
    back.id = "back";
    back.type = "button";
    back.onclick = leave;
    const address = make("a", "soft", "link to this question");
    address.href = link(i);
    const parts = [title, back, drawSiblings(i), drawRepeats(i), drawFacts(i), address];
    if (!text) {
      parts.push(make("p", "soft", "The texts of this record are left out to keep the page small; they are in samples.parquet."));
      return parts;
    }
    if (text.clipped) parts.push(make("p", "soft", "A long text is clipped here; all of it is in samples.parquet."));
    const jumps = make("div", "jumps");
    parts.push(jumps, make("h3", "", "Prompt"), makeText(text.prompt));
    if (text.thinking) {
      const thinking = drawThinking(text, col.budget[i], (budget) => budgetNames.get(String(budget)) ?? budget, stopText);
      parts.push(make("h3", "", "Thinking"), thinking);
      addJump(jumps, "to the cut", thinking.querySelector(".here"));
    }
    const answer = text.answers[col.completion_key[i]];
    const heading = make("h3", "", "Answer");
    parts.push(heading, answer == null ? make("p", "soft", "None was generated.") : makeText(answer));
    addJump(jumps, "to the answer", heading);
    return parts;
  }

  // The same question and repeat at other budgets and in other modes.
  function drawSiblings(i) {
    const same = questions.get(question(i)).filter((j) => col.repeat[j] === col.repeat[i]);
    return drawChips(i, same, "The same question at other budgets", budgetName);
  }

  // The same question, budget and mode, asked again.
  function drawRepeats(i) {
    const same = questions.get(question(i)).filter((j) => col.mode[j] === col.mode[i] && col.budget[j] === col.budget[i]);
    return same.length < 2 ? "" : drawChips(i, same, "Repeats", (j) => `repeat ${col.repeat[j] + 1}`);
  }

  function drawChips(i, records, name, nameOf) {
    const chips = make("nav", "siblings");
    chips.setAttribute("aria-label", name);
    for (const j of records) {
      const button = make("button", "", `${nameOf(j)} `);
      button.type = "button";
      button.append(make("span", `outcome ${col.outcome[j]}`, OUTCOMES[col.outcome[j]].split(" ")[0]));
      button.setAttribute("aria-label", `${nameOf(j)}: ${OUTCOMES[col.outcome[j]].slice(2)}`);
      button.setAttribute("aria-current", String(j === i));
      button.onclick = async () => {
        await open(j);
        document.querySelector(`.siblings[aria-label="${name}"] [aria-current="true"]`).focus();
      };
      chips.append(button);
    }
    return chips;
  }

  function drawFacts(i) {
    const facts = make("dl", "facts");
    const ending = col.mode[i] !== "thinking" ? "" : col.forced[i] ? ", cut by the budget" : ", ended by the model";
    const rows = [
      ["read as", col.extracted[i] ?? "–"],
      ["target", col.target[i] ?? "–"],
      ["why", col.reason[i] || "–"],
      ["score", col.outcome[i] === "error" ? "none: left out of the mean" : (col.score[i] ?? "–")],
      ["thinking", `${count(col.thinking_tokens[i])} tokens${col.truncated[i] && !col.answer_tokens[i] ? ", never closed" : ending}`],
      ["answer", `${count(col.answer_tokens[i])} tokens${col.truncated[i] ? ", truncated" : ""}`],
    ];
    for (const [name, value] of rows) addFact(facts, name, value);
    return facts;
  }

  function leave() {
    if (matchMedia("(max-width: 48rem)").matches) $("filters").scrollIntoView();
    $("list").focus({ preventScroll: true });
  }

  // ---- Addresses, as #q=chain/12&mode=thinking&budget=1k&repeat=0; all but q may be left out.
  function link(i) {
    if (i < 0) return "#reader";
    const parts = { q: question(i), mode: col.mode[i], budget: budgetNames.get(String(col.budget[i])), repeat: col.repeat[i] };
    return `#${Object.entries(parts).map(([name, value]) => `${name}=${encode(value)}`).join("&")}`;
  }

  const encode = (value) => encodeURIComponent(String(value).toWellFormed?.() ?? value).replaceAll("%2F", "/");

  async function follow() {
    const wanted = new URLSearchParams(location.hash.slice(1).replaceAll("+", "%2B"));
    const q = wanted.get("q");
    if (q === null) return;
    const records = questions.get(q);
    if (!records) {
      $("reader").scrollIntoView();
      $("status").textContent = `${q} is not in this page; all records are in samples.parquet.`;
      return;
    }
    const agrees = (i) =>
      (wanted.get("mode") === col.mode[i]) * 4 + (wanted.get("repeat") === String(col.repeat[i])) * 1 +
      ([String(col.budget[i]), budgetNames.get(String(col.budget[i]))].includes(wanted.get("budget"))) * 2;
    const best = records.reduce((best, i) => (agrees(i) > agrees(best) ? i : best));
    if (!shown.includes(best)) {
      $("filters").reset();
      await applyFilters();
    }
    await open(best);
    $("reader").scrollIntoView();
    $("record").focus({ preventScroll: true });
  }

  async function start() {
    if (typeof DecompressionStream === "undefined") {
      $("status").textContent = "This browser is too old to read single questions; the records are in samples.parquet.";
      return;
    }
    const index = await inflate($("index"));
    col = index.columns;
    stopText = index.stop_text;
    budgetNames = new Map(index.budgets.map(([value, name]) => [String(value), name]));
    questions = new Map();
    for (const i of col.task.keys()) {
      if (!questions.has(question(i))) questions.set(question(i), []);
      questions.get(question(i)).push(i);
    }
    if (index.n_records > col.task.length) {
      $("partial").textContent = `${count(col.task.length)} of ${count(index.n_records)} records are in this page; all of them, with every text, are in samples.parquet.`;
      $("partial").hidden = false;
    }
    const form = $("filters").elements;
    fill(form.task, "all tasks", pairs(col.task));
    fill(form.mode, "all modes", pairs(col.mode));
    fill(form.budget, "all budgets", index.budgets.map(([value, name]) => [value, value === 0 ? "0 (no thinking)" : name]));
    fill(form.outcome, "all verdicts", pairs(col.outcome).map(([value]) => [value, OUTCOMES[value]]));
    $("filters").hidden = $("panes").hidden = false;
    $("filters").addEventListener("submit", (event) => event.preventDefault());
    $("filters").addEventListener("change", (event) => { if (event.target.name !== "query") applyFilters(); });
    let typing;
    form.query.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(applyFilters, 250); });
    let frame = 0;
    const redraw = () => { cancelAnimationFrame(frame); frame = requestAnimationFrame(draw); };
    $("list").addEventListener("scroll", redraw);
    addEventListener("resize", redraw);
    $("list").addEventListener("keydown", step);
    $("list").addEventListener("click", async (event) => {
      const row = event.target.closest(".row");
      if (!row) return;
      await open(Number(row.dataset.record));
      if (matchMedia("(max-width: 48rem)").matches) $("record").scrollIntoView();
    });
    $("record").addEventListener("keydown", (event) => { if (event.key === "Escape") leave(); });
    addEventListener("hashchange", follow);
    await applyFilters();
    await follow();
    document.body.dataset.ready = "true"; // the page can be used (and tested) from here on
  }

  start();
})();
