"""Tells vLLM of the bundled Qwen3. vLLM calls `register` in every process it starts.

The entry point `vllm.general_plugins` in pyproject.toml names this function. It must stay light: the
class is given as a string, so that torch and CUDA are first touched by the process that needs them.
"""

from qwen3_eval.model.config import DENSE, MIXTURE

ARCHITECTURE = "Qwen3EvalForCausalLM"
"""Our own architecture name, so that vLLM's own Qwen3 classes stay within reach."""

REPLACES = (DENSE, MIXTURE)
"""The checkpoint architectures that the bundled class can stand in for."""


def register() -> None:
    """Adds the bundled class to vLLM's registry. Calling it again does nothing."""
    from vllm import ModelRegistry

    if ARCHITECTURE not in ModelRegistry.get_supported_archs():
        ModelRegistry.register_model(ARCHITECTURE, f"qwen3_eval.model.vllm_qwen3:{ARCHITECTURE}")


class ModelClassOfWorker:
    """Mixed into vLLM's worker, so that a run can record which class really computed its logits.

    vLLM adds these methods to its own worker class (`worker_extension_cls`); hence no `__init__`.
    """

    def loaded_model_class(self) -> str:
        """Returns the loaded model's class, as `package.module.Class`."""
        cls = type(self.get_model())  # type: ignore[attr-defined]  # a method of vLLM's worker
        return f"{cls.__module__}.{cls.__qualname__}"
