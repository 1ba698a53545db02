"""One store taken into another: the rows of a shard, with their numbers made new."""

import os
import sqlite3
from pathlib import Path

from qwen3_eval.errors import StoreError
from qwen3_eval.store_schema import check_pages, explain, open_to_read, unpack_ids

# Row numbers differ between stores; what a question, a rollout and a session are does not.
_PAIR = """
INSERT INTO samples (task, sample_id, "group", target, messages, metadata, parts, completion)
    SELECT task, sample_id, "group", target, messages, metadata, parts, completion FROM shard.samples
    WHERE true ORDER BY id ON CONFLICT DO UPDATE SET completion = excluded.completion
    WHERE completion IS NULL AND excluded.completion IS NOT NULL;
INSERT INTO sessions (started, engine)
    SELECT started, engine FROM shard.sessions theirs WHERE NOT EXISTS (
        SELECT 1 FROM sessions ours WHERE ours.started = theirs.started AND ours.engine = theirs.engine)
    ORDER BY id;
CREATE TEMP TABLE session_pairs AS SELECT theirs.id AS theirs, min(ours.id) AS ours
    FROM shard.sessions theirs JOIN sessions ours USING (started, engine) GROUP BY theirs.id;
INSERT OR IGNORE INTO rollouts (
        sample, mode, repeat, lane, prompt_sha256, prompt_tokens, prefill, thinking_limit, error)
    SELECT sample.id, mode, repeat, lane, prompt_sha256, prompt_tokens, prefill, thinking_limit, error
    FROM shard.rollouts theirs JOIN shard.samples asked ON asked.id = theirs.sample
    JOIN samples sample ON sample.task = asked.task AND sample.sample_id = asked.sample_id ORDER BY theirs.id;
CREATE TEMP TABLE rollout_pairs AS SELECT theirs.id AS theirs, ours.id AS ours
    FROM shard.rollouts theirs JOIN shard.samples asked ON asked.id = theirs.sample
    JOIN samples sample ON sample.task = asked.task AND sample.sample_id = asked.sample_id
    JOIN rollouts ours ON ours.sample = sample.id AND ours.mode = theirs.mode
        AND ours.repeat = theirs.repeat AND ours.lane = theirs.lane;
CREATE UNIQUE INDEX temp.by_theirs ON rollout_pairs (theirs);
"""

_OTHER_PROMPT = """
SELECT sample.sample_id, ours.repeat FROM rollout_pairs pair
JOIN shard.rollouts theirs ON theirs.id = pair.theirs JOIN rollouts ours ON ours.id = pair.ours
JOIN samples sample ON sample.id = ours.sample
WHERE ours.prompt_sha256 <> theirs.prompt_sha256 OR ours.prefill IS NOT theirs.prefill LIMIT 1
"""

_OTHER_TOKENS = """
SELECT sample.sample_id, rollout.repeat FROM rollout_pairs pair
JOIN shard.generations theirs ON theirs.rollout = pair.theirs
JOIN generations ours ON ours.rollout = pair.ours AND ours.kind = theirs.kind
    AND ours.forced = theirs.forced AND ours.start = theirs.start
JOIN rollouts rollout ON rollout.id = pair.ours JOIN samples sample ON sample.id = rollout.sample
WHERE ours.tokens <> theirs.tokens OR ours.finish_reason <> theirs.finish_reason
    OR NOT same_ids(ours.ids, theirs.ids) LIMIT 1
"""

# Where two stores know the same trace, one may know more answers, or more of the trace: both are kept.
_COPY = """
INSERT OR IGNORE INTO generations
    SELECT pair.ours, kind, forced, start, ids, tokens, trace_end, finish_reason, seed, session.ours,
        finished, elapsed, cached_tokens
    FROM shard.generations theirs JOIN rollout_pairs pair ON pair.theirs = theirs.rollout
    LEFT JOIN session_pairs session ON session.theirs = theirs.session ORDER BY theirs.rowid;
INSERT OR IGNORE INTO verdicts
    SELECT pair.ours, forced, thinking_tokens, outcome, score, extracted, reason, parts
    FROM shard.verdicts theirs JOIN rollout_pairs pair ON pair.theirs = theirs.rollout;
INSERT OR IGNORE INTO meta SELECT key, value FROM shard.meta;
UPDATE rollouts SET error = NULL WHERE error IS NOT NULL AND id IN (
    SELECT pair.ours FROM rollout_pairs pair JOIN shard.rollouts theirs ON theirs.id = pair.theirs
    WHERE theirs.error IS NULL);
"""


def absorb(db: sqlite3.Connection, folder: Path, shard: Path) -> None:
    """Takes every row of the run in `shard` into the store `db` of `folder`, all or nothing.

    What both hold must be the same and is kept once; verdicts that stand already stay. Raises StoreError.
    """
    source = open_to_read(shard)
    try:
        check_pages(shard, source)
        _absorb(db, folder, shard)
    finally:
        source.close()


def _absorb(db: sqlite3.Connection, folder: Path, shard: Path) -> None:
    db.create_function("same_ids", 2, _same_ids, deterministic=True)
    location = (shard / "run.db").absolute().as_uri()
    if not os.access(shard, os.W_OK):
        location += "?immutable=1" if not (shard / "run.db-wal").exists() else "?mode=ro"
    try:
        db.execute("ATTACH ? AS shard", (location,))
        try:
            db.execute("BEGIN IMMEDIATE")
            _run(db, _PAIR)
            for query, what in ((_OTHER_PROMPT, "prompts"), (_OTHER_TOKENS, "tokens")):
                found = db.execute(query).fetchone()
                if found is not None:
                    raise StoreError(
                        f"'{shard}' and '{folder}' hold different {what} for {found[0]}, repeat {found[1]}; "
                        "they are no shards of one sweep: leave one of them out"
                    )
            _run(db, _COPY)
            db.execute("DROP TABLE session_pairs")
            db.execute("DROP TABLE rollout_pairs")
            db.execute("COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")
            db.execute("DETACH shard")
    except sqlite3.Error as error:
        raise explain(folder, error) from error


def _run(db: sqlite3.Connection, script: str) -> None:
    """Runs statements inside the transaction under way; `executescript` would commit it."""
    for statement in script.split(";"):
        if statement.strip():
            db.execute(statement)


def _same_ids(ours: bytes, theirs: bytes) -> bool:
    """Compares the ids, since another machine's zlib may pack the same ids into other bytes."""
    return ours == theirs or unpack_ids(ours) == unpack_ids(theirs)
