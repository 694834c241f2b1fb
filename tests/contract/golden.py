"""Texts that are kept in `golden/`, to the letter.

After a change that is meant, renew them and read the difference:

    MNIST_BENCH_RENEW_GOLDEN=1 pytest tests/contract
"""

from __future__ import annotations

import difflib
import json
import os
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "golden"
RENEW = bool(os.environ.get("MNIST_BENCH_RENEW_GOLDEN"))


def assert_same_text(path: Path, text: str) -> None:
    """The file holds this text; a checkout on Windows may have other line ends."""
    if RENEW:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    kept = path.read_bytes().decode().replace("\r\n", "\n")
    difference = "\n".join(difflib.unified_diff(kept.splitlines(), text.splitlines(), lineterm=""))
    assert text == kept, difference


def assert_golden(name: str, text: str) -> None:
    """The golden file of that name holds this text."""
    assert_same_text(FOLDER / name, text)


def assert_golden_json(name: str, value: Any) -> None:
    """The golden file of that name holds this value as JSON."""
    assert_golden(name, json.dumps(value, indent=1, ensure_ascii=False) + "\n")
