"""The mixture of experts that takes the MLP's place in a Qwen3-MoE layer.

Shape letters: B batch, T tokens, N = B * T, C hidden size, E experts, k experts per token, F size of one.
Source: Qwen3 technical report (arXiv 2505.09388), section 2; parameter names as in transformers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu

from qwen3_eval.model.config import Qwen3Config


class Routing(NamedTuple):
    """Where the router sends N tokens."""

    probabilities: Tensor  # (N, E), float32, of all experts
    experts: Tensor  # (N, k), the likeliest, in falling order
    weights: Tensor  # (N, k), what each one's output counts for


class Router(nn.Module):
    """A softmax over the experts, in float32, of which the k likeliest are kept."""

    def __init__(self, config: Qwen3Config) -> None:
        super().__init__()
        self.k = config.num_experts_per_tok
        self.norm_topk_prob = config.norm_topk_prob
        self.weight = nn.Parameter(torch.empty(config.num_experts, config.hidden_size))

    def forward(self, x: Tensor) -> Routing:
        """Routes `x` (N, C)."""
        probabilities = linear(x, self.weight).softmax(-1, dtype=torch.float32)  # (N, E)
        weights, experts = probabilities.topk(self.k, dim=-1)  # (N, k)
        if self.norm_topk_prob:
            weights = weights / weights.sum(-1, keepdim=True)
        return Routing(probabilities, experts, weights.to(x.dtype))


class Experts(nn.Module):
    """E SwiGLU MLPs, stacked: the first F rows of `gate_up_proj` are the gate's, the rest the up's."""

    def __init__(self, config: Qwen3Config) -> None:
        super().__init__()
        E, C, F = config.num_experts, config.hidden_size, config.moe_intermediate_size
        self.gate_up_proj = nn.Parameter(torch.empty(E, 2 * F, C))
        self.down_proj = nn.Parameter(torch.empty(E, C, F))

    def forward(self, x: Tensor, routing: Routing) -> Tensor:
        """Maps (N, C) to (N, C): each token's experts, weighted and added."""
        N, k = routing.experts.shape
        chosen = routing.experts.flatten()  # (N * k,)
        order = chosen.argsort(stable=True)  # brings the tokens of one expert together
        counts = chosen.bincount(minlength=len(self.down_proj)).tolist()
        out = [
            linear(_swiglu(linear(group, self.gate_up_proj[expert])), self.down_proj[expert])
            for expert, group in enumerate(torch.split(x[order // k], counts))
            if len(group)
        ]
        # Back into the tokens' order, not index_add: that adds in another order each time on a GPU.
        place = torch.empty_like(order).scatter_(0, order, torch.arange(N * k, device=x.device))
        of_token = torch.cat(out)[place].view(N, k, -1)  # (N, k, C)
        return (of_token * routing.weights[..., None]).sum(1)


class MoE(nn.Module):
    """Routes each token to its experts. Source: Shazeer et al. (arXiv 1701.06538), section 2."""

    def __init__(self, config: Qwen3Config) -> None:
        super().__init__()
        self.gate = Router(config)
        self.experts = Experts(config)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, T, C) to (B, T, C)."""
        tokens = x.flatten(0, 1)  # (N, C)
        out = self.experts(tokens, self.gate(tokens)).view(x.shape)
        assert isinstance(out, Tensor)
        return out


@contextmanager
def watch_routers(model: nn.Module) -> Iterator[dict[str, list[Routing]]]:
    """Yields, by the router's name, its routings in the forward passes within the `with`, in their order.

    A name is as `model.layers.3.mlp.gate`. Padding is routed too: tell it by its place, row by row.
    """
    seen: dict[str, list[Routing]] = {}
    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, Router):
            routings = seen[name] = []

            def keep(_: Any, __: Any, routing: Routing, routings: list[Routing] = routings) -> None:
                routings.append(routing)

            hooks.append(module.register_forward_hook(keep))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _swiglu(gate_up: Tensor) -> Tensor:
    gate, up = gate_up.chunk(2, dim=-1)
    return silu(gate) * up
