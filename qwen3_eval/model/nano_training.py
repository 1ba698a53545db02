r"""How a box model is trained: the lessons of a step, their loss, and the loop. Two processes, a core each.

Each draws micro-batches of its own, and gradients are averaged over them: a step's global batch is all of
these. What differs between box models is in a `Recipe`.
"""

import random
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import cross_entropy

from qwen3_eval.model.config import Qwen3Config
from qwen3_eval.model.nano_lessons import (
    DIGIT_WEIGHT,
    READ_WEIGHT,
    Lesson,
    Teacher,
    chat_renderer,
    draw_dialogue,
    draw_thinking,
    shorten,
)
from qwen3_eval.model.qwen3 import Qwen3ForCausalLM
from qwen3_eval.model.weights import SINGLE, load_model, save_model


def load_teacher(folder: Path) -> Teacher:
    """Returns a teacher that speaks with the tokenizer and chat template in `folder`."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    return Teacher(lambda text: list(tokenizer.encode(text).ids), chat_renderer(template))


def draw_batches(teacher: Teacher, rng: random.Random, stage: str) -> Iterator[tuple[str, list[Lesson]]]:
    """Draws one worker's micro-batches of a step: a name and the lessons."""
    if stage == "step":
        yield "window", [teacher.window(rng, most_lines=5, cut=0.0) for _ in range(32)]
        return
    if stage in ("all", "far"):
        yield from _draw_some_of_all(teacher, rng, far=stage == "far")
        return
    yield "window", [teacher.window(rng) for _ in range(6)]
    if stage == "cut":
        yield "cut", [teacher.window(rng, most_lines=rng.choice((2, 4, 8)), cut=1.0) for _ in range(16)]

    def short() -> Lesson:
        return teacher.response(rng, shorten(draw_dialogue(rng), rng, 16))

    yield "dialogue", _of_like_lengths(short, rng, 4)
    if stage == "end":
        dialogue = draw_thinking(rng, 2, fewest_steps=150)
        yield "end", [teacher.response(rng, dialogue, cut=0.5, working_weight=0.03)]
    yield "question", _of_like_lengths(lambda: teacher.opening(rng, draw_thinking(rng, 3)), rng, 4)
    yield "switch", _of_like_lengths(lambda: teacher.opening(rng, draw_dialogue(rng)), rng, 4)
    if stage in ("long", "cut") and rng.random() < 0.3:
        yield "long", [teacher.response(rng, draw_thinking(rng, 2, fewest_steps=30), cut=0.5)]


def _draw_some_of_all(
    teacher: Teacher, rng: random.Random, *, far: bool
) -> Iterator[tuple[str, list[Lesson]]]:
    """For a model that knows it all already: windows most, since the single step is the first to go.

    `far` has a long working in every step: among thousands of look-alike lines attention must stay sharp.
    """
    yield "window", [teacher.window(rng) for _ in range(4 if far else 8)]
    yield (
        "cut",
        [teacher.window(rng, most_lines=rng.choice((2, 4, 8)), cut=1.0) for _ in range(3 if far else 6)],
    )
    yield "dialogue", [teacher.response(rng, shorten(draw_dialogue(rng), rng, 16))]
    yield "question", [teacher.opening(rng, draw_thinking(rng, 3))]
    yield "switch", [teacher.opening(rng, draw_dialogue(rng))]
    if far or rng.random() < 0.2:
        dialogue = draw_thinking(rng, 2, fewest_steps=120 if far else 30)
        yield "long", [teacher.response(rng, dialogue, cut=0.5)]


def _of_like_lengths(draw: Callable[[], Lesson], rng: random.Random, count: int) -> list[Lesson]:
    """Draws twice as many and keeps the shorter or the longer half: little is padding."""
    pool = sorted((draw() for _ in range(2 * count)), key=lambda lesson: len(lesson.ids))
    return pool[:count] if rng.random() < 0.7 else pool[count:]


def collate(lessons: Sequence[Lesson]) -> tuple[Tensor, Tensor]:
    """Pads on the right, where causal attention never looks: ids and weights, both (B, T)."""
    T = max(len(lesson.ids) for lesson in lessons)
    ids = torch.full((len(lessons), T), 256)
    weights = torch.zeros(len(lessons), T)
    for row, lesson in enumerate(lessons):
        ids[row, : len(lesson.ids)] = torch.tensor(lesson.ids)
        weights[row, : len(lesson.ids)] = torch.tensor(lesson.weights)
    return ids, weights


def mask_tokens(lessons: Sequence[Lesson]) -> Tensor:
    """Returns where the model's input is no padding, (B * T,); a lesson's last token is only a goal."""
    lengths = torch.tensor([len(lesson.ids) - 1 for lesson in lessons])
    return (torch.arange(int(lengths.max())) < lengths[:, None]).flatten()


