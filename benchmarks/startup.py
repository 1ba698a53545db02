"""Start-up: the CPU time that `--help`, `tasks` and `models` take over the bare interpreter.

CPU time, not wall: a command that waits for a busy machine is not slow. The median of five runs each.
"""

import resource
import subprocess
import sys
from statistics import median

from measure import print_target

TARGET_S = 1.0
REPEATS = 5


def cpu_seconds(arguments: list[str]) -> float:
    """Returns user and system time of `python ARGUMENTS`, with all its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def median_cpu_seconds(arguments: list[str]) -> float:
    cpu_seconds(arguments)  # the first run reads files that are not in memory yet
    return median(cpu_seconds(arguments) for _ in range(REPEATS))


def main() -> None:
    print("start-up, CPU seconds over the bare interpreter")
    bare = median_cpu_seconds(["-c", "pass"])
    for command in ("--help", "tasks", "models"):
        over = median_cpu_seconds(["-m", "qwen3_eval", command]) - bare
        print_target(command, over, TARGET_S, " s")


if __name__ == "__main__":
    main()
