"""The chat format, on the real Qwen3 tokenizer where it is at hand."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen3_eval.chat import STOP_TEXTS, Chat, find_last_switch, find_stop_text, load_chat
from qwen3_eval.errors import CheckpointError
from qwen3_eval.types import NON_THINKING, THINKING, Message

QWEN3 = Path(os.environ.get("QWEN3_EVAL_DATA", "../shared/data")) / "Qwen/Qwen3-tokenizer"


@pytest.fixture(scope="module")
def chat() -> Chat:
    if not QWEN3.is_dir():
        pytest.skip(f"no Qwen3 tokenizer at {QWEN3}")
    return load_chat(str(QWEN3))


@pytest.fixture(scope="module")
def reference(chat: Chat) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(QWEN3))


def user(text: str) -> Message:
    return Message("user", text)


def test_the_tags_come_from_the_tokenizer(chat: Chat) -> None:
    """On Qwen3's own tokenizer they are 151667 and 151668, and <|im_end|> ends a turn."""
    assert (chat.think_open_id, chat.think_close_id) == (151667, 151668)
    assert 151645 in chat.eos_ids
    assert chat.thinking_stop_ids == chat.eos_ids | {151668}


def test_the_hard_switch_opens_or_empties_the_block(chat: Chat) -> None:
    """Thinking leaves the block to the model; non-thinking puts the empty one into the prompt."""
    thinking = chat.render([user("2+2?")], THINKING)
    direct = chat.render([user("2+2?")], NON_THINKING)
    assert chat.decoder.decode(thinking.ids, keep_special=True) == (
        "<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert thinking.prefill is None
    assert direct.ids == thinking.ids + chat.encode("<think>\n\n</think>\n\n")


def test_a_template_that_opens_the_block_is_noticed(chat: Chat) -> None:
    """As Qwen3's 2507 Thinking template does: the newline after its <think> is already thinking."""
    tokenizer = load_chat(str(QWEN3)).tokenizer
    tokenizer.chat_template = "{{ messages[0].content }}{{ '<think>\n' }}"
    opened = Chat(tokenizer, chat.think_open_id, chat.think_close_id, chat.eos_ids)
    prompt = opened.render([user("x")], THINKING)
    assert prompt.prefill == chat.encode("\n")
    assert prompt.ids == chat.encode("x<think>\n")


def test_earlier_thinking_is_stripped_from_the_dialogue(chat: Chat) -> None:
    """An assistant turn with a block keeps only its answer once a user turn follows."""
    turns = [user("a"), Message("assistant", "<think>\nhm\n</think>\n\nb"), user("c")]
    text = chat.decoder.decode(chat.render(turns, THINKING).ids, keep_special=True)
    assert "hm" not in text
    assert "<|im_start|>assistant\nb<|im_end|>" in text


def test_the_stop_texts_close_the_thinking(chat: Chat) -> None:
    """Both named stop texts hold `</think>` once, as one id; a text of the user's must hold it too."""
    for name, text in STOP_TEXTS.items():
        assert find_stop_text(name) == text
        assert chat.encode(text).count(chat.think_close_id) == 1
    assert STOP_TEXTS["docs"].startswith("\n\nConsidering")
    assert STOP_TEXTS["report"].endswith("\n</think>.\n\n")
    assert find_stop_text("Enough.</think>") == "Enough.</think>"
    with pytest.raises(CheckpointError, match="does not close the thinking"):
        find_stop_text("Enough.")


@pytest.mark.parametrize(
    ("texts", "switch"),
    [
        (["hello"], None),
        (["2+2? /no_think"], "/no_think"),
        (["/no_think 2+2?"], "/no_think"),
        (["/no_think a", "b /think"], "/think"),
        (["/think a /no_think"], "/no_think"),
        (["a/think"], None),
        (["</think>"], None),
        (["/thinking"], None),
        (["/no_think."], "/no_think"),
    ],
)
def test_the_last_switch_wins(texts: list[str], switch: str | None) -> None:
    """The last soft switch of the dialogue counts; tags, paths and longer words are none."""
    assert find_last_switch([user(t) for t in texts]) == switch


def test_switches_count_in_system_and_user_messages_only() -> None:
    """The assistant may quote a switch without flipping it."""
    assert find_last_switch([Message("system", "/no_think"), user("a")]) == "/no_think"
    assert find_last_switch([user("/no_think a"), Message("assistant", "/think"), user("b")]) == "/no_think"


def test_an_answer_is_what_follows_the_last_block(chat: Chat) -> None:
    """Thinking that reopens inside the answer is not part of it, and unclosed it leaves no answer."""
    read = chat.decoder.read_answer
    assert read(chat.encode("\n\nIt is 4.<|im_end|>")) == "It is 4."
    assert read(chat.encode("So <think>hm</think> 4")) == "4"
    assert read(chat.encode("4 <think> or 5")) is None
    # A model that forgot <think> but closed the block.
    assert read(chat.encode("it must be\n</think>\n\n4")) == "4"


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=60), other=st.text(max_size=60))
def test_the_tokenizer_is_that_of_transformers_auto_class(
    chat: Chat, reference: Any, text: str, other: str
) -> None:
    """Loaded without the auto class, it gives the same ids and renders the same dialogue."""
    assert list(chat.encode(text)) == reference.encode(text, add_special_tokens=False)
    turns = [
        {"role": "user", "content": f"{text} /think"},
        {"role": "assistant", "content": other},
        {"role": "user", "content": other},
    ]
    for thinks in (True, False):
        asked = {"tokenize": False, "add_generation_prompt": True, "enable_thinking": thinks}
        expected = reference.apply_chat_template(turns, **asked)
        messages = [Message(turn["role"], turn["content"]) for turn in turns]
        assert chat.render_text(messages, THINKING if thinks else NON_THINKING) == expected
        ids = reference.encode(expected, add_special_tokens=False)
        assert list(chat.render(messages, THINKING if thinks else NON_THINKING).ids) == ids


def test_loading_the_chat_format_imports_no_torch() -> None:
    """A dry run, a refusal and a resumed sweep do not wait for it."""
    if not QWEN3.is_dir():
        pytest.skip(f"no Qwen3 tokenizer at {QWEN3}")
    code = f"""
import sys
from qwen3_eval.chat import load_chat
load_chat({str(QWEN3)!r})
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=40), st.integers(0, 40))
def test_decoding_never_fails_on_ids_cut_mid_character(chat: Chat, text: str, cut: int) -> None:
    """Any prefix of any ids decodes; the whole ids give the (NFC) text back."""
    import unicodedata

    ids = chat.encode(text)
    chat.decoder.decode(ids[:cut])
    if "<|" not in text:
        assert chat.decoder.decode(ids) == unicodedata.normalize("NFC", text)


def test_a_tokenizer_without_the_tags_is_refused(tmp_path: Path) -> None:
    """The error names the token that is missing."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=Tokenizer(models.WordLevel({"a": 0, "<think>": 1}, unk_token="a")), eos_token="a"
    )
    tokenizer.chat_template = "{{ messages }}"
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="no token </think>"):
        load_chat(str(tmp_path))


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    """The error says what was looked for, in one line of ours."""
    with pytest.raises(CheckpointError, match="no tokenizer could be loaded"):
        load_chat(str(tmp_path))