BatchLoss = tuple[Tensor, dict[str, float]]
"""A micro-batch's loss (), and of its kinds of digits the share that is right."""


def lesson_loss(model: Qwen3ForCausalLM, ids: Tensor, weights: Tensor) -> BatchLoss:
    """Returns the weighted mean cross-entropy, and how many computed and read digits are right."""
    hidden = model.model(ids[:, :-1])
    taught = weights[:, 1:] > 0
    # Logits only where there is loss: prompts are most of a dialogue.
    logits = hidden[taught] @ model.lm_head.weight.T
    goal, kept = ids[:, 1:][taught], weights[:, 1:][taught]
    losses = cross_entropy(logits, goal, reduction="none")
    right = (logits.detach().argmax(-1) == goal).float()
    shares = {"computed": right[kept == DIGIT_WEIGHT], "read": right[kept == READ_WEIGHT]}
    found = {name: hits.mean().item() for name, hits in shares.items() if len(hits)}
    return (losses * kept).sum() / kept.sum(), found


def lesson_losses(model: Qwen3ForCausalLM, batches: Sequence[list[Lesson]]) -> Iterator[BatchLoss]:
    """Yields `lesson_loss` of each micro-batch, when the one before has been made use of."""
    for lessons in batches:
        yield lesson_loss(model, *collate(lessons))


@dataclass(frozen=True)
class Round:
    """The steps of its stages, in their order, and the peak of its learning rate."""

    stages: dict[str, int]
    peak: float


@dataclass(frozen=True)
class Recipe:
    """How a box model is made: where it begins, what it is taught, and what each micro-batch costs."""

    config: Qwen3Config
    rounds: tuple[Round, ...]
    begin: Callable[[int], Qwen3ForCausalLM]
    losses: Callable[[Qwen3ForCausalLM, Sequence[list[Lesson]]], Iterable[BatchLoss]] = lesson_losses


def train(
    recipe: Recipe, number: int, out: Path, seed: int, start: Path | None, rank: int, workers: int
) -> None:
    """Trains a worker's share of a round; the workers' gradients are averaged, worker 0 saves and reports."""
    teacher = load_teacher(out)
    if start is None:
        model = recipe.begin(seed)
    else:
        model = Qwen3ForCausalLM(recipe.config)
        model.load_state_dict(load_model(start).state_dict())
    stages, peak = recipe.rounds[number].stages, recipe.rounds[number].peak
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=peak, betas=(0.9, 0.98), weight_decay=0.01)
    rng = random.Random(seed * workers + rank)
    began, tokens = time.monotonic(), 0
    seen: dict[str, list[float]] = {}
    schedule = [stage for stage, steps in stages.items() for _ in range(steps)]
    for step, stage in enumerate(schedule, 1):
        left = (len(schedule) - step) / schedule.count(schedule[-1])  # it falls during the last stage
        for group in optimizer.param_groups:
            group["lr"] = peak * min(1.0, step / 30) * max(0.02, min(1.0, left))
        kinds, batches = zip(*draw_batches(teacher, rng, stage), strict=True)
        for kind, lessons, (loss, shares) in zip(kinds, batches, recipe.losses(model, batches), strict=True):
            (loss / workers).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            seen.setdefault(kind, []).append(loss.item())
            for name, share in shares.items():
                seen.setdefault(f"{kind} {name}", []).append(share)
            tokens += sum(len(lesson.ids) for lesson in lessons)
        _sum_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        if rank == 0 and (step % 20 == 0 or step == len(schedule)):
            shown = "  ".join(f"{kind} {sum(v) / len(v):.4f}" for kind, v in sorted(seen.items()))
            elapsed = time.monotonic() - began
            speed = workers * tokens / elapsed
            print(f"{elapsed:5.0f} s  step {step}  {speed:.0f} tokens/s  {shown}", flush=True)
            seen = {}
            save(model, out)


def _sum_gradients(parameters: list[torch.nn.Parameter]) -> None:
    """Adds the workers' gradients in one message."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    for gradient, piece in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
        gradient.copy_(piece.view_as(gradient))


def work(
    rank: int, workers: int, recipe: Recipe, out: Path, seed: int, start: Path | None, first_round: int
) -> None:
    torch.set_num_threads(1)
    store = f"file://{out.resolve()}/rendezvous"
    dist.init_process_group("gloo", store, rank=rank, world_size=workers)
    for number in range(first_round - 1, len(recipe.rounds)):
        train(recipe, number, out, seed + number, start, rank, workers)
        start = out
        dist.barrier()  # worker 0 has saved what the next round begins with


def save(model: Qwen3ForCausalLM, folder: Path) -> None:
    """Replaces the folder's weights at once: who stops the training finds whole ones there."""
    save_model(model, folder / "unfinished")
    (folder / "unfinished" / SINGLE).replace(folder / SINGLE)
    shutil.rmtree(folder / "unfinished")
