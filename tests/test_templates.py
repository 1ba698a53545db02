"""Chat templates: which modes each family offers, and Qwen3's own rendered byte for byte."""

from pathlib import Path
from typing import Any

import jinja2
import pytest
from environments import copy_checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from qwen3_eval.chat import Chat, load_chat
from qwen3_eval.cli import compose_config, main
from qwen3_eval.config import SweepConfig
from qwen3_eval.errors import CheckpointError
from qwen3_eval.study import read_study
from qwen3_eval.types import BASE, NON_THINKING, THINKING, Message, Mode

TURNS = (
    "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\n' + CONTENT + '<|im_end|>\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)
KEEPING = TURNS.replace("CONTENT", "m.content")
STRIPPING = TURNS.replace("CONTENT", "m.content.split('</think>')[-1].lstrip('\n')")
EMPTY = "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}"
TEMPLATES = {
    "hybrid": STRIPPING + EMPTY + "{%- endif %}",
    "hybrid that opens": STRIPPING + EMPTY + "{%- else %}{{- '<think>\n' }}{%- endif %}",
    "thinking-2507": STRIPPING + "{{- '<think>\n' }}",
    "thinking, unopened": STRIPPING,  # as the first templates of DeepSeek-R1's distillations
    "instruct-2507": KEEPING,
    "always empty": STRIPPING + "{{- '<think>\n\n</think>\n\n' }}",
}
MODES_OF: dict[str, set[Mode]] = {
    "hybrid": {THINKING, NON_THINKING},
    "hybrid that opens": {THINKING, NON_THINKING},
    "thinking-2507": {THINKING},
    "thinking, unopened": {THINKING},
    "instruct-2507": {NON_THINKING},
    "always empty": {NON_THINKING},
}


@pytest.fixture(scope="module")
def qwen3(data_root: Path) -> Path:
    """The folder of the real Qwen3 tokenizer and its template."""
    folder = data_root / "Qwen" / "Qwen3-tokenizer"
    if not folder.is_dir():
        pytest.skip(f"no Qwen3 tokenizer at {folder}")
    return folder


@pytest.fixture(scope="module")
def chat(qwen3: Path) -> Chat:
    return load_chat(str(qwen3))


@pytest.fixture(scope="module")
def tokenizer(qwen3: Path) -> Any:
    """A tokenizer of its own, whose template the tests set."""
    return load_chat(str(qwen3)).tokenizer


@pytest.fixture(scope="module")
def template(qwen3: Path) -> jinja2.Template:
    """The shipped template, as jinja2 reads it without transformers."""
    # Options as transformers documents them: a template is written for both trims.
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    return environment.from_string((qwen3 / "chat_template.jinja").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def words(qwen3: Path) -> Tokenizer:
    """The real vocabulary, as tokenizers reads it without transformers."""
    return Tokenizer.from_file(str(qwen3 / "tokenizer.json"))


def with_template(chat: Chat, tokenizer: Any, family: str) -> Chat:
    tokenizer.chat_template = TEMPLATES[family]
    return Chat(tokenizer, chat.think_open_id, chat.think_close_id, chat.eos_ids)


@pytest.mark.parametrize("family", TEMPLATES)
def test_the_modes_are_read_off_the_rendering(chat: Chat, tokenizer: Any, family: str) -> None:
    """Hybrids offer both, templates that ignore enable_thinking the one that they render."""
    told = with_template(chat, tokenizer, family)
    assert told.modes == MODES_OF[family]
    told.check_modes([BASE, *MODES_OF[family]], "m")
    for mode in {THINKING, NON_THINKING} - MODES_OF[family]:
        with pytest.raises(CheckpointError, match=f"^model 'm' has no {mode} mode"):
            told.check_modes([THINKING, NON_THINKING], "m")


def test_the_shipped_template_offers_both_modes(chat: Chat) -> None:
    """The first revision of Qwen3 is a hybrid."""
    assert chat.modes == {THINKING, NON_THINKING}


def test_the_2507_thinking_template_opens_the_block_itself(chat: Chat, tokenizer: Any) -> None:
    """Its prompt ends in 151667 and the newline, which is the first token of the thinking."""
    prompt = with_template(chat, tokenizer, "thinking-2507").render([Message("user", "2+2?")], THINKING)
    assert prompt.ids[-2:] == (151667, 198)
    assert prompt.prefill == (198,)


@pytest.mark.parametrize(
    ("family", "asked", "refusal"),
    [
        ("instruct-2507", ["mode=thinking", "budget=16"], "has no thinking mode"),
        (
            "instruct-2507",
            ["mode=thinking,non-thinking", "budget=16"],
            "set mode=non-thinking, or give a checkpoint",
        ),
        ("instruct-2507", ["mode=non-thinking", "budget=16"], None),
        ("instruct-2507", ["mode=thinking", "budget=0"], None),
        ("thinking-2507", ["mode=non-thinking", "budget=16"], "has no non-thinking mode"),
        ("thinking-2507", ["mode=thinking", "budget=0,16"], "set mode=thinking and budgets above 0"),
        ("thinking-2507", ["mode=thinking", "budget=16"], None),
        ("hybrid", ["mode=thinking,non-thinking", "budget=16"], None),
    ],
)
def test_a_sweep_in_a_mode_that_the_template_lacks_is_refused(
    nano: Path, tmp_path: Path, family: str, asked: list[str], refusal: str | None,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """One error with the model, the reason and the setting, before a run is made; other modes pass."""
    model = copy_checkpoint(nano, tmp_path / "model")
    (model / "chat_template.jinja").write_text(TEMPLATES[family])
    arguments = [f"model={model}", "engine=scripted", f"run.dir={tmp_path}/run", *asked]
    if refusal is None:
        read_study(compose_config("sweep", SweepConfig, arguments))
        return
    assert main(["sweep", *arguments]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: model '{model}' ")
    assert told.count("\n") == 1
    assert refusal in told
    assert not (tmp_path / "run").exists()


GOLDEN: list[tuple[list[tuple[str, str]], Mode, str]] = [
    (
        [("user", "2+2?")],
        THINKING,
        "<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n",
    ),
    (
        [("system", "Be brief."), ("user", "2+2?")],
        NON_THINKING,
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n"
        "<think>\n\n</think>\n\n",
    ),
    (
        [("user", "a /no_think"), ("assistant", "<think>\n\n</think>\n\nb"), ("user", "c /think")],
        THINKING,
        "<|im_start|>user\na /no_think<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
        "<|im_start|>user\nc /think<|im_end|>\n<|im_start|>assistant\n",
    ),
    (
        [("user", "a"), ("assistant", "<think>\nhm\n</think>\n\nb\n"), ("user", "c /think")],
        NON_THINKING,
        "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb\n<|im_end|>\n"
        "<|im_start|>user\nc /think<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    ),
    (
        # What follows the last question keeps its thinking; a tool's response is no question.
        [
            ("user", "a"), ("assistant", "<think>\nhm\n</think>\n\nb"),
            ("user", "<tool_response>\n1\n</tool_response>"),
        ],
        THINKING,
        "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n<think>\nhm\n</think>\n\nb<|im_end|>\n"
        "<|im_start|>user\n<tool_response>\n1\n</tool_response><|im_end|>\n<|im_start|>assistant\n",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("turns", "mode", "text"), GOLDEN)
def test_the_shipped_template_is_rendered_as_read_by_hand(
    chat: Chat, turns: list[tuple[str, str]], mode: Mode, text: str
) -> None:
    """System or none, several turns, earlier thinking stripped, both switches, the generation prompt."""
    prompt = chat.render([Message(role, content) for role, content in turns], mode)
    assert chat.decoder.decode(prompt.ids, keep_special=True) == text


PIECES = st.lists(
    st.sampled_from(
        ["2+2?", "/think", " /no_think", "\n", "\n\n", "<think>\nhm\n</think>\n\n", "</think>", "<think>",
         "é", "思考", "🙂", "{{ x }}", "&<'\"", "<|im_end|>", "<tool_response>", "</tool_response>", "  "]
    ),
    max_size=5,
).map("".join)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    system=st.none() | PIECES,
    contents=st.lists(PIECES, min_size=1, max_size=6),
    later_system=st.booleans(),
    mode=st.sampled_from([THINKING, NON_THINKING]),
)
def test_any_dialogue_is_the_shipped_template_byte_for_byte(
    chat: Chat,
    template: jinja2.Template,
    words: Tokenizer,
    system: str | None,
    contents: list[str],
    later_system: bool,
    mode: Mode,
) -> None:
    """Against the file rendered by jinja2 alone, and turned to ids by tokenizers alone."""
    turns = [{"role": ("user", "assistant")[i % 2], "content": c} for i, c in enumerate(contents)]
    if system is not None:
        turns.insert(len(turns) if later_system else 0, {"role": "system", "content": system})
    hard_switch = {} if mode == THINKING else {"enable_thinking": False}  # thinking is what it does unasked
    text = template.render(messages=turns, add_generation_prompt=True, **hard_switch)
    messages = [Message(turn["role"], turn["content"]) for turn in turns]
    assert chat.render_text(messages, mode).encode() == text.encode()
    assert list(chat.render(messages, mode).ids) == words.encode(text, add_special_tokens=False).ids
