r"""The box model `nano-moe`: nano as a mixture of experts, how it was made, and how to make it again.

    python -m qwen3_eval.model.nano_moe train --out DIR

Each layer's MLP of 384 neurons becomes 16 experts of 64, of which a token takes 4. They begin as parts of
nano's (nano_upcycle.py), and are trained on a mix of all its lessons, with the load-balancing loss.

The loss is over the global batch: the choices of all micro-batches of a step, on all workers. They all go
forward before the first goes backward, so that the choices are counted when the losses are made up. A second
forward pass for the counts would hold one micro-batch in memory instead of six, which is nothing at this
size, and take half as much time again.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist

from qwen3_eval.model import nano
from qwen3_eval.model.balance import count_choices, load_balancing_loss
from qwen3_eval.model.moe import watch_routers
from qwen3_eval.model.nano_lessons import Lesson
from qwen3_eval.model.nano_training import (
    BatchLoss,
    Recipe,
    Round,
    collate,
    draw_batches,
    lesson_loss,
    load_teacher,
    mask_tokens,
)
from qwen3_eval.model.nano_upcycle import upcycle
from qwen3_eval.model.qwen3 import Qwen3ForCausalLM
from qwen3_eval.model.weights import load_model

CHECKPOINT = Path(__file__).parent / "nano_moe_checkpoint"

CONFIG = replace(
    nano.CONFIG,
    num_experts=16,
    num_experts_per_tok=4,
    moe_intermediate_size=64,
    norm_topk_prob=True,
)

BALANCE = 0.03
"""The coefficient of the load-balancing loss, which is added up over the layers.

It is 0.001 for Qwen3 (router_aux_loss_coef in config.json of Qwen/Qwen3-30B-A3B), which has all of a
pretraining to even out its load. In the hundred steps of this one 0.001 changed nothing: its gradient was a
fiftieth of the lessons'.
"""


def begin(seed: int) -> Qwen3ForCausalLM:
    """Returns nano-moe before its training."""
    rng, teacher = random.Random(seed), load_teacher(nano.CHECKPOINT)
    batches = [lessons for _ in range(3) for _, lessons in draw_batches(teacher, rng, "cut")]
    return upcycle(load_model(nano.CHECKPOINT), CONFIG, batches, seed)


def balanced_losses(
    model: Qwen3ForCausalLM, batches: Sequence[list[Lesson]], coefficient: float = BALANCE
) -> Iterator[BatchLoss]:
    """Yields each micro-batch's loss on its lessons, with its part in the imbalance of the global batch.

    A part counts by the micro-batch's tokens, padding left out. So the parts, added up and averaged over the
    workers, are `coefficient` times the loss of the global batch as one, whatever its micro-batches.
    """
    with watch_routers(model) as seen:
        losses = [lesson_loss(model, *collate(lessons)) for lessons in batches]
    masks = [mask_tokens(lessons) for lessons in batches]
    E, k = model.config.num_experts, model.config.num_experts_per_tok
    counts = torch.zeros(len(seen), E, dtype=torch.long)
    for of_layer, routings in zip(counts, seen.values(), strict=True):
        for routing, mask in zip(routings, masks, strict=True):
            of_layer += count_choices(routing.experts, E, mask)
    workers = 1
    if dist.is_initialized():
        dist.all_reduce(counts)
        workers = dist.get_world_size()
    tokens = int(counts[0].sum()) // k
    for place, ((loss, shares), mask) in enumerate(zip(losses, masks, strict=True)):
        balance = torch.stack(
            [
                load_balancing_loss(routings[place].probabilities, of_layer, mask)
                for of_layer, routings in zip(counts, seen.values(), strict=True)
            ]
        )
        part = int(mask.sum()) * workers / tokens
        yield loss + coefficient * part * balance.sum(), {**shares, "balance": balance.mean().item()}


ROUNDS = (Round({"all": 90}, 5e-4), Round({"all": 150}, 4e-4), Round({"far": 240}, 5e-4))
RECIPE = Recipe(CONFIG, ROUNDS, begin, balanced_losses)


if __name__ == "__main__":
    nano.main(RECIPE, "nano-moe")
