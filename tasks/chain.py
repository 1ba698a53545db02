r"""`chain`: AIME-style questions that a model can only answer by working, line by line.

A code of three digits changes n times: abc becomes bcd, where d is the last digit of a + 2 if c is at most 5,
and of a + 5 if c is more. The answer, an integer from 0 to 999, is the code after n steps. n is drawn
log-uniformly from 4 to 455, so a full working runs from 75 to 6,840 tokens of the box model `nano`. The rule
permutes the 1,000 codes, most of them in one cycle of 810: a working cut short does not end on the answer.

Held-out: a hash of (start, steps) sets one question in eight apart. `questions` draws only from these, and
the training recipe of nano only from the others (`held_out=False`), whatever the seeds.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

from qwen3_eval.scoring.math import BOXED_INSTRUCTION, math_scorer
from qwen3_eval.task import Card, procedural_task
from qwen3_eval.types import Message, Sample

FEWEST_STEPS = 4
MOST_STEPS = 455


@dataclass(frozen=True)
class ChainQuestion:
    """The code `start` (0-999) changes `steps` times."""

    start: int
    steps: int

    @property
    def answer(self) -> int:
        """The code after the last step, 0-999."""
        code = self.start
        for _ in range(self.steps):
            code = next_code(code)
        return code

    @property
    def held_out(self) -> bool:
        """True where the question is kept for evaluation and never trained on."""
        return blake2b(f"{self.start},{self.steps}".encode(), digest_size=1).digest()[0] < 32


def next_code(code: int) -> int:
    """Returns bcd for the code abc, with d the last digit of a + 2 if c is at most 5, else of a + 5."""
    return code % 100 * 10 + (code // 100 + (2 if code % 10 <= 5 else 5)) % 10


def question_text(question: ChainQuestion) -> str:
    r"""Returns the prompt. Its last sentence is the Qwen3 model card's for mathematics."""
    return (
        "A lock shows a code of three digits. At each step the code abc becomes bcd, where d is the last "
        "digit of a + 2 if c is at most 5, and of a + 5 if c is more. "
        f"The code starts at {question.start:03d}. Find the code after {question.steps:03d} steps, as an "
        f"integer from 0 to 999.\n{BOXED_INSTRUCTION}"
    )


def working_line(left: int, code: int) -> str:
    """Returns one line of working: the steps still to go and the code, each digit at a fixed place.

    It carries all that the next line needs. It counts down, since a model of this size that counts up, and
    compares with the number asked, stops early where a single digit differs.
    """
    return f"{left:03d} to go: {code:03d}\n"


def working(question: ChainQuestion) -> str:
    """Returns the full working: a line for the start and one for each step, each ending in a newline."""
    lines = []
    code = question.start
    for left in range(question.steps, -1, -1):
        lines.append(working_line(left, code))
        code = next_code(code)
    return "".join(lines)


def draw_question(rng: random.Random, held_out: bool = True) -> ChainQuestion:
    """Draws a question for evaluation, or with `held_out=False` one that training may see."""
    while True:
        steps = math.exp(rng.uniform(math.log(FEWEST_STEPS), math.log(MOST_STEPS + 1)))
        question = ChainQuestion(rng.randrange(1000), min(int(steps), MOST_STEPS))
        if question.held_out == held_out:
            return question


def questions(n: int, seed: int) -> list[ChainQuestion]:
    """Returns `n` different evaluation questions; the first of a longer list are the same."""
    rng = random.Random(seed)
    drawn: dict[ChainQuestion, None] = {}
    while len(drawn) < n:
        drawn[draw_question(rng)] = None
    return list(drawn)


N_QUESTIONS = 1000
SEED = 0


@procedural_task(
    name="chain",
    card=Card(
        rows=N_QUESTIONS,
        licence="Apache-2.0",
        prompt="the rule, the start and the number of steps; see question_text",
        protocol="0-shot chat; the last box, an integer from 0 to 999, equal by value",
        source="this project: tasks/chain.py, seed 0; prompt's last sentence: Qwen3 model cards",
    ),
    scorer=math_scorer(),
)
def chain() -> Iterator[Sample]:
    """Yields the task's questions; what decides how long each takes is in the metadata."""
    for i, question in enumerate(questions(N_QUESTIONS, SEED)):
        messages = (Message("user", question_text(question)),)
        yield Sample(f"chain/{i}", messages, str(question.answer), metadata={"steps": question.steps})
