"""The load-balancing loss of a mixture of experts, over the global batch.

    L = E * sum over experts i of f_i * P_i

f_i is the share of all choices that fell on expert i, P_i the router's mean probability of it; L is 1 where
the load is even. Only P carries a gradient. Within a micro-batch, which holds few sequences, an even load
would have each sequence spread over all experts, so none could specialise; f is therefore counted over every
micro-batch of the global batch, on every process, before the product. The mean of the micro-batches' losses
is then the loss of the whole.
Source: Qiu et al., Demons in the Detail (arXiv 2501.11873), sections 2 and 3; Qwen3 technical report (arXiv
2505.09388), section 2.

A training step: count each layer's choices in each micro-batch, add the counts (and all-reduce them across
processes), then add to each micro-batch's loss that of its layers, times a coefficient.
"""

from torch import Tensor


def count_choices(experts: Tensor, num_experts: int, mask: Tensor | None = None) -> Tensor:
    """Returns how often each expert was chosen, int64 (E,), by the tokens of `experts` (N, k).

    `mask` (N,) is False or 0 at padding, which is left out.
    """
    if mask is not None:
        experts = experts[mask.bool()]
    return experts.flatten().bincount(minlength=num_experts)


def load_balancing_loss(probabilities: Tensor, counts: Tensor, mask: Tensor | None = None) -> Tensor:
    """Returns the loss () of one layer in one micro-batch.

    `probabilities` (N, E) are the router's in the micro-batch, `mask` (N,) as above; `counts` (E,) are the
    choices in the global batch. Raises ValueError where either holds no token.
    """
    if mask is not None:
        probabilities = probabilities[mask.bool()]
    if len(probabilities) == 0 or int(counts.sum()) == 0:
        raise ValueError("no token is left to balance; leave out micro-batches that are padding alone")
    share = counts / counts.sum()  # f, (E,)
    return len(counts) * (share * probabilities.mean(0)).sum()
