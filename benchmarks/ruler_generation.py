"""Seconds to make 500 RULER prompts of 128k tokens, and the memory that it takes; nothing is generated.

    python benchmarks/ruler_generation.py [--n 500]

The prompts are of all tasks in turn, in tokens of Qwen3's tokenizer, made by two threads as a sweep makes
them. $QWEN3_EVAL_DATA, or ../shared/data, holds the tokenizer and the rows of SQuAD and HotpotQA.
"""

import argparse
import os
import resource
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from tokenizers import Tokenizer

from qwen3_eval.data import DataSource
from qwen3_eval.task import Asking, load_task

TARGET_S = 180
LENGTH = 131_072


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=500, help="prompts to make")
    n = parser.parse_args().n
    root = Path(os.environ.get("QWEN3_EVAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
    tokenizer = Tokenizer.from_file(str(root / "Qwen" / "Qwen3-tokenizer" / "tokenizer.json"))
    asking = Asking(
        DataSource(),
        lambda text: tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids,
        template_tokens=12,
    )
    options = {"lengths": [LENGTH], "n": -(-n // 13), "questions": str(root / "ruler")}
    began = time.monotonic()
    samples = load_task("ruler").load(asking, options).samples
    per_task = len(samples) // 13
    mixed = (samples[task * per_task + i] for i in range(per_task) for task in range(13))
    shares = []
    with ThreadPoolExecutor(2) as pool:
        for sample in pool.map(lambda unmade: unmade.make(), islice(mixed, n)):
            shares.append((sample.metadata["prompt_tokens"] + 12) / LENGTH)
    took = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"RULER, {n} prompts of {LENGTH:,} tokens: {took:.0f} s (target {TARGET_S * n / 500:.0f} s)")
    print(f"  lengths: {min(shares):.4f} to {max(shares):.4f} of the target; peak memory {peak:.2f} GiB")


if __name__ == "__main__":
    main()
