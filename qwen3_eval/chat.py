"""Qwen3's chat format: rendering a dialogue to token ids, the soft switches, and where thinking lies.

The checkpoint's own template and tokenizer decide; nothing here is specific to one vocabulary.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from qwen3_eval.errors import CheckpointError
from qwen3_eval.types import BASE, MODES, NON_THINKING, THINKING, Message, Mode

THINK_OPEN = "<think>"
THINK_CLOSE = "</think>"

STOP_TEXTS = {
    # Source: Qwen documentation, "Quickstart", thinking budget recipe.
    "docs": "\n\nConsidering the limited time by the user, I have to give the solution based on the thinking "
    "directly now.\n</think>\n\n",
    # Source: Qwen3 technical report (arXiv 2505.09388), section 4.3.
    "report": "Considering the limited time by the user, I have to give the solution based on the thinking "
    "directly now.\n</think>.\n\n",
}
"""What a forced end inserts, by the name a setting uses."""

# Classes that add nothing to what tokenizer.json says.
_PLAIN_TOKENIZERS = ("PreTrainedTokenizerFast", "Qwen2Tokenizer", "Qwen2TokenizerFast", "TokenizersBackend")

# `</think>` is a tag and `a/think` a path: neither is a switch.
_SWITCH = re.compile(r"(?<![\w/<])/(no_think|think)\b")


def find_stop_text(name_or_text: str) -> str:
    """Returns the stop text of that name, or the user's own. Raises CheckpointError without `</think>`."""
    text = STOP_TEXTS.get(name_or_text, name_or_text)
    if THINK_CLOSE not in text:
        raise CheckpointError(
            f"stop_text={name_or_text!r} does not close the thinking; write one of {', '.join(STOP_TEXTS)}, "
            f"or a text that contains {THINK_CLOSE}"
        )
    return text


def find_last_switch(messages: Iterable[Message]) -> Literal["/think", "/no_think"] | None:
    """Returns the last soft switch in the dialogue's user and system messages, or None."""
    found = [s for m in messages if m.role in ("user", "system") for s in _SWITCH.findall(m.content)]
    if not found:
        return None
    return "/no_think" if found[-1] == "no_think" else "/think"


@dataclass(frozen=True)
class Prompt:
    """A rendered prompt; `prefill` holds the ids after a `<think>` that the template opened, else None."""

    ids: tuple[int, ...]
    prefill: tuple[int, ...] | None = None

    @property
    def sha256(self) -> str:
        """What a record keeps of the ids, to tell one prompt from another."""
        return hashlib.sha256(",".join(map(str, self.ids)).encode()).hexdigest()


@dataclass(frozen=True)
class Chat:
    """The chat format of one checkpoint. Build it with `load_chat`."""

    tokenizer: Any  # transformers' PreTrainedTokenizerFast
    think_open_id: int
    think_close_id: int
    eos_ids: frozenset[int]

    def render(self, messages: Sequence[Message], mode: Mode) -> Prompt:
        """Returns the prompt that asks for the assistant's next turn under the hard switch `mode`."""
        ids = self.encode(self.render_text(messages, mode))
        # A template that opens the block writes `<think>` and at most a newline after it.
        for back in (1, 2):
            if len(ids) >= back and ids[-back] == self.think_open_id:
                return Prompt(ids, ids[len(ids) - back + 1 :])
        return Prompt(ids)

    def render_text(self, messages: Sequence[Message], mode: Mode) -> str:
        """Returns what the checkpoint's template writes for `render`, before it becomes ids."""
        text: str = self.tokenizer.apply_chat_template(
            [{"role": m.role, "content": m.content} for m in messages],
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=mode == THINKING,
        )
        return text

    @cached_property
    def modes(self) -> frozenset[Mode]:
        """The chat modes that the template can ask for, told from what it renders, never from a name.

        One that ignores `enable_thinking` has one of them: thinking where it leaves the block open, or strips
        it from earlier turns, else non-thinking.
        """
        asked = [Message("user", "x")]
        thinking, direct = (self.render_text(asked, mode).rstrip() for mode in (THINKING, NON_THINKING))
        found: set[Mode] = set()
        if not thinking.endswith(THINK_CLOSE):
            found.add(THINKING)
        if not direct.endswith(THINK_OPEN):
            found.add(NON_THINKING)
        if thinking == direct and len(found) > 1:
            earlier = Message("assistant", f"{THINK_OPEN}\nearlier thought\n{THINK_CLOSE}\n\ny")
            kept = "earlier thought" in self.render_text([*asked, earlier, *asked], THINKING)
            found = {NON_THINKING} if kept else {THINKING}
        return frozenset(found)

    def check_modes(self, modes: Iterable[Mode], model: str) -> None:
        """Raises CheckpointError where the template of `model` cannot ask for one of the modes."""
        wrong = {THINKING, NON_THINKING}.intersection(modes) - self.modes
        if THINKING in wrong:
            raise CheckpointError(
                f"model '{model}' has no thinking mode, like Qwen3's 2507 Instruct: its chat template "
                f"renders alike for enable_thinking=true and false, with no {THINK_OPEN} left open; set "
                "mode=non-thinking, or give a checkpoint that thinks, hybrid or Thinking"
            )
        if NON_THINKING in wrong:
            raise CheckpointError(
                f"model '{model}' has no non-thinking mode (budget 0), like Qwen3's 2507 Thinking: its chat "
                f"template writes no empty {THINK_OPEN}{THINK_CLOSE} block for enable_thinking=false; set "
                "mode=thinking and budgets above 0, or give a hybrid or Instruct checkpoint"
            )

    def encode(self, text: str) -> tuple[int, ...]:
        """Returns the ids of `text`, special tokens recognised, none added."""
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

    def encode_plain(self, text: str) -> list[int]:
        """Returns the ids of `text`, as `encode`, several times as fast for long texts."""
        ids: list[int] = self.tokenizer.backend_tokenizer.encode_batch_fast([text], add_special_tokens=False)[
            0
        ].ids
        return ids

    def count_template_tokens(self) -> int:
        """Returns how many tokens the template adds to one user message, in the mode where they are most."""
        messages = [Message("user", "x")]
        return max(len(self.render(messages, mode).ids) for mode in MODES if mode != BASE) - len(
            self.encode("x")
        )

    @cached_property
    def thinking_stop_ids(self) -> frozenset[int]:
        """Ids that end a thinking segment: `</think>`, or the end of the turn."""
        return self.eos_ids | {self.think_close_id}

    @cached_property
    def decoder(self) -> "Decoder":
        return Decoder(self.tokenizer.backend_tokenizer.to_str())


