"""Rows for lm-eval's tasks: of a local mirror where one is set, else as lm-eval itself fetches them."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qwen3_eval.data import DataSource, find_mirror_file, hub_answers
from qwen3_eval.errors import DataError

# What `dataset_path` names where the rows are files of the user's own, given by `data_files`.
_FILE_FORMATS = {"arrow", "csv", "json", "pandas", "parquet", "text", "xml"}
_SPLIT_KEYS = ("training_split", "validation_split", "fewshot_split")


def is_mirrored(mirror: Path | None, config: Mapping[str, Any]) -> bool:
    """True where a mirror stands for the hub: rows that the task makes, or local files, are not in it."""
    return mirror is not None and not config.get("custom_dataset") and not _is_local(config)


def _is_local(config: Mapping[str, Any]) -> bool:
    path = config.get("dataset_path") or ""
    return path in _FILE_FORMATS or Path(path).exists()


class MirroredSplits(dict[str, Any]):
    """A data set by split, each read from the mirror when it is asked for; then DataError may rise."""

    def __init__(self, source: DataSource, config: Mapping[str, Any]) -> None:
        super().__init__()
        self._source = source
        self._hub_id = config.get("dataset_path") or ""
        self._config = config.get("dataset_name") or "default"

    def __missing__(self, split: str) -> Any:
        import datasets  # type: ignore[import-untyped]  # it carries no types

        # No card says how many rows there are, so any number is the right one.
        rows = self._source.rows(
            self._hub_id, self._config, split, None, expected_rows=sys.maxsize, columns=(), partial=True
        )
        self[split] = datasets.Dataset.from_list([dict(row) for row in rows.rows])
        return self[split]

    def lacks(self, split: str) -> bool:
        """True where the mirror has no file of that split."""
        mirror = self._source.mirror
        return mirror is not None and find_mirror_file(mirror, self._hub_id, self._config, split) is None


def find_absent_splits(splits: MirroredSplits, config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns settings that unset each split which holds examples only, and is not in the mirror.

    lm-eval reads them even where no example is shown.
    """
    keys = [key for key in _SPLIT_KEYS if key != "validation_split" or config.get("test_split")]
    absent: dict[str, Any] = {key: None for key in keys if config.get(key) and splits.lacks(config[key])}
    examples = config.get("fewshot_config") or {}
    if examples.get("split") and splits.lacks(examples["split"]):
        absent["fewshot_config"] = None
    return absent


def download(config: Mapping[str, Any]) -> Any:
    """Returns the data set as lm-eval loads it, all splits by name. Raises DataError."""
    import datasets

    path, name = config.get("dataset_path"), config.get("dataset_name")
    kwargs = {k: v for k, v in (config.get("dataset_kwargs") or {}).items() if k != "trust_remote_code"}
    offline = datasets.config.HF_HUB_OFFLINE
    try:
        # As in `data.read_hub`: without a hub, `datasets` should look in its cache at once.
        datasets.config.HF_HUB_OFFLINE = offline or not (
            _is_local(config) or hub_answers(str(path), kwargs.get("revision"))
        )
        return datasets.load_dataset(path=path, name=name, **kwargs)
    except Exception as error:  # its errors share no type of their own
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        what = f"{path} {name or 'default'}"
        raise DataError(
            f"{what} cannot be read ({reason}); see to its files"
            if _is_local(config)
            else f"{what} cannot be read from the hub ({reason}), and no local mirror is set; set "
            "data.root=FOLDER, or see to the connection"
        ) from error
    finally:
        datasets.config.HF_HUB_OFFLINE = offline
