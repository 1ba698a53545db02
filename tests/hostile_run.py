"""Puts the hostile programs through a sandbox: what stands around it for them to harm, and who judges them.

Run as a script, `hostile_run.py TIER [LANDLOCK_VERSION]`, it prints what was wrong as JSON. It needs the
standard library only, so that another user can run it by the system's Python.
"""

import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hostile_programs import ANY, FOLDERS, HONEST, MARK, PRELUDE, PROGRAMS, Hostile

from qwen3_eval import sandbox_workers
from qwen3_eval.sandbox import Outcome, Program, Sandbox
from qwen3_eval.sandbox_memory import descendants
from qwen3_eval.sandbox_tiers import read_sources


def is_right(program: Program) -> bool:
    """Returns the verdict as a judge in the host finds it, on three inputs that nobody could foresee."""
    for _ in range(3):
        x = random.randrange(10**6, 10**12)
        outcome = program.call(x)
        if outcome.status != "returned" or type(outcome.value) is not int or outcome.value != 3 * x + 1:
            return False
    return True


class Surroundings:
    """What stands outside the wall for a program to harm: a file, a process, a port, an environment."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
        self.folder.chmod(0o777)  # so that the wall alone protects it
        self.canary = self.folder / "canary"
        self.canary.write_text("expected_value_of_this_test")
        self.canary.chmod(0o666)
        self.victim = subprocess.Popen(["sleep", "1000"])
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.setblocking(False)
        os.environ["SOME_KEY"] = "qwen3_hostile_secret"

    def fill(self, source: str) -> str:
        """Returns a program with the surroundings' names in it."""
        names = {
            "{canary!r}": repr(str(self.canary)),
            "{folder!r}": repr(str(self.folder)),
            "{code!r}": repr(str(Path(__file__).resolve())),
            "{port}": str(self.server.getsockname()[1]),
            "{victim}": str(self.victim.pid),
            "{host}": str(os.getpid()),
        }
        for name, text in names.items():
            source = source.replace(name, text)
        return source

    def find_harm(self) -> list[str]:
        """Returns what is not as it was."""
        harm = []
        if (
            self.canary.read_text() != "expected_value_of_this_test"
            or self.canary.stat().st_mode & 0o777 != 0o666
        ):
            harm.append("the canary was changed")
        if os.listdir(self.folder) != ["canary"]:
            harm.append("a file was left beside the canary")
        state = Path(f"/proc/{self.victim.pid}/stat").read_text().rpartition(")")[2].split()[0]
        if self.victim.poll() is not None or state not in "SR":
            harm.append(f"another process is {state}")
        try:
            self.server.accept()
            harm.append("the server was connected to")
        except BlockingIOError:
            pass
        for folder in FOLDERS:
            if os.path.exists(f"{folder}/{MARK}"):
                harm.append(f"a file was left in {folder}")
        if "7777" in Path("/proc/sysvipc/shm").read_text() + Path("/proc/sysvipc/msg").read_text():
            harm.append("shared memory was left")
        return harm

    def close(self) -> None:
        self.victim.kill()
        self.victim.wait()
        self.server.close()
        self.canary.unlink()
        self.folder.rmdir()


def run_all(tier: str) -> dict[str, Any]:
    """Runs every program, an honest one after each. Returns what was wrong with each, "" for nothing."""
    found: dict[str, str] = {}
    with closing(Surroundings()) as surroundings, Sandbox(workers=1, tier=tier) as sandbox:
        used = sandbox.tier
        with sandbox.load(HONEST, "f") as program:
            program.call(1)
        time.sleep(0.5)  # for what the start has left to end
        at_rest = len(descendants(os.getpid()))
        for name, hostile in PROGRAMS.items():
            source = PRELUDE + surroundings.fill(hostile.source)
            began = time.monotonic()
            with sandbox.load(source, "f", hostile.limits) as program:
                first = program.loaded if program.loaded.status != "returned" else program.call(1)
                forged = is_right(program)
            wrong = _judge(hostile, first, forged, time.monotonic() - began)
            if left := _count_left(at_rest):
                wrong.append(f"{left} processes were left")
            wrong += surroundings.find_harm()
            with sandbox.load(HONEST, "f") as program:
                if not is_right(program):
                    wrong.append(f"the honest program after it failed: {program.loaded} {program.call(1)}")
            found[name] = "; ".join(wrong)
    return {"tier": used, "found": found}


def _count_left(at_rest: int) -> int:
    """Returns how many processes more there are than at rest; the supervisor has a second to go."""
    for _ in range(100):
        left = len(descendants(os.getpid())) - at_rest
        if left <= 0:
            return 0
        time.sleep(0.01)
    return left


def _judge(hostile: Hostile, first: Outcome, forged: bool, took_s: float) -> list[str]:
    """Returns what is wrong with how a program ended."""
    wrong = ["it was judged to be right"] if forged else []
    if first.status not in hostile.statuses:
        wrong.append(
            f"ended as {first.status} ({first.detail or first.value!r:.200}), not {hostile.statuses}"
        )
    elif first.status == "returned" and hostile.value is not ANY and repr(first.value) != repr(hostile.value):
        wrong.append(f"reached {first.value!r:.300}")
    if "qwen3_hostile_secret" in repr(first) or "expected_value_of_this_test" in repr(first):
        wrong.append("a secret came out")
    if took_s > 25:
        wrong.append(f"held the host for {took_s:.1f} s")
    return wrong


def run_all_on_older_kernel(tier: str, version: int) -> dict[str, Any]:
    """Does what `run_all` does, while workers believe that the kernel's Landlock is of an early version."""
    sources = dict(read_sources())
    sources["confine"] += f"\n\ndef landlock_version():\n    return {version}\n"
    with patch.object(sandbox_workers, "read_sources", lambda: list(sources.items())):
        return run_all(tier)


if __name__ == "__main__":
    told = run_all_on_older_kernel(sys.argv[1], int(sys.argv[2])) if sys.argv[2:] else run_all(sys.argv[1])
    print(json.dumps(told))
