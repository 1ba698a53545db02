"""Promises of compare.html in a real browser: both sides of a question that turned are one click away."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import start_browser, wait
from made_runs import make_run

from qwen3_eval.chat import STOP_TEXTS, Chat, load_chat
from qwen3_eval.checkpoint import locate_checkpoint
from qwen3_eval.cli import main

HOSTILE = "<script>window.pwned = 1</script></script><img src=x onerror='window.pwned = 1'> & \u202e &lt;"

A = {
    "q0": [[0, 0, 1, 0], [0, 0, 1, 0]],
    "q1": [[0, 1, 1, 0], [0, 1, 1, 0]],
    "q2": [[1, 1, 1, 1], [1, 1, 1, 1]],
}
B = {
    "q0": [[1, 0, 1, 1], [1, 1, 1, 1]],
    "q1": [[0, 0, 1, 0], [0, 0, 1, 0]],
    "q2": [[1, 1, 1, 1], [1, 1, 1, 1]],
}
"""q0 turns right at 8 and without thinking, and half of it at 16, where q1 turns wrong; q2 does not turn."""


@pytest.fixture(scope="module")
def chat() -> Chat:
    return load_chat(locate_checkpoint("box:nano").path)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with start_browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="module")
def page(chat: Chat, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    a = make_run(folder / "a", chat, A, thought="First")
    b = make_run(
        folder / "b", chat, B, thought="Second", prompt=f"{HOSTILE} Question", stop_text="Stop.</think>"
    )
    assert main(["compare", f"runs={a},{b}", f"out={folder}/out"]) == 0
    return folder / "out" / "compare.html"


def open_page(browser: Any, page: Path) -> None:
    browser.get(page.as_uri())
    wait(browser, "return document.body.dataset.ready === 'true'")


def run(browser: Any, script: str, *args: Any) -> Any:
    return browser.execute_script(f"return {script}", *args)


def choose(browser: Any, name: str, value: str) -> list[str]:
    """Sets one filter as a user does; returns the titles of the rows that are left."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import Select

    Select(browser.find_element(By.NAME, name)).select_by_value(value)
    titles: list[str] = run(
        browser, "[...document.querySelectorAll('.flip:not([hidden])')].map(r => r.firstChild.textContent)"
    )
    assert run(browser, "document.getElementById('status').textContent").startswith(f"{len(titles)} of 4")
    return titles


def test_filters_leave_the_flips_they_name(browser: Any, page: Path) -> None:
    """By budget, mode and direction; a filter that cannot tell anything apart is not there."""
    open_page(browser, page)
    assert choose(browser, "budget", "") == [
        "toy q0 · 8",
        "toy q0 · 16",
        "toy q1 · 16",
        "toy q0 · non-thinking",
    ]
    assert choose(browser, "budget", "16") == ["toy q0 · 16", "toy q1 · 16"]
    assert choose(browser, "turned", "wrong,worse") == ["toy q1 · 16"]
    assert choose(browser, "turned", "right") == []
    assert "No question that turned" in run(browser, "document.getElementById('record').textContent")
    assert choose(browser, "budget", "") == ["toy q0 · 8", "toy q0 · non-thinking"]
    assert choose(browser, "mode", "non-thinking") == ["toy q0 · non-thinking"]
    assert run(browser, "[...document.querySelectorAll('#filters label')].filter(l => l.hidden).length") == 2


def test_one_click_opens_both_sides(browser: Any, page: Path) -> None:
    """At 8 both traces are cut after 8 tokens; each side shows its own trace, stop text and answer."""
    open_page(browser, page)
    run(browser, "document.querySelector('#flip-2').click()")
    wait(browser, "return document.querySelector('#record h3').textContent.includes('q1 · 16')")
    run(browser, "document.querySelector('#flip-0').click()")
    wait(browser, "return document.querySelector('#record h3').textContent.includes('q0 · 8')")
    sides = run(browser, "[...document.querySelectorAll('.side')].map(s => s.textContent)")
    assert [
        side.startswith(words) for side, words in zip(sides, ("a ✗ incorrect", "b ✓ correct"), strict=True)
    ]
    assert "At 8: \\boxed{0}." in sides[0]
    assert "At 8: \\boxed{1}." in sides[1]
    before, after = "previousSibling", "nextSibling"
    cuts = "[...document.querySelectorAll('.cut.here')].map(c => c.{}.textContent)"
    assert run(browser, cuts.format(before)) == ["First q0", "Second q"]
    assert run(browser, cuts.format(after)) == [STOP_TEXTS["docs"], "Stop.</think>"]
    assert "toy q0 · 8 ↑ wrong to right" in run(browser, "document.querySelector('#record h3').textContent")


