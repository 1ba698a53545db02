"""`routing`: which experts a mixture's router chooses in prompts, thinking and answers.

The responses are a finished run's, whichever engine made it, or those of a sweep that comes first. Then the
bundled model reads each of them once, and its routers are watched.
"""

import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from qwen3_eval.budget import format_budget, parse_budget, parse_budgets
from qwen3_eval.chat import load_chat
from qwen3_eval.checkpoint import Checkpoint, locate_model, name_model
from qwen3_eval.config import EngineConfig, ModelConfig, RoutingConfig
from qwen3_eval.engine.start import check_engine
from qwen3_eval.engine.torch import load_weights
from qwen3_eval.errors import CheckpointError, ConfigError, EngineError, StoreError, did_you_mean
from qwen3_eval.past_run import PastRun, read_past_run
from qwen3_eval.report.cells import clusters_of
from qwen3_eval.routing.count import Ints, count_choices
from qwen3_eval.routing.measure import Tally
from qwen3_eval.routing.report import print_routing, write_routing
from qwen3_eval.routing.responses import Asked, Response, list_rollouts, read_responses
from qwen3_eval.run import sweep
from qwen3_eval.store import Store
from qwen3_eval.study import as_list
from qwen3_eval.subset import select
from qwen3_eval.task import LM_EVAL
from qwen3_eval.types import THINKING, Budget, Sample

if TYPE_CHECKING:
    from qwen3_eval.model.qwen3 import Qwen3ForCausalLM

_TELL_EVERY_S = 10.0


def routing(config: RoutingConfig) -> int:
    """Generates responses, or takes a run's; counts, prints and writes what the routers chose."""
    if config.responses:
        if config.run.dir:
            raise ConfigError(
                f"responses='{config.responses}' and run.dir='{config.run.dir}' are both given; responses= "
                "reads a finished run, run.dir= is where a sweep generates one: give either"
            )
        past = read_past_run(config.responses, "responses")
    else:
        config = complete(config)
        check_mixture(locate_model(config.model), config)
        code = sweep(config)
        if code:
            return code
        print()
        past = read_past_run(config.run.dir, "run.dir")
    budget = choose_budget(past, config.budget)
    checkpoint, notes = find_checkpoint(past, config)
    with Store.read(past.folder) as store:
        rollouts = choose_rollouts(store, past, budget, config)
        chat = load_chat(checkpoint.path, checkpoint.revision)
        model = load_router(checkpoint, past, config)
        print(f"routing {len(rollouts):,} responses anew ...", file=sys.stderr, flush=True)
        responses = read_responses(store, rollouts, budget, chat, past.run["stop_text"])
        tallies, missing = tally_choices(
            model, _tell(responses, len(rollouts)), past.run["tasks"], config.engine.prefill_chunk_tokens
        )
    if missing:
        notes.append(
            f"{missing:,} of {len(rollouts):,} responses are not there yet; their sweep stopped before"
        )
    if not tallies:
        raise StoreError(
            f"'{past.folder}' holds no response at budget {format_budget(budget)} yet; let its sweep run on"
        )
    about = {"model": past.run["model"]["name"], "budget": budget, "seed": config.seed}
    told = write_routing(tallies, about, notes, past.folder)
    print_routing(told)
    return 0


def complete(config: RoutingConfig) -> RoutingConfig:
    """Returns the settings of the sweep that generates. Raises ConfigError where it would not think."""
    if not config.model.path:
        raise ConfigError(
            "model= is missing; name a mixture of experts, as model=nano-moe, or a run to read, responses=DIR"
        )
    tasks = as_list(config.task) or ["chain"]
    budgets = as_list(config.budget) or ["inf"]
    if THINKING not in as_list(config.mode) or max(parse_budgets(budgets)) == 0:
        asked = ",".join(map(str, as_list(config.mode)))
        raise ConfigError(
            f"mode={asked} budget={','.join(map(str, budgets))} asks for no thinking to hold answers "
            "against; give mode=thinking and a budget above 0, as budget=inf"
        )
    named = "+".join(map(str, tasks)).replace(LM_EVAL, LM_EVAL.replace("/", "-"))
    folder = config.run.dir or f"runs/{name_model(config.model)}-{named}-routing".replace(" ", "_")
    return replace(config, task=tasks, budget=budgets, run=replace(config.run, dir=folder))


def check_mixture(checkpoint: Checkpoint, config: RoutingConfig) -> None:
    """Raises CheckpointError where the checkpoint has no router, EngineError where torch does not load it."""
    try:
        chunk = config.engine.prefill_chunk_tokens
        check_engine(EngineConfig(name="torch", prefill_chunk_tokens=chunk), checkpoint, "bundled")
    except EngineError as error:
        raise EngineError(
            f"routing reads responses with engine=torch, whatever made them: {error}"
        ) from error
    from qwen3_eval.model.config import Qwen3Config

    if not Qwen3Config.from_file(checkpoint.path).sparse_layers:
        raise CheckpointError(
            f"model '{checkpoint.path}' is dense ({checkpoint.architecture}): it has no router to watch; "
            "give a mixture of experts, as model=nano-moe"
        )
    if chunk < 1:
        raise ConfigError(f"engine.prefill_chunk_tokens={chunk} is not allowed; give at least 1")


