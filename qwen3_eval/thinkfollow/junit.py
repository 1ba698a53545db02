"""`thinkfollow` as JUnit XML: a suite for each budget, and one for the budget audit."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from qwen3_eval.thinkfollow.judge import Standing
from qwen3_eval.thinkfollow.tables import UNDECIDED, estimate_compliance, split_kinds

if TYPE_CHECKING:
    import pandas as pd

Case = tuple[str, str, str, str]
"""A test's name, what it came to ("" where it passes), a sentence, and an example."""

MAX_SHOWN = 1_000
"""Letters of an example's texts."""
MAX_BREACHES = 40
_NOT_XML = re.compile("[^\\t\\n\\r\\u0020-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
_CODES = {"pass": "", "below": "failure", "inconclusive": "error"}
_PLACES = {
    "start": "flag at the start",
    "middle": "flag in the middle",
    "end": "flag at the end",
    "two": "two flags in a turn",
    "system": "flag in the system message",
    "kept": "no flag, the last one is kept",
    "default": "no flag yet",
}
_APART = {
    "trap": "trap: the turn that quotes a flag",
    "trap-around": "trap: the turns around it",
    "hard": "hard switch non-thinking",
}


def render_junit(frame: "pd.DataFrame", standings: Sequence[Standing], about: Mapping[str, Any]) -> str:
    """Returns JUnit XML: plain compliance at each budget and at each place of the flag, and the budget audit.

    Compliance fails where it is below what is asked, and is an error where that is not decided: what
    --strict exits with. A place fails where its whole interval is below and its budget is no pass. What does
    not count in compliance is told as skipped.
    """
    suites = ElementTree.Element("testsuites", name="thinkfollow")
    least = float(about["settings"]["thinkfollow"]["min"])
    for standing in standings:
        turns = frame[frame["budget"] == standing.budget]
        cases = [*_list_plain(turns, standing, least), *_list_apart(turns)]
        suites.append(_build_suite(f"thinkfollow.budget {standing.budget}", cases, about))
    suites.append(_build_suite("thinkfollow.budget audit", [_tell_audit(about["budget_audit"])], about))
    ElementTree.indent(suites)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(suites, encoding="unicode")}\n'


def _list_plain(turns: "pd.DataFrame", standing: Standing, least: float) -> Iterator[Case]:
    plain = turns[turns["kind"] == "plain"]
    kind = _CODES[standing.outcome]
    yield f"compliance is at least {least:g}", kind, standing.said, _find_example(plain) if kind else ""
    for place, words in _PLACES.items():
        mine = plain[plain["place"] == place]
        if mine.empty:
            continue
        fails = bool(kind) and estimate_compliance(mine).ci_high < least
        said = _tell_compliance(mine) + (f" is below {least:g}" if fails else "")
        yield f"plain: {words}", "failure" if fails else "", said, _find_example(mine) if fails else ""


def _list_apart(turns: "pd.DataFrame") -> Iterator[Case]:
    for what, mine in split_kinds(turns):
        if what in _APART and not mine.empty:
            yield _APART[what], "skipped", f"told apart from compliance: {_tell_compliance(mine)}", ""


def _tell_compliance(turns: "pd.DataFrame") -> str:
    got = estimate_compliance(turns)
    if got.n_questions == 0:
        return f"none of {len(turns):,} turns is decided"
    return f"{got.score:.3f} ({got.ci_low:.3f} – {got.ci_high:.3f}) of {got.n_questions:,} turns"


def _find_example(turns: "pd.DataFrame") -> str:
    """Returns the first turn that did not do what it was asked, as text; "" where all did."""
    failed = turns[(turns["asked"] != turns["done"]) & ~turns["done"].isin(["", UNDECIDED])]
    if failed.empty:
        return ""
    row = failed.iloc[0]
    lines = [f"dialogue {row['dialogue']}, turn {row['turn']}: asked {row['asked']}, done {row['done']}"]
    for name in ("system", "user", "thinking", "answer"):
        text = str(row[name])
        if text:
            lines.append(f"{name}: {text[:MAX_SHOWN]}{' …' * (len(text) > MAX_SHOWN)}")
    return "\n".join(lines)


def _tell_audit(audit: Mapping[str, Any]) -> Case:
    name, checked, breaches = "budgets are kept", audit["checked"], audit["breaches"]
    if not breaches:
        return name, "", f"{checked:,} records keep their budgets", ""
    told = "\n".join(f"{breach['place']}: {breach['said']}" for breach in breaches[:MAX_BREACHES])
    return name, "failure", f"{len(breaches):,} breaches in {checked:,} records", told


def _build_suite(name: str, cases: Sequence[Case], about: Mapping[str, Any]) -> ElementTree.Element:
    kinds = [kind for _, kind, _, _ in cases]
    suite = ElementTree.Element(
        "testsuite",
        name=name,
        tests=str(len(cases)),
        failures=str(kinds.count("failure")),
        errors=str(kinds.count("error")),
        skipped=str(kinds.count("skipped")),
    )
    properties = ElementTree.SubElement(suite, "properties")
    ElementTree.SubElement(properties, "property", name="model", value=_printable(about["model"]["name"]))
    for title, kind, said, example in cases:
        case = ElementTree.SubElement(suite, "testcase", classname=name, name=title, time="0")
        if not kind:
            ElementTree.SubElement(case, "system-out").text = _printable(said)
            continue
        found = ElementTree.SubElement(case, kind, message=_printable(said))
        if kind != "skipped":
            found.set("type", "inconclusive" if kind == "error" else "below")
            found.text = _printable("\n".join(filter(None, [said, example])))
    return suite


def _printable(text: str) -> str:
    """Returns the text without what XML 1.0 does not allow, as control characters and half surrogates.

    Source: XML 1.0 (fifth edition), production 2, Char.
    """
    return _NOT_XML.sub("", text)
