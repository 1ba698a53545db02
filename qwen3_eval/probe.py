"""Checks that may hang or crash, each a short script in a process of its own that ends well or does not."""

import os
import signal
import subprocess
import sys

Probe = subprocess.Popen[str]

HUB_PROBE = """
import sys, urllib.error, urllib.request
try:
    urllib.request.urlopen(urllib.request.Request(sys.argv[1], method="HEAD"), timeout=float(sys.argv[2]))
except urllib.error.HTTPError:
    pass  # it refuses this page, but it answers
"""
# Loading the kernels is what a processor without their instructions does not survive.
VLLM_PROBE = """
from vllm.platforms import current_platform
current_platform.import_kernels()
print(current_platform.device_type)
"""


def start_probe(script: str, *arguments: str) -> Probe:
    """Starts a script beside this process; `finish_probe` waits for it."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"VLLM_LOGGING_LEVEL": "ERROR"},
    )


def finish_probe(process: Probe, timeout_s: float) -> tuple[bool, str]:
    """Returns whether a probe ended well in time, and what it printed, or else why not."""
    try:
        printed, complaint = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return False, f"no answer within {timeout_s:.0f} s"
    if process.returncode < 0:
        return False, f"killed by {signal.Signals(-process.returncode).name}"
    if process.returncode > 0:
        return False, (complaint.strip() or f"exit {process.returncode}").splitlines()[-1]
    return True, printed.strip()
