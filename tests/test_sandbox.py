"""The sandbox for programs that mean well: values, limits, speed, and an executor that is always there."""

import ast
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from qwen3_eval.sandboxes import policy

from qwen3_eval import sandbox as sandbox_module
from qwen3_eval import sandbox_tiers, sandbox_workers
from qwen3_eval.errors import SandboxError
from qwen3_eval.sandbox import Batch, Limits, Outcome, Sandbox, TierReport, probe_tiers
from qwen3_eval.sandbox_memory import descendants
from qwen3_eval.sandbox_tiers import TIERS
from qwen3_eval.sandbox_workers import Worker

ROOT = Path(__file__).resolve().parent.parent
ECHO = "def f(*args, **kwargs):\n    return args[0] if args else kwargs\n"
REPORTS = {report.name: report for report in probe_tiers()} if sys.platform == "linux" else {}


def skip_unless_works(tier: str) -> None:
    if tier not in REPORTS or not REPORTS[tier].works:
        reason = REPORTS[tier].reason if tier in REPORTS else "the sandbox is for Linux"
        pytest.skip(f"tier {tier} does not run here: {reason}")


@pytest.fixture(scope="module", params=TIERS)
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """A sandbox of two workers, in each tier that this machine can run."""
    skip_unless_works(request.param)
    with Sandbox(workers=2, tier=request.param) as opened:
        yield opened


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    "value",
    [
        None, True, 0, -1, 2**64, -(2**5000), 1.5, -0.0, float("inf"), 1e308, 3 + 4j,
        "", "ü\x00\n", "𝄞\ud800\udc00\ud800",
        b"\x00\xff", bytearray(b"ab"), ..., [], [1, [2, [3]]], (), (1, (2,)), {1, 2}, frozenset({"a"}),
        {"a": {1: (2,)}, None: []}, {(1, 2): 3}, range(2, 10, 3), slice(1, None, 2), Fraction(1, 3),
        Decimal("1.10"),
        deque([1, 2]), [True, 1, 1.0], [2**300, 1], [[1.5, "a"], [None, False]],
    ],
    ids=lambda value: repr(value)[:20].encode("ascii", "backslashreplace").decode(),
)  # fmt: skip
def test_a_value_goes_in_and_comes_out_as_it_was(sandbox: Sandbox, value: Any) -> None:
    """Equal, of the same type, and so are its parts."""
    with sandbox.load(ECHO, "f") as program:
        outcome = program.call(value)
    assert (outcome.status, outcome.value, repr(outcome.value)) == ("returned", value, repr(value))
    assert type(outcome.value) is type(value)


def test_a_subclass_comes_down_to_its_base() -> None:
    """Counter, namedtuple and their like are plain builtins outside, on the way in and on the way out."""
    source = """
from collections import *
def f(x):
    return [type(x).__name__, Counter('aab'), namedtuple('P', 'x')(1)]
"""
    given: list[tuple[Any, str]] = [
        (Counter("ab"), "dict"), (OrderedDict(a=1), "dict"), (defaultdict(int, a=1), "dict"),
        (Point(1, 2), "tuple"),
    ]  # fmt: skip
    with Sandbox(workers=1) as sandbox, sandbox.load(source, "f") as program:
        for value, name in given:
            assert program.call(value).value == [name, {"a": 2, "b": 1}, (1,)]
            assert [type(part) for part in program.call(value).value] == [str, dict, tuple]


def test_views_and_iterators_are_again_what_they_were(sandbox: Sandbox) -> None:
    """Keys compare as a set does; a generator equals nothing and can be read once, as in official checks."""
    source = """
def f(what):
    d = {1: 2}
    g = (i for i in (1, 2))
    return {'k': d.keys(), 'v': d.values(), 'i': d.items(), 'g': g, 'm': map(str, [1])}[what]
"""
    with sandbox.load(source, "f") as program:
        assert program.call("k").value == {1}
        assert program.call("i").value == {(1, 2)}
        assert list(program.call("v").value) == [2]
        generator = program.call("g").value
        assert generator != [1, 2]
        assert (list(generator), list(generator)) == ([1, 2], [])
        assert list(program.call("m").value) == ["1"]


