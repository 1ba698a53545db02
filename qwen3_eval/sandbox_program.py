"""One program behind the wall, as the host sees it: requests go in, values come out, and time runs out here.

Nothing that comes back is believed but that it came. What it is made of is rebuilt by the codec, how long it
took is measured here, and how the process ended is told by its supervisor, which the program cannot reach.
"""

import json
import select
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

from qwen3_eval.errors import SandboxError
from qwen3_eval.sandboxes import codec, frames

Status = Literal[
    "returned", "raised", "timed_out", "out_of_memory", "crashed", "forbidden", "unrepresentable"
]
_SAID_BY_PROGRAM: tuple[Status, ...] = ("raised", "out_of_memory", "forbidden", "unrepresentable")
_UNASKED = "it sent answers that nobody had asked for"
_BATCH_BYTES = 256 * 1024  # inputs sent at once, before any of their answers is read
_START_S = 30.0  # until the child says that it is ready: the machine's time, not the program's
_END_S = 10.0


@dataclass(frozen=True)
class Limits:
    """What one program may use. Times are wall clock; memory is that of all its processes together.

    `language` is what it is written in: one of policy.LANGUAGES.
    """

    call_s: float = 4.0
    total_s: float = 60.0
    memory_bytes: int = 4 * 1024**3
    processes: int = 32
    file_bytes: int = 16 * 1024**2
    disk_bytes: int = 32 * 1024**2
    files: int = 2000
    frame_bytes: int = 16 * 1024**2
    language: str = "python"

    def scaled(self, factor: float) -> "Limits":
        """Returns the limits with `factor` times the time, for a machine that is slow, or has much to do."""
        return replace(self, call_s=self.call_s * factor, total_s=self.total_s * factor)


@dataclass(frozen=True)
class Outcome:
    """What came of one call. `value` is of builtins only, and None unless the status is `returned`.

    `detail` says what went wrong, as `ZeroDivisionError: division by zero` or `signal SIGSEGV`; where the
    program wrote it, it is the program's word. `elapsed_s` is measured in the host. In a batch, answers that
    were read together share one reading of the clock: the first of them bears it, the others bear 0.
    `known` tells that it returned the answer that the batch foresaw, which `value` then does not hold.
    """

    status: Status
    value: Any = None
    detail: str = ""
    elapsed_s: float = 0.0
    known: bool = False


class Batch:
    """Inputs encoded once, for `Program.call_batch` of many programs.

    `answers` are what is expected of each, None for nothing: what comes back the same, byte for byte, is not
    decoded. Raises CodecError, a ValueError, where an input cannot be sent.
    """

    requests: Sequence[tuple[int, bytes]]
    """How many inputs each request holds, and the request."""

    def __init__(self, inputs: Sequence[Sequence[Any]], answers: Sequence[Any] = ()) -> None:
        requests: list[tuple[int, bytes]] = []
        part: list[bytes] = []
        size = 0
        for arguments in inputs:
            encoded = codec.encode(list(arguments))
            if part and size + len(encoded) > _BATCH_BYTES:
                requests.append(_join(part))
                part, size = [], 0
            part.append(encoded)
            size += len(encoded)
        if part:
            requests.append(_join(part))
        self.requests = requests
        self.answers = [None if answer is None else _encode_answer(answer) for answer in answers]

    @classmethod
    def of_requests(
        cls, requests: Sequence[tuple[int, bytes]], answers: Sequence[bytes | None] = ()
    ) -> "Batch":
        """Returns a batch that was encoded before; `answers` are outputs as the codec encodes them."""
        batch = cls(())
        batch.requests = requests
        batch.answers = [None if answer is None else b'["returned",' + answer + b"]" for answer in answers]
        return batch

    def __len__(self) -> int:
        return sum(n for n, _ in self.requests)


def _join(part: Sequence[bytes]) -> tuple[int, bytes]:
    return len(part), b'["batch",[' + b",".join(part) + b"]]"


class _EndedError(Exception):
    """The program will answer no more; why is in `outcome`."""

    def __init__(self, status: Status, detail: str) -> None:
        self.outcome = Outcome(status, detail=detail)


