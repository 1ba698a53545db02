"""What a person sees after a sweep: tables, the curve, and a page to read single questions in.

All of it is drawn from *records*, one flat DataFrame with a row per (task, sample, mode, repeat, budget)
as `qwen3_eval.score.read_records` returns it, and from the run's description (`run.json`).
"""
