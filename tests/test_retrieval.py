"""The retrieval scorers: what counts as found, and RULER's two formulae."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen3_eval.scoring.retrieval import match_all, match_part
from qwen3_eval.types import Message, Sample, Verdict


def sample(*references: str) -> Sample:
    return Sample("ruler/0", (Message("user", "?"),), list(references))


@pytest.mark.parametrize(
    ("references", "answer", "score"),
    [
        (("1234567",), "The special magic number is 1234567.", 1.0),
        (("1234567",), "It is 1,234,567.", 0.0),
        (("1234567", "7654321"), "It is 7654321.", 1 / 2),
        (("ABCDE", "FGHIJ", "KLMNO", "PQRST", "UVWXY"), "abcde, uvwxy and QQQQQ", 2 / 5),
        (("atrium", "alto", "calico", "friend"), "1. Atrium 2. ALTO 3. friends", 3 / 4),
    ],
)
def test_match_all_is_the_share_of_references_found(
    references: tuple[str, ...], answer: str, score: float
) -> None:
    """Worked by hand from string_match_all: 1 for each reference found, over the number of references."""
    verdict = match_all(sample(*references), answer)
    assert verdict.score == score
    assert verdict.outcome == ("correct" if score == 1 else "incorrect")


@pytest.mark.parametrize(
    ("references", "answer", "score"),
    [
        (("France", "in France", "the north of France"), "France", 1.0),
        (("10th century", "the first half of the 10th century", "10th"), "In the 10TH century.", 1.0),
        (("yes",), "No.", 0.0),
        (("Rollo",), "King Charles III", 0.0),
    ],
)
def test_match_part_needs_one_reference(references: tuple[str, ...], answer: str, score: float) -> None:
    """Worked by hand from string_match_part: the maximum over references. One of three is 1.0, not 0.33."""
    verdict = match_part(sample(*references), answer)
    assert (verdict.score, verdict.outcome) == (score, "correct" if score else "incorrect")


def test_the_verdict_tells_what_was_found_and_what_is_missing() -> None:
    """`extracted` lists the references found, in their own spelling; the reason lists the others."""
    verdict = match_all(sample("ABCDE", "FGHIJ", "KLMNO"), "fghij")
    assert (verdict.extracted, verdict.reason) == ("FGHIJ", "missing: ABCDE, KLMNO")
    assert match_part(sample("Rollo"), "Charles").extracted is None


@pytest.mark.parametrize("scorer", [match_all, match_part])
def test_an_empty_answer_is_no_answer(scorer: Callable[[Sample, str], Verdict]) -> None:
    """Nothing but white space scores 0 as `no_answer`, not as `incorrect`."""
    verdict = scorer(sample("1234567"), " \n")
    assert (verdict.outcome, verdict.score, verdict.extracted) == ("no_answer", 0.0, None)


@pytest.mark.parametrize("target", ["1234567", [], [""], [7], None])
def test_a_target_that_is_no_list_of_texts_is_an_error(target: object) -> None:
    """A fault of the data is an `error`, never the model's: letters of a text are not its references."""
    verdict = match_all(Sample("ruler/0", (), target), "1234567")
    assert verdict.outcome == "error"
    assert "not a list of one or more texts" in verdict.reason


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5), st.text())
def test_both_formulae_agree_with_their_definition(references: list[str], answer: str) -> None:
    """Whatever the texts: the mean and the maximum of the indicators, between 0 and 1."""
    indicators = [float(r.lower() in answer.lower()) for r in references] if answer.strip() else [0.0]
    assert match_all(sample(*references), answer).score == sum(indicators) / len(indicators)
    assert match_part(sample(*references), answer).score == max(indicators)
