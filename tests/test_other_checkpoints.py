"""Checkpoints that people have beside plain Qwen3: LoRA adapters, quantised weights, other families.

Each real engine takes half a minute to start, so one stands for each form; what is refused needs none.
"""

import json
import random
import subprocess
import sys
from collections.abc import Callable
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from environments import copy_checkpoint
from made_checkpoints import (
    ASSISTANT,
    BOS,
    EOS,
    FAMILIES,
    USER,
    deeper,
    misfit,
    set_config,
    truncated,
    write_adapter,
    write_family,
    write_int8,
)
from safetensors.torch import load_file

from qwen3_eval.adapter import locate_adapter
from qwen3_eval.budget import Ending, find_ending
from qwen3_eval.chat import THINK_CLOSE, load_chat
from qwen3_eval.checkpoint import locate_checkpoint, locate_model
from qwen3_eval.cli import compose_config, main
from qwen3_eval.config import EngineConfig, ModelConfig, SweepConfig
from qwen3_eval.doctor import _check_model
from qwen3_eval.engine.start import start_engine
from qwen3_eval.errors import CheckpointError
from qwen3_eval.model.generate import generate
from qwen3_eval.model.weights import load_model, save_model
from qwen3_eval.store import Store
from qwen3_eval.types import NON_THINKING, THINKING, Message, Sampling

if TYPE_CHECKING:
    from conftest import LoopThread

GREEDY = Sampling()
SMALL_CACHE = {"kv_cache_memory_bytes": 256 * 1024**2}
needs_vllm = pytest.mark.skipif(util.find_spec("vllm") is None, reason="vLLM is not installed")


def prompts(n: int) -> list[list[int]]:
    """Returns n prompts of 50 random bytes."""
    rng = random.Random(1)
    return [[rng.randrange(256) for _ in range(50)] for _ in range(n)]


def ask_vllm(loop: "LoopThread", model: ModelConfig, n_tokens: int) -> tuple[list[tuple[int, ...]], Any]:
    """Returns the greedy ids of six prompts, one after the other, and what the engine says of itself."""

    async def ask() -> tuple[list[tuple[int, ...]], Any]:
        checkpoint = locate_model(model)
        config = EngineConfig(max_model_len=1024, max_num_seqs=8, extra=dict(SMALL_CACHE))
        engine = await start_engine(config, checkpoint, model.impl, load_chat(checkpoint.path), Path())
        try:
            replies = [await engine.generate(p, n_tokens, frozenset(), GREEDY, 0) for p in prompts(6)]
            return [reply.token_ids for reply in replies], engine.describe()
        finally:
            await engine.close()

    return loop.run(ask())


# LoRA


@pytest.fixture
def adapter(nano: Path, tmp_path: Path) -> Path:
    return write_adapter(nano, tmp_path / "lora")


