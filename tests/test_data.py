"""Rows: what a mirror may look like, what is checked, and what each mistake is told."""

import csv
import gzip
import json
import os
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from qwen3_eval.data import MIRROR_VARIABLE, DataSource, Rows, fingerprint_rows
from qwen3_eval.errors import DataError

ROWS = [{"q": "1 + 1?", "a": "2", "level": 1}, {"q": "é?", "a": "025", "level": 2}]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


def place(root: Path, name: str, content: bytes = LINES.encode()) -> Path:
    path = root / "org" / "set" / "main" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def read(root: Path | None, *, allow_partial: bool = False, **change: Any) -> Rows:
    wanted = {"hub_id": "org/set", "config": "main", "split": "test", "revision": None, "expected_rows": 2}
    return DataSource(root, allow_partial).rows(**{**wanted, "columns": ("q", "a"), **change})


def test_every_form_of_a_mirror_holds_the_same_rows(tmp_path: Path) -> None:
    """jsonl, jsonl.gz, parquet and csv give one content, zeros and accents kept, with one fingerprint."""
    import pandas as pd

    place(tmp_path / "jsonl", "test.jsonl")
    place(tmp_path / "gz", "test.jsonl.gz", gzip.compress(LINES.encode()))
    pd.DataFrame(ROWS).to_parquet(place(tmp_path / "parquet", "test.parquet"))
    with place(tmp_path / "csv", "test.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(ROWS[0]))
        writer.writeheader()
        writer.writerows(ROWS)
    columns = ("q", "a", "level")
    found = [read(tmp_path / form, columns=columns) for form in ("jsonl", "gz", "parquet", "csv")]
    assert [[(r["q"], r["a"]) for r in f.rows] for f in found] == [[("1 + 1?", "2"), ("é?", "025")]] * 4
    assert len({f.fingerprint for f in found}) == 1
    assert found[0].origin == f"mirror:{tmp_path / 'jsonl' / 'org/set/main/test.jsonl'}"


def test_the_fingerprint_is_the_sha256_of_canonical_lines() -> None:
    """Worked by hand: sorted keys, no spaces, UTF-8, one line a row; columns not asked for do not count."""
    lines = '{"a":"2","q":"1 + 1?"}\n{"a":"025","q":"é?"}\n'
    assert fingerprint_rows(ROWS, ("q", "a")) == sha256(lines.encode()).hexdigest()
    assert fingerprint_rows(ROWS[::-1], ("q", "a")) != fingerprint_rows(ROWS, ("q", "a"))


def test_the_mirror_is_the_setting_then_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """data.root wins over $QWEN3_EVAL_DATA, and without either the hub is asked."""
    monkeypatch.setenv(MIRROR_VARIABLE, str(tmp_path))
    place(tmp_path, "test.jsonl")
    assert len(read(None).rows) == 2
    assert DataSource(Path("/elsewhere")).mirror == Path("/elsewhere")
    monkeypatch.delenv(MIRROR_VARIABLE)
    assert DataSource().mirror is None


def test_a_missing_file_is_told_with_what_is_there(tmp_path: Path) -> None:
    """The message names the file that is missing and lists its neighbours, at the depth that exists."""
    place(tmp_path, "train.jsonl")
    with pytest.raises(DataError, match=r"no org/set/main/test\{.*holds train\.jsonl"):
        read(tmp_path)
    with pytest.raises(DataError, match=r"no org/set/es/test.*holds main"):
        read(tmp_path, config="es")
    with pytest.raises(DataError, match=r"no org/other/main/test.*it holds org/set"):
        read(tmp_path, hub_id="org/other")
    with pytest.raises(DataError, match=r"is not a folder; set data\.root"):
        read(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("test.jsonl", LINES[:-20].encode(), r"test\.jsonl, line 2 is torn"),
        ("test.jsonl", b'{"q": "\xff"}\n', r"line 1 is torn: .*utf-8"),
        ("test.jsonl", b"[1, 2]\n", r"line 1: got .*expected one JSON object a line"),
        ("test.jsonl.gz", b"no gzip at all", r"damaged after line 0: Not a gzipped file"),
        (
            "test.jsonl.gz",
            gzip.compress(LINES.encode())[:-9],
            r"damaged after line \d: Compressed file ended",
        ),
        ("test.parquet", b"PAR1 not really", r"not a readable parquet file"),
    ],
)
def test_a_damaged_file_is_told_with_its_place(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    """Each kind of damage is a DataError that names the file, and the line where there is one."""
    place(tmp_path, name, content)
    with pytest.raises(DataError, match=told):
        read(tmp_path)


def test_columns_and_count_are_checked(tmp_path: Path) -> None:
    """A missing column is named with those that are there; a wrong count with the right one."""
    place(tmp_path, "test.jsonl")
    with pytest.raises(DataError, match=r"row 0 lacks 'answer'; it has 'q', 'a', 'level'"):
        read(tmp_path, columns=("q", "answer"))
    with pytest.raises(
        DataError, match=r"2 rows, where the task has 3; a subset passes with data\.allow_partial"
    ):
        read(tmp_path, expected_rows=3)
    with pytest.raises(DataError, match=r"2 rows, where the task has 1$"):
        read(tmp_path, expected_rows=1, allow_partial=True)


def test_a_subset_passes_where_it_is_allowed_and_is_noted(tmp_path: Path) -> None:
    """The user's flag and the card's both let it pass; the note says how much of it there was."""
    place(tmp_path, "test.jsonl")
    assert read(tmp_path, expected_rows=14_042, allow_partial=True).notes == ("partial: 2 of 14,042 rows",)
    assert read(tmp_path, expected_rows=3, partial=True).notes == ("partial: 2 of 3 rows",)
    assert read(tmp_path).notes == ()


def test_other_content_is_refused_or_noted(tmp_path: Path) -> None:
    """A complete mirror whose content is not the card's is refused; allowed, it is noted."""
    place(tmp_path, "test.jsonl")
    right = fingerprint_rows(ROWS, ("q", "a"))
    assert read(tmp_path, fingerprint=right).notes == ()
    with pytest.raises(DataError, match=r"is not the card's 0000.*data\.allow_partial=true"):
        read(tmp_path, fingerprint="0" * 64)
    assert "is not the card's" in read(tmp_path, fingerprint="0" * 64, allow_partial=True).notes[0]


PROBE = """
import sys
from qwen3_eval.data import DataSource
from qwen3_eval.errors import DataError
hub_id, revision = sys.argv[1:]
try:
    found = DataSource().rows(hub_id, "main", "test", revision, 2, ("q", "a"))
    print([dict(row) for row in found.rows], found.origin)
except DataError as error:
    print(error)
"""


def ask_hub(hub_id: str, cache: Path) -> str:
    """Reads through `datasets` in a fresh process with an empty cache and a hub that refuses connections."""
    environment = {**os.environ, "HF_HOME": str(cache), "HF_ENDPOINT": "http://127.0.0.1:9"}
    for name in (MIRROR_VARIABLE, "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        environment.pop(name, None)
    command = [sys.executable, "-c", PROBE, hub_id, "0" * 40]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_without_hub_and_mirror_the_error_is_clear_and_quick(tmp_path: Path) -> None:
    """`datasets` alone retries for 25 s; here the user is told at once, and what to set."""
    start = time.monotonic()
    told = ask_hub("openai/gsm8k", tmp_path)
    assert "openai/gsm8k main/test at revision 0000" in told
    assert "cannot be read from the hub" in told
    assert "set data.root=FOLDER (or $QWEN3_EVAL_DATA), laid out <hub id>/<config>/<split>.jsonl[.gz]" in told
    assert time.monotonic() - start < 20


def test_rows_come_through_datasets(tmp_path: Path) -> None:
    """`datasets` reads a repository's folder, its card naming the config and split, as it reads the hub's."""
    repository = tmp_path / "set"
    repository.mkdir()
    card = "configs:\n- config_name: main\n  data_files:\n  - split: test\n    path: rows.jsonl\n"
    (repository / "README.md").write_text(f"---\n{card}---\n")
    (repository / "rows.jsonl").write_text(LINES)
    assert ask_hub(str(repository), tmp_path / "cache").strip() == f"{ROWS} hub"


def place_configs(root: Path, *configs: str) -> None:
    for config in configs:
        folder = root / "org/set" / config
        folder.mkdir(parents=True)
        (folder / "test.jsonl").write_text(f'{{"q": "{config}?", "a": "1"}}\n' * 2)


def test_rows_of_several_configs_follow_each_other(tmp_path: Path) -> None:
    """In the order asked; each row says its config, each id begins with it, and the count is of all."""
    place_configs(tmp_path, "b", "a")
    found = read(tmp_path, config=("b", "a"), expected_rows=4)
    assert found.ids == ("b/0", "b/1", "a/0", "a/1")
    assert [(row["config"], row["q"]) for row in found.rows[1:3]] == [("b", "b?"), ("a", "a?")]
    assert found.origin == f"mirror:{tmp_path}/org/set"
    assert found.notes == ()


def test_absent_configs_pass_only_where_a_subset_may(tmp_path: Path) -> None:
    """Refused by the missing file's name; with allow_partial noted; with none there, refused again."""
    place_configs(tmp_path, "a")
    with pytest.raises(DataError, match="has no org/set/b/test"):
        read(tmp_path, config=("a", "b", "c"), expected_rows=6)
    found = read(tmp_path, config=("a", "b", "c"), expected_rows=6, allow_partial=True)
    assert found.notes == ("partial: 2 of 6 rows", "absent: b, c")
    (tmp_path / "org/set/b").mkdir()
    (tmp_path / "org/set/b/test.jsonl").write_text('{"q": "torn')
    with pytest.raises(DataError, match="line 1 is torn"):  # damaged is not absent
        read(tmp_path, config=("a", "b"), expected_rows=4, allow_partial=True)
    (tmp_path / "org/set/b/test.jsonl").unlink()
    with pytest.raises(DataError, match="has no org/set/c/test"):
        read(tmp_path, config=("b", "c"), expected_rows=4, allow_partial=True)
