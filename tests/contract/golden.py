"""Texts that are kept in `golden/`, to the letter.

After a change that is meant, renew them and read the difference:

    MNIST_BENCH_RENEW_GOLDEN=1 pytest tests/contract

MLflow's names are those of a real training: `pytest tests/integration/test_end_to_end.py`.
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


def assert_section(page: Path, name: str, text: str) -> None:
    """The page holds this text between its two marks of that name."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(f"<!-- {name}:begin -->\n")
    _, end, after = rest.partition(f"<!-- {name}:end -->")
    assert begin, f"no {name}:begin in {page}"
    assert end, f"no {name}:end in {page}"
    assert_same_text(page, f"{before}{begin}{text}{end}{after}")


def assert_golden(name: str, text: str) -> None:
    """The golden file of that name holds this text."""
    assert_same_text(FOLDER / name, text)


def assert_golden_json(name: str, value: Any) -> None:
    """The golden file of that name holds this value as JSON."""
    assert_golden(name, json.dumps(value, indent=1, ensure_ascii=False) + "\n")
