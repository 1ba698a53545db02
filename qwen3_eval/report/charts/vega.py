"""The chart library, Vega, from the wheel that carries it: its script for pages, and pictures without it."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import mkstemp
from typing import Any

_SNIPPET = "window.vegaEmbed = vegaEmbed;"

STATIC_WIDTH = 720
"""Pixels of a picture that stands where scripts are off; the page scales it."""


@cache
def read_library() -> str:
    """Returns the script that defines `vegaEmbed`: Vega, Vega-Lite and their interpreter, without eval.

    Bundling takes a second or more, so the result is kept in ~/.cache/qwen3_eval (or $XDG_CACHE_HOME).
    """
    import vl_convert

    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qwen3_eval"
    kept = root / f"vega-{version('vl-convert-python')}.js"
    with suppress(OSError, UnicodeDecodeError):
        script = kept.read_text("utf-8")
        if "vegaEmbed" in script:
            return script
    # The page is UTF-8 and its policy names this script by hash: no end of line may be read as another.
    script = vl_convert.javascript_bundle(_SNIPPET).replace("\r\n", "\n").replace("\r", "\n")
    assert "</script" not in script.lower()
    with suppress(OSError):  # a cache that cannot be written to costs time, nothing else
        root.mkdir(parents=True, exist_ok=True)
        handle, draft = mkstemp(prefix=f".{kept.name}.", dir=root)
        with open(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(script)
        Path(draft).replace(kept)
    return script


def draw_static(spec: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """Returns the picture of a Vega-Lite specification as SVG; its colours stay CSS variables."""
    import vl_convert

    svg = vl_convert.vegalite_to_svg(json.dumps({**spec, "config": config, "width": STATIC_WIDTH}))
    return svg[svg.index("<svg") :]