def test_what_cannot_be_represented_says_so() -> None:
    """On the way out it is the outcome; on the way in too, and the program can still be called."""
    with (
        Sandbox(workers=1) as sandbox,
        sandbox.load("def f(x):\n    return object() if x else 5\n", "f") as program,
    ):
        assert program.call(1).status == "unrepresentable"
        assert "'object' object" in program.call(1).detail
        assert program.call(lambda: 1).status == "unrepresentable"
        with pytest.raises(ValueError, match="no form outside"):
            program.call_batch([[object()]])
        assert program.call(0).value == 5


def test_arguments_are_copies(sandbox: Sandbox) -> None:
    """What the program does to them is not seen outside, nor by its next call."""
    given = [3, 1, 2]
    with sandbox.load("def f(x):\n    x.sort()\n    return x\n", "f") as program:
        assert program.call(given).value == [1, 2, 3]
        assert program.call_batch([[given], [given]])[1].value == [1, 2, 3]
    assert given == [3, 1, 2]


def test_state_lives_as_long_as_the_program_and_no_longer(sandbox: Sandbox) -> None:
    """Calls of one program share its globals; another program, even of the same source, begins anew."""
    source = """
n = 0
def f():
    global n
    n += 1
    open('seen', 'a').write('x')
    return n, open('seen').read()
"""
    for _ in range(3):
        with sandbox.load(source, "f") as program:
            assert [program.call().value for _ in range(2)] == [(1, "x"), (2, "xx")]


def test_keywords_and_exceptions(sandbox: Sandbox) -> None:
    """Keywords go in; an exception is an outcome with its name and message, and not the end."""
    with sandbox.load("def f(a, *, b=0):\n    return a / b\n", "f") as program:
        assert program.call(1, b=2).value == 0.5
        assert program.call(1) == Outcome(
            "raised", detail="ZeroDivisionError: division by zero", elapsed_s=ANY_TIME
        )
        assert program.call(1, b=4).value == 0.25


class AnyTime(float):
    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and 0 <= other < 4

    __hash__ = float.__hash__


ANY_TIME = AnyTime()


