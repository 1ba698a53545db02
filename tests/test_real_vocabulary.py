"""A checkpoint in the shape of Qwen3-0.6B, with the real tokenizer and template, swept through vLLM."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from qwen3_eval.budget import Ending, find_ending
from qwen3_eval.chat import STOP_TEXTS, load_chat
from qwen3_eval.model.qwen3 import Qwen3ForCausalLM
from qwen3_eval.model.weights import save_model
from qwen3_eval.sizes import read_sizes
from qwen3_eval.store import Store
from qwen3_eval.types import THINKING, Message

OPEN, CLOSE = 151667, 151668
BUDGETS = (64, 128)
ANSWER_TOKENS = 32


def make_checkpoint(tokenizer: Path, folder: Path) -> Path:
    """Writes 0.6B random weights in bfloat16 beside the real tokenizer.

    No random model finds a tag among 151,936 words, so two rows of the embedding are planted: `<think>` is
    turned to what the model sees where a prompt ends, `</think>` made long enough to come up now and then.
    Attention is all but silent: what a prompt ends in, not which, then decides what the model sees there.
    """
    config = read_sizes()["Qwen3-0.6B"].config
    torch.set_default_dtype(torch.bfloat16)
    try:
        model = Qwen3ForCausalLM(config).eval()
    finally:
        torch.set_default_dtype(torch.float32)
    model.initialise(seed=0)
    shutil.copytree(tokenizer, folder)
    folder.chmod(0o755)
    prompt = load_chat(str(folder)).render([Message("user", "How many apples are left?")], THINKING)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("o_proj.weight"):
                parameter.mul_(0.01)
        seen = model.model(torch.tensor([prompt.ids]))[0, -1]
        # Its logit is then 0.4 of the norm of `seen`, 32: far above the other rows' of 0.64 deviation.
        model.model.embed_tokens.weight[OPEN] = 0.4 * seen / seen.norm()
        model.model.embed_tokens.weight[CLOSE] *= 2.5
    save_model(model, folder)
    ends = {"bos_token_id": 151643, "eos_token_id": [151645, 151643]}  # as the published checkpoint's
    (folder / "generation_config.json").write_text(json.dumps(ends))
    return folder


@pytest.mark.slow
def test_a_checkpoint_of_real_shape_sweeps_through_vllm(data_root: Path, tmp_path: Path) -> None:
    """28 layers, 151,936 words: two budgets and no thinking, opened, closed and forced by the real ids."""
    tokenizer = data_root / "Qwen" / "Qwen3-tokenizer"
    if not tokenizer.is_dir():
        pytest.skip(f"no Qwen3 tokenizer at {tokenizer}")
    model, run = make_checkpoint(tokenizer, tmp_path / "model"), tmp_path / "run"
    settings = [
        f"model={model}", "task=gsm8k", "budget=64,128", "limit=8", "repeats=1", "max_answer_tokens=32",
        "engine.max_model_len=1024", "engine.max_num_seqs=16", f"run.dir={run}",
        "engine.extra.kv_cache_memory_bytes=805306368", f"data.root={data_root}",
    ]  # fmt: skip
    command = [sys.executable, "-m", "qwen3_eval", "sweep", *settings]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    shutil.rmtree(model)  # 1.2 GB
    assert done.returncode == 0, done.stderr

    summary = pd.read_csv(run / "summary.csv", keep_default_na=False, dtype={"budget": str})
    assert list(summary["budget"]) == ["64", "128", "0"]
    assert set(summary["n_questions"]) == {8}
    assert set(summary["error"]) == {0}
    described = json.loads((run / "run.json").read_text())
    assert described["model"]["architecture"] == "Qwen3ForCausalLM"
    assert described["engine"]["vocab_size"] == 151936

    chat = load_chat(str(tokenizer))
    assert (chat.think_open_id, chat.think_close_id) == (OPEN, CLOSE)
    assert chat.encode(STOP_TEXTS["docs"]).count(CLOSE) == 1
    kinds = set()
    with Store.read(run) as store:
        query = (
            "SELECT r.id, r.mode, r.prompt_tokens, r.prefill, r.thinking_limit, s.messages "
            "FROM rollouts r JOIN samples s ON s.id = r.sample"
        )
        rollouts = list(store.query(query))
        assert [row["mode"] for row in rollouts].count(THINKING) == len(rollouts) / 2 == 8
        for row in rollouts:
            messages = [Message(*turn) for turn in json.loads(row["messages"])]
            assert row["prompt_tokens"] == len(chat.render(messages, row["mode"]).ids)
            assert row["prefill"] is None  # this template leaves <think> to the model
            if row["mode"] != THINKING:
                continue
            ids, trace = store.read_trace_ids(row["id"]), store.read_trace(row["id"], 0)
            assert ids[0] == OPEN
            assert CLOSE not in ids[1:-1]
            for budget in BUDGETS:
                ending = find_ending(trace, budget, row["thinking_limit"])
                assert ending is not None
                kinds.add(ending.kind)
                natural = ids[-1] == CLOSE and len(ids) - 2 <= budget
                assert ending == (Ending("natural", len(ids) - 2) if natural else Ending("forced", budget))
                answer = store.read_answer(row["id"], ending)
                assert answer is not None
                assert 1 <= len(answer.ids) <= ANSWER_TOKENS
    assert kinds == {"natural", "forced"}
