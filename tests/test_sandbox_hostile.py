"""The wall against programs that mean harm: none forges, none reaches outside, none stops the next."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hostile_programs import HONEST, PRELUDE, PROGRAMS
from hostile_run import Surroundings, is_right

from qwen3_eval.sandbox import Limits, Sandbox, probe_tiers
from qwen3_eval.sandbox_tiers import TIERS

SCRIPT = Path(__file__).parent / "hostile_run.py"
AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def find_command(user: str) -> list[str]:
    """Returns the command that runs the script as a user; skips where there is no such way."""
    if user == "own":
        return [sys.executable]
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("only root can run the tests as another user; 'own' covers this one")
    command = [*AS_NOBODY, "/usr/bin/python3", "-B"]
    check = [*command, "-c", f"import sys; assert sys.version_info >= (3, 11); open({str(SCRIPT)!r})"]
    tried = subprocess.run(check, capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"nobody cannot run this checkout with the system's Python: {tried.stderr[-200:]}")
    return command


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tier", "user", "arguments"),
    [
        *((tier, user, ()) for tier in TIERS for user in ("own", "nobody")),
        ("landlock", "nobody", ("1",)),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else value,
)
def test_no_program_gets_through_the_wall(tier: str, user: str, arguments: tuple[str, ...]) -> None:
    """In each tier, under root and not, and with the first Landlock's few powers: for every program no forged
    verdict, no effect outside, no process left, the end that it should have, and the next verdict right."""
    command = [*find_command(user), str(SCRIPT), tier, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, cwd="/")
    if run.returncode != 0 and "behind a wall only" in run.stderr:
        pytest.skip(f"tier {tier} does not run here as {user}: {run.stderr.strip().splitlines()[-2]}")
    assert run.returncode == 0, run.stderr[-3000:]
    told = json.loads(run.stdout)
    assert told["tier"] == tier
    assert len(told["found"]) == len(PROGRAMS) >= 40
    wrong = {name: what for name, what in told["found"].items() if what}
    assert not wrong, "\n".join(f"{name}: {what}" for name, what in wrong.items())


def test_the_honest_program_passes_and_a_wrong_one_does_not() -> None:
    """The judge that the hostile programs face can say both."""
    if not any(report.works for report in probe_tiers()):
        pytest.skip("no tier runs here")
    with Sandbox(workers=1) as sandbox:
        with sandbox.load(HONEST, "f") as program:
            assert is_right(program)
        with sandbox.load("def f(x): return 3 * x\n", "f") as program:
            assert not is_right(program)


@pytest.mark.parametrize(
    "name", ["sockets", "reading the harness' files", "reading the environment", "symbolic links"]
)
def test_without_the_wall_the_same_programs_do_reach_outside(name: str) -> None:
    """The corpus is not harmless: without a wall these programs get at what they try for."""
    surroundings = Surroundings()
    try:
        with Sandbox(workers=1, tier="unsafe", unsafe=True) as sandbox:
            source = PRELUDE + surroundings.fill(PROGRAMS[name].source)
            with sandbox.load(source, "f", Limits(call_s=10)) as program:
                outcome = program.call(1)
        assert outcome.status == "returned"
        assert outcome.value, "it reached nothing"
    finally:
        surroundings.close()