@pytest.mark.parametrize(
    ("source", "detail"),
    [
        ("def f(x) return x", "SyntaxError"),
        ("import no_such_module\ndef f(): pass", "ModuleNotFoundError"),
        ("def g(): pass", "NameError: the program does not define 'f'"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("def f(): pass\n\x00", "SyntaxError|ValueError"),
    ],
)
def test_a_body_that_fails_is_an_outcome_of_every_call(sandbox: Sandbox, source: str, detail: str) -> None:
    """Loading does not raise; `loaded` says what happened, and calls say the same."""
    with sandbox.load(source, "f") as program:
        assert program.loaded.status == "raised"
        assert any(part in program.loaded.detail for part in detail.split("|"))
        assert program.call().detail == program.loaded.detail
        assert [outcome.status for outcome in program.call_batch([[], []])] == ["raised", "raised"]


def test_what_honest_programs_use_works(sandbox: Sandbox) -> None:
    """Threads, asyncio, subprocess, temporary files, dataclasses, printing anything, and no input."""
    source = """
from __future__ import annotations
import asyncio, dataclasses, subprocess, sys, tempfile, threading, typing
@dataclasses.dataclass(order=True)
class D:
    a: int = 0
    b: typing.ClassVar[int] = 1
class N(typing.NamedTuple):
    x: int
async def later():
    await asyncio.sleep(0)
    return "later"
def f():
    found = []
    t = threading.Thread(target=found.append, args=(1,)); t.start(); t.join()
    print("\\ud800 \\U0001d11e", file=sys.stderr); print("\\udfff")
    with tempfile.NamedTemporaryFile("w+") as file:
        file.write("x"); file.seek(0); found.append(file.read())
    run = subprocess.run([sys.executable, "-S", "-c", "print(2)"], capture_output=True, text=True)
    found.append(run.stdout)
    try: input()
    except EOFError: found.append("no input")
    return [*found, asyncio.run(later()), D(3).a, N(4), __name__ == "__main__", D.__module__ in sys.modules]
"""
    with sandbox.load(source, "f", Limits().scaled(5)) as program:
        expected = [1, "x", "2\n", "no input", "later", 3, (4,), False, True]
        assert program.call() == Outcome("returned", expected, elapsed_s=ANY_TIME)


def test_the_same_program_behaves_the_same_every_time(sandbox: Sandbox) -> None:
    """Random numbers and the order of a set of strings do not depend on the worker or on what ran before."""
    source = "import random\ndef f():\n    return [random.random(), list(set('abcdefgh')), hash('a')]\n"
    seen = set()
    for _ in range(4):
        with sandbox.load(source, "f") as program:
            seen.add(repr(program.call().value))
    assert len(seen) == 1


def test_after_its_time_a_program_answers_no_more(sandbox: Sandbox) -> None:
    """The call that went over says so after its limit, every later one at once."""
    with sandbox.load("def f(x):\n    while x: pass\n    return 1\n", "f", Limits(call_s=0.5)) as program:
        assert program.call(0).value == 1
        outcome = program.call(1)
        assert (outcome.status, outcome.detail) == ("timed_out", "after 0.5 s")
        assert 0.4 < outcome.elapsed_s < 3
        began = time.monotonic()
        assert program.call(0).status == "timed_out"
        assert program.call_batch([[0]])[0].status == "timed_out"
        assert time.monotonic() - began < 0.2


def test_all_calls_together_have_a_limit(sandbox: Sandbox) -> None:
    """Calls that are each in time end when their sum is not; the limit scales with the other."""
    source = "import time\ndef f():\n    time.sleep(0.2)\n    return 1\n"
    with sandbox.load(source, "f", Limits(call_s=10, total_s=0.7)) as program:
        statuses = [program.call().status for _ in range(6)]
    assert statuses[:2] == ["returned", "returned"]
    assert statuses[-2:] == ["timed_out", "timed_out"]
    with sandbox.load(source, "f", Limits(call_s=10, total_s=0.7).scaled(10)) as program:
        assert [program.call().status for _ in range(6)] == ["returned"] * 6
    assert Limits().scaled(2) == Limits(call_s=8, total_s=120)


def test_a_batch_gives_what_single_calls_give(sandbox: Sandbox) -> None:
    """In order, with exceptions in place, over several messages, and with answers larger than any buffer."""
    source = "def f(x, y=0):\n    return [x, 10 // y] * (x.count('a') // 1000 or 1)\n"
    inputs: list[list[Any]] = [
        ["b", 1],
        ["c", 0],
        ["a" * 30_000, 5],
        ["d"],
        *([f"e{i}" * 2000, 2] for i in range(200)),
    ]
    with sandbox.load(source, "f") as program:
        together = program.call_batch(inputs)
        apart = [program.call(*arguments) for arguments in inputs]
        again = program.call_batch(Batch(inputs))
    assert len(Batch(inputs)) == len(inputs)
    for outcomes in (together, again):
        assert [(o.status, o.value, o.detail) for o in outcomes] == [
            (o.status, o.value, o.detail) for o in apart
        ]
    assert [outcome.status for outcome in together[:4]] == ["returned", "raised", "returned", "raised"]


def test_each_input_of_a_batch_has_its_own_limit(sandbox: Sandbox) -> None:
    """Slow inputs add up to more than one call may take; one that hangs keeps what came before it."""
    source = "import time\ndef f(s):\n    time.sleep(s)\n    return s\n"
    with sandbox.load(source, "f", Limits(call_s=1.0)) as program:
        outcomes = program.call_batch([[0.4], [0.4], [0], [0.4], [30], [0], [0]])
    assert [outcome.status for outcome in outcomes] == ["returned"] * 4 + ["timed_out"] * 3
    assert [outcome.value for outcome in outcomes[:4]] == [0.4, 0.4, 0, 0.4]
    assert sum(outcome.elapsed_s for outcome in outcomes) == pytest.approx(2.2, abs=0.6)


def test_arguments_beyond_the_largest_frame_are_refused_and_the_program_lives() -> None:
    """So is a value beyond it; neither costs the program its life."""
    with Sandbox(workers=1) as sandbox, sandbox.load(ECHO, "f", Limits(frame_bytes=10_000)) as program:
        assert program.call("x" * 20_000).status == "unrepresentable"
        assert program.call("x" * 9_000).status == "returned"
    source = "def f(n):\n    return 'x' * n\n"
    with Sandbox(workers=1) as sandbox, sandbox.load(source, "f", Limits(frame_bytes=10_000)) as program:
        assert program.call(20_000).status == "unrepresentable"
        assert program.call(3).value == "xxx"


def test_a_check_can_run_inside(sandbox: Sandbox) -> None:
    """For tests that need the solution's own classes: `returned` where nothing is raised, else what was."""
    with sandbox.load(
        "class P:\n    def __init__(self, x): self.x = x\ndef f(p): return p.x\n", "f"
    ) as program:
        assert program.run("assert f(P(3)) == 3").status == "returned"
        assert program.run("assert f(P(3)) == 4, 'wrong'").detail == "AssertionError: wrong"
        assert program.run("assert f(").detail.startswith("SyntaxError")
        assert program.run("assert f(P(3)) == 3").status == "returned"


@pytest.mark.parametrize(
    ("source", "outcome"),
    [
        ("import os\ndef f(): os._exit(0)", "crashed: exited with status 0 before it answered"),
        ("import ctypes\ndef f(): ctypes.string_at(0)", "crashed: signal SIGSEGV"),
        ("def f(): return len(' ' * 10**11)", "out_of_memory: MemoryError"),
        ("import socket\ndef f(): socket.socket()", "forbidden: PermissionError: [Errno 1] Operation not"),
        ("def f(): open('/usr/x', 'w')", "forbidden: "),
        ("def f(): return f()", "raised: RecursionError: "),
    ],
)
def test_how_a_program_failed_is_told_apart(sandbox: Sandbox, source: str, outcome: str) -> None:
    """A crash names its signal or exit; memory and what is forbidden have statuses of their own."""
    with sandbox.load(source, "f") as program:
        found = program.call()
    assert f"{found.status}: {found.detail}".startswith(outcome)


def test_nothing_a_program_prints_reaches_the_host(
    sandbox: Sandbox, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither by print nor by descriptor, nor from a process that it starts."""
    source = """
import os, sys, subprocess
def f():
    print('noise')
    print('noise', file=sys.stderr)
    os.write(1, b'noise')
    os.write(2, b'noise')
    subprocess.run(['/usr/bin/echo', 'noise'])
    return 1
"""
    with sandbox.load(source, "f") as program:
        assert program.call().value == 1
    assert capfd.readouterr() == ("", "")


def test_many_threads_share_the_workers(sandbox: Sandbox) -> None:
    """Each of 60 programs from 8 threads gets its own answers."""

    def ask(i: int) -> bool:
        with sandbox.load(f"def f(x):\n    return x * {i}\n", "f") as program:
            return [outcome.value for outcome in program.call_batch([[2], [3]])] == [2 * i, 3 * i]

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, range(60)))


def test_programs_run_at_low_priority(sandbox: Sandbox) -> None:
    """Scoring beside a sweep must not starve it."""
    with sandbox.load("import os\ndef f(): return os.getpriority(os.PRIO_PROCESS, 0)\n", "f") as program:
        assert program.call().value >= 10


def kill_workers() -> None:
    for pid in descendants(os.getpid())[1:]:
        with suppress(FileNotFoundError, ProcessLookupError):  # a wall falls as a whole
            if b"serve(control" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)


def test_a_worker_that_is_killed_is_replaced(sandbox: Sandbox) -> None:
    """Between programs and in the midst of one: only that one notices, and not as its own success."""
    kill_workers()
    for _ in range(4):
        with sandbox.load(ECHO, "f") as program:
            assert program.call(5).value == 5
    with sandbox.load(ECHO, "f") as program:
        kill_workers()
        assert program.call(5).status == "crashed"
    for _ in range(4):
        with sandbox.load(ECHO, "f") as program:
            assert program.call(5).value == 5
    left = list(Path(tempfile.gettempdir()).glob(f"qwen3_eval-{os.getpid()}-*"))
    assert len(left) == (2 if sandbox.tier == "landlock" else 0)  # one for each worker that there is now


def test_a_sandbox_outlives_the_thread_that_made_it() -> None:
    """The kernel ends a wall with the thread that started it, so that must not be the caller's."""
    made: list[Sandbox] = []
    thread = threading.Thread(target=lambda: made.append(Sandbox(workers=1)))
    thread.start()
    thread.join()
    time.sleep(0.3)
    with made[0] as sandbox, sandbox.load(ECHO, "f") as program:
        assert program.call(1).value == 1


def test_closing_leaves_no_process() -> None:
    """Neither worker nor janitor; and closing with a program at hand does not hang."""
    before = set(descendants(os.getpid()))
    with Sandbox(workers=2) as sandbox, sandbox.load(ECHO, "f") as program:
        assert len(descendants(os.getpid())) > len(before)
        assert program.call(1).value == 1
    time.sleep(0.2)
    assert set(descendants(os.getpid())) <= before


def test_a_program_draws_the_same_numbers_every_time(sandbox: Sandbox) -> None:
    """A verdict does not hang on luck: `random` begins alike in each program, whatever ran before it."""
    source = "import random\ndef f(n):\n    return [random.random() for _ in range(n)]"
    with sandbox.load(source, "f") as program:
        first = program.call(3).value + program.call(2).value
    with sandbox.load(source, "f") as program:
        assert program.call(5).value == first
    assert len(set(first)) == 5


HOST = """
import sys, time
sys.path.insert(0, sys.argv[1])
from qwen3_eval.sandbox import Sandbox
from qwen3_eval.sandbox_memory import descendants
import os
source = '''
import os, time
def f():
    open("left", "w").write("x" * 1000)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(1000)
        os._exit(0)
    return 1
'''
sandbox = Sandbox(workers=2, tier=sys.argv[2])
with sandbox.load(source, "f") as one, sandbox.load(source, "f") as two:
    assert one.call().value == two.call().value == 1
    print(*descendants(os.getpid())[1:], flush=True)
    time.sleep(1000)
"""


@pytest.mark.parametrize("tier", TIERS)
def test_kill_9_of_the_host_leaves_no_process_and_no_file(tier: str) -> None:
    """Not the workers, not a program's daemons, not their folders, not the cgroups."""
    skip_unless_works(tier)
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)  # a worker under root is another user
    environment = os.environ | {"TMPDIR": str(folder)}
    command = [sys.executable, "-c", HOST, str(ROOT), tier]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as host:
        assert host.stdout is not None
        pids = [int(pid) for pid in host.stdout.readline().split()]
        assert len(pids) >= 6
        host.kill()
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        alive = [pid for pid in pids if Path(f"/proc/{pid}").exists()]
        left = list(folder.iterdir())
        groups = list(Path("/sys/fs/cgroup").glob(f"**/qwen3_eval-{host.pid}-*"))
        if not alive and not left and not groups:
            folder.rmdir()
            return
        time.sleep(0.1)
    pytest.fail(f"left behind: processes {alive}, files {left}, cgroups {groups}")


def test_the_strongest_tier_that_works_is_chosen() -> None:
    """In the order of TIERS, and each that is said to work starts when asked for."""
    assert list(REPORTS) == list(TIERS)
    working = [name for name, report in REPORTS.items() if report.works]
    if not working:
        pytest.skip("no tier runs here")
    with Sandbox(workers=1) as sandbox:
        assert sandbox.tier == working[0]
    for report in REPORTS.values():
        assert report.works or (report.reason and report.advice)


def test_without_a_wall_nothing_runs_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal names each tier's reason and what to do; `unsafe` is the way round, and is named."""
    real = sandbox_module._probe

    def fail(tier: str, index: int) -> tuple[TierReport, Worker | None]:
        if tier == "unsafe":
            return real(tier, index)
        return TierReport(tier, False, "no such luck", "mend it"), None

    monkeypatch.setattr(sandbox_module, "_probe", fail)
    with pytest.raises(SandboxError, match=r"(?s)bubblewrap: no such luck; mend it.*sandbox\.unsafe=true"):
        Sandbox(workers=1)
    with Sandbox(workers=1, unsafe=True) as sandbox, sandbox.load(ECHO, "f") as program:
        assert sandbox.tier == "unsafe"
        assert program.call(1).value == 1


def test_a_tier_is_asked_for_by_name() -> None:
    """An unknown one is refused with those there are; `unsafe` needs both settings."""
    with pytest.raises(
        SandboxError, match="'docker' not found; there are bubblewrap, unshare, landlock, unsafe"
    ):
        Sandbox(tier="docker")
    with pytest.raises(SandboxError, match=r"set sandbox\.unsafe=true too"):
        Sandbox(tier="unsafe")
    with pytest.raises(SandboxError, match="workers=0"):
        Sandbox(workers=0)


def test_a_wall_with_a_hole_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tier is probed by a program that tries to get out: where /etc can be read, the tier does not work."""
    skip_unless_works("bubblewrap")
    holed = (*policy.MOUNTS, ("--ro-bind", "/etc", "/etc"))
    monkeypatch.setattr(policy, "MOUNTS", holed)
    report, worker = sandbox_module._probe("bubblewrap", 15)
    assert worker is None
    assert report.reason == "a program in it could read /etc/passwd"


def test_what_runs_inside_imports_the_standard_library_only() -> None:
    """And modules beside it that come before it in the order in which they are sent."""
    for at, (name, source) in enumerate(sandbox_tiers.read_sources()):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
                known = {*sys.stdlib_module_names, *sandbox_tiers.MODULES[:at]}
                assert {n.split(".")[0] for n in names} <= known, f"sandboxes/{name}.py imports {names}"


REVERSING = """
import codec, frames
def answer(channel, frame_bytes):
    stream, source = frames.Frames(frame_bytes), None
    channel.sendall(frames.frame(codec.encode(["returned", None])))
    while data := channel.recv(1 << 16):
        for payload in stream.feed(data):
            operation, *operands = codec.decode(payload)
            source = operands[0] if operation == "load" else source
            said = None if operation == "load" else [source, *operands[0]][::-1]
            channel.sendall(frames.frame(codec.encode(["returned", said])))
"""


def test_another_language_needs_a_runner_and_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """One module behind the wall and a line of the policy; a language without them is refused by name."""
    if REPORTS["bubblewrap"].works is False:
        pytest.skip("no bubblewrap here")
    sources = dict(sandbox_tiers.read_sources())
    sources["policy"] += "\nLANGUAGES['reversing'] = 'run_reversing'\n"
    inner = [*sources.items()]
    inner.insert(-2, ("run_reversing", REVERSING))  # before child and runner
    monkeypatch.setattr(sandbox_workers, "read_sources", lambda: inner)
    with Sandbox(workers=1, tier="bubblewrap") as sandbox:
        with (
            pytest.raises(SandboxError, match=r"language 'reversing' has no runner .*there are: python"),
            sandbox.load("xyz", "f", Limits(language="reversing")),
        ):
            pass
        monkeypatch.setitem(policy.LANGUAGES, "reversing", "run_reversing")
        with sandbox.load("xyz", "f", Limits(language="reversing")) as program:
            assert program.call(1, 2).value == [2, 1, "xyz"]
        with sandbox.load("def f(x): return x", "f") as program:
            assert program.call(1).value == 1


@pytest.mark.parametrize("tier", TIERS)
def test_programs_by_the_hundred_each_get_their_own_answers(tier: str) -> None:
    """Two workers, one program after the other on each: none meets what another left."""
    skip_unless_works(tier)
    with Sandbox(workers=2, tier=tier) as sandbox, ThreadPoolExecutor(2) as threads:

        def score(i: int) -> bool:
            with sandbox.load(f"def f(x):\n    return x + {i}\n", "f") as program:
                return bool(program.call_batch([[1], [2]])[1].value == 2 + i)

        assert all(threads.map(score, range(164)))


def test_an_answer_that_is_foreseen_is_known_by_its_bytes(sandbox: Sandbox) -> None:
    """What comes back as expected is not decoded; all else is, an equal value of another type too."""
    with sandbox.load("def f(x): return float(x) if x == 2 else [x, {x}]", "f") as program:
        outcomes = program.call_batch(Batch([[1], [2], [3], [4]], [[1, {1}], 2, None, [5, {5}]]))
    assert [(o.status, o.known, o.value) for o in outcomes] == [
        ("returned", True, None), ("returned", False, 2.0), ("returned", False, [3, {3}]),
        ("returned", False, [4, {4}]),
    ]  # fmt: skip
