"""A run folder: what is written stands, and comes back as it was."""

import resource
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen3_eval.budget import Ending, Trace
from qwen3_eval.errors import StoreError
from qwen3_eval.run_folder import is_in_use
from qwen3_eval.store import Answer, RolloutKey, Store
from qwen3_eval.store_schema import pack_ids, unpack_ids
from qwen3_eval.types import Generation, Message, Sample, Verdict

SAMPLE = Sample("toy/1", (Message("user", "Zwei und zwei? ٤ 四"),), "4", "sums", {"level": 1})
KEY = RolloutKey("toy", "toy/1", "thinking", 0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.open(tmp_path / "run", create=True)
    store.start_session({"name": "scripted"})
    store.add_sample("toy", SAMPLE)
    return store


@given(st.lists(st.integers(0, 2**32 - 1)))
def test_token_ids_come_back_as_they_were(ids: list[int]) -> None:
    """Every uint32 survives packing."""
    assert list(unpack_ids(pack_ids(ids))) == ids


def test_a_trace_is_its_segments_in_order(store: Store) -> None:
    """Segments come back joined, raw, with the length and the end that they add up to."""
    rollout = store.add_rollout(KEY, "hash", 5, 0, 100)
    assert store.read_trace(rollout, 0) == Trace()
    store.add_think(rollout, 0, Generation((90, 1, 2), "length"), Trace(2, "open"), 7)
    assert store.read_trace(rollout, 0) == Trace(2, "open")
    store.add_think(rollout, 2, Generation((3, 91), "stop"), Trace(3, "closed"), 8)
    assert store.read_trace(rollout, 0) == Trace(3, "closed")
    assert store.read_trace_ids(rollout) == (90, 1, 2, 3, 91)


def test_natural_and_forced_answers_of_one_length_are_two(store: Store) -> None:
    """A forced end at 2 and a natural end after 2 tokens do not overwrite each other."""
    rollout = store.add_rollout(KEY, "hash", 5, 0, 100)
    forced, natural = Ending("forced", 2), Ending("natural", 2)
    store.add_answer(rollout, forced, Generation((4, 92), "stop"), 1)
    store.add_answer(rollout, natural, Generation((5,), "length"), 2)
    assert store.read_answered(rollout) == {forced, natural}
    assert store.read_answer(rollout, forced) == Answer((4, 92), "stop")
    assert store.read_answer(rollout, natural) == Answer((5,), "length")
    assert store.read_answer(rollout, Ending("forced", 3)) is None


def test_an_answer_without_thinking_includes_what_its_first_segment_began(store: Store) -> None:
    """Where the model wrote no `<think>`, the segment's ids are the answer's beginning."""
    rollout = store.add_rollout(KEY, "hash", 5, 0, 100)
    store.add_think(rollout, 0, Generation((1, 2), "length"), Trace(0, "absent"), 7)
    store.add_answer(rollout, Ending("natural", 0), Generation((3, 92), "stop"), 8)
    assert store.read_answer(rollout, Ending("natural", 0)) == Answer((1, 2, 3, 92), "stop")


def test_what_is_written_is_there_for_another_connection_at_once(store: Store) -> None:
    """Each row is committed when its call returns, not when the store closes."""
    rollout = store.add_rollout(KEY, "hash", 5, 0, 100)
    store.add_verdict(rollout, Ending("natural", 2), Verdict.correct("4"))
    other = sqlite3.connect(store.folder / "run.db")
    assert other.execute("SELECT outcome, score, extracted FROM verdicts").fetchall() == [
        ("correct", 1.0, "4")
    ]


def test_a_second_writer_is_refused_and_a_reader_is_not(store: Store) -> None:
    """Two sweeps on one run would generate everything twice; a report may read meanwhile."""
    with pytest.raises(StoreError, match="in use by another process"):
        Store.open(store.folder)
    assert Store.read(store.folder).read_meta("nothing") is None
    store.close()
    Store.open(store.folder).close()


def test_another_prompt_for_the_same_rollout_is_refused(store: Store) -> None:
    """Records of different prompts do not mix."""
    rollout = store.add_rollout(KEY, "hash", 5, 0, 100)
    assert store.add_rollout(KEY, "hash", 5, 0, 200) == rollout
    with pytest.raises(StoreError, match="another prompt"):
        store.add_rollout(KEY, "other", 5, 0, 100)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    """Reading or going on needs a run.db; the message names the folder."""
    with pytest.raises(StoreError, match=str(tmp_path)):
        Store.read(tmp_path)


def test_a_damaged_run_json_is_reported(store: Store) -> None:
    """run.json is replaced in one step, and one that is damaged is named."""
    store.write_run({"a": "ü"})
    assert store.read_run() == {"a": "ü"}
    (store.folder / "run.json").write_text('{"a": ')
    with pytest.raises(StoreError, match=r"run\.json"):
        store.read_run()


def test_a_closed_run_is_one_file(store: Store) -> None:
    """After a normal finish SQLite's log is folded into run.db: the folder can be copied as it is."""
    store.write_run({})
    assert (store.folder / "run.db-wal").stat().st_size > 0
    store.close()
    assert {path.name for path in store.folder.iterdir()} == {"run.db", "run.json", ".lock"}


def test_whether_a_run_is_in_use_can_be_asked_without_disturbing_it(store: Store) -> None:
    """True while a writer has it, false after; asking takes nothing from the writer."""
    assert is_in_use(store.folder)
    with pytest.raises(StoreError, match="in use"):
        Store.open(store.folder)
    store.close()
    assert not is_in_use(store.folder)
    assert not is_in_use(store.folder / "nowhere")


def test_a_run_without_its_database_is_not_begun_anew(store: Store) -> None:
    """run.json without run.db means a loss, and silence would generate everything again."""
    store.write_run({})
    store.close()
    (store.folder / "run.db").write_bytes(b"")
    with pytest.raises(StoreError, match="missing or empty"):
        Store.open(store.folder, create=True)
    (store.folder / "run.db").unlink()
    with pytest.raises(StoreError, match="missing or empty"):
        Store.open(store.folder, create=True)


def test_a_run_of_another_version_is_refused(store: Store) -> None:
    """The message names both versions."""
    store.close()
    with sqlite3.connect(store.folder / "run.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    for reopen in (Store.open, Store.read):
        with pytest.raises(StoreError, match=r"schema version 99.*reads 3"):
            reopen(store.folder)


def fill(store: Store, vocabulary: Sequence[int], n_questions: int = 60) -> int:
    """Stores what a chain-like sweep over 1k, 4k and 8k generates; returns how many tokens that is."""
    generator = np.random.default_rng(0)
    total = 0

    def draw(n: int) -> Generation:
        nonlocal total
        total += n
        return Generation(tuple(generator.choice(vocabulary, n).tolist()), "length", 1.2345, 128)

    for i in range(n_questions):
        text = " ".join(map(str, generator.integers(0, 10, 200)))
        sample = Sample(f"toy/{i}", (Message("user", text),), "4")
        store.add_sample("toy", sample)
        length = int(np.exp(generator.uniform(np.log(75), np.log(6840))))
        rollout = store.add_rollout(
            RolloutKey("toy", sample.sample_id, "thinking", 0), "0" * 64, 500, 0, 8192
        )
        start = 0
        while start < length:
            end = min(length, next(b for b in (1024, 4096, 8192) if b > start))
            seed = int(generator.integers(0, 2**63))
            trace = Trace(end, "closed" if end == length else "open")
            store.add_think(rollout, start, draw(end - start), trace, seed)
            ending = Ending("natural" if end == length else "forced", end)
            store.add_answer(rollout, ending, draw(int(generator.integers(10, 40))), seed)
            store.add_verdict(rollout, ending, Verdict.correct("4"))
            start = end
        direct = store.add_rollout(
            RolloutKey("toy", sample.sample_id, "non-thinking", 0), "1" * 64, 500, None, 8192
        )
        store.add_answer(direct, Ending("natural", 0), draw(20), int(generator.integers(0, 2**63)))
        store.add_verdict(direct, Ending("natural", 0), Verdict.incorrect("5"))
    return total


@pytest.mark.parametrize(
    ("vocabulary", "most"),
    [(range(151_936), 4.0), (list(b"0123456789 +=abc\n"), 2.0)],
    ids=["random ids of 151k", "bytes"],
)
def test_a_run_takes_at_most_six_bytes_for_each_generated_token(
    tmp_path: Path, vocabulary: Sequence[int], most: float
) -> None:
    """All files of a finished run, thinking and answers; random ids are the worst case of any packing."""
    with Store.open(tmp_path / "run", create=True) as store:
        store.start_session({"engine": "scripted"})
        store.write_run({"settings": "x" * 4000})
        tokens = fill(store, vocabulary)
    size = sum(path.stat().st_size for path in (tmp_path / "run").iterdir())
    assert size / tokens <= most <= 6


def read_everything(folder: Path) -> None:
    with Store.open(folder) as store:
        for row in list(store.query("SELECT id FROM rollouts")):
            store.read_trace(row[0], 0)
            store.read_trace_ids(row[0])
            for ending in store.read_answered(row[0]):
                store.read_answer(row[0], ending)


@pytest.mark.parametrize("damage", ["noise", "zeros", "cut"])
def test_a_damaged_page_is_a_store_error_wherever_it_lies(tmp_path: Path, damage: str) -> None:
    """Whichever page is overwritten or cut off: one StoreError that says `damaged`, never other ids."""
    with Store.open(tmp_path / "run", create=True) as store:
        store.start_session({"engine": "scripted"})
        fill(store, range(151_936), n_questions=3)
    file = tmp_path / "run" / "run.db"
    whole = file.read_bytes()
    noise = np.random.default_rng(0).bytes(2048)
    for page in range(0, len(whole), 2048):
        harm = {"noise": noise, "zeros": bytes(2048), "cut": b""}[damage]
        rest = b"" if damage == "cut" else whole[page + 2048 :]
        file.write_bytes(whole[:page] + harm + rest)
        with pytest.raises(StoreError, match=r"damaged|missing or empty|schema version 0"):
            read_everything(tmp_path / "run")
    file.write_bytes(whole)
    read_everything(tmp_path / "run")


def test_a_full_disk_stops_with_what_is_committed_intact(store: Store) -> None:
    """The row that found no room is refused, those before it stay, and with room it goes on."""
    rollout = store.add_rollout(KEY, "hash", 5, 0, 10**9)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    written = 0
    ids = tuple(np.random.default_rng(0).integers(0, 151_936, 2000).tolist())

    def grow(n: int) -> int:
        trace = Trace(2000 * (n + 1), "open")
        store.add_think(rollout, 2000 * n, Generation(ids, "length"), trace, 1)
        return n + 1

    def fill_up() -> None:
        nonlocal written
        while True:
            written = grow(written)

    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))  # as a disk with no room for more
    try:
        with pytest.raises(StoreError, match="make room and run the same command again"):
            fill_up()
        assert written > 5
        assert len(store.read_trace_ids(rollout)) == 2000 * written
        store.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with Store.open(store.folder) as again:
        assert again.read_trace(rollout, 0) == Trace(2000 * written, "open")
        again.add_think(rollout, 2000 * written, Generation(ids, "length"), Trace(2000, "open"), 1)
