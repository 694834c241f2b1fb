"""Exit statuses: 0 done, 1 a run failed, 2 a wrong request, 130 interrupted, 143 terminated."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from program import Bench

BROKEN_TENSORFLOW = "raise ImportError('a broken TensorFlow')\n"
WAITING_TENSORFLOW = """
import pathlib, sys
pathlib.Path(r"{mark}").touch()
sys.stdin.read()
"""


def fake_tensorflow(folder: Path, source: str) -> dict[str, str]:
    """Environment in which every training imports this module instead of TensorFlow."""
    module = folder / "modules" / "tensorflow.py"
    module.parent.mkdir()
    module.write_text(source, encoding="utf-8")
    path = os.pathsep.join(filter(None, (str(module.parent), os.environ.get("PYTHONPATH"))))
    return {"PYTHONPATH": path}


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("--help", 0),
        ("scenarios", 0),
        ("run smoke --dry-run", 0),
        ("run nonesuch", 2),
        ("run smoke --steps 0", 2),
        ("nonesuch", 2),
        ("report --format pdf", 2),
        ("import nonesuch.zip", 2),
    ],
)
def test_without_a_training(tmp_path: Path, line: str, status: int) -> None:
    assert Bench(tmp_path).call_with_store(*line.split()).status == status


def test_failed_run(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    ended = bench.run("run", "smoke", "--json", **fake_tensorflow(tmp_path, BROKEN_TENSORFLOW))
    assert ended.status == 1
    (run,) = ended.document["runs"]
    assert (run["status"], run["failure"]) == ("failed", "ImportError: a broken TensorFlow")


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal(tmp_path: Path, number: int, status: int) -> None:
    bench = Bench(tmp_path)
    mark = tmp_path / "importing"
    variables = fake_tensorflow(tmp_path, WAITING_TENSORFLOW.format(mark=mark))
    with bench.started("run", "smoke", "--json", **variables) as running:
        running.until(mark.exists, 120)
        running.process.send_signal(number)
        assert running.ended(60).status == status
