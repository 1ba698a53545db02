"""vLLM's log, and its failures in our words: what happened, and which setting to change.

vLLM's processes write the cause of a failure to their log and leave; the process that asked sees only that
they left. So the first traceback of the log is read along with the exception.
"""

import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

_REMEDIES: tuple[tuple[str, str], ...] = (
    (
        r"out of memory|OutOfMemoryError|Free memory on device|No available memory for the cache blocks",
        "memory ran out: lower engine.gpu_memory_utilization if others use the device, else raise it; or "
        "lower engine.max_model_len or engine.max_num_seqs, or raise engine.tensor_parallel_size",
    ),
    (
        r"larger than the available KV cache memory",
        "not one request of engine.max_model_len tokens fits the KV cache: lower engine.max_model_len, or "
        "raise engine.gpu_memory_utilization or engine.extra.kv_cache_memory_bytes",
    ),
    (
        r"Available memory on node",
        "the machine has less free memory than the KV cache asks for: lower "
        "engine.extra.kv_cache_memory_bytes",
    ),
    (
        r"greater than the derived max_model_len",
        "engine.max_model_len is beyond what the model was made for: lower it, or extend the model's "
        "context with a YaRN override",
    ),
    (
        r"does not support LoRA",
        "this model class takes no adapter: set model.impl=vllm, or merge the adapter into the checkpoint",
    ),
    (
        r"Model architectures .* (are not supported|failed to be inspected)|Cannot find model module",
        "vLLM does not know this model class: check the installation with `pip install -e .`, or set "
        "model.impl=vllm",
    ),
)


_RECORD = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \d+ (?P<level>[A-Z]+) ", re.MULTILINE)
_EXCEPTION = re.compile(r"^(?!Traceback)[\w.]*\w: .*", re.MULTILINE)


class EngineLog:
    """The file that vLLM's processes log to, and the logging config that sends them there.

    With VLLM_LOGGING_LEVEL set, vLLM logs to stderr too, at that level.
    """

    def __init__(self, path: Path | None) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="qwen3_eval-vllm-"))
        self.path = (path or self._folder / "vllm.log").resolve()
        self.config_path = self._folder / "logging.json"
        level = os.environ.get("VLLM_LOGGING_LEVEL")
        handlers: dict[str, Any] = {
            "file": {
                "class": "logging.FileHandler",
                "filename": str(self.path),
                "formatter": "plain",
                "encoding": "utf-8",
            }
        }
        if level:
            handlers["stderr"] = {"class": "logging.StreamHandler", "formatter": "plain"}
        config = {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "plain": {"format": "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"}
            },
            "handlers": handlers,
            "loggers": {"vllm": {"handlers": list(handlers), "level": level or "INFO", "propagate": False}},
        }
        self.config_path.write_text(json.dumps(config), encoding="utf-8")
        self._start = self.path.stat().st_size if self.path.exists() else 0

    def explain(self, error: BaseException, what: str) -> str:
        """Returns our message for `error`, with the cause that this engine's processes logged."""
        text = ""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._start)
                text = file.read().decode("utf-8", errors="replace")
        kept = f"; vLLM's log: {self.path}" if self.path.parent != self._folder else ""
        return explain_fault(error, text, what) + kept

    def remove(self) -> None:
        """Removes the temporary files; a log that the caller named stays."""
        shutil.rmtree(self._folder, ignore_errors=True)


def explain_fault(error: BaseException, log: str, what: str) -> str:
    """Returns one message: what vLLM failed at, the cause (from `log`, where it has one), the remedy."""
    cause = root_cause(log) or f"{type(error).__name__}: {error}"
    remedy = next((text for pattern, text in _REMEDIES if re.search(pattern, cause, re.IGNORECASE)), None)
    return f"vLLM {what}: {cause}" + (f"; {remedy}" if remedy else "")


def root_cause(log: str) -> str | None:
    """Returns the exception that ends the first traceback among the log's errors, else its first error.

    The first, because each process that goes down after another one logs a traceback of its own.
    """
    records = list(_RECORD.finditer(log))
    first_error = None
    for record, following in zip(records, [*records[1:], None], strict=True):
        if record["level"] not in ("ERROR", "CRITICAL"):
            continue
        text = log[record.end() : following.start() if following else len(log)].strip()
        _, _, traceback = text.partition("Traceback (most recent call last)")
        if exceptions := _EXCEPTION.findall(traceback):
            return str(exceptions[-1])
        first_error = first_error or text.splitlines()[0]
    return first_error