def choose_budget(past: PastRun, asked: Any) -> Budget:
    """Returns the largest thinking budget asked for, or of the run's. Raises ConfigError, StoreError."""
    known = [parse_budget(budget) for budget in past.run["budgets"]] if THINKING in past.run["modes"] else []
    if not known:
        raise StoreError(
            f"'{past.folder}' has no thinking responses, only {', '.join(past.run['modes'])}; routing holds "
            "answers against the thinking before them: give a run with mode=thinking"
        )
    if not as_list(asked):
        return max(known)
    budget = max(parse_budgets(asked))
    if budget not in known:
        raise ConfigError(
            f"budget={format_budget(budget)} is not among those of '{past.folder}': "
            f"{', '.join(map(format_budget, known))}"
        )
    return budget


def find_checkpoint(past: PastRun, config: RoutingConfig) -> tuple[Checkpoint, list[str]]:
    """Returns the checkpoint that the run was made with, or the copy of it that `model=` names, and notes.

    Raises CheckpointError or EngineError where it cannot be read, StoreError where it holds other weights.
    """
    made_with = past.run["model"]
    asked = config.model
    if not asked.path:
        asked = ModelConfig(**past.run["settings"]["model"] | {"revision": made_with["revision"]})
    checkpoint = locate_model(asked)
    check_mixture(checkpoint, config)
    there, here = made_with["fingerprint"], checkpoint.fingerprint
    if there == here:
        return checkpoint, []
    if there.partition(":")[0] == here.partition(":")[0]:
        raise StoreError(
            f"'{past.folder}' was generated by other weights ({there}) than model '{asked.path}' holds "
            f"({here}); its routers would not have read these responses: give the checkpoint of "
            f"'{made_with['path']}'"
        )
    return checkpoint, [
        f"the run's weights are known by {there}, so that '{asked.path}' holds them is taken on trust"
    ]


def choose_rollouts(store: Store, past: PastRun, budget: Budget, config: RoutingConfig) -> list[Asked]:
    """Returns what is to be read: the tasks, and of each the first `limit` questions and `repeats`."""
    known = list(past.run["tasks"])
    tasks = [str(task) for task in as_list(config.task)] or known
    for task in tasks:
        if task not in known:
            raise ConfigError(
                f"task '{task}' is not in '{past.folder}'{did_you_mean(task, known)} it holds: "
                f"{', '.join(known)}"
            )
    for name in ("limit", "repeats"):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise ConfigError(f"{name}={value} is not allowed; give a whole number of at least 1")
    rollouts = list_rollouts(store, budget, format_budget(budget), config.repeats)
    chosen = {
        (task, sample.sample_id)
        for task in tasks
        for sample in select(
            [Sample(name, (), None) for name in {r.sample_id for r in rollouts if r.task == task}],
            config.limit,
        )
    }
    return [rollout for rollout in rollouts if (rollout.task, rollout.sample_id) in chosen]


def load_router(checkpoint: Checkpoint, past: PastRun, config: RoutingConfig) -> "Qwen3ForCausalLM":
    """Returns the bundled model, in the dtype and with the YaRN that the run was made with, but where set."""
    identity: Mapping[str, Any] = past.run["identity"]
    dtype = config.engine.dtype if config.engine.dtype != "auto" else identity.get("engine.dtype", "auto")
    return load_weights(checkpoint.path, dtype, yarn_factor=identity.get("engine.yarn_factor", 1.0))


def tally_choices(
    model: "Qwen3ForCausalLM",
    responses: Iterator[Response | None],
    tasks: Mapping[str, Mapping[str, Any]],
    chunk_tokens: int = 2048,
) -> tuple[list[Tally], int]:
    """Returns each task's choices, summed over the responses of a question, and how many responses lack.

    `tasks` is what run.json says of each.
    """
    counts: dict[str, dict[str, Ints]] = {}
    found: Counter[str] = Counter()
    missing = 0
    for response in responses:
        if response is None:
            missing += 1
            continue
        of_task = counts.setdefault(response.task, {})
        chosen = count_choices(model, response, chunk_tokens)
        of_task[response.sample_id] = of_task.get(response.sample_id, 0) + chosen
        found[response.task] += 1
    layers, k = model.config.sparse_layers, model.config.num_experts_per_tok
    tallies = [
        Tally(
            task, layers, k, np.stack(list(of_task.values())), found[task],
            clusters_of(list(of_task), tasks.get(task, {})),
        )
        for task, of_task in counts.items()
    ]  # fmt: skip
    return tallies, missing


def _tell(responses: Iterator[Response | None], n: int) -> Iterator[Response | None]:
    """Passes the responses on, and says now and then how many there were."""
    told = time.monotonic()
    for number, response in enumerate(responses):
        if time.monotonic() - told > _TELL_EVERY_S:
            told = time.monotonic()
            print(f"{number:,} of {n:,} responses", file=sys.stderr, flush=True)
        yield response
