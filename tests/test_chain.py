"""The chain questions: the map, the working, and what is held out."""

import itertools
import math
import random
import re

from qwen3_eval.tasks.chain import (
    FEWEST_STEPS,
    MOST_STEPS,
    draw_question,
    next_code,
    question_text,
    questions,
    working,
)


def test_working_follows_the_map_from_start_to_answer() -> None:
    """The working has a line for the start and each step, counted down to 0, and ends with the answer."""
    for question in questions(20, seed=1):
        lines = working(question).splitlines(keepends=True)
        found = [re.fullmatch(r"(\d{3}) to go: (\d{3})\n", line) for line in lines]
        assert [int(m[1]) for m in found if m] == list(range(question.steps, -1, -1))
        codes = [int(m[2]) for m in found if m]
        assert (codes[0], codes[-1]) == (question.start, question.answer)


def test_a_step_moves_the_digits_left() -> None:
    """The code abc becomes bcd: two digits of a line stand in the next, one place to the left."""
    question = questions(1, seed=2)[0]
    codes = re.findall(r": (\d{3})", working(question))
    assert all(after[:2] == before[1:] for before, after in itertools.pairwise(codes))


def test_the_prompt_states_the_question() -> None:
    """The prompt gives start and steps with three digits, and ends with the model card's instruction."""
    question = questions(1, seed=3)[0]
    text = question_text(question)
    assert f"starts at {question.start:03d}" in text
    assert f"after {question.steps:03d} steps" in text
    assert text.endswith("Please reason step by step, and put your final answer within \\boxed{}.")


def test_training_never_sees_an_evaluation_question() -> None:
    """What training draws and what `questions` returns are apart, whatever the seeds."""
    rng = random.Random(0)
    trained = {draw_question(rng, held_out=False) for _ in range(3000)}
    assert not trained & set(questions(3000, seed=0))


def test_questions_are_seeded_different_and_a_longer_list_begins_the_same() -> None:
    """The same seed gives the same questions, without repeats, and more of them only adds at the end."""
    some = questions(50, seed=3)
    assert questions(80, seed=3)[:50] == some
    assert len(set(some)) == 50
    assert questions(50, seed=4) != some


def test_steps_are_log_uniform() -> None:
    """Half the questions lie below the geometric middle of the range, and none outside."""
    rng = random.Random(5)  # drawn one by one: a list without repeats runs out of short questions
    steps = [draw_question(rng).steps for _ in range(4000)]
    assert min(steps) == FEWEST_STEPS
    assert MOST_STEPS - 10 < max(steps) <= MOST_STEPS
    middle = math.sqrt(FEWEST_STEPS * (MOST_STEPS + 1))
    # The standard error of a share of 4,000 is 0.008; 0.04 is five of them.
    assert abs(sum(n < middle for n in steps) / len(steps) - 0.5) < 0.04


def test_the_map_on_codes_worked_by_hand() -> None:
    """d is the last digit of a + 2 where c is at most 5, of a + 5 where it is more."""
    assert [next_code(code) for code in (940, 401, 16, 165, 858, 999, 0)] == [401, 16, 165, 653, 583, 994, 2]


def test_the_map_permutes_the_codes() -> None:
    """Every code follows from exactly one other, so no working runs into a fixed answer."""
    assert sorted(next_code(code) for code in range(1000)) == list(range(1000))
    assert all(next_code(code) != code for code in range(1000))
