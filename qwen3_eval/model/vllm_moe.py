"""The mixture of experts on vLLM's fused experts: the same layer as `moe.py`, served.

Tensor parallel, each rank routes all tokens by its copy of the router and holds a slice of every expert, and
vLLM's layer sums the outputs over the ranks. Expert parallelism, whole experts to a rank, is refused: vLLM
has no kernel for it on a CPU, where this layer is tested.

Shapes: T tokens of this step, C hidden size, E experts.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from torch import Tensor, nn
from transformers import PretrainedConfig
from vllm.config import get_current_vllm_config
from vllm.model_executor.layers.fused_moe import FusedMoEFactory, GateLinear
from vllm.model_executor.layers.quantization import QuantizationConfig


class Qwen3MoE(nn.Module):
    """Routes each token to its experts: softmax over all in float32, of which the likeliest are kept."""

    def __init__(
        self, config: PretrainedConfig, quant_config: QuantizationConfig | None, prefix: str
    ) -> None:
        super().__init__()
        if get_current_vllm_config().parallel_config.enable_expert_parallel:
            raise ValueError(
                "engine.extra.enable_expert_parallel=True is not for the bundled mixture of experts, "
                "which splits every expert over engine.tensor_parallel_size ranks; leave it out, or use "
                "model.impl=vllm"
            )
        self.gate = GateLinear(
            config.hidden_size, config.num_experts, quant_config=quant_config, prefix=f"{prefix}.gate"
        )
        self.experts = FusedMoEFactory(
            num_experts=config.num_experts,
            top_k=config.num_experts_per_tok,
            hidden_size=config.hidden_size,
            intermediate_size=config.moe_intermediate_size,
            renormalize=config.norm_topk_prob,
            quant_config=quant_config,
            prefix=f"{prefix}.experts",
        )

    def forward(self, x: Tensor) -> Tensor:
        router_logits, _ = self.gate(x)  # (T, C) -> (T, E)
        out: Tensor = self.experts(x, router_logits)  # (T, C), summed over the ranks
        return out


def check_experts(weights: Iterable[tuple[str, Tensor]], num_experts: int) -> Iterator[tuple[str, Tensor]]:
    """Passes (name, tensor) pairs on; raises ValueError at their end where an expert is missing or surplus.

    vLLM would say nothing: it counts the experts of a layer as one parameter, filled by whichever came, and
    drops those beyond `num_experts`.
    """
    found: dict[str, set[int]] = defaultdict(set)
    for name, tensor in weights:
        stem, _, rest = name.partition(".experts.")
        expert, _, leaf = rest.partition(".")
        if expert.isdecimal():
            found[f"{stem}.experts.*.{leaf}"].add(int(expert))
        elif rest and tensor.dim() == 3:  # stacked
            found[name] = set(range(len(tensor)))
        yield name, tensor
    for name, experts in found.items():
        if wrong := sorted(experts ^ set(range(num_experts))):
            raise ValueError(
                f"checkpoint: {name} is there for {len(experts)} experts, and config.json asks for "
                f"num_experts={num_experts} (differs at {wrong[:5]}); config.json and weights must be of "
                "one model"
            )
