"""RULER: does a model still find, track, count and answer in a prompt of 4k to 128k of its own tokens?"""

import gzip
import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from qwen3_eval.tasks.ruler_haystack import NAMES, Maker, Row, sample_name

from qwen3_eval.budget import format_budget, parse_budget
from qwen3_eval.data import DataSource, HubSplit
from qwen3_eval.errors import ConfigError, DataError, did_you_mean
from qwen3_eval.scoring.retrieval import match_all, match_part
from qwen3_eval.task import Asking, Card, procedural_task
from qwen3_eval.types import Sample, Unmade, Verdict

LENGTHS = ("4k", "8k", "16k", "32k", "64k", "128k")
N_SAMPLES = 500

# Rows and columns of each. Source: NVIDIA/RULER reads the same sets, from their authors.
QUESTION_SETS = {
    "qa_1": (
        HubSplit("rajpurkar/squad_v2", "squad_v2", "validation"),
        11_873,
        ("title", "context", "question", "answers"),
    ),
    "qa_2": (
        HubSplit("hotpotqa/hotpot_qa", "distractor", "validation"),
        7_405,
        ("question", "answer", "supporting_facts", "context"),
    ),
}
_OWN_FILES = {"qa_1": "squad*.json*", "qa_2": "hotpotqa*.json*"}


def match(sample: Sample, answer: str) -> Verdict:
    """Scores by RULER's rule: any reference for the questions, the share found for all other tasks."""
    return (match_part if sample.metadata["task"] in QUESTION_SETS else match_all)(sample, answer)


def read_questions(name: str, source: DataSource, folder: str) -> Sequence[Row]:
    """Returns the rows of `qa_1` or `qa_2`: of RULER's own JSON files in `folder`, else of hub or mirror.

    A mirror may hold those files too, in `ruler/`; they must then be complete, unless a subset is allowed.
    """
    where, n_rows, columns = QUESTION_SETS[name]
    if folder:
        files = _find_files(name, Path(folder).expanduser())
        if not files:
            raise DataError(
                f"options.ruler.questions='{folder}' holds no {_OWN_FILES[name]}, which {name} asks from"
            )
        return _read_file(files[0])
    files = _find_files(name, source.mirror / "ruler") if source.mirror is not None else []
    if not files:
        return source.rows(where.hub_id, where.config, where.split, None, n_rows, columns).rows
    rows = _read_file(files[0])
    n_found = sum(len(p["qas"]) for row in rows for p in row["paragraphs"]) if name == "qa_1" else len(rows)
    if n_found != n_rows and not source.allow_partial:
        raise DataError(
            f"{files[0]}: {n_found:,} rows, where {name} has {n_rows:,}; a subset passes with "
            "data.allow_partial=true"
        )
    return rows


def _find_files(name: str, folder: Path) -> list[Path]:
    return sorted(folder.glob(_OWN_FILES[name]))


def _read_file(file: Path) -> Sequence[Row]:
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            found: Any = json.load(stream)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"'{file}' is not readable JSON ({error}); fetch it again") from error
    rows: Sequence[Row] = found["data"] if isinstance(found, dict) else found
    return rows


def read_lengths(values: Sequence[object], asking: Asking, reserve: int) -> list[int]:
    """Returns the lengths in tokens. Raises ConfigError for one that is none, or that the context lacks."""
    lengths = [parse_budget(value) for value in values]
    for length in lengths:
        if not 0 < length < float("inf"):
            raise ConfigError(f"options.ruler.lengths={format_budget(length)} is no length; write 4096 or 4k")
        needed = int(length) - reserve + asking.output_tokens
        if asking.context is not None and needed > asking.context:
            raise ConfigError(
                f"options.ruler.lengths={format_budget(length)}: prompts of {int(length) - reserve:,} tokens "
                f"and {asking.output_tokens:,} of thinking and answer do not fit {asking.context:,}, the "
                "context of the model; give shorter lengths, engine.yarn_factor=4 to stretch the context, or "
                f"options.ruler.reserve={asking.output_tokens} to make prompt and output take it together"
            )
    return [int(length) for length in lengths]


@procedural_task(
    name="ruler",
    card=Card(
        rows=len(NAMES) * len(LENGTHS) * N_SAMPLES,
        licence="Apache-2.0 (the code); the essays are Paul Graham's, SQuAD and HotpotQA CC-BY-SA-4.0",
        prompt="RULER's, without the beginning of the answer",
        protocol="0-shot chat; 13 tasks at each length, in tokens of the model; the share of the references "
        "found in the answer, for questions 1 with any of them; the mean of the lengths' scores",
        source="Hsieh et al. 2024, arXiv:2404.06654; YaRN by 4 (engine.yarn_factor=4) and a thinking budget "
        "of 8,192: Qwen3 technical report, arXiv:2505.09388, appendix A.1",
        metric="recall",
        departures="RULER begins the answer itself, which would close the thinking, and cuts it at 30 to 128 "
        "tokens, which thinking models pass",
    ),
    scorer=match,
    average="groups",
    parallel=True,
    also=tuple(where for where, _, _ in QUESTION_SETS.values()),
)
def ruler(
    asking: Asking,
    *,
    lengths: tuple[str | int, ...] = LENGTHS,
    names: tuple[str, ...] = NAMES,
    n: int = N_SAMPLES,
    seed: int = 42,
    reserve: int = 0,
    questions: str = "",
) -> Iterator[Unmade]:
    """Yields samples that are made when they are asked: at 128k all together would be gigabytes."""
    for name in names:
        if name not in NAMES:
            raise ConfigError(
                f"options.ruler.names={name!r} is unknown{did_you_mean(name, NAMES)} known: "
                f"{', '.join(NAMES)}"
            )
    rows = {name: read_questions(name, asking.source, questions) for name in names if name in QUESTION_SETS}
    tokens = hashlib.sha256(str(asking.encode("the tokenizer decides 1 length: 文字 ١٢٣\n")).encode())
    overhead = asking.template_tokens + reserve

    @cache
    def find_maker(name: str, length: int) -> Maker:
        return Maker(name, length, asking.encode, seed, rows=rows.get(name), overhead=overhead)

    def make(name: str, length: int, i: int) -> Sample:
        made: Sample = find_maker(name, length).make(i)
        return made

    for length in read_lengths(lengths, asking, reserve):
        for name in names:
            recipe = f"{name} {length} {seed} {overhead} {len(rows.get(name, ()))} {tokens.hexdigest()}"
            for i in range(n):
                group = f"{format_budget(length)}/{name}"
                yield Unmade(sample_name(name, length, i), recipe, partial(make, name, length, i), group)