class Program:
    """One program, loaded. Calls are made one at a time; after one that ended it, all give what ended it."""

    loaded: Outcome
    """Of running the module's body, and finding the entry point in it."""

    def __init__(self, channel: socket.socket, status: socket.socket, limits: Limits) -> None:
        self._channel, self._status, self._limits = channel, status, limits
        self._frames = frames.Frames(limits.frame_bytes)
        self._poll = select.poll()
        self._poll.register(channel, select.POLLIN)
        self._poll.register(status, select.POLLIN)
        self._used_s = 0.0
        self._end: Outcome | None = None
        self._report: dict[str, Any] | None = None
        self.exceeded: tuple[Status, str] | None = None
        """Set by who watches memory and disk, before it stops the program."""
        channel.setblocking(False)

    def start(self, program: str, entry_point: str) -> None:
        """Runs the module's body, and sets `loaded`. Raises SandboxError where no child comes up."""
        request = codec.encode(["load", program, entry_point])
        if len(request) > self._limits.frame_bytes:
            self._end = Outcome("unrepresentable", detail=f"a program of {len(request)} bytes")
        else:
            _, self._end = self._converse(b"", 1, _START_S)
            if self._end is not None:
                raise SandboxError(f"the sandbox could not start a program: {self._end.detail}")
        self.loaded = self._ask(request, 1)[0]
        if self.loaded.status != "returned":
            self._end = self._end or self.loaded

    def call(self, *args: Any, **kwargs: Any) -> Outcome:
        """Calls the entry point once, with copies of the arguments."""
        try:
            request = codec.encode(["call", list(args), kwargs])
        except codec.CodecError as error:
            return Outcome("unrepresentable", detail=f"an argument: {error}")
        return self._ask(request, 1)[0]

    def call_batch(self, inputs: "Sequence[Sequence[Any]] | Batch") -> list[Outcome]:
        """Calls the entry point on each input, in order. Returns as many outcomes; each call has `call_s`.

        Raises CodecError, a ValueError, where an input cannot be sent.
        """
        batch = inputs if isinstance(inputs, Batch) else Batch(inputs)
        outcomes: list[Outcome] = []
        for n, request in batch.requests:
            outcomes += self._ask(request, n, batch.answers[len(outcomes) : len(outcomes) + n])
        return outcomes

    def run(self, source: str) -> Outcome:
        """Runs source in the program's own namespace. The verdict of a check run so can be forged."""
        return self._ask(codec.encode(["run", source]), 1)[0]

    def stop(self) -> None:
        """Has the supervisor end the program; harmless where it has ended."""
        with suppress(OSError):
            self._status.shutdown(socket.SHUT_WR)

    def close(self) -> bool:
        """Ends the program. Returns whether its supervisor has confirmed that nothing of it is left."""
        self.stop()
        self._channel.close()
        clean = self._read_report() is not None
        self._status.close()
        return clean

    def _ask(self, request: bytes, n: int, known: Sequence[bytes | None] = ()) -> list[Outcome]:
        """Returns the `n` outcomes of a request, of which `known` are the answers foreseen."""
        if self._end is not None:
            return [replace(self._end, elapsed_s=0.0)] * n
        if len(request) > self._limits.frame_bytes:
            return [Outcome("unrepresentable", detail=f"arguments of {len(request)} bytes")] * n
        call_s = min(self._limits.call_s, self._limits.total_s - self._used_s)
        if call_s <= 0:
            self._end = Outcome("timed_out", detail=f"after {self._limits.total_s:.3g} s in all")
            self.stop()
            return [self._end] * n
        answered, self._end = self._converse(frames.frame(request), n, call_s, known)
        self._used_s += sum(outcome.elapsed_s for outcome in answered)
        if self._end is not None:
            answered.append(self._end)
            answered += [replace(self._end, elapsed_s=0.0)] * (n - len(answered))
            self.stop()
        return answered

    def _converse(
        self, request: bytes, n: int, call_s: float, known: Sequence[bytes | None] = ()
    ) -> tuple[list[Outcome], Outcome | None]:
        """Sends a request, reads `n` answers. Returns those that came, and what ended the program, if so."""
        answered: list[Outcome] = []
        began = last = time.monotonic()
        end = began + max(call_s, self._limits.total_s - self._used_s)
        try:
            if request:
                self._send(request, call_s)
            while len(answered) < n:
                if not self._wait(min(last + call_s, end) - time.monotonic()):
                    raise self._explain_timeout(call_s)
                payloads = self._receive()
                now = time.monotonic()
                for payload in payloads:
                    if len(answered) < len(known) and payload == known[len(answered)]:
                        answered.append(Outcome("returned", elapsed_s=now - last, known=True))
                    else:
                        answered.append(replace(_read_answer(payload), elapsed_s=now - last))
                    last = now
            if len(answered) > n:
                del answered[n:]
                raise _EndedError("crashed", _UNASKED)
        except _EndedError as error:
            del answered[n - 1 :]  # the last place is for what ended it
            return answered, replace(error.outcome, elapsed_s=time.monotonic() - last)
        return answered, None

    def _send(self, request: bytes, call_s: float) -> None:
        if self._wait(0):
            raise _EndedError("crashed", _UNASKED) if self._read() else self._explain_end()
        deadline = time.monotonic() + call_s
        left = memoryview(request)
        while left:
            try:
                left = left[self._channel.send(left) :]
            except BlockingIOError:
                room = select.poll()
                room.register(self._channel, select.POLLOUT)
                if not room.poll(max(0.0, deadline - time.monotonic()) * 1000):
                    raise self._explain_timeout(call_s) from None
            except OSError:
                raise self._explain_end() from None

    def _wait(self, timeout_s: float) -> bool:
        """Returns whether anything came in time: data, or the news that the program has ended."""
        return bool(self._poll.poll(max(0.0, timeout_s) * 1000))

    def _read(self) -> bytes:
        """Returns what is there; nothing once the program has ended and all that it sent is read."""
        try:
            return self._channel.recv(1 << 18)
        except OSError:
            return b""  # no data, so it is the status that has news; or a broken channel, the same

    def _receive(self) -> list[bytes]:
        """Returns the payloads that have arrived whole. Raises _EndedError where none ever will."""
        data = self._read()
        if not data:
            raise self._explain_end()
        try:
            payloads: list[bytes] = self._frames.feed(data)
        except frames.FrameError as error:
            raise _EndedError("crashed", f"it wrote to the channel: {error}") from None
        return payloads

    def _explain_timeout(self, call_s: float) -> _EndedError:
        return _EndedError(*(self.exceeded or ("timed_out", f"after {call_s:.3g} s")))

    def _explain_end(self) -> _EndedError:
        """Returns why the program ended, by its supervisor. Raises SandboxError where no wall stood."""
        report = self._read_report()
        if self.exceeded is not None:
            return _EndedError(*self.exceeded)
        if report is None:
            return _EndedError("crashed", "its supervisor is gone")
        if "error" in report:
            raise SandboxError(f"the wall could not be put around a program: {report['error']}")
        code, cpu_s = report["exit"], report["cpu_s"]
        if code >= 0:
            return _EndedError("crashed", f"exited with status {code} before it answered")
        if -code == signal.SIGXCPU or (-code == signal.SIGKILL and cpu_s >= self._limits.total_s):
            return _EndedError("timed_out", f"after {cpu_s:.3g} s of processor time")
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        return _EndedError("forbidden" if -code == signal.SIGSYS else "crashed", f"signal {name}")

    def _read_report(self) -> dict[str, Any] | None:
        """Returns the supervisor's report, for which it waits; None where there is none."""
        if self._report is None:
            self._status.settimeout(_END_S)
            with suppress(OSError, ValueError):
                self._report = json.loads(self._status.recv(4096))
        return self._report


def _encode_answer(answer: Any) -> bytes | None:
    """Returns what a program that returns `answer` sends, None where it has no such form."""
    try:
        encoded: bytes = codec.encode(["returned", answer])
    except (codec.CodecError, ValueError, TypeError):
        return None
    return encoded


def _read_answer(payload: bytes) -> Outcome:
    """Returns an answer as an outcome. Raises _EndedError where it is none."""
    with suppress(codec.CodecError, ValueError, TypeError):
        status, value = codec.decode(payload)
        if type(status) is str and status == "returned":
            return Outcome("returned", value=value)
        if type(status) is str and status in _SAID_BY_PROGRAM and type(value) is str:
            return Outcome(status, detail=value)
    raise _EndedError("crashed", "it wrote something to the channel that is no answer")
