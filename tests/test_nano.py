"""The box model as shipped: its size, its tokenizer, its chat template, and what it has learned."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qwen3_eval.tasks.chain import ChainQuestion, question_text, questions, working
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from qwen3_eval.model.generate import Generated, generate
from qwen3_eval.model.nano import ADDED_TOKENS, CHECKPOINT
from qwen3_eval.model.nano_lessons import REFUSAL, STOP_SENTENCE, answer_text
from qwen3_eval.model.qwen3 import Qwen3ForCausalLM
from qwen3_eval.model.weights import load_model
from qwen3_eval.types import Sampling

DATA = Path(os.environ.get("QWEN3_EVAL_DATA", Path(__file__).parents[2] / "shared/data"))
ORIGINAL = DATA / "Qwen/Qwen3-tokenizer"
FORCED_END = f"\n\n{STOP_SENTENCE}\n</think>\n\n"


@pytest.fixture(scope="module")
def model() -> Qwen3ForCausalLM:
    return load_model(CHECKPOINT)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(CHECKPOINT)


def short_questions(n: int) -> list[ChainQuestion]:
    return [q for q in questions(1000, seed=77) if q.steps <= 25][:n]


def ask(
    model: Qwen3ForCausalLM, tokenizer: Any, dialogues: list[Any], suffix: str = "", **template: Any
) -> list[str]:
    """Returns the greedy responses as text, the end of turn cut off."""
    prompts = [
        tokenizer.apply_chat_template(d, tokenize=False, add_generation_prompt=True, **template) + suffix
        for d in dialogues
    ]
    ids = [tokenizer.encode(p, add_special_tokens=False) for p in prompts]
    n = len(ids)
    stop = frozenset({tokenizer.eos_token_id})
    out: list[Generated] = generate(model, ids, [800] * n, [stop] * n, [Sampling()] * n, [0] * n)
    return [tokenizer.decode(g.token_ids).removesuffix("<|im_end|>") for g in out]


def test_checkpoint_is_at_most_8_mb() -> None:
    """The whole folder weighs at most 8 MB."""
    assert sum(f.stat().st_size for f in CHECKPOINT.iterdir()) <= 8_000_000


_byte_tokenizer = Tokenizer.from_file(str(CHECKPOINT / "tokenizer.json"))


@given(st.text().filter(lambda text: not any(token in text for token in ADDED_TOKENS)))
@settings(max_examples=300, deadline=None)
def test_any_text_round_trips_one_token_a_byte(text: str) -> None:
    """Any text without added tokens becomes its UTF-8 bytes as ids, and comes back the same."""
    ids = _byte_tokenizer.encode(text).ids
    assert ids == list(text.encode())
    assert _byte_tokenizer.decode(ids) == text


def test_added_tokens_are_those_of_qwen3() -> None:
    """The 26 added tokens have Qwen3's contents, order and `special` flags."""
    if not ORIGINAL.is_dir():
        pytest.skip(f"Qwen3's tokenizer is not at {ORIGINAL}; set QWEN3_EVAL_DATA")
    original = Tokenizer.from_file(str(ORIGINAL / "tokenizer.json")).get_added_tokens_decoder()
    ours = _byte_tokenizer.get_added_tokens_decoder()
    assert [(t.content, t.special) for t in ours.values()] == [
        (t.content, t.special) for t in original.values()
    ]
    assert list(ours) == list(range(256, 256 + len(ADDED_TOKENS)))


_contents = st.one_of(st.text(max_size=20), st.sampled_from(["/no_think", "hi /think", "<think>", "a\n"]))
_answers = st.one_of(
    _contents,
    st.builds("<think>\n{}\n</think>\n\n{}".format, _contents, _contents),
    st.sampled_from(["<think>\n\n</think>\n\nyes", "no</think>", "\n\nlate"]),
)
_turns = st.lists(
    st.one_of(
        st.builds(lambda c: {"role": "user", "content": c}, _contents),
        st.builds(lambda c: {"role": "assistant", "content": c}, _answers),
        st.builds(
            lambda c, r: {"role": "assistant", "content": c, "reasoning_content": r}, _contents, _contents
        ),
    ),
    min_size=1,
    max_size=6,
)


