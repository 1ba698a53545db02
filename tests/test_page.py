"""Promises of report.html in a real browser: read, filtered, toggled, printed, by pointer, keys and ear."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browsing import find, find_all, open_page, resize, start_browser, text_of, wait
from made_reports import HOSTILE, RUN, fake_run, fake_text, record

from qwen3_eval.report.figures import draw_curve
from qwen3_eval.report.html import pack_index, render_page
from qwen3_eval.report.page import link_question
from qwen3_eval.report.records import RecordText
from qwen3_eval.report.report_table import ReportTable
from qwen3_eval.report.tables import summarize
from qwen3_eval.report.text_blocks import TextBlocks
from qwen3_eval.report.write import write_report

TASKS = ("chain", "sums")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with start_browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks of 250 questions at 1k, 4k, inf and without thinking: 2,000 records; and published scores."""
    folder = tmp_path_factory.mktemp("page")
    records = fake_run(250, tasks=TASKS)
    published = pd.DataFrame({
        "label": "Paper", "task": ["chain", "chain"], "mode": "thinking", "budget": [1024.0, math.inf],
        "score": [0.4, 0.8],
    })  # fmt: skip
    write_report(records, RUN, lambda rollout: fake_text(records, rollout), folder, reference=published)
    return folder / "report.html"


def choose(browser: Any, name: str, value: str, status: str) -> None:
    """Sets one filter as a user does, and waits for the count that `status` begins with."""
    from selenium.webdriver.support.ui import Select

    field = find(browser, f"#filters [name={name}]")
    if field.tag_name == "select":
        Select(field).select_by_value(value)
    else:
        field.clear()
        field.send_keys(value)
    wait(browser, "return document.getElementById('status').textContent.startsWith(arguments[0])", status)


# ---- The reader


def test_filters_count_right_and_the_page_stays_small(browser: Any, page: Path) -> None:
    """By budget, verdict, task and mode; and never more than a window of the 2,000 rows exists."""
    records = fake_run(250, tasks=TASKS)
    open_page(browser, page)
    assert text_of(browser, "#status").startswith("2,000 of")
    cut = (records["budget"] == 1024) & (records["outcome"] == "incorrect")
    choose(browser, "budget", "1024", "500 of")
    choose(browser, "outcome", "incorrect", f"{cut.sum()} of")
    choose(browser, "task", "sums", f"{(cut & (records['task'] == 'sums')).sum()} of")
    assert text_of(browser, "#record h3").startswith("sums")
    for name in ("outcome", "budget", "task"):
        choose(browser, name, "", "")
    choose(browser, "mode", "non-thinking", "500 of")
    choose(browser, "mode", "", "2,000 of")
    list_top = "document.getElementById('list').scrollTop = arguments[0]; return true"
    for top in (0, 30_000, 10**9):
        wait(browser, list_top, top)
        wait(browser, "return document.querySelectorAll('.row').length > 5")
        assert len(find_all(browser, ".row")) < 60
    last = "return [...document.querySelectorAll('.row')].pop()?.getAttribute('aria-posinset') === '2000'"
    assert wait(browser, last)


def test_a_record_opens_with_its_cut(browser: Any, page: Path) -> None:
    """A forced record shows prompt, thinking, `cut at 1k` after 2,048 characters, stop text and answer."""
    open_page(browser, page)
    choose(browser, "budget", "1024", "500 of")
    browser.execute_script(
        "[...document.querySelectorAll('.row')].find(r => r.textContent.includes('forced')).click()"
    )
    wait(browser, "return document.querySelector('#record .cut.here')")
    assert text_of(browser, ".cut.here") == "cut at 1k"
    before = browser.execute_script("return document.querySelector('.cut.here').previousSibling.textContent")
    assert len(before) == 2048
    after = browser.execute_script("return document.querySelector('.cut.here').nextSibling.textContent")
    assert after == RUN["stop_text"]
    shown = text_of(browser, "#record")
    for words in ("What is question", "The answer of rollout", "verdict on"):
        assert words in shown


