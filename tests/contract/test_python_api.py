"""The Python interface: its names and signatures, and what importing it loads."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
from golden import assert_golden_json

import mnist_bench
from mnist_bench import api


def public_members(kind: type) -> dict[str, str]:
    """Signatures of the methods of a class, and types of its properties."""
    members = {
        name: member
        for name, member in vars(kind).items()
        if not name.startswith("_") or name == "_repr_html_"
    }
    return {
        name: str(inspect.signature(member) if callable(member)
                  else inspect.signature(member.func).return_annotation)
        for name, member in members.items()
    }  # fmt: skip


def test_names_and_signatures() -> None:
    assert mnist_bench.__all__ == api.__all__
    assert set(mnist_bench.__all__) <= set(dir(mnist_bench))
    assert_golden_json(
        "python-api.json",
        {
            "__all__": mnist_bench.__all__,
            "run": str(inspect.signature(mnist_bench.run)),
            "load": str(inspect.signature(mnist_bench.load)),
            "Results": public_members(mnist_bench.Results),
            "BenchError": str(inspect.signature(mnist_bench.BenchError)),
        },
    )


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'train'"):
        _ = mnist_bench.train  # type: ignore[attr-defined]


def test_importing_loads_no_heavy_library() -> None:
    heavy = {"keras", "matplotlib", "mlflow", "optuna", "pandas", "rich", "scipy", "tensorflow"}
    program = """
import sys
import mnist_bench
print(*sys.modules)
from mnist_bench import load, run
print(*sys.modules)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    package, interface = (set(line.split()) for line in ended.stdout.splitlines())
    assert "mnist_bench" in package
    assert "pydantic" not in package
    assert "mnist_bench.api" in interface
    assert not heavy & interface
