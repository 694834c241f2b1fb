"""After `kill -9` of `run`, any next command closes its runs; live runs are left alone.

The worker is a fake that waits after its first evaluation; everything else is real.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import fakes
import pytest
from program import Bench, RecordedRuns, patched_program

STEPS = "run smoke --steps 100,200 --seeds 1 --no-report"
RECOVERED = "Recovered from earlier commands: 1 run of a vanished process closed as KILLED"
COMMANDS = {
    "report": "report --format json",
    "compare": "compare --by machine",
    "export": "export bundle.zip",
    "import": f"import {Path(__file__).parents[1] / 'contract' / 'recorded' / 'runs.zip'}",
}


def program(mark: Path, go: Path) -> tuple[str, ...]:
    """The program with a worker that finishes 100 steps and then waits within the 200."""
    fault = f"request and step > 100 and {fakes.wait_for_file(mark, go)}"
    command = fakes.worker(fault)
    return patched_program(f"from mnist_bench.runner import process\nprocess.COMMAND = {command!r}")


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A folder in which `run` was killed within its second run."""
    folder = tmp_path_factory.mktemp("killed")
    bench, mark = Bench(folder), folder / "training"
    with bench.started(*STEPS.split(), program=program(mark, folder / "go")) as running:
        running.until(mark.exists, 120)
        fakes.kill(running)
    return bench


def statuses(bench: Bench) -> dict[int, str]:
    runs = RecordedRuns(bench.folder).runs()
    own = [run for run in runs if "bench.imported" not in run.data.tags]
    return {
        int(run.data.params["steps"]): run.info.status for run in own if "steps" in run.data.params
    }


@pytest.fixture
def bench(killed: Bench, tmp_path: Path) -> Bench:
    """A copy of the folder for one command."""
    copy = Bench(tmp_path)
    shutil.copytree(killed.folder, copy.folder, dirs_exist_ok=True)
    shutil.copytree(killed.home, copy.home, dirs_exist_ok=True)  # the machine's id
    return copy


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_next_command_closes_the_runs_of_a_killed_one(bench: Bench, command: str) -> None:
    assert statuses(bench)[200] == "RUNNING"
    ended = bench.run(*command.split())
    assert RECOVERED in ended.stderr
    assert statuses(bench) == {100: "FINISHED", 200: "KILLED"}
    assert list((bench.folder / "mlruns" / ".runs").glob("*.jsonl")) == []


def test_running_runs_are_not_in_a_report(tmp_path: Path) -> None:
    bench, mark = Bench(tmp_path), tmp_path / "training"
    with bench.started(*STEPS.split(), program=program(mark, tmp_path / "go")) as running:
        running.until(mark.exists, 120)
        ended = bench.run("report", "--format", "json,md")
        assert ended.status == 0, ended.stderr
        assert "Recovered" not in ended.stderr
        assert statuses(bench)[200] == "RUNNING"
        fakes.kill(running)
    document = json.loads((bench.folder / "reports" / "report.json").read_bytes())
    assert [run["steps"] for run in document["runs"]] == [100]
    text = (bench.folder / "reports" / "report.md").read_text(encoding="utf-8")
    assert "1 run left out: still running" in text
