"""What the box model is taught: lessons say what is true, and carry loss where something can be learned."""

import itertools
import random
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from qwen3_eval.tasks.chain import next_code

from qwen3_eval.model import nano_moe
from qwen3_eval.model.nano import CHECKPOINT, CONFIG, ROUNDS
from qwen3_eval.model.nano_lessons import Lesson, draw_dialogue, draw_thinking
from qwen3_eval.model.nano_training import collate, draw_batches, lesson_loss, load_teacher
from qwen3_eval.model.qwen3 import Qwen3ForCausalLM

TEACHER = load_teacher(CHECKPOINT)
LINE = re.compile(r"(\d{3}) to go: (\d{3})\n")


def read(lesson: Lesson) -> str:
    """Returns the lesson's text; the added tokens, ids from 256, each become U+FFFD."""
    return bytes(i for t in lesson.ids for i in ([t] if t < 256 else "\ufffd".encode())).decode(
        "utf-8", "replace"
    )


@given(st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_a_window_counts_down_and_follows_the_map(seed: int) -> None:
    """Each line follows from the one before; only a window that reaches 0 is closed by the model."""
    lesson = TEACHER.window(random.Random(seed), cut=0.0)
    lines = [(int(m[1]), int(m[2])) for m in LINE.finditer(read(lesson))]
    for (left, code), (next_left, following) in itertools.pairwise(lines):
        assert (next_left, following) == (left - 1, next_code(code))
    assert (lesson.ids[-1] == CONFIG.eos_token_id) == (lines[-1][0] == 0)


@given(st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_a_cut_is_answered_with_the_last_whole_code(seed: int) -> None:
    """What stands in the box is the code of the last line whose three digits were written."""
    text = read(TEACHER.window(random.Random(seed), cut=1.0))
    working = re.match(r"(?:\d{3} to go: \d{3}\n)*(?:\d{3} to go: \d{3}|[\d togo:]*)", text)
    assert working is not None
    codes = re.findall(r"to go: (\d{3})", working[0])
    assert re.findall(r"\\boxed\{(\d{3})\}", text)[-1] == codes[-1]


@given(st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_nothing_of_a_prompt_carries_loss(seed: int) -> None:
    """Weights belong to the response, one for each id; what the user wrote is never learned by heart."""
    rng = random.Random(seed)
    dialogue = draw_dialogue(rng)
    lesson = TEACHER.response(rng, dialogue)
    prompt = len(TEACHER.encode(TEACHER.render(dialogue.messages, dialogue.enable_thinking)))
    assert len(lesson.ids) == len(lesson.weights)
    assert not any(lesson.weights[:prompt])
    assert any(lesson.weights[prompt:])


def test_an_opening_obeys_the_switch_and_reads_the_question() -> None:
    """It begins with `<think>` and the first line of the working: the steps and the start as asked."""
    rng = random.Random(4)
    for _ in range(50):
        dialogue = draw_thinking(rng, 3)
        assert dialogue.question is not None
        asked = f"{dialogue.question.steps:03d} to go: {dialogue.question.start:03d}\n"
        assert f"assistant\n\ufffd\n{asked}" in read(TEACHER.opening(rng, dialogue))


@pytest.mark.parametrize("stage", [stage for r in ROUNDS + nano_moe.ROUNDS for stage in r.stages])
def test_every_stage_of_the_recipe_can_be_trained(stage: str) -> None:
    """Its lessons fit the model's context, and one step on them lowers their loss."""
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(CONFIG)
    model.initialise(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for _, lessons in draw_batches(TEACHER, random.Random(0), stage):
        ids, weights = collate(lessons[:4])
        assert ids.shape[1] <= CONFIG.max_position_embeddings
        ids, weights = ids[:, :600], weights[:, :600]
        if not weights.any():
            continue  # the piece taken of it lies in its prompt
        before, _ = lesson_loss(model, ids, weights)
        before.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        optimizer.zero_grad()
        assert lesson_loss(model, ids, weights)[0] < before
