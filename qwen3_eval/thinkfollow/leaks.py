"""Does reasoning stay where it belongs? Signs that it spilled into answers, as rates with examples to read.

Apart from compliance: each is a sign, not a proof. Answers behind the model's own thinking are told beside
those without thinking and those behind a cut: what they show is the model's manner.

* `long`: more than `LONG_TIMES` the median of the model's own non-thinking answers of the same difficulty.
* `self_talk`: at least `MOST_MARKERS` markers of thinking aloud, of the turn's language or English
  (reports/dialogues/self_talk.csv).
* `repeats`: at least `MOST_REPEATED` sentences of the turn's own thinking, word for word.
* `stop_text`: the words of the stop text.
"""

import csv
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from statistics import median
from typing import TYPE_CHECKING, Any

from qwen3_eval.chat import THINK_CLOSE, THINK_OPEN
from qwen3_eval.report.report_table import ReportTable
from qwen3_eval.report.tables import format_share
from qwen3_eval.stats.estimate import estimate
from qwen3_eval.types import NON_THINKING, THINKING

if TYPE_CHECKING:
    import pandas as pd

SIGNS = ("long", "self_talk", "repeats", "stop_text")
WHERES = ("non-thinking", "forced", "natural")
LONG_TIMES, FEWEST_LONG_TOKENS, FEWEST_TO_COMPARE = 4, 50, 10
MOST_MARKERS, MOST_REPEATED, FEWEST_LETTERS = 3, 2, 24
MAX_EXAMPLES = 5

_ENDS = re.compile(r"(?<=[.!?。!?।؟])\s+|(?<=[。!?।])|\n+")


def find_leaks(frame: "pd.DataFrame", stop_text: str) -> "pd.DataFrame":
    """Returns a row for each answer: `dialogue`, `turn`, `budget`, `where`, `answer`, and each of `SIGNS`.

    `frame` is as `tables.frame_of` gives it. Turns without an answer or with a violation are left
    out, for there is no telling where their reasoning belongs.
    """
    import pandas as pd

    clean = frame[frame["done"].isin([THINKING, NON_THINKING])]
    turns = clean.to_dict(orient="records")
    usual = _usual_lengths(turns)
    rows = [
        {
            "dialogue": turn["dialogue"],
            "turn": turn["turn"],
            "budget": turn["budget"],
            "where": _where(turn),
            "answer": turn["answer"],
            "long": is_long(turn["answer_tokens"], usual.get(turn["difficulty"])),
            "self_talk": count_markers(turn["answer"], turn["language"]) >= MOST_MARKERS,
            "repeats": count_repeated(turn["thinking"], turn["answer"]) >= MOST_REPEATED,
            "stop_text": quotes_stop_text(turn["answer"], stop_text),
        }
        for turn in turns
    ]
    return pd.DataFrame(rows, columns=["dialogue", "turn", "budget", "where", "answer", *SIGNS])


def _where(turn: Mapping[Any, Any]) -> str:
    if turn["done"] == NON_THINKING:
        return "non-thinking"
    return "forced" if turn["forced"] else "natural"


def _usual_lengths(turns: Sequence[Mapping[Any, Any]]) -> dict[str, float]:
    """Returns the median length of non-thinking answers, by difficulty, where there are enough of them."""
    lengths = defaultdict(list)
    for turn in turns:
        if turn["done"] == NON_THINKING:
            lengths[turn["difficulty"]].append(turn["answer_tokens"])
    return {name: median(found) for name, found in lengths.items() if len(found) >= FEWEST_TO_COMPARE}


def is_long(answer_tokens: int, usual: float | None) -> bool:
    """Returns whether an answer is much longer than is usual without thinking; `usual` None: nobody knows."""
    return usual is not None and answer_tokens > max(FEWEST_LONG_TOKENS, LONG_TIMES * usual)


def count_markers(answer: str, language: str) -> int:
    """Returns how often the answer holds markers of thinking aloud, whole words where there are blanks."""
    markers = _read_markers()
    known = [*markers["en"], *(markers[language] if language != "en" and language in markers else [])]
    text = answer.lower()
    return sum(len(re.findall(_pattern(marker), text)) for marker in dict.fromkeys(known))


def _pattern(marker: str) -> str:
    # Scripts without blanks have no word borders.
    return rf"\b{re.escape(marker)}\b" if marker.isascii() or " " in marker else re.escape(marker)


@cache
def _read_markers() -> dict[str, list[str]]:
    text = files("qwen3_eval.reports").joinpath("dialogues/self_talk.csv").read_text(encoding="utf-8")
    markers = defaultdict(list)
    for row in csv.DictReader(text.splitlines()):
        markers[row["language"]].append(row["marker"])
    return dict(markers)


def count_repeated(thinking: str, answer: str) -> int:
    """Returns how many distinct sentences of the thinking stand in the answer, word for word."""
    said = _squeeze(answer)
    sentences = {_squeeze(sentence) for sentence in _ENDS.split(thinking)}
    return sum(sentence in said for sentence in sentences if len(sentence) >= FEWEST_LETTERS)


def quotes_stop_text(answer: str, stop_text: str) -> bool:
    """Returns whether the answer holds the stop text's words."""
    words = _squeeze(stop_text.replace(THINK_OPEN, " ").partition(THINK_CLOSE)[0])
    return len(words) >= FEWEST_LETTERS and words in _squeeze(answer)


def _squeeze(text: str) -> str:
    return " ".join(text.lower().split())


def tabulate_leaks(leaks: "pd.DataFrame") -> ReportTable:
    """Returns the rate of each sign, by budget and by what stood before the answer."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for budget, answers in leaks.groupby("budget", sort=False):
        for where in WHERES:
            mine = answers[answers["where"] == where]
            for sign in SIGNS if len(mine) else ():
                got = estimate(mine[[sign]].to_numpy(dtype=float), mine["dialogue"].tolist())
                rows.append(
                    {
                        "budget": budget,
                        "where": where,
                        "sign": sign,
                        "share": got.score,
                        "ci_low": got.ci_low,
                        "ci_high": got.ci_high,
                        "answers": got.n_questions,
                    }
                )
    cells = [
        [str(row["budget"]), row["where"], row["sign"].replace("_", " "), format_share(row["share"]),
         f"{row['ci_low']:.3f} – {row['ci_high']:.3f}", f"{row['answers']:,}"]
        for row in rows
    ]  # fmt: skip
    return ReportTable(
        "thinkfollow_leaks",
        "Signs of reasoning in answers",
        "Share of answers, by what stood before them: no thinking, a block that a budget cut, the model's "
        "own thinking; 95 % Wilson interval clustered by dialogue. Signs, not proofs, apart from compliance; "
        "docs/thinkfollow.md defines them.",
        pd.DataFrame(rows, columns=["budget", "where", "sign", "share", "ci_low", "ci_high", "answers"]),
        ["budget", "before the answer", "sign", "share", "95 % interval", "answers"],
        cells,
        3,
    )


def choose_examples(leaks: "pd.DataFrame") -> list[dict[str, Any]]:
    """Returns up to `MAX_EXAMPLES` answers of each sign and place to read, those without thinking first."""
    found = []
    for sign in SIGNS:
        for where in WHERES:
            some = leaks[leaks[sign].astype(bool) & (leaks["where"] == where)].head(MAX_EXAMPLES)
            columns = ["dialogue", "turn", "budget", "where", "answer"]
            found += [{"sign": sign, **row} for row in some[columns].to_dict(orient="records")]
    return found  # type: ignore[return-value]  # keys are our column names
