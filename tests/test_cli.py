"""The command line, as a person meets it: a process, its output, its exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from qwen3_eval.cli import compose_config
from qwen3_eval.config import SweepConfig
from qwen3_eval.errors import ConfigError

DATA = Path(os.environ.get("QWEN3_EVAL_DATA", "../shared/data")).resolve()


def run(*arguments: str, timeout: float = 300, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "qwen3_eval", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, cwd=cwd)


def compose(*settings: str) -> SweepConfig:
    return compose_config("sweep", SweepConfig, settings)


def test_a_scripted_sweep_writes_a_run_and_goes_on(tmp_path: Path) -> None:
    """One command makes the whole run folder; again, it generates nothing and reports the same."""
    settings = ["engine=scripted", "budget=16,1k,inf", "limit=5", f"run.dir={tmp_path}/run"]
    first = run("sweep", *settings)
    assert first.returncode == 0, first.stderr
    assert "report:" in first.stdout
    names = {"run.json", "run.db", "summary.csv", "samples.parquet", "curve.png", "curve.svg", "report.html"}
    assert names <= {path.name for path in (tmp_path / "run").iterdir()}
    summary = pd.read_csv(tmp_path / "run/summary.csv", keep_default_na=False, dtype={"budget": str})
    assert list(summary["budget"]) == ["16", "1024", "inf", "0"]
    assert list(summary["n_questions"]) == [5] * 4
    run_json = json.loads((tmp_path / "run/run.json").read_text())
    assert run_json["status"] == "done"
    assert run_json["engine"]["reproducible"] is True
    again = run("sweep", *settings)
    assert again.returncode == 0, again.stderr
    assert " 0 tokens" in again.stderr
    assert again.stdout == first.stdout


def test_score_and_report_need_no_model(tmp_path: Path) -> None:
    """From a finished run alone, both write the same summary again."""
    assert run("sweep", "engine=scripted", "budget=16", "limit=3", f"run.dir={tmp_path}").returncode == 0
    before = (tmp_path / "summary.csv").read_bytes()
    for command in ("score", "report"):
        (tmp_path / "summary.csv").unlink()
        done = run(command, f"run.dir={tmp_path}")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "summary.csv").read_bytes() == before


def test_a_run_is_not_mixed_with_other_settings(tmp_path: Path) -> None:
    """The refusal names what differs, and the run stays as it was."""
    settings = ["engine=scripted", "budget=16", "limit=2", f"run.dir={tmp_path}"]
    assert run("sweep", *settings).returncode == 0
    before = (tmp_path / "run.json").read_bytes()
    refused = run("sweep", *settings, "seed=1", "sampling=greedy")
    assert refused.returncode == 2
    assert "seed (there 0, now 1)" in refused.stderr
    assert "sampling.thinking.temperature (there 0.6, now 0.0)" in refused.stderr
    assert (tmp_path / "run.json").read_bytes() == before


@pytest.mark.parametrize("budget", ["budget=1k,4k,inf", "budget=[1k,4k,inf]"])
def test_lists_need_no_brackets(budget: str) -> None:
    """A comma-separated value and a bracketed one mean the same."""
    config = compose(budget, "task=chain,gsm8k", "mode=thinking")
    assert [str(b) for b in config.budget] == ["1k", "4k", "inf"]
    assert config.task == ["chain", "gsm8k"]
    assert config.mode == ["thinking"]


def test_groups_and_free_keys_compose() -> None:
    """Presets are chosen by name; sampling and engine arguments may be added one by one."""
    config = compose("sampling=greedy", "sampling.thinking.min_p=0.1", "engine.extra.quantization=fp8")
    assert config.sampling.thinking == {"temperature": 0, "min_p": 0.1}
    assert config.engine.extra == {"quantization": "fp8"}
    assert compose("stop_text=Done, now.</think>").stop_text == "Done, now.</think>"


def test_a_model_is_a_name_a_folder_or_a_hub_id() -> None:
    """`model=` takes all three."""
    assert compose("model=nano").model.path == "box:nano"
    assert compose("model=Qwen/Qwen3-8B").model.path == "Qwen/Qwen3-8B"
    assert compose("model=./my model").model.path == "./my model"
    assert compose("model=./my model").model.name == "my model"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["bugdet=1k"], r"unknown setting 'bugdet'; did you mean 'budget'\?"),
        (["model=nanu"], r"unknown model 'nanu'; did you mean 'nano'\?"),
        (["engine=vlm"], r"unknown engine 'vlm'; did you mean 'vllm'\?"),
        (["1k"], "'1k' is no setting"),
        (["seed=abc"], "seed"),
    ],
)
def test_settings_that_do_not_compose_are_explained(settings: list[str], message: str) -> None:
    """The error names what was got and the nearest that is known."""
    with pytest.raises(ConfigError, match=message):
        compose(*settings)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["swep"], "unknown command 'swep'; did you mean 'sweep'?"),
        (["sweep", "task=aime52"], "task 'aime52' not found; did you mean 'aime25'?"),
        (["sweep", "budget=0k5"], "budget='0k5' is not a budget"),
        (["sweep", "budget=-1"], "budget=-1 is not a budget"),
        (["sweep", "budget=[]"], "names no budget"),
        (["sweep", "mode=thinkin"], "mode 'thinkin' is unknown; did you mean 'thinking'?"),
        (["sweep", "budget=1000k"], "context of model 'box:nano' is 16384"),
        (["sweep", "model=./nowhere"], "model './nowhere' is no folder here"),
        (["sweep", "stop_text=enough"], "does not close the thinking"),
        (["sweep", "limit=0"], "limit=0 is not allowed"),
        (["sweep", "sampling.thinking.heat=1"], "unknown setting 'sampling.thinking.heat'"),
        (["sweep", "task=gsm8k", "data.root=/nowhere"], "/nowhere"),
        (["report"], "run.dir= is missing"),
        (["report", "run.dir=/nowhere"], "holds no run"),
        (["tasks", "gsm9k"], "did you mean 'gsm8k'?"),
    ],
)
def test_a_mistake_gets_one_clear_message_and_exit_code_2(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    """No traceback, nothing started, nothing written."""
    extra = [f"run.dir={tmp_path}/run"] if arguments[0] == "sweep" else []
    done = run(*arguments, *extra)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("arguments", [["--help"], ["sweep", "--help"], ["tasks"], ["models"]])
def test_listing_imports_nothing_heavy(arguments: list[str]) -> None:
    """What takes seconds to import stays out, so that the answer is there at once; `make bench` times it."""
    code = (
        "import sys\nfrom qwen3_eval.cli import main\ntry: main()\nexcept SystemExit: pass\n"
        "print(*{name.split('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    heavy = {"torch", "vllm", "transformers", "datasets", "pandas", "matplotlib", "sympy", "hydra", "scipy"}
    assert not heavy & set(done.stderr.split())
    assert done.stdout


@pytest.mark.parametrize(
    "text", ["Answer within \\boxed{}.", "a, b = c", "it's 'so'", "end \\", "plain", "[x"]
)
def test_an_option_may_be_any_text(text: str) -> None:
    """An instruction of the user's means itself, braces, commas and quotes included."""
    if text == "[x":
        with pytest.raises(ConfigError):
            compose(f"options.gsm8k.instruction={text}")
    else:
        assert compose(f"options.gsm8k.instruction={text}").options == {"gsm8k": {"instruction": text}}
    assert compose("options.mmmlu.share=0.5").options == {"mmmlu": {"share": 0.5}}