def test_other_points_and_repeats_of_a_question_are_one_click_away(browser: Any, page: Path) -> None:
    """At 16 repeat 2 of b, which turned, is shown first; repeat 1 and the other points are chips."""
    open_page(browser, page)
    run(browser, "document.querySelector('#flip-1').click()")
    chips = "[...document.querySelectorAll('#record > .siblings button')].map(b => b.ariaLabel)"
    wait(browser, "return document.querySelector('#record h3').textContent.includes('· 16 ')")
    assert run(browser, chips) == ["8: wrong to right", "16: better", "non-thinking: wrong to right"]
    right = "[...document.querySelectorAll('.side')][1]"
    assert "Second qcut at 80.1" in run(browser, f"{right}.querySelector('h5 + .text').textContent")
    repeats = f"[...{right}.querySelectorAll('nav button')]"
    assert run(browser, f"{repeats}.map(b => b.ariaLabel)") == ["repeat 2: correct", "repeat 1: incorrect"]
    run(browser, f"{repeats}[1].click()")
    wait(browser, f"return {right}.textContent.includes('✗ incorrect')")
    assert "Second qcut at 80.0" in run(browser, f"{right}.querySelector('h5 + .text').textContent")
    run(browser, "document.querySelectorAll('#record > .siblings button')[2].click()")
    wait(browser, "return document.querySelector('#record h3').textContent.includes('non-thinking')")
    assert run(browser, "document.querySelectorAll('.side .cut').length") == 0


def test_the_page_says_what_differs(browser: Any, page: Path) -> None:
    """Prompts and stop text are named before the scores; other prompts stand on their own sides, as text."""
    open_page(browser, page)
    said = run(browser, "document.querySelector('.unlike').textContent")
    assert "a and b differ in prompts and stop text" in said
    assert "3 of 3 shared questions were asked with other token ids (3 in their words)" in said
    run(browser, "document.querySelector('#flip-0').click()")
    wait(browser, "return document.querySelectorAll('.side details').length === 2")
    prompts = run(browser, "[...document.querySelectorAll('.side details pre')].map(p => p.textContent)")
    assert prompts == ["Question q0?", f"{HOSTILE} Question q0?"]
    assert run(
        browser, "window.pwned === undefined && !document.querySelector('#record script, #record img')"
    )


def test_the_page_is_used_by_keyboard(browser: Any, page: Path) -> None:
    """Arrows choose, Enter goes to the texts, Escape comes back; every control has a name."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    open_page(browser, page)
    listbox = browser.find_element(By.ID, "list")
    listbox.send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    wait(browser, "return document.getElementById('list').getAttribute('aria-activedescendant') === 'flip-2'")
    listbox.send_keys(Keys.ENTER)
    assert run(browser, "document.activeElement.id") == "record"
    browser.find_element(By.ID, "record").send_keys(Keys.ESCAPE)
    assert run(browser, "document.activeElement.id") == "list"
    unnamed = (
        "[...document.querySelectorAll('select, input, button, [tabindex=\"0\"]')]"
        ".filter(e => !(e.ariaLabel || e.labels?.length || e.textContent.trim())).length"
    )
    assert run(browser, unnamed) == 0


@pytest.mark.parametrize(("width", "stacked"), [(360, True), (1280, False)])
def test_the_sides_fit_their_window(browser: Any, page: Path, width: int, stacked: bool) -> None:
    """On a phone b stands below a, on a desk beside it; neither scrolls sideways."""
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        open_page(browser, page)
        assert run(browser, "document.documentElement.scrollWidth") <= width
        a, b = run(browser, "[...document.querySelectorAll('.side')].map(s => s.getBoundingClientRect().top)")
        assert (b > a) is stacked
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_page_loads_nothing_and_logs_nothing(browser: Any, page: Path) -> None:
    """One file: no request and no console message, charts included."""
    browser.get_log("browser")
    open_page(browser, page)
    wait(browser, "return document.body.dataset.drawn === 'true'")
    assert run(browser, "performance.getEntriesByType('resource').length") == 0
    assert browser.get_log("browser") == []


def test_runs_without_a_flip_have_a_page(chat: Chat, browser: Any, tmp_path: Path) -> None:
    """Equal runs: the page says that none turned, and has no reader."""
    for name in "ab":
        make_run(tmp_path / name, chat, A)
    assert main(["compare", f"runs={tmp_path}/a,{tmp_path}/b"]) == 0
    open_page(browser, tmp_path / "compare-a-b" / "compare.html")
    text = run(browser, "document.body.textContent")
    assert "None: every question that the runs share scored alike" in text
    assert "asked in the same way with the same seed" in text
    assert run(browser, "document.getElementById('panes')") is None


def test_a_page_that_cannot_hold_all_says_so(
    chat: Chat, browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room for 2 flips of 4 and for no text, both are said, and a flip still shows its verdicts."""
    monkeypatch.setattr("qwen3_eval.compare.flip_texts.MAX_FLIPS", 2)
    monkeypatch.setattr("qwen3_eval.report.text_blocks.MAX_PAGE_BYTES", 1)
    for name, scores in (("a", A), ("b", B)):
        make_run(tmp_path / name, chat, scores)
    assert main(["compare", f"runs={tmp_path}/a,{tmp_path}/b"]) == 0
    open_page(browser, tmp_path / "compare-a-b" / "compare.html")
    text = run(browser, "document.getElementById('reader').textContent")
    assert "2 of 4 are in this page" in text
    assert "The texts of 8 traces are left out" in text
    assert "These texts are left out" in text
    assert "✗ incorrect" in text
