"""The house: which module may import which. DESIGN section 3, read from the source."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "qwen3_eval"
TASKS = PACKAGE.parent / "tasks"

# A module may import from its own layer and from those before it.
LAYERS: list[set[str]] = [
    {"types", "errors"},
    {
        "config",
        "chat",
        "budget",
        "data",
        "few_shot",
        "card",
        "options",
        "sandbox",
        "sandbox_memory",
        "sandbox_program",
        "sandbox_tiers",
        "sandbox_workers",
        "sandboxes",
        "model",
        "adapter",
        "checkpoint",
        "sizes",
        "stats",
        "store",
        "store_merge",
        "store_schema",
        "run_folder",
        "probe",
    },
    {
        "task",
        "subset",
        "scoring",
        "engine",
        "tasks",
        "lm_eval_data",
        "lm_eval_index",
        "lm_eval_samples",
        "lm_eval_scoring",
        "lm_eval_tasks",
    },
    {
        "plan",
        "rollout",
        "sweep",
        "score",
        "report",
        "compare",
        "policy",
        "past_run",
        "protocol",
        "progress",
    },
    {
        "gate",
        "execute",
        "execute_formats",
        "study",
        "run",
        "runs",
        "listing",
        "doctor",
        "mirror",
        "routing",
        "thinkfollow",
    },
    {"cli", "__main__"},
]
RECIPES = {  # they train a checkpoint
    "model/nano.py",
    "model/nano_lessons.py",
    "model/nano_moe.py",
    "model/nano_text.py",
    "model/nano_training.py",
    "model/nano_upcycle.py",
}
TASKS_MAY_IMPORT = {"types", "errors", "budget", "few_shot", "task", "data", "scoring", "chat", "tasks"}


def imports_of(file: Path) -> set[str]:
    """Returns every absolute module name that a file imports, at any depth."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found.add(node.module or "")
            if node.module == "qwen3_eval":
                found |= {f"qwen3_eval.{alias.name}" for alias in node.names}
    return found


def layer_of(name: str) -> int:
    for depth, layer in enumerate(LAYERS):
        if name in layer:
            return depth
    raise AssertionError(f"qwen3_eval/{name} has no layer; give it its place in LAYERS")


def test_imports_point_one_way() -> None:
    """No module imports from a layer above its own."""
    for file in PACKAGE.rglob("*.py"):
        relative = file.relative_to(PACKAGE)
        if str(relative) in RECIPES or str(relative) == "__init__.py":
            continue
        own = layer_of(relative.parts[0].removesuffix(".py"))
        for module in imports_of(file):
            parts = module.split(".")
            if parts[0] == "qwen3_eval" and len(parts) > 1 and parts[1] != "__version__":
                assert layer_of(parts[1]) <= own, f"{relative} imports {module} from a layer above"


def test_the_model_needs_torch_and_safetensors_only() -> None:
    """`model/` stands alone; vLLM and transformers appear only in the files that are about them."""
    allowed = {
        "vllm_qwen3.py": {"vllm", "transformers"},
        "vllm_moe.py": {"vllm", "transformers"},
        "vllm_plugin.py": {"vllm"},
    }
    import sys

    for file in (PACKAGE / "model").glob("*.py"):
        if f"model/{file.name}" in RECIPES:
            continue
        for module in imports_of(file):
            root = module.split(".")[0]
            if root == "qwen3_eval":
                part = module.split(".")[1]
                assert part in {"model", "errors", "types"}, f"model/{file.name} imports {module}"
            else:
                known = {"torch", "safetensors", *sys.stdlib_module_names, *allowed.get(file.name, set())}
                assert root in known, f"model/{file.name} imports {module}"


def test_tasks_import_little() -> None:
    """A benchmark's module needs types, task, data, scoring and chat, and modules beside it."""
    for file in TASKS.glob("*.py"):
        for module in imports_of(file):
            parts = module.split(".")
            if parts[0] == "qwen3_eval":
                assert parts[1] in TASKS_MAY_IMPORT, f"tasks/{file.name} imports {module}"


def test_hydra_is_imported_by_the_command_line_only() -> None:
    """Everything else can be used, and tested, without it."""
    for file in PACKAGE.rglob("*.py"):
        if any(module.split(".")[0] in ("hydra", "omegaconf") for module in imports_of(file)):
            assert file.name in ("cli.py", "__main__.py"), f"{file.name} imports Hydra"


def test_nobody_imports_the_four_folders_by_their_bare_names() -> None:
    """`tasks.x` and `qwen3_eval.tasks.x` would be two modules; only the second is ever imported."""
    bare = {"tasks", "configs", "reports", "sandboxes"}
    for file in [*PACKAGE.rglob("*.py"), *TASKS.glob("*.py"), *Path(__file__).parent.glob("*.py")]:
        for module in imports_of(file):
            assert module.split(".")[0] not in bare, f"{file.name} imports {module}"
