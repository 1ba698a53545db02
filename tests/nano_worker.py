"""One of several processes that balance a mixture together. It imports little, for each starts anew."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist

from qwen3_eval.model import nano
from qwen3_eval.model.nano_lessons import Lesson
from qwen3_eval.model.nano_moe import balanced_losses
from qwen3_eval.model.nano_training import lesson_losses
from qwen3_eval.model.qwen3 import Qwen3ForCausalLM

SMALL = replace(nano.CONFIG, hidden_size=32, num_hidden_layers=2, head_dim=8, intermediate_size=48)
MIXED = replace(SMALL, num_experts=6, num_experts_per_tok=2, moe_intermediate_size=8, norm_topk_prob=True)


def small_mixture() -> Qwen3ForCausalLM:
    """Returns a random mixture, the same each time, that is not to be trained."""
    model = Qwen3ForCausalLM(MIXED)
    model.initialise(3)
    return model.requires_grad_(False)


def sum_of_balance(model: Qwen3ForCausalLM, batches: Sequence[list[Lesson]]) -> float:
    """Returns what a step's losses hold beyond those of its lessons, at a coefficient of 1."""
    plain = sum(float(loss) for loss, _ in lesson_losses(model, batches))
    return sum(float(loss) for loss, _ in balanced_losses(model, batches, coefficient=1.0)) - plain


def balance_a_share(rank: int, folder: Path, shares: Sequence[Sequence[list[Lesson]]]) -> None:
    """Writes what this process finds, with micro-batches of its own, to a file named by its rank."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/rendezvous", rank=rank, world_size=len(shares))
    (folder / str(rank)).write_text(str(sum_of_balance(small_mixture(), shares[rank])))
    dist.barrier()
