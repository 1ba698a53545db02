"""The scripted engine is cut as a model is cut."""

import asyncio

import pytest

from qwen3_eval.engine.scripted import ScriptedEngine, default_script
from qwen3_eval.errors import EngineError
from qwen3_eval.types import Generation, Sampling

GREEDY = Sampling()


def generate(
    engine: ScriptedEngine, prompt: list[int], max_tokens: int, stops: frozenset[int] = frozenset()
) -> Generation:
    return asyncio.run(engine.generate(prompt, max_tokens, stops, GREEDY, 0))


def test_stops_at_the_first_stop_token_and_includes_it() -> None:
    """A stop token ends the reply, and is its last id; the other stop tokens never appear."""
    reply = generate(ScriptedEngine(lambda _: [5, 6, 7, 8]), [1], 10, frozenset({8, 7}))
    assert (reply.token_ids, reply.finish_reason) == ((5, 6, 7), "stop")


def test_a_length_limit_wins_over_a_stop_token_that_would_come_next() -> None:
    """Exactly max_tokens ids come back, though the next one would have stopped the request."""
    reply = generate(ScriptedEngine(lambda _: [5, 6, 7]), [1], 2, frozenset({7}))
    assert (reply.token_ids, reply.finish_reason) == ((5, 6), "length")


def test_a_prompt_with_the_part_already_given_goes_on_from_there() -> None:
    """Cutting a response in two and sending the first part back gives the same ids as not cutting it."""
    engine = ScriptedEngine(lambda prompt: [10 * len(prompt) + i for i in range(6)])
    first = generate(engine, [1, 2], 2)
    rest = generate(engine, [1, 2, *first.token_ids], 4)
    assert first.token_ids + rest.token_ids == (20, 21, 22, 23, 24, 25)


def test_a_forced_text_asks_the_script_anew() -> None:
    """A prompt that leaves the scripted response is a new question to the script."""
    engine = ScriptedEngine(lambda prompt: [3, 4, 5] if len(prompt) == 1 else [99])
    first = generate(engine, [1], 2)
    assert generate(engine, [1, *first.token_ids, 77], 1).token_ids == (99,)


def test_a_script_that_runs_out_is_filled_up() -> None:
    """Nothing but a stop token or the limit ends a reply: a short script goes on with `filler_id`."""
    reply = generate(ScriptedEngine(lambda _: [5], filler_id=9), [1], 4)
    assert (reply.token_ids, reply.finish_reason) == ((5, 9, 9, 9), "length")


def test_the_named_call_fails_and_the_others_do_not() -> None:
    """`failures` is keyed by the call's index; each call is recorded, the failed one too."""
    engine = ScriptedEngine(lambda _: [5], failures={1: EngineError("lost")})
    assert generate(engine, [1], 1).token_ids == (5,)
    with pytest.raises(EngineError, match="lost"):
        generate(engine, [1], 1)
    assert generate(engine, [1], 1).token_ids == (5,)
    assert [call.prompt_ids for call in engine.calls] == [(1,)] * 3


def test_a_request_beyond_the_context_is_refused() -> None:
    """Prompt and max_tokens together must fit max_model_len; the message names the setting."""
    engine = ScriptedEngine(lambda _: [5], max_model_len=8)
    assert len(generate(engine, [1] * 4, 4).token_ids) == 4
    with pytest.raises(EngineError, match=r"needs 9 positions, but engine\.max_model_len is 8"):
        generate(engine, [1] * 4, 5)


def test_the_default_script_thinks_closes_and_boxes_a_zero() -> None:
    """The command line's script thinks where the block is open or absent, and answers where it is closed."""

    def encode(text: str) -> list[int]:
        text = text.replace("<think>", "\x01").replace("</think>", "\x02")
        return [ord(character) for character in text]

    script = default_script(encode, end_id=3)

    def decode(prompt: str) -> str:
        return "".join(chr(token) for token in script(tuple(encode(prompt))))

    answer = "The answer is \\boxed{0}.\x03"
    assert decode("q").startswith("\x01\nLine 1")
    assert decode("q<think>\n").startswith("Line 1")
    assert decode("q").endswith("\x02\n\n" + answer)
    assert decode("q<think>\n\n</think>\n\n") == answer
    assert decode("q<think>\nLine 1 of it.</think>") == "\n\n" + answer  # closed by itself
