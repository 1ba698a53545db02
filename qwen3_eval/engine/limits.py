"""What every in-process engine refuses before it spends a token on it."""

from collections.abc import Sequence

from qwen3_eval.errors import EngineError


def check_request(
    prompt_ids: Sequence[int], max_tokens: int, max_model_len: int, vocab_size: int | None = None
) -> None:
    """Raises EngineError where a request is empty, does not fit the context, or holds an unknown id.

    A request that fits only in part is refused, not cut: a cut answer would be scored as the model's.
    """
    if not prompt_ids:
        raise EngineError("the prompt holds no tokens; a request needs at least one")
    if max_tokens < 1:
        raise EngineError(f"max_tokens is {max_tokens}; a request generates at least one token")
    if len(prompt_ids) + max_tokens > max_model_len:
        raise EngineError(
            f"a request of {len(prompt_ids)} prompt tokens and max_tokens={max_tokens} needs "
            f"{len(prompt_ids) + max_tokens} positions, but engine.max_model_len is {max_model_len}; "
            "lower the budget or the answer reserve, or raise engine.max_model_len as far as the model allows"
        )
    # An id past the embedding table is an index error in the worker, which takes vLLM down for everybody.
    if vocab_size is not None and not 0 <= min(prompt_ids) <= max(prompt_ids) < vocab_size:
        unknown = next(token for token in prompt_ids if not 0 <= token < vocab_size)
        raise EngineError(
            f"the prompt holds token id {unknown}, but the model's ids are 0 to {vocab_size - 1}; "
            "check that the tokenizer belongs to the checkpoint"
        )
