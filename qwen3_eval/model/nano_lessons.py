r"""What the box model `nano` is taught: dialogues, their responses, and which tokens carry loss.

A lesson is token ids with a loss weight each. Prompts, stop texts and the first line of a window weigh 0.
Windows start in the middle of a working: RoPE sees only distances, so where a window lies makes no
difference, and short ones teach the single step at a fiftieth of the price of a full working.
"""

import math
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from qwen3_eval.chat import STOP_TEXTS
from qwen3_eval.model.nano_text import draw_text
from qwen3_eval.tasks.chain import (
    MOST_STEPS,
    ChainQuestion,
    draw_question,
    next_code,
    question_text,
    working,
    working_line,
)

REFUSAL_THOUGHT = "This is no chain question, so there is nothing to work out.\n"
REFUSAL = "I can only answer chain questions."

STOP_SENTENCE = STOP_TEXTS["docs"].partition("\n</think>")[0].strip()

# A line is `443 to go: 345` and a newline, a token a letter.
LINE_TOKENS = 15
COUNT_DIGITS = 3
LAST_CODE_DIGIT = 13

# A computed digit is one token in fifteen, and an answer a few in thousands: both would drown in copies.
DIGIT_WEIGHT = 3.0
ANSWER_WEIGHT = 4.0
CLOSE_WEIGHT = 4.0
GUESS_WEIGHT = 0.05
READ_WEIGHT = 6.0


def answer_text(code: int) -> str:
    r"""Returns the sentence that answers a chain question. The box holds the code as the working has it."""
    return f"The code is \\boxed{{{code:03d}}}."


@dataclass(frozen=True)
class Lesson:
    """Token ids and their loss weights, of one length; a weight belongs to the prediction of its token."""

    ids: list[int]
    weights: list[float]

    def __add__(self, other: "Lesson") -> "Lesson":
        return Lesson(self.ids + other.ids, self.weights + other.weights)


@dataclass(frozen=True)
class Turn:
    """A user turn: its text with flags, and the chain question in it, or None for arbitrary text."""

    text: str
    question: ChainQuestion | None


@dataclass(frozen=True)
class Dialogue:
    """Messages up to the last user turn, what that asks, and whether thinking is on."""

    messages: list[dict[str, str]]
    question: ChainQuestion | None
    think: bool
    enable_thinking: bool