def test_chips_lead_to_the_same_question_at_another_budget(browser: Any, page: Path) -> None:
    """They name each budget with its verdict, and the one that is open."""
    open_page(browser, page)
    names = [chip.accessible_name for chip in find_all(browser, ".siblings button")]
    assert [name.split(":")[0] for name in names] == ["1k", "4k", "inf", "non-thinking"]
    find_all(browser, ".siblings button")[3].click()
    assert wait(browser, "return document.querySelector('#record h3').textContent.includes('non-thinking')")
    assert browser.switch_to.active_element.accessible_name.startswith("non-thinking")


def test_search_finds_words_in_texts(browser: Any, page: Path) -> None:
    """Words of one rollout's prompt are found in all records that share it."""
    open_page(browser, page)
    choose(browser, "query", "what is question 84?", "3 of")
    assert "What is question 84?" in text_of(browser, "#record")
    choose(browser, "query", "no such words", "0 of")
    assert "No record passes" in text_of(browser, "#record")


@pytest.mark.parametrize(
    ("link", "title"),
    [
        (link_question("sums", "7"), "sums 7 · 1k"),
        (link_question("sums", "7", "thinking", math.inf, 0), "sums 7 · inf"),
        (link_question("chain", "249", "non-thinking"), "chain 249 · non-thinking"),
        ("#q=chain/3&budget=4096", "chain 3 · 4k"),
    ],
)
def test_an_address_opens_its_question(browser: Any, page: Path, link: str, title: str) -> None:
    """A link from another page leads to the question, with the focus on its text."""
    open_page(browser, page, link)
    assert text_of(browser, "#record h3").startswith(title)
    assert browser.switch_to.active_element.get_attribute("id") == "record"


def test_addresses_follow_what_is_open(browser: Any, page: Path) -> None:
    """What is opened is in the address; filters give way to an address; one that leads nowhere says so."""
    open_page(browser, page)
    assert "#" not in browser.current_url
    choose(browser, "task", "sums", "1,000 of")
    find_all(browser, ".row")[2].click()
    assert browser.current_url.endswith("#q=sums/0&mode=thinking&budget=inf&repeat=0")
    browser.execute_script("location.hash = 'q=chain/5'")
    wait(browser, "return document.querySelector('#record h3').textContent.startsWith('chain 5')")
    assert text_of(browser, "#status").startswith("2,000 of")
    browser.execute_script("location.hash = 'q=chain/5000'")
    wait(
        browser,
        "return document.getElementById('status').textContent.includes('chain/5000 is not in this page')",
    )


# ---- The charts


def test_hover_tells_the_numbers_of_a_point(browser: Any, page: Path) -> None:
    """The tooltip names task, budget, score and interval as the summary has them."""
    from selenium.webdriver import ActionChains

    open_page(browser, page)
    row = summarize(fake_run(250, tasks=TASKS)).query("task == 'sums' and budget == 1024").iloc[0]
    point = find(browser, "#score_by_budget path[aria-label^='sums, budget 1k']")
    browser.execute_script("document.getElementById('score_by_budget').scrollIntoView()")
    ActionChains(browser).move_to_element(point).perform()
    wait(browser, "return document.querySelector('#vg-tooltip-element.visible')")
    told = text_of(browser, "#vg-tooltip-element")
    for words in (
        "sums",
        "1k",
        f"{row['score']:.2f}",
        f"{row['ci_low']:.3f} – {row['ci_high']:.3f}",
        "forced",
    ):
        assert words in told


def test_the_legend_hides_and_shows(browser: Any, page: Path) -> None:
    """Unchecking a task takes its points out of every figure; published scores have a box of their own."""
    open_page(browser, page)

    def count(start: str) -> int:
        return len(find_all(browser, f".plot path[aria-label^='{start}']"))

    before = count("sums"), count("chain"), count("Paper")
    assert before == (12, 12, 2)  # four points in three figures
    box = find(browser, "#legend input[value=t1]")
    box.click()
    wait(browser, "return !document.querySelector('.plot path[aria-label^=sums]')")
    assert (count("chain"), count("Paper")) == (12, 2)
    find(browser, "#legend input[value=p0]").click()
    wait(browser, "return !document.querySelector('.plot path[aria-label^=Paper]')")
    box.send_keys(" ")
    wait(browser, "return document.querySelectorAll('.plot path[aria-label^=sums]').length === 12")


