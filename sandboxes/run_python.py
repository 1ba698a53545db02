"""Runs one program in Python, in this very process, and answers the host's requests about it.

From the moment the program is read, nothing in this process can be trusted, these functions included.
"""

import builtins
import errno
import sys
import types

import codec
import frames

DETAIL_CHARACTERS = 300
FORBIDDEN = (errno.EPERM, errno.EACCES, errno.EROFS)


def answer(channel, frame_bytes):
    """Reads requests and writes answers until the host closes the channel.

    A request is a list: `load, program, entry point` · `call, arguments, keywords` · `batch, inputs` (one
    answer for each) · `run, source`. An answer is a list: a status, and a value or what went wrong.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # nobody reads it, but printing must not fail
    stream = frames.Frames(frame_bytes)
    module = types.ModuleType("program")
    module.__builtins__ = builtins
    sys.modules["program"] = module  # dataclasses and typing look a class's module up
    entry = None

    def load(program, entry_point):
        nonlocal entry
        exec(compile(program, "<program>", "exec"), module.__dict__)
        if entry_point not in module.__dict__:
            raise NameError(f"the program does not define {entry_point!r}")
        entry = module.__dict__[entry_point]

    def call(arguments, keywords):
        return entry(*arguments, **keywords)

    def run(source):
        exec(compile(source, "<check>", "exec"), module.__dict__)

    def send(answered):
        channel.sendall(frames.frame(answered))

    send(codec.encode(["returned", None]))  # the wall stands
    while True:
        data = channel.recv(min(1 << 20, max(1 << 16, stream.missing())))
        if not data:
            return
        for payload in stream.feed(data):
            operation, *operands = codec.decode(payload)
            if operation == "batch":
                for arguments in operands[0]:
                    send(attempt(frame_bytes, entry, *arguments))
            else:
                send(attempt(frame_bytes, {"load": load, "call": call, "run": run}[operation], *operands))


def attempt(frame_bytes, function, *arguments):
    """Calls a function. Returns the answer about it, encoded; whatever it raises becomes one."""
    try:
        payload = codec.encode(["returned", function(*arguments)])
        if len(payload) <= frame_bytes:
            return payload
        answered = ["unrepresentable", f"a value of {len(payload)} bytes; at most {frame_bytes} are taken"]
    except codec.CodecError as error:
        answered = ["unrepresentable", str(error)]
    except BaseException as error:
        answered = [classify(error), describe(error)]
    return codec.encode(answered)


def classify(error):
    """Returns the status that an exception stands for."""
    if isinstance(error, MemoryError):
        return "out_of_memory"
    return "forbidden" if isinstance(error, OSError) and error.errno in FORBIDDEN else "raised"


def describe(error):
    """Returns `Name: message`, shortened; the message only where the program lets it be had."""
    name = type(error).__name__
    try:
        message = str.__str__(str(error))[:DETAIL_CHARACTERS]
    except BaseException:
        return str(name)
    return f"{name}: {message}" if message else str(name)