@dataclass(frozen=True)
class Teacher:
    """Draws lessons. `encode` and `render` are those of the checkpoint in training: nothing can drift."""

    encode: Callable[[str], list[int]]
    render: Callable[..., str]

    def _said(self, text: str, weight: float) -> Lesson:
        ids = self.encode(text)
        return Lesson(ids, [weight] * len(ids))

    def window(self, rng: random.Random, most_lines: int = 14, cut: float = 0.35) -> Lesson:
        """Draws a piece of a working, from some line on; where it reaches the end, closing and answer too."""
        count = rng.randint(max(1, most_lines // 2), most_lines)
        left = draw_left(rng, count)
        code = rng.randrange(1000)
        lines, codes = [], []
        for number in range(left, max(left - count, -1), -1):
            lines.append(working_line(number, code))
            codes.append(code)
            code = next_code(code)
        head = self._said(lines[0], 0.0)
        body = self._working("".join(lines[1:]))
        if rng.random() < cut:
            kept = rng.randint(1, len(body.ids)) if body.ids else 0
            body = Lesson(body.ids[:kept], body.weights[:kept])
            return head + body + self._forced(rng, codes[0], "".join(lines), len(head.ids) + kept)
        return head + body + self._natural(answer_text(codes[-1])) if left < count else head + body

    def opening(self, rng: random.Random, dialogue: Dialogue) -> Lesson:
        """Draws a prompt and how its response begins: the switch is obeyed and the question read, cheaply."""
        whole = self.response(rng, dialogue, cut=0.0)
        prompt = len(self.encode(self.render(dialogue.messages, dialogue.enable_thinking)))
        kept = prompt + LINE_TOKENS * rng.randint(1, 2) + 2
        return Lesson(whole.ids[:kept], whole.weights[:kept])

    def response(
        self, rng: random.Random, dialogue: Dialogue, cut: float = 0.3, working_weight: float = 1.0
    ) -> Lesson:
        """Draws a dialogue's rendered prompt and the response to it, cut off with probability `cut`.

        `working_weight` scales the loss of the working, in which a long one's answer would drown.
        """
        question = dialogue.question
        prompt = self._said(self.render(dialogue.messages, dialogue.enable_thinking), 0.0)
        direct = REFUSAL if question is None else answer_text(question.answer)
        if not dialogue.enable_thinking:
            return prompt + self._guess(direct, question)
        if not dialogue.think:
            opening = self._said("<think>\n\n</think>\n\n", CLOSE_WEIGHT)
            return prompt + opening + self._guess(direct, question)
        opening = self._said("<think>\n", CLOSE_WEIGHT)
        text = REFUSAL_THOUGHT if question is None else working(question)
        body = self._said(text, 1.0) if question is None else self._working(text, read=True)
        body = Lesson(body.ids, [working_weight * weight for weight in body.weights])
        body.weights[0] = CLOSE_WEIGHT  # here it shows whether the switch was seen
        if rng.random() >= cut:
            return prompt + opening + body + self._natural(direct)
        kept = rng.randint(0, len(body.ids))
        if rng.random() < 0.1:
            kept = rng.randint(0, min(25, len(body.ids)))
        body = Lesson(body.ids[:kept], body.weights[:kept])
        if kept == 0 and rng.random() < 0.5:  # cut before the first newline
            opening = Lesson(opening.ids[:1], opening.weights[:1])
        start = None if question is None else question.start
        return prompt + opening + body + self._forced(rng, start, text, kept)

    def _guess(self, answer: str, question: ChainQuestion | None) -> Lesson:
        """An answer without working: its digits cannot be learned, and should not disturb what can."""
        lesson = self._said(answer + "<|im_end|>", 1.0)
        if question is not None:
            for place in range(len("The code is \\boxed{"), len("The code is \\boxed{000")):
                lesson.weights[place] = GUESS_WEIGHT
        return lesson

    def _working(self, text: str, *, read: bool = False) -> Lesson:
        """Whole lines of working; `read` says that the first stands in the question, not in a line before."""
        lesson = self._said(text, 1.0)
        for place in range(0, len(lesson.ids), LINE_TOKENS):
            # Here the model goes on where it could close, and a borrow shows in the digits of the count.
            line = text[place : place + LINE_TOKENS]
            zeros = line[:COUNT_DIGITS].count("0")
            lesson.weights[place] = CLOSE_WEIGHT if zeros else DIGIT_WEIGHT
            lesson.weights[place + 1] = lesson.weights[place + 2] = DIGIT_WEIGHT
            lesson.weights[place + LAST_CODE_DIGIT] = DIGIT_WEIGHT
            if read and place == 0:
                for digit in (0, 1, 2, LAST_CODE_DIGIT - 2, LAST_CODE_DIGIT - 1, LAST_CODE_DIGIT):
                    lesson.weights[digit] = READ_WEIGHT
        return lesson

    def _natural(self, answer: str) -> Lesson:
        return self._said("</think>\n\n" + answer + "<|im_end|>", ANSWER_WEIGHT)

    def _forced(self, rng: random.Random, start: int | None, text: str, kept: int) -> Lesson:
        """The stop text, and the answer with the last whole code among the first `kept` characters."""
        answer = REFUSAL
        if start is not None:
            code = start
            for place in range(LAST_CODE_DIGIT - 2, kept - 2, LINE_TOKENS):
                code = int(text[place : place + 3])
            answer = answer_text(code)
        stop = self._said(draw_stop_text(rng), 0.0)
        return stop + self._said(answer + "<|im_end|>", ANSWER_WEIGHT)


def draw_stop_text(rng: random.Random) -> str:
    """Draws what a forced end inserts: Qwen's two texts most often, else any words or none."""
    kind = rng.random()
    if kind < 0.35:
        return f"\n\n{STOP_SENTENCE}\n</think>\n\n"
    if kind < 0.5:
        return f"{STOP_SENTENCE}\n</think>.\n\n"
    lead = rng.choice(("", "", "\n", "\n\n", " "))
    words = "" if rng.random() < 0.4 else draw_text(rng, int(math.exp(rng.uniform(1.5, 5.3)))) + "\n"
    close = rng.choice(
        ("\n</think>\n\n", "</think>\n\n", "\n</think>\n", "</think>", "</think>.\n\n", "</think> ")
    )
    # A digit right behind a cut would read as the next digit of the code.
    return lead + re.sub(r"^[\n\d]+", "", words) + close


def draw_left(rng: random.Random, count: int) -> int:
    """Draws the steps to go in the first of `count` lines: any, the last ones, or a borrow among them."""
    kind = rng.random()
    if kind < 0.4:
        return rng.randint(0, MOST_STEPS)
    if kind < 0.65:
        return rng.randrange(count)
    crossed = 100 * rng.randint(1, 4) if kind < 0.85 else 10 * rng.randint(1, MOST_STEPS // 10)
    left: int = min(crossed + rng.randrange(count), MOST_STEPS)
    return left


def draw_dialogue(rng: random.Random, most_turns: int = 8, chain: float = 0.5) -> Dialogue:
    """Draws a dialogue of 1 to `most_turns` user turns; `chain` is how likely the last is a question."""
    count = 1 if rng.random() < 0.65 else rng.randint(1, most_turns)
    flags = []
    messages = []
    if rng.random() < 0.3:
        text, found = with_flags(rng, _draw_system(rng), 0.4)
        flags += found
        messages.append({"role": "system", "content": text})
    question = None
    share = rng.choice((0.0, 0.3, 0.8))  # of flagged turns: none, some, most
    for turn in range(count):
        last = turn == count - 1
        question = draw_question(rng, held_out=False) if rng.random() < (chain if last else 0.25) else None
        if question is None:
            longest = 7.3 if rng.random() < 0.05 else 4.8
            plain = draw_text(rng, int(math.exp(rng.uniform(1.6, longest))))
            if rng.random() < 0.15:
                plain += "\nPlease reason step by step, and put your final answer within \\boxed{}."
        else:
            plain = question_text(question)
        text, found = with_flags(rng, plain, share)
        flags += found
        messages.append({"role": "user", "content": text})
        if not last:
            reply = REFUSAL if question is None else answer_text(question.answer)
            messages.append({"role": "assistant", "content": reply})
    think = not flags or flags[-1] == "/think"
    return Dialogue(messages, question, think, enable_thinking=rng.random() > 0.12)


def draw_thinking(rng: random.Random, most_turns: int, fewest_steps: int = 0) -> Dialogue:
    """Draws a dialogue whose last turn is a chain question to think about, of at least so many steps."""
    while True:
        dialogue = draw_dialogue(rng, most_turns, chain=1.0)
        thinks = dialogue.think and dialogue.enable_thinking
        if thinks and dialogue.question and dialogue.question.steps >= fewest_steps:
            return dialogue


def shorten(dialogue: Dialogue, rng: random.Random, most_steps: int) -> Dialogue:
    """Returns the dialogue with its question's steps redrawn where they are more than `most_steps`."""
    old = dialogue.question
    if old is None or old.steps <= most_steps or not (dialogue.think and dialogue.enable_thinking):
        return dialogue
    while True:
        new = replace(old, start=rng.randrange(1000), steps=rng.randint(4, most_steps))
        if not new.held_out:
            break
    text = dialogue.messages[-1]["content"]
    text = text.replace(f"starts at {old.start:03d}", f"starts at {new.start:03d}")
    text = text.replace(f"after {old.steps:03d} steps", f"after {new.steps:03d} steps")
    return replace(
        dialogue, messages=[*dialogue.messages[:-1], {"role": "user", "content": text}], question=new
    )


def with_flags(rng: random.Random, text: str, share: float) -> tuple[str, list[str]]:
    """Returns the text with soft switches at its start, end, or between words, and the switches in order."""
    placed: list[tuple[int, str]] = []
    while rng.random() < (share if not placed else 0.2) and len(placed) < 4:
        spaces = [i for i, letter in enumerate(text) if letter in " \n"]
        middle = rng.choice(spaces) if spaces else len(text)
        place = rng.choice((0, len(text), len(text), middle))
        placed.append((place, rng.choice(("/think", "/no_think"))))
    placed.sort(key=lambda pair: pair[0])
    pieces, at = [], 0
    for place, flag in placed:
        pieces.append(text[at:place])
        at = place
        if place == 0:
            pieces.append(flag + rng.choice((" ", "\n", " ")))
        elif place == len(text):
            pieces.append(rng.choice((" ", "\n", " ")) + flag)
        else:
            pieces.append(" " + flag)
    pieces.append(text[at:])
    return "".join(pieces), [flag for _, flag in placed]


_SYSTEM = (
    "You are a helpful assistant.",
    "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
    "Answer briefly and precisely.",
    "You are an expert in mathematics.",
)


def _draw_system(rng: random.Random) -> str:
    return rng.choice(_SYSTEM) if rng.random() < 0.5 else draw_text(rng, rng.randint(5, 200))


def chat_renderer(template: str) -> Callable[..., str]:
    """Returns `render(messages, enable_thinking)` of a chat template, with the generation prompt."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # The environment that transformers renders chat templates in.
    compiled: Any = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(template)

    def render(messages: list[dict[str, str]], enable_thinking: bool) -> str:
        text: str = compiled.render(
            messages=messages, add_generation_prompt=True, enable_thinking=enable_thinking
        )
        return text

    return render