def test_keys_go_from_point_to_point(browser: Any, page: Path) -> None:
    """Arrows in a chart show each point's tooltip and say it to a screen reader; Escape ends that."""
    from selenium.webdriver.common.keys import Keys

    open_page(browser, page)
    plot = find(browser, "#score_by_tokens .plot")
    plot.send_keys(Keys.ARROW_RIGHT)
    assert text_of(browser, "#chart-told").startswith("chain, budget 1k: score ")
    plot.send_keys(Keys.ARROW_RIGHT)
    assert text_of(browser, "#chart-told").startswith("chain, budget 4k: score ")
    assert find(browser, "#vg-tooltip-element").is_displayed()
    plot.send_keys(Keys.END)
    assert text_of(browser, "#chart-told").startswith("sums, non-thinking: score ")
    plot.send_keys(Keys.ESCAPE)
    assert text_of(browser, "#chart-told") == ""
    assert not find(browser, "#vg-tooltip-element").is_displayed()


def test_every_table_and_figure_gives_its_csv(browser: Any, page: Path, tmp_path: Path) -> None:
    """A click saves the numbers of the figure, out of the page itself."""
    behavior = {"behavior": "allow", "downloadPath": str(tmp_path)}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", behavior)
    open_page(browser, page)
    names = [link.get_attribute("download") for link in find_all(browser, ".csv a")]
    assert {"score_by_budget.csv", "score_by_tokens.csv", "shares_by_budget.csv", "summary.csv"} <= set(names)
    assert len(names) == len(set(names))
    browser.execute_script("document.querySelector('a[download=\"score_by_budget.csv\"]').click()")
    saved = tmp_path / "score_by_budget.csv"
    wait(browser, "return true")
    for _ in range(100):
        if saved.exists():
            break
        wait(browser, "return new Promise(next => setTimeout(() => next(true), 50))")
    frame = pd.read_csv(saved)
    assert frame["budget"].tolist() == [1024, 4096, math.inf, 0] * 2
    assert frame["score"].tolist() == pytest.approx(summarize(fake_run(250, tasks=TASKS))["score"].tolist())


# ---- The page