@needs_vllm
@pytest.mark.slow
def test_an_adapter_gives_the_tokens_of_the_merged_weights(
    nano: Path, adapter: Path, tmp_path: Path, loop_thread: "LoopThread", monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bundled class on vLLM with A and B beside the weights, and on torch with W + s B A, agree."""
    monkeypatch.chdir(tmp_path)
    model, matrices = load_model(nano), load_file(adapter / "adapter_model.safetensors")
    for name, a in matrices.items():
        if name.endswith(".lora_A.weight"):
            stem = name.removesuffix(".lora_A.weight")
            weight = model.get_parameter(f"{stem.removeprefix('base_model.model.')}.weight")
            weight.data += 2 * matrices[f"{stem}.lora_B.weight"] @ a
    save_model(model, tmp_path / "merged")

    def ask_torch(folder: Path) -> list[tuple[int, ...]]:
        n, none = 6, frozenset[int]()
        replies = generate(load_model(folder), prompts(n), [40] * n, [none] * n, [GREEDY] * n, [0] * n)
        return [reply.token_ids for reply in replies]

    got, facts = ask_vllm(loop_thread, ModelConfig(path="box:nano", adapter=str(adapter)), 40)
    assert facts["impl"] == "bundled"
    assert got == ask_torch(tmp_path / "merged")
    assert all(mine != base for mine, base in zip(got, ask_torch(nano), strict=True))


def test_the_adapter_is_part_of_the_run(
    nano: Path, adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """run.json and reports name it, and another adapter of the same name cannot go on with the run."""
    run = tmp_path / "run"
    asked = ["sweep", "engine=scripted", "budget=64", "limit=1", f"run.dir={run}"]
    assert main([*asked, f"model.adapter={adapter}"]) == 0
    described = json.loads((run / "run.json").read_text())["model"]
    assert described["name"] == "nano+lora"
    assert described["adapter"]["path"] == str(adapter)
    assert described["adapter"]["rank"] == 4
    assert described["fingerprint"] != locate_checkpoint("box:nano").fingerprint
    other = write_adapter(nano, tmp_path / "b", seed=1)
    (tmp_path / "other").mkdir()
    other = other.rename(tmp_path / "other" / "lora")
    for resumed in ([f"model.adapter={other}"], []):
        capsys.readouterr()
        assert main([*asked, *resumed]) == 2
        assert "model.fingerprint (there 'sha256:" in capsys.readouterr().err


# Quantised weights


@needs_vllm
@pytest.mark.slow
def test_quantised_weights_run_alike_on_both_classes(
    nano: Path, tmp_path: Path, loop_thread: "LoopThread", monkeypatch: pytest.MonkeyPatch
) -> None:
    """INT8 weights and activations: the bundled class and vLLM's own give the same ids, greedy."""
    monkeypatch.chdir(tmp_path)
    path = str(write_int8(nano, tmp_path / "int8"))
    mine, facts = ask_vllm(loop_thread, ModelConfig(path=path), 32)
    theirs, own_facts = ask_vllm(loop_thread, ModelConfig(path=path, impl="vllm"), 32)
    assert (facts["impl"], own_facts["impl"]) == ("bundled", "vllm")
    assert facts["quantization"] == own_facts["quantization"] == "compressed-tensors"
    assert mine == theirs


@needs_vllm
@pytest.mark.slow
def test_settings_reach_vllms_own_arguments(adapter: Path, nano: Path) -> None:
    """What follows engine.extra. goes through by its name, and an adapter brings the room that it needs."""
    from qwen3_eval.engine.vllm_start import _engine_args

    config = compose_config("sweep", SweepConfig, ["engine.extra.quantization=fp8"])
    args = _engine_args(
        str(nano), impl="bundled", dtype="auto", yarn_factor=1.0, adapter=locate_adapter(str(adapter)),
        extra=dict(config.engine.extra), revision=None, max_model_len=None,
    )  # fmt: skip
    assert args.quantization == "fp8"
    assert (args.enable_lora, args.max_lora_rank) == (True, 8)  # vLLM has room for 8, not for 4


def test_doctor_shows_the_form(nano: Path, adapter: Path, tmp_path: Path) -> None:
    """A quantised checkpoint and an adapter stand in the model's line."""
    model = ModelConfig(path=str(write_int8(nano, tmp_path / "int8")), adapter=str(adapter))
    found = _check_model(SweepConfig(model=model))
    assert found.status == "ok"
    assert f"quantised by compressed-tensors, with adapter {adapter} of rank 4" in found.found


# What is refused


ADAPTERS: dict[str, tuple[Callable[[Path, Path], Path], list[str], str]] = {
    "no adapter": (copy_checkpoint, [], "has no adapter_config.json"),
    "no folder": (lambda nano, folder: folder, [], "is no folder here"),
    "other shape": (misfit, [], "layers.0.self_attn.q_proj of shape [128, 64], which in the model"),
    "deeper model": (deeper, [], "changes model.layers.30.mlp.down_proj, which the model"),
    "truncated": (truncated, [], "adapter_model.safetensors' is damaged"),
    "rank": (
        lambda nano, folder: write_adapter(nano, folder, rank=513),
        [],
        "has rank 513, and vLLM takes at most 512",
    ),
    "DoRA": (
        lambda nano, folder: write_adapter(nano, folder, use_dora=True),
        [],
        "no plain LoRA (use_dora=True)",
    ),
    "room": (write_adapter, ["engine.extra.max_lora_rank=1"], "is less than the rank 4 of adapter"),
    "torch": (write_adapter, ["engine=torch"], "use engine=vllm, or merge"),
}


@pytest.mark.parametrize("case", ADAPTERS)
def test_an_adapter_that_cannot_run_is_refused(
    case: str, nano: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, before anything starts or is written."""
    make, settings, told = ADAPTERS[case]
    adapter = make(nano, tmp_path / "lora")
    refuse(capsys, tmp_path, told, f"model.adapter={adapter}", *settings)


def test_the_bundled_mixture_refuses_an_adapter(
    nano: Path, adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line names the class that takes it."""
    mixture = set_config(
        copy_checkpoint(nano, tmp_path / "moe"), architectures=["Qwen3MoeForCausalLM"], model_type="other"
    )
    refuse(capsys, tmp_path, "set model.impl=vllm", f"model={mixture}", f"model.adapter={adapter}")


@pytest.mark.parametrize(
    ("settings", "engine", "told"),
    [
        ({"quantization_config": {"quant_method": "awq"}}, "torch", "are quantised by awq; use engine=vllm"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "vllm", "for which vLLM has no layers"),
        ({"architectures": ["LlamaForCausalLM"]}, "torch", "is LlamaForCausalLM; use engine=vllm"),
        ({"attention_bias": True}, "torch", "attention_bias=True is not supported by the bundled model"),
    ],
)
def test_a_form_that_the_engine_does_not_take_is_refused(
    settings: dict[str, Any],
    engine: str,
    told: str,
    nano: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The line names the form and the engine that takes it."""
    model = set_config(copy_checkpoint(nano, tmp_path / "model"), **settings)
    refuse(capsys, tmp_path, told, f"model={model}", f"engine={engine}")


def refuse(capsys: pytest.CaptureFixture[str], folder: Path, told: str, *arguments: str) -> None:
    capsys.readouterr()
    assert main(["sweep", *arguments, f"run.dir={folder}/run"]) == 2
    line = capsys.readouterr().err
    assert line.startswith("error: ")
    assert line.count("\n") == 1
    assert told in line
    assert not (folder / "run").exists()


# Other families


@needs_vllm
@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_another_family_sweeps_on_vllms_own_class(family: str, nano: Path, tmp_path: Path) -> None:
    """Two budgets from the command line: thinking opened by the prompt, closed or forced; the class told."""
    model, run = write_family(family, nano, tmp_path / "model"), tmp_path / "run"
    done = subprocess.run(
        [
            sys.executable, "-m", "qwen3_eval", "sweep", f"model={model}", "mode=thinking", "budget=32,64",
            "task=chain", "limit=8", "max_answer_tokens=32", "engine.max_num_seqs=16", f"run.dir={run}",
            "engine.extra.kv_cache_memory_bytes=268435456", "sampling.thinking.temperature=1",
            "sampling.thinking.top_k=0", "sampling.thinking.top_p=1",
        ],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    described = json.loads((run / "run.json").read_text())
    assert described["model"]["architecture"] == FAMILIES[family][0]
    assert described["settings"]["model"]["impl"] == "bundled"  # the default, where there is one
    assert described["engine"]["impl"] == "vllm"
    assert described["engine"]["model_class"] == FAMILIES[family][3]

    chat = load_chat(str(model))
    assert chat.eos_ids == {chat.tokenizer.convert_tokens_to_ids(FAMILIES[family][2])}
    kinds = set()
    with Store.read(run) as store:
        for row in list(store.query("SELECT id, prefill, thinking_limit FROM rollouts")):
            assert row["prefill"] == 1  # the line break after the template's <think>
            ids, trace = store.read_trace_ids(row["id"]), store.read_trace(row["id"], 1)
            assert chat.think_close_id not in ids[:-1]
            for budget in (32, 64):
                ending = find_ending(trace, budget, row["thinking_limit"])
                assert ending is not None
                kinds.add(ending.kind)
                if ending.kind == "unclosed":  # the turn ended inside the thinking
                    assert ids[-1] in chat.eos_ids
                    continue
                natural = ids[-1] == chat.think_close_id and len(ids) <= budget
                assert ending == (Ending("natural", len(ids)) if natural else Ending("forced", budget))
                answer = store.read_answer(row["id"], ending)
                assert answer is not None
                assert 1 <= len(answer.ids) <= 32
                assert not chat.eos_ids.intersection(answer.ids[:-1])
    assert kinds >= {"natural", "forced"}


@pytest.mark.parametrize("family", FAMILIES)
def test_non_thinking_is_refused_where_the_template_always_thinks(
    family: str, nano: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Earlier thinking is stripped, the block opened whatever is asked, and budget 0 refused with that."""
    model = write_family(family, nano, tmp_path / "model")
    chat = load_chat(str(model))
    turns = [Message("user", "a"), Message("assistant", "<think>\nhm\n</think>\n\nb"), Message("user", "c")]
    texts = {chat.render_text(turns, mode) for mode in (THINKING, NON_THINKING)}
    expected = {
        "R1-Distill-Llama": f"{BOS}{USER}a{ASSISTANT}b{EOS}{USER}c{ASSISTANT}<think>\n",
        "QwQ": "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
        "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n<think>\n",
    }
    assert texts == {expected[family]}
    assert chat.render(turns, THINKING).prefill == chat.encode("\n")
    asked = ["mode=thinking", "budget=0,64", "max_answer_tokens=32", "engine=scripted"]
    refuse(capsys, tmp_path, "no non-thinking mode (budget 0)", f"model={model}", *asked)


def test_a_family_without_the_tags_is_refused(nano: Path, tmp_path: Path) -> None:
    """As plain Llama: the missing token is named."""
    model = write_family("R1-Distill-Llama", nano, tmp_path / "model")
    file = model / "tokenizer.json"
    file.write_text(file.read_text().replace(THINK_CLOSE, "</thought>"))
    with pytest.raises(CheckpointError, match="has no token </think>"):
        load_chat(str(model))
