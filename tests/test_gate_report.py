"""What the gate writes: Markdown, JUnit XML and GitHub's annotations say the verdict, each in its form."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from gating import gate, make_three


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_three(tmp_path_factory.mktemp("gate"))


def test_junit_has_a_test_for_each_check(runs: Path) -> None:
    """A regression fails; what is undecided is an error, a failure or skipped, as the exit code has it."""
    gate(runs, "worse")
    suite = ElementTree.parse(runs / "worse" / "gate.xml").getroot()[0]
    assert dict(suite.attrib) == {
        "name": "gate",
        "tests": "4",
        "failures": "1",
        "errors": "1",
        "skipped": "0",
    }
    failed = {case.get("name"): case.find("failure") for case in suite.iter("testcase")}
    (name,) = [name for name, failure in failed.items() if failure is not None]
    assert name == "sums thinking 4k"
    for setting, kind in (
        ("", "errors"),
        ("gate.inconclusive=pass", "skipped"),
        ("gate.inconclusive=fail", "failures"),
    ):
        gate(runs, "same", *filter(None, [setting]), max_drop="0.01")
        assert ElementTree.parse(runs / "same" / "gate.xml").getroot()[0].get(kind) == "4"


def test_markdown_says_the_verdict_first(runs: Path) -> None:
    """Then what is beyond, and what to do; what passes is folded."""
    gate(runs, "worse")
    text = (runs / "worse" / "gate.md").read_text()
    assert text.startswith("## ❌ Gate: regression\n\n**1 of 4 checks beyond what is tolerated; 2 pass")
    rows = [line for line in text.partition("<details>")[0].splitlines() if line.startswith("| sums")]
    assert [row.split(" | ")[0] for row in rows] == ["| sums thinking 4k", "| sums thinking area 1k-4k"]
    assert "Clearest at sums thinking 4k" in text


def test_github_shows_annotations_and_a_summary(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only where its variable is set; what was in the summary stays."""
    gate(runs, "worse")
    assert "::error" not in capsys.readouterr().out
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    gate(runs, "worse")
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("::")]
    assert line.startswith(
        "::error title=gate%3A regression%2C sums thinking 4k::the score changed by −0.200 "
    )
    assert summary.read_text().startswith("before\n## ❌ Gate: regression")
    for max_drop, start in (
        ("0.05", "::notice title=gate%3A pass::"),
        ("0.01", "::warning title=gate%3A inconcl"),
    ):
        gate(runs, "same", max_drop=max_drop)
        assert f"\n{start}" in capsys.readouterr().out
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "none" / "summary.md"))
    assert gate(runs, "same") == 0