def test_the_theme_is_chosen_and_kept(browser: Any, page: Path) -> None:
    """Dark and light change the paper and the charts; the choice outlives the page; `system` undoes it."""
    paper = "return getComputedStyle(document.body).backgroundColor"
    line = "return getComputedStyle(document.querySelector('.plot path[aria-label^=chain]')).fill"
    open_page(browser, page)

    def pick(theme: str) -> tuple[str, str]:
        find(browser, f"#theme input[value={theme}]").find_element("xpath", "..").click()
        return browser.execute_script(paper), browser.execute_script(line)

    light, dark = pick("light"), pick("dark")
    assert light == ("rgb(255, 255, 255)", "rgb(0, 114, 178)")
    assert dark == ("rgb(13, 17, 23)", "rgb(78, 168, 222)")
    open_page(browser, page)
    assert browser.execute_script(paper) == dark[0]
    assert find(browser, "#theme input[value=dark]").is_selected()
    for name, expected in (("dark", dark), ("light", light)):
        features = {"features": [{"name": "prefers-color-scheme", "value": name}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
        assert pick("system") == expected
    open_page(browser, page)
    assert find(browser, "#theme input[value=system]").is_selected()


def test_a_question_is_reached_and_read_by_keys(browser: Any, page: Path) -> None:
    """Skip link, list, arrows, Enter into the text, Escape back; and all that takes keys has a name."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    open_page(browser, page)
    ActionChains(browser).send_keys(Keys.TAB, Keys.TAB).perform()
    assert browser.switch_to.active_element.text == "Skip to single questions"
    ActionChains(browser).send_keys(Keys.ENTER).perform()
    for _ in range(6):  # four selects and the search, then the list
        ActionChains(browser).send_keys(Keys.TAB).perform()
    listbox = browser.switch_to.active_element
    assert listbox.get_attribute("id") == "list"
    listbox.send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    wait(browser, "return document.getElementById('list').getAttribute('aria-activedescendant') === 'row-2'")
    listbox.send_keys(Keys.END)
    wait(browser, "return document.querySelector('#row-1999')?.getAttribute('aria-selected') === 'true'")
    listbox.send_keys(Keys.ENTER)
    assert browser.switch_to.active_element.get_attribute("id") == "record"
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert browser.switch_to.active_element.get_attribute("id") == "list"
    unnamed = [
        element.get_attribute("outerHTML")[:80]
        for element in find_all(browser, "a, select, input, button, summary, [tabindex='0']")
        if element.is_displayed() and not element.accessible_name
    ]
    assert unnamed == []


def test_nothing_is_loaded_and_nothing_logged(browser: Any, page: Path) -> None:
    """One file, whose policy allows its own scripts only: no request, no message, also when it is used."""
    browser.get_log("browser")
    open_page(browser, page)
    choose(browser, "outcome", "incorrect", "")
    find(browser, "#legend input").click()
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert browser.get_log("browser") == []
    policy = find(browser, "meta[http-equiv]").get_attribute("content")
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    assert "'unsafe-inline'" not in policy.split("style-src")[0]


@pytest.mark.parametrize("width", [360, 768, 1280, 1920])
def test_the_page_fits_its_window(browser: Any, page: Path, width: int) -> None:
    """From a phone to a wide screen the page does not scroll sideways, its details open, and charts fit."""
    resize(browser, width)
    try:
        open_page(browser, page)
        browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        sizes = "return [...document.querySelectorAll('.plot svg')].map(s => s.getBoundingClientRect().right)"
        assert all(200 < right <= width for right in browser.execute_script(sizes))
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_print_is_light_and_without_the_reader(browser: Any, page: Path) -> None:
    """On paper there are words, charts and tables, dark ink on white, whatever the theme."""
    open_page(browser, page)
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": features})
    try:
        assert browser.execute_script("return getComputedStyle(document.body).color") == "rgb(36, 41, 47)"
        for selector in ("#reader", "#theme", "nav", ".csv"):
            assert not find(browser, selector).is_displayed(), selector
        for selector in ("h1", ".plot svg", "section.table table", "figcaption"):
            assert find(browser, selector).is_displayed(), selector
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


def test_without_scripts_pictures_and_tables_stand(browser: Any, page: Path) -> None:
    """Finding, a picture of each figure, tables and CSV links show; what needs scripts does not."""
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(page.as_uri())
        body = find(browser, "body").text
        pictures = [picture.size["height"] for picture in find_all(browser, ".pictures svg")]
        needless = [find(browser, name).is_displayed() for name in ("#theme", "#legend input", ".panels")]
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    for words in ("without thinking", "95 % interval", "samples.parquet", "summary.csv"):
        assert words in body
    assert len(pictures) == 3
    assert all(height > 100 for height in pictures)
    assert needless == [False] * 3


def test_hostile_text_is_shown_and_never_run(browser: Any, tmp_path: Path) -> None:
    """Markup, quotes, separators, lone surrogates and right-to-left text in every field stay text.

    The cut still stands after the first five letters, whatever they count in UTF-16.
    """
    from selenium.webdriver import ActionChains

    fields = ("task", "group", "sample_id", "extracted", "reason", "target")
    hostile = HOSTILE.replace("\ud800", "")
    records = pd.DataFrame([
        record(forced=True, **dict.fromkeys(fields, hostile)),
        record(task="plain", rollout=1),
    ])  # fmt: skip
    text = RecordText(HOSTILE, "🙂" * 5 + HOSTILE, ((1024.0, 5),), {200: HOSTILE})
    run = {"model": HOSTILE, "stop_text": HOSTILE, "settings": {HOSTILE: HOSTILE}}
    published = pd.DataFrame([(hostile, hostile, "thinking", 1024.0, 0.5)],
                             columns=["label", "task", "mode", "budget", "score"])  # fmt: skip
    browser.get_log("browser")
    write_report(records, run, lambda rollout: text, tmp_path, reference=published)
    open_page(browser, tmp_path / "report.html")
    wait(browser, "return document.querySelector('#record .cut.here')")
    browser.execute_script("document.getElementById('score_by_budget').scrollIntoView()")
    ActionChains(browser).move_to_element(find(browser, "#score_by_budget path[aria-label]")).perform()
    assert "<script>" in wait(
        browser, "return document.querySelector('#vg-tooltip-element.visible')?.textContent"
    )
    assert "<script>" in text_of(browser, "#legend")
    assert browser.execute_script("return window.pwned === undefined")
    planted = "#record script, #record img, #vg-tooltip-element img, main img, #vg-tooltip-element script"
    assert find_all(browser, planted) == []
    first = "return document.querySelector('.cut.here').previousSibling.textContent"
    assert browser.execute_script(first) == "🙂" * 5
    prompt = browser.execute_script("return escape(document.querySelector('#record pre').textContent)")
    assert "%3Cscript%3E" in prompt
    assert "%uD800" in prompt
    find_all(browser, ".row")[0].click()
    address = browser.current_url
    open_page(browser, tmp_path / "report.html", address[address.index("#") :])
    assert text_of(browser, "#record h3").startswith(hostile[:20])
    assert browser.get_log("browser") == []
    samples = pd.read_parquet(tmp_path / "samples.parquet")
    assert samples["prompt"][0].startswith("<script>")


def test_further_tables_stand_under_their_titles(browser: Any, tmp_path: Path) -> None:
    """Each has title, caption, cells and its CSV; one too long to carry links to the file beside the page."""
    records = fake_run(3)
    summary = summarize(records, "nano")
    long = pd.DataFrame({"text": ["x" * 1000] * 600})
    tables = [
        ReportTable(
            "costs", "What it cost", "3 questions", pd.DataFrame({"t": [7]}), ["task", "t"], [["a", "7"]]
        ),
        ReportTable("long table", "Long", "600 rows", long, ["text"], [["x"]]),
    ]
    texts = TextBlocks()
    for rollout in dict.fromkeys(records["rollout"]):
        texts.add(fake_text(records, rollout))
    texts.close()
    index = pack_index(records, {rollout: rollout for rollout in records["rollout"]}, RUN)
    page = tmp_path / "report.html"
    svg = draw_curve(summary)["svg"]
    page.write_text(render_page(summary, RUN, svg, index, texts, tables=tables), encoding="utf-8")
    open_page(browser, page)
    section = find(browser, "section[aria-labelledby=table-costs]")
    for words in ("What it cost", "3 questions", "costs.csv"):
        assert words in section.text
    assert [cell.text for cell in section.find_elements("css selector", "td")] == ["a", "7"]
    links = {a.get_attribute("download"): a.get_dom_attribute("href") for a in find_all(browser, ".csv a")}
    assert links["costs.csv"].startswith("data:text/csv")
    assert links["long table.csv"] == "long%20table.csv"


def test_twenty_thousand_records_are_fluid(browser: Any, tmp_path: Path) -> None:
    """A page of 20,000 records and 25 MB of texts can be used within 2 s, and filters within half of one."""
    random, n_questions = np.random.default_rng(0), 4000
    records = fake_run(n_questions, (1024.0, 2048.0, 4096.0, math.inf))
    summary, texts = summarize(records, "nano"), TextBlocks()
    for rollout in range(2 * n_questions):
        noise = random.integers(97, 123, 5000, dtype=np.uint8).tobytes().decode()
        texts.add(RecordText("What?", noise[: 5000 if rollout % 2 else 0], (), {0: "7"}))
    texts.close()
    index = pack_index(records, {rollout: rollout for rollout in records["rollout"]}, RUN)
    page = tmp_path / "report.html"
    svg = draw_curve(summary)["svg"]
    page.write_text(render_page(summary, RUN, svg, index, texts), encoding="utf-8")
    assert 15e6 < page.stat().st_size <= 30e6
    usable = []
    for _ in range(3):
        browser.get("about:blank")
        browser.get(page.as_uri())
        usable.append(wait(browser, "return document.body.dataset.ready === 'true' && performance.now()"))
    assert min(usable) < 2000  # the best of three, as other work may run beside the test
    assert text_of(browser, "#status").startswith("20,000 of 20,000")
    spent = browser.execute_script(
        "const start = performance.now(); const field = document.getElementById('filters').elements.outcome;"
        "field.value = 'incorrect'; field.dispatchEvent(new Event('change', { bubbles: true }));"
        "return performance.now() - start"
    )
    assert spent < 500
    assert not text_of(browser, "#status").startswith("20,000 of")
