"""What a person sees while a sweep runs: one live line on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qwen3_eval.budget import Ending
from qwen3_eval.types import Generation

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

_LINE_EVERY_S = 30.0


@dataclass
class SweepProgress:
    """Counts what a sweep has done. Speed and ETA leave out what a resumed run found done."""

    total: int
    done: int = 0
    reused: int = 0
    tokens: int = 0
    forced: int = 0
    truncated: int = 0
    started: float = field(default_factory=time.monotonic)
    _live: "RichProgress | None" = None
    _bar: "TaskID | None" = None
    _last_line: float = 0.0

    def on_generation(self, generation: Generation, ending: Ending | None) -> None:
        self.tokens += len(generation.token_ids)
        if ending is not None:
            self.forced += ending.forced
            self.truncated += generation.finish_reason == "length"
        self._show()

    def on_rollout(self, *, reused: bool) -> None:
        self.done += 1
        self.reused += reused
        self._show()

    def describe(self) -> str:
        """Returns the counts as one line: samples, tokens/s, ETA, forced, truncated."""
        elapsed = max(time.monotonic() - self.started, 1e-9)
        fresh = self.done - self.reused
        left = (self.total - self.done) * elapsed / fresh if fresh else None
        eta = "--" if left is None else _clock(left)
        return (
            f"{self.done}/{self.total} samples, {self.tokens:,} tokens, "
            f"{self.tokens / elapsed:,.0f} tokens/s, ETA {eta}, forced {self.forced:,}, "
            f"truncated {self.truncated:,}"
        )

    def _show(self) -> None:
        now = time.monotonic()
        if self._live is not None and self._bar is not None:
            self._live.update(self._bar, completed=self.done, description=self.describe())
        elif now - self._last_line >= _LINE_EVERY_S:
            self._last_line = now
            print(self.describe(), file=sys.stderr, flush=True)


@contextmanager
def show_progress(total: int) -> Iterator[SweepProgress]:
    """Yields the progress of `total` rollouts: a live bar on a terminal, else a line every half minute."""
    progress = SweepProgress(total)
    progress._last_line = progress.started
    if not sys.stderr.isatty():
        yield progress
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (BarColumn(bar_width=24), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=4, transient=True) as live:
        progress._live = live
        progress._bar = live.add_task("starting", total=total)
        yield progress


def _clock(seconds: float) -> str:
    minutes, s = divmod(int(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02}:{s:02}" if hours else f"{m}:{s:02}"
