"""Frames on a stream: a length in four bytes, then that many bytes. The same code on both sides."""

import struct


class FrameError(ValueError):
    """A length that no writer of ours would write."""


class Frames:
    """Cuts a stream of bytes, as it arrives, into the payloads of its frames."""

    def __init__(self, frame_bytes):
        self._limit = frame_bytes
        self._buffer = bytearray()

    def feed(self, data):
        """Takes what arrived. Returns the payloads now complete. Raises FrameError on a giant one."""
        self._buffer += data
        payloads, start = [], 0
        while len(self._buffer) - start >= 4:
            (length,) = struct.unpack_from(">I", self._buffer, start)
            if length > self._limit:
                raise FrameError(f"frame of {length} bytes; at most {self._limit} are taken")
            if len(self._buffer) - start - 4 < length:
                break
            payloads.append(bytes(self._buffer[start + 4 : start + 4 + length]))
            start += 4 + length
        if start:
            del self._buffer[:start]
        return payloads

    def missing(self):
        """Returns how many bytes the frame at hand still lacks, as far as is known: at least 1."""
        if len(self._buffer) < 4:
            return 4 - len(self._buffer)
        return max(1, 4 + struct.unpack_from(">I", self._buffer)[0] - len(self._buffer))


def frame(payload):
    """Returns a payload with its length before it."""
    return struct.pack(">I", len(payload)) + payload
