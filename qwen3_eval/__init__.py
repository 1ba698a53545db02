"""qwen3_eval: how a reasoning model's score grows with the tokens it may think with."""

from pathlib import Path

__version__ = "0.1.0"

# In a bare checkout the packages tasks/, configs/, sandboxes/ and reports/ lie beside this one; an
# installed wheel carries them inside it. Either way they are imported as qwen3_eval.tasks and so on.
_checkout = Path(__file__).resolve().parent.parent
if (_checkout / "tasks" / "__init__.py").is_file() and (_checkout / "pyproject.toml").is_file():
    __path__.append(str(_checkout))
