"""The settings of `thinkfollow`, read and checked before anything heavy starts."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen3_eval.budget import format_budget, parse_budgets
from qwen3_eval.chat import THINK_CLOSE, THINK_OPEN, Chat, find_last_switch, find_stop_text, load_chat
from qwen3_eval.checkpoint import Checkpoint, locate_model, name_model
from qwen3_eval.config import ThinkFollowConfig
from qwen3_eval.data import DataSource
from qwen3_eval.engine.start import check_engine
from qwen3_eval.errors import ConfigError
from qwen3_eval.study import as_list, identify_model, read_sampling
from qwen3_eval.task import Asking, add_tasks, load_task
from qwen3_eval.thinkfollow.dialogues import Dialogue, Question, draw_dialogues, read_bank
from qwen3_eval.types import NON_THINKING, THINKING, Budget, Mode, Sampling, Unmade

if TYPE_CHECKING:
    pass

TASK_QUESTIONS = 500
"""So many questions of a task at most: dialogues draw from them."""


@dataclass(frozen=True)
class Inquiry:
    """The settings, read and checked."""

    dialogues: Sequence[Dialogue]
    budgets: tuple[Budget, ...]
    sampling: Mapping[Mode, Sampling]
    stop_text: str
    checkpoint: Checkpoint
    chat: Chat
    model_name: str
    fingerprint: str  # of all questions, and of how dialogues are drawn


def read_inquiry(config: ThinkFollowConfig) -> Inquiry:
    """Reads and checks every setting before anything heavy starts. Raises QwenEvalErrors"""
    for name in (
        "dialogues",
        "min_turns",
        "max_turns",
        "max_answer_tokens",
        "max_output_tokens",
        "concurrency",
    ):
        if getattr(config, name) < 1:
            raise ConfigError(
                f"{name}={getattr(config, name)} is not allowed; give a whole number of at least 1"
            )
    if config.min_turns > config.max_turns:
        raise ConfigError(
            f"min_turns={config.min_turns} is more than max_turns={config.max_turns}; raise the one or lower "
            "the other"
        )
    if not 0 <= config.thinkfollow.min <= 1:
        raise ConfigError(
            f"thinkfollow.min={config.thinkfollow.min:g} is not allowed; compliance lies in 0-1, as "
            "thinkfollow.min=0.98"
        )
    budgets = parse_budgets(config.budget)
    if budgets[0] == 0:
        raise ConfigError(
            "budget=0 is non-thinking, which switches ask for here; give budgets above 0, as budget=[1k,inf]"
        )
    longest = max((int(budget) for budget in budgets if budget != math.inf), default=0)
    if longest > config.max_output_tokens:
        raise ConfigError(
            f"budget={format_budget(longest)} is more than max_output_tokens={config.max_output_tokens}; "
            "lower the one or raise the other"
        )
    sampling: dict[Mode, Sampling] = {
        THINKING: read_sampling("thinking", config.sampling.thinking),
        NON_THINKING: read_sampling("non_thinking", config.sampling.non_thinking),
    }
    stop_text = find_stop_text(config.stop_text)
    checkpoint = locate_model(config.model)
    context = config.engine.max_model_len or checkpoint.context
    if config.engine.max_model_len is None and config.engine.yarn_factor != 1:
        context = None  # the engine knows what YaRN makes of it
    if context is not None and longest + config.max_answer_tokens >= context:
        raise ConfigError(
            f"budget={format_budget(longest)} with max_answer_tokens={config.max_answer_tokens} leaves "
            f"no room for a dialogue in the context of {context} of model '{config.model.path}'; lower one "
            "of them"
        )
    check_engine(config.engine, checkpoint, config.model.impl)
    chat = load_chat(checkpoint.path, checkpoint.revision)
    chat.check_modes((THINKING, NON_THINKING), config.model.path)
    bank, tasks = read_bank(), _read_tasks(config, chat, context)
    turns = (config.min_turns, config.max_turns)
    # How dialogues are drawn is part of it: a later version may draw others from the same bank.
    first = draw_dialogues(bank, 50, config.seed, turns=turns, tasks=tasks)
    text = repr((bank, tasks, first))
    return Inquiry(
        draw_dialogues(bank, config.dialogues, config.seed, turns=turns, tasks=tasks),
        budgets,
        sampling,
        stop_text,
        checkpoint,
        chat,
        name_model(config.model),
        hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16],
    )


def _read_tasks(config: ThinkFollowConfig, chat: Chat, context: int | None) -> list[Question]:
    """Returns questions of the tasks that are named: the last user messages, free of switches."""
    if config.tasks.path:
        add_tasks(config.tasks.path)
    source = DataSource(Path(config.data.root) if config.data.root else None, config.data.allow_partial)
    asking = Asking(
        source, chat.encode_plain, chat.count_template_tokens(), context, config.max_answer_tokens, False
    )
    questions = []
    for name in dict.fromkeys(str(name) for name in as_list(config.task)):
        samples = load_task(name, config.lm_eval.include_path).load(asking).samples
        step = max(1, len(samples) // TASK_QUESTIONS)
        for sample in samples[::step][:TASK_QUESTIONS]:
            made = sample.make() if isinstance(sample, Unmade) else sample
            text = next(m.content for m in reversed(made.messages) if m.role == "user")
            if not find_last_switch(made.messages) and THINK_OPEN not in text and THINK_CLOSE not in text:
                questions.append(Question(f"task:{name}", "", text))
        if not any(question.language == f"task:{name}" for question in questions):
            raise ConfigError(f"task '{name}' has no question that could stand in a dialogue; leave it out")
    return questions


def identify(config: ThinkFollowConfig, inquiry: Inquiry) -> dict[str, Any]:
    """Returns what must not change within a run; the number of dialogues and the budgets may grow."""
    return {
        **identify_model(config.model, config.engine, inquiry.checkpoint),
        "seed": config.seed,
        "stop_text": inquiry.stop_text,
        "stop_ids": list(inquiry.chat.encode(inquiry.stop_text)),
        "think_ids": [inquiry.chat.think_open_id, inquiry.chat.think_close_id],
        "max_answer_tokens": config.max_answer_tokens,
        "max_output_tokens": config.max_output_tokens,
        "turns": [config.min_turns, config.max_turns],
        "dialogues.fingerprint": inquiry.fingerprint,
        "sampling": {mode: sampling.as_dict() for mode, sampling in inquiry.sampling.items()},
    }
