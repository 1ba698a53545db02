"""Scores an answer by the references that occur in it, as RULER does: lower-cased, anywhere in the text.

`match_all` is for tasks that ask for every reference, `match_part` for those where each one alone is right.
Source: NVIDIA/RULER, scripts/eval/synthetic/constants.py, `string_match_all` and `string_match_part`, which
take the mean over samples and times 100. There an empty answer scores 0; here it also counts as `no_answer`.
"""

from collections.abc import Sequence

from qwen3_eval.types import Sample, Verdict

MAX_SHOWN_CHARS = 200


def match_all(sample: Sample, answer: str) -> Verdict:
    """Scores the share of the references that occur in `answer`; `correct` with all of them.

    The sample's target is a list of references. The reason lists those that are missing.
    """
    return _judge(sample, answer, needs_all=True)


def match_part(sample: Sample, answer: str) -> Verdict:
    """Scores 1 where at least one of the references occurs in `answer`, else 0."""
    return _judge(sample, answer, needs_all=False)


def _judge(sample: Sample, answer: str, needs_all: bool) -> Verdict:
    references = sample.target
    if not _is_list_of_texts(references):
        return Verdict.error(f"the target is {references!r}, not a list of one or more texts")
    if not answer.strip():
        return Verdict.no_answer("the answer is empty")
    lowered = answer.lower()
    found = [r for r in references if r.lower() in lowered]
    missing = [r for r in references if r.lower() not in lowered]
    share = len(found) / len(references)
    score = share if needs_all else float(bool(found))
    extracted = _shorten(", ".join(found)) if found else None
    if score == 1:
        return Verdict("correct", 1.0, extracted, f"found {len(found)} of {len(references)}")
    return Verdict("incorrect", score, extracted, _shorten(f"missing: {', '.join(missing)}"))


def _is_list_of_texts(target: object) -> bool:
    return (
        isinstance(target, Sequence)
        and not isinstance(target, str)
        and len(target) > 0
        and all(isinstance(reference, str) and reference for reference in target)
    )


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_SHOWN_CHARS else text[:MAX_SHOWN_CHARS] + "…"
