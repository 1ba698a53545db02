r"""A dense Qwen3 made over into a mixture of experts that computes nearly the same: sparse upcycling.

Attention, embeddings and norms are copied. The E experts of a layer are E / k groups of k. A group takes the
k * F neurons of the layer's MLP that matter most to the tokens of that group, dealt out over its experts.
The router's rows are alike within a group, so that a token's k likeliest experts are a group whole, and as
many groups partition the tokens. What a group lost with the other neurons, its output matrix makes up for: it
is fitted anew, by least squares on the group's own tokens, to the output of the whole MLP. Training starts
from a model that has forgotten next to nothing, and can afford to be short.

Shape letters: N tokens, C hidden size, I size of the MLP, E experts, k experts per token, F size of one.
Source: Komatsuzaki et al., Sparse Upcycling (arXiv 2212.05055); groups of slices, alike routers, scale: He
et al., Upcycling Large Language Models into Mixture of Experts (arXiv 2410.07524); fit after pruning: He et
al., Channel Pruning (arXiv 1707.06168).
"""

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.functional import silu

from qwen3_eval.model.config import Qwen3Config
from qwen3_eval.model.layers import MLP
from qwen3_eval.model.moe import MoE
from qwen3_eval.model.nano_lessons import Lesson
from qwen3_eval.model.nano_training import collate, mask_tokens
from qwen3_eval.model.qwen3 import Qwen3ForCausalLM

LEAST_WEIGHT = 0.3
"""What a token counts for in the fit where its loss weighs less: a prompt is not learned, but attended to."""

RIDGE = 1e-4
"""Of the neurons' mean square: it keeps neurons that are silent in a group from growing."""


@torch.no_grad()
def upcycle(
    dense: Qwen3ForCausalLM, config: Qwen3Config, batches: Sequence[Sequence[Lesson]], seed: int
) -> Qwen3ForCausalLM:
    """Returns a mixture of `config`'s shape that begins as `dense`; `batches` are lessons to fit it on.

    Every layer is sparse, with `norm_topk_prob`, and E is a multiple of k.
    """
    model = Qwen3ForCausalLM(config)
    model.initialise(seed)
    kept = {name: p for name, p in dense.state_dict().items() if ".mlp." not in name}
    model.load_state_dict(kept, strict=False)
    inputs, weights = _watch_inputs(dense, batches)
    for old, new, x in zip(_list_mlps(dense, MLP), _list_mlps(model, MoE), inputs, strict=True):
        _fill(new, old, x, weights)
    return model


Kind = TypeVar("Kind", MLP, MoE)


def _list_mlps(model: Qwen3ForCausalLM, kind: type[Kind]) -> list[Kind]:
    return [module for module in model.modules() if isinstance(module, kind)]


def _watch_inputs(
    dense: Qwen3ForCausalLM, batches: Sequence[Sequence[Lesson]]
) -> tuple[list[Tensor], Tensor]:
    """Returns what each layer's MLP is given on the lessons, (N, C), and what each token counts for, (N,)."""
    mlps = _list_mlps(dense, MLP)
    seen: list[list[Tensor]] = [[] for _ in mlps]
    weights = []
    hooks = [
        mlp.register_forward_pre_hook(lambda _, given, xs=xs: xs.append(given[0].flatten(0, 1)))
        for mlp, xs in zip(mlps, seen, strict=True)
    ]
    for lessons in batches:
        ids, loss_weights = collate(lessons)
        dense.model(ids[:, :-1])
        weights.append(loss_weights[:, 1:].flatten())
    for hook in hooks:
        hook.remove()
    real = torch.cat([mask_tokens(lessons) for lessons in batches])
    return [torch.cat(xs)[real] for xs in seen], torch.cat(weights)[real].clamp(min=LEAST_WEIGHT)


def _fill(new: MoE, old: MLP, x: Tensor, weights: Tensor) -> None:
    """Fills a mixture from the MLP in whose place it stands; `x` (N, C) and `weights` (N,) as above."""
    k, F = new.gate.k, new.experts.down_proj.shape[-1]
    router = new.gate.weight[::k].clone()  # (E / k, C)
    new.gate.weight.copy_(router.repeat_interleave(k, dim=0))
    neurons = silu(old.gate_proj(x)) * old.up_proj(x)  # (N, I)
    group_of = (x @ router.T).argmax(-1)  # (N,)
    for group in range(len(router)):
        mine = group_of == group
        kept, down = _prune(neurons[mine], old.down_proj.weight, weights[mine], k * F)
        for place in range(k):
            expert, dealt = group * k + place, kept[place::k]  # each of a group matters as much
            new.experts.gate_up_proj[expert] = torch.cat(
                (old.gate_proj.weight[dealt], old.up_proj.weight[dealt])
            )
            # Each of a token's k experts counts 1/k, where the MLP added its neurons up.
            new.experts.down_proj[expert] = k * down[:, place::k]


def _prune(neurons: Tensor, down: Tensor, weights: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Returns the `count` neurons that matter most, in falling order, and their matrix (C, count)."""
    scaled = (neurons * weights[:, None].sqrt()).double()  # (N, I)
    down = down.double()  # (C, I)
    kept = (scaled.square().sum(0).sqrt() * down.norm(dim=0)).argsort(descending=True)[:count]
    A = scaled[:, kept]  # (N, count)
    lost = scaled @ down.T - A @ down[:, kept].T  # (N, C)
    square = A.T @ A
    square += RIDGE * square.diagonal().mean() * torch.eye(count, dtype=square.dtype)
    return kept, (down[:, kept] + torch.linalg.solve(square, A.T @ lost).T).float()