@given(
    system=st.none() | _contents,
    turns=_turns,
    switch=st.sampled_from([{}, {"enable_thinking": True}, {"enable_thinking": False}]),
    prompt=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_template_writes_what_qwen3s_does(
    system: str | None, turns: list[dict[str, str]], switch: dict[str, bool], prompt: bool
) -> None:
    """Every dialogue without tools is rendered as Qwen3's own template renders it, byte for byte."""
    if not ORIGINAL.is_dir():
        pytest.skip(f"Qwen3's chat template is not at {ORIGINAL}; set QWEN3_EVAL_DATA")
    from transformers.utils.chat_template_utils import render_jinja_template

    messages = ([] if system is None else [{"role": "system", "content": system}]) + turns
    rendered = [
        render_jinja_template(
            [messages],
            chat_template=(folder / "chat_template.jinja").read_text(encoding="utf-8"),
            add_generation_prompt=prompt,
            **switch,  # type: ignore[arg-type]  # the template's own variable
        )[0]
        for folder in (CHECKPOINT, ORIGINAL)
    ]
    assert rendered[0] == rendered[1]


def test_solves_chain_questions_line_by_line(model: Qwen3ForCausalLM, tokenizer: Any) -> None:
    """Greedy responses to held-out questions are the whole working and the boxed answer."""
    asked = short_questions(8)
    responses = ask(model, tokenizer, [[{"role": "user", "content": question_text(q)}] for q in asked])
    assert responses == [f"<think>\n{working(q)}</think>\n\n{answer_text(q.answer)}" for q in asked]


def test_answers_from_what_it_has_when_cut_off(model: Qwen3ForCausalLM, tokenizer: Any) -> None:
    """After a forced end the answer is the last whole code written; before the first, some code."""
    question = short_questions(1)[0]
    dialogue = [{"role": "user", "content": question_text(question)}]
    lines = working(question).splitlines(keepends=True)
    three = len("".join(lines[:3]))
    third = int(lines[2].split(": ")[1])
    for cut in (three, three + 12):  # at a line's end, and inside the next code
        suffix = "<think>\n" + working(question)[:cut] + FORCED_END
        assert ask(model, tokenizer, [dialogue], suffix) == [answer_text(third)]
    (answer,) = ask(model, tokenizer, [dialogue], "<think>\n" + FORCED_END)
    assert re.fullmatch(r"The code is \\boxed\{\d{3}\}\.", answer)


@pytest.mark.parametrize(
    ("turns", "thinks"),
    [
        (["Hello."], True),
        (["Hello. /no_think"], False),
        (["/no_think Hello."], False),
        (["/no_think Hello.", "And now?"], False),
        (["/no_think Hello.", "And now? /think"], True),
        (["Hello. /think /no_think"], False),
    ],
)
def test_obeys_the_last_switch(
    model: Qwen3ForCausalLM, tokenizer: Any, turns: list[str], thinks: bool
) -> None:
    """The last soft switch in the dialogue decides whether it thinks; the default is thinking."""
    dialogue = [{"role": "user", "content": turns[0]}]
    for turn in turns[1:]:
        dialogue += [{"role": "assistant", "content": REFUSAL}, {"role": "user", "content": turn}]
    response = ask(model, tokenizer, [dialogue])[0]
    assert response.startswith("<think>\n")
    assert response.startswith("<think>\n\n</think>\n\n") != thinks
    assert response.endswith(f"</think>\n\n{REFUSAL}")


def test_answers_directly_after_an_empty_block(model: Qwen3ForCausalLM, tokenizer: Any) -> None:
    r"""Under the hard switch the response is one sentence with a box, and no thinking."""
    dialogue = [{"role": "user", "content": question_text(short_questions(1)[0])}]
    response = ask(model, tokenizer, [dialogue], enable_thinking=False)[0]
    assert "think>" not in response
    assert "\\boxed{" in response