def test_every_command_has_help() -> None:
    """`--help` names the commands, and each command's help its settings with their defaults."""
    assert all(name in run("--help").stdout for name in ("sweep", "score", "report", "tasks", "models"))
    text = run("sweep", "--help").stdout
    assert "max_answer_tokens" in text
    assert "(default 4096)" in text


@pytest.mark.slow
def test_real_rows_sweep_through_vllm(tmp_path: Path) -> None:
    """Every suite that the mirror has rows of, both modes, two budgets: every record, no error verdict."""
    if not DATA.is_dir():
        pytest.skip(f"no mirror at {DATA}; set QWEN3_EVAL_DATA")
    tasks = (
        "gsm8k,aime24,aime25,aime26,math500,mmlu_redux,mmmlu,include,ruler,humaneval,humaneval_plus,mbpp,"
        "mbpp_plus,evalplus,lm-eval/gsm8k,lm-eval/hendrycks_math500,lm-eval/aime25"
    )
    done = run(
        "sweep", f"task={tasks}", "budget=64,256", "limit=6", "repeats=1", "max_answer_tokens=128",
        f"data.root={DATA}", "data.allow_partial=true", "options.include.share=1", f"run.dir={tmp_path}",
        "options.ruler.lengths=[4k,8k]", timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary = pd.read_csv(tmp_path / "summary.csv", keep_default_na=False)
    whole = summary[summary["group"] == ""]
    assert len(whole) == 17 * 3
    assert set(whole["n_questions"]) == {6}
    assert set(whole["error"]) == {0}
    samples = pd.read_parquet(tmp_path / "samples.parquet")
    assert len(samples) == 17 * 6 * 3
    assert samples["prompt"].str.len().min() > 40


@pytest.mark.slow
def test_a_base_model_is_asked_through_vllm(tmp_path: Path) -> None:
    """mode=base beside another mode: few-shot prompts without chat, one completion each, no error verdict."""
    if not DATA.is_dir():
        pytest.skip(f"no mirror at {DATA}; set QWEN3_EVAL_DATA")
    done = run(
        "sweep", "task=gsm8k,mmlu_redux,humaneval", "mode=base,non-thinking", "limit=6",
        "max_answer_tokens=128", f"data.root={DATA}", f"run.dir={tmp_path}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    samples = pd.read_parquet(tmp_path / "samples.parquet")
    assert samples.groupby(["task", "mode"]).size().to_dict() == {
        (task, mode): 6 for task in ("gsm8k", "humaneval", "mmlu_redux") for mode in ("base", "non-thinking")
    }  # fmt: skip
    assert set(samples["outcome"]) <= {"correct", "incorrect", "no_answer"}
    plain = samples[(samples["task"] == "gsm8k") & (samples["mode"] == "base")]
    assert set(plain["prompt"].str.count("Question:")) == {5}


OWN_TASK = """
from qwen3_eval.scoring.math import BOXED_INSTRUCTION, math_scorer
from qwen3_eval.task import Card, procedural_task
from qwen3_eval.types import Message, Sample


@procedural_task(
    name="own_sums",
    card=Card(rows=3, licence="MIT", prompt="a sum", protocol="0-shot chat; the last box", source="me"),
    scorer=math_scorer(),
)
def own_sums(*, instruction: str = BOXED_INSTRUCTION):
    for i in range(3):
        yield Sample(f"own_sums/{i}", (Message("user", f"What is {i} + 0? {instruction}"),), str(i))
"""


def test_a_task_of_ones_own_is_one_file(tmp_path: Path) -> None:
    """tasks.path= finds it: it lists, sweeps, and is scored anew later without the path given again."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/sums.py").write_text(OWN_TASK)
    path, folder = f"tasks.path={tmp_path}/mine", f"run.dir={tmp_path}/run"
    assert "own_sums" in run("tasks", path).stdout
    done = run(
        "sweep", "engine=scripted", "task=own_sums", "budget=16", "options.own_sums.share=0.5", path, folder
    )
    assert done.returncode == 0, done.stderr
    summary = pd.read_csv(tmp_path / "run/summary.csv", keep_default_na=False)
    assert set(summary["n_questions"]) == {2}
    again = run("score", folder)
    assert again.returncode == 0, again.stderr
    assert "scored 4 answers" in again.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "is no folder with a .py file in it"), ("1 / 0", "sums.py cannot be run: ZeroDivisionError")],
)
def test_a_folder_of_tasks_that_cannot_be_used_is_told(
    content: str | None, message: str, tmp_path: Path
) -> None:
    """One error names the folder, the file and what failed in it."""
    if content is not None:
        (tmp_path / "sums.py").write_text(content)
    done = run("tasks", f"tasks.path={tmp_path}")
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("error: ")


def test_the_table_of_tasks_for_the_documents() -> None:
    """`tasks --markdown` has a row for each task, with its protocol; docs/tasks.md is that table."""
    table = run("tasks", "--markdown").stdout
    names = [line.split("`")[1] for line in table.splitlines()[2:]]
    assert names == [line.split()[0] for line in run("tasks").stdout.splitlines()[1:]]
    page = (Path(__file__).parent.parent / "docs/tasks.md").read_text(encoding="utf-8")
    assert table in page, "write it anew: python -m qwen3_eval tasks --markdown"


def test_an_lm_eval_task_sweeps_by_its_name(tmp_path: Path) -> None:
    """`lm-eval/NAME`: its card, its options in spite of the slash, a folder without one, and scoring anew."""
    if not DATA.is_dir():
        pytest.skip(f"no mirror at {DATA}; set QWEN3_EVAL_DATA")
    card = run("tasks", "lm-eval/gsm8k").stdout
    assert "options.lm-eval/gsm8k.num_fewshot" in card
    assert "filters strict-match, flexible-extract" in card
    settings = ("task=lm-eval/gsm8k", "options.lm-eval/gsm8k.num_fewshot=1", "limit=2", "engine=scripted",
                "budget=64", f"data.root={DATA}")  # fmt: skip
    done = run("sweep", *settings, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs/nano-lm-eval-gsm8k"
    summary = pd.read_csv(folder / "summary.csv", keep_default_na=False)
    assert set(summary["metric"]) == {"exact_match,strict-match"}
    assert list(dict.fromkeys(summary["group"])) == [
        "", "exact_match,strict-match", "exact_match,flexible-extract",
    ]  # fmt: skip
    samples = pd.read_parquet(folder / "samples.parquet")
    assert set(samples["prompt"].str.count("Question:")) == {2}, "one example and the question"
    again = run("score", f"run.dir={folder}")
    assert (again.returncode, again.stderr) == (0, "scored 4 answers\n")
    wrong = run("sweep", *settings[:1], "options.lm-eval/gsm8k.fewshots=1", "engine=scripted")
    assert "unknown setting 'options.lm-eval/gsm8k.fewshots'; did you mean 'num_fewshot'" in wrong.stderr