class Decoder:
    """Token ids to text, from a tokenizer's JSON alone: reports need neither the model nor transformers."""

    def __init__(self, tokenizer_json: str) -> None:
        from tokenizers import Tokenizer

        self.tokenizer_json = tokenizer_json
        self.tokenizer = Tokenizer.from_str(tokenizer_json)

    def decode(self, ids: Sequence[int], *, keep_special: bool = False) -> str:
        """Returns the text of `ids`; an incomplete character at either end becomes U+FFFD."""
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=not keep_special)
        return text

    def read_answer(self, ids: Sequence[int]) -> str | None:
        """Returns the text a scorer may see, or None where thinking reopened in the answer never closes."""
        text = self.decode(ids).rpartition(THINK_CLOSE)[2]
        return None if THINK_OPEN in text else text.strip()


def load_chat(path: str, revision: str | None = None) -> Chat:
    """Returns the chat format of a local checkpoint folder or hub id.

    Raises CheckpointError where there is no tokenizer or template, or `<think>`, `</think>` are no tokens.
    """
    try:
        tokenizer = _load_tokenizer(path, revision)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"no tokenizer could be loaded from model '{path}': {str(error).splitlines()[0]}; "
            "give model= a checkpoint folder in Hugging Face layout, or a hub id that can be reached"
        ) from error
    if not tokenizer.chat_template:
        raise CheckpointError(
            f"model '{path}' has no chat template (chat_template.jinja); chat modes need one"
        )
    vocabulary = tokenizer.get_vocab()
    for token in (THINK_OPEN, THINK_CLOSE):
        if token not in vocabulary:
            raise CheckpointError(
                f"the tokenizer of model '{path}' has no token {token}; thinking budgets need a model with "
                f"{THINK_OPEN} and {THINK_CLOSE} in its vocabulary"
            )
    return Chat(
        tokenizer, vocabulary[THINK_OPEN], vocabulary[THINK_CLOSE], _find_eos_ids(path, revision, tokenizer)
    )


def _load_tokenizer(path: str, revision: str | None) -> Any:
    """Returns the tokenizer, without transformers' auto classes where Qwen's own class needs none of them.

    They import torch and most of transformers, which takes several times as long as all else that a dry
    run, a refusal or a resumed sweep does before it begins.
    """
    file = Path(path) / "tokenizer_config.json"
    if file.is_file() and (Path(path) / "tokenizer.json").is_file():
        settings = json.loads(file.read_text(encoding="utf-8"))
        if settings.get("tokenizer_class") in _PLAIN_TOKENIZERS and "auto_map" not in settings:
            from transformers import PreTrainedTokenizerFast

            return PreTrainedTokenizerFast.from_pretrained(path)
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(path, revision=revision)


def _find_eos_ids(path: str, revision: str | None, tokenizer: Any) -> frozenset[int]:
    """Qwen3 lists two ids that end a turn in generation_config.json, one in the tokenizer."""
    ids = {tokenizer.eos_token_id} - {None}
    if Path(path).is_dir():
        file = Path(path) / "generation_config.json"
        config = json.loads(file.read_text()) if file.is_file() else {}
    else:
        from transformers import GenerationConfig

        try:
            config = GenerationConfig.from_pretrained(path, revision=revision or "main").to_dict()
        except OSError:
            config = {}
    listed = config.get("eos_token_id")
    ids.update(listed if isinstance(listed, list) else [] if listed is None else [listed])
    if not ids:
        raise CheckpointError(f"model '{path}' names no end-of-turn token (eos_token_id) anywhere")
    return frozenset(ids)
