"""The examples of the page on Python run, and so does the notebook."""

from __future__ import annotations

import re
from pathlib import Path

import fakes
import matplotlib as mpl
import nbformat
import pytest
from nbclient import NotebookClient

from mnist_bench.data.dataset import Source
from mnist_bench.runner import process

DOCS = Path(__file__).parents[2] / "docs"


def test_examples_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample: Source, mlflow_uri: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "examples")
    monkeypatch.setattr(process, "COMMAND", fakes.worker())
    page = (DOCS / "python.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert examples
    names: dict[str, object] = {}
    with mpl.rc_context({"backend": "agg"}):
        for example in examples:
            exec(example, names)
    table = names["table"]
    assert table["n"].tolist() == [3]
    assert (tmp_path / "reports" / "report.html").is_file()


def notebook() -> nbformat.NotebookNode:
    return nbformat.read(DOCS / "notebook.ipynb", as_version=4)


def test_notebook_holds_no_output_of_a_machine() -> None:
    nbformat.validate(notebook())
    code = [cell for cell in notebook().cells if cell.cell_type == "code"]
    assert code
    assert not any(cell.outputs or cell.execution_count for cell in code)


@pytest.mark.slow
def test_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample: Source) -> None:
    """With real trainings on the embedded sample."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MNIST_BENCH_DATA"):
        monkeypatch.delenv(name, raising=False)
    executed = NotebookClient(
        notebook(), timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    shown = [
        output.data.get("text/html", "")
        for cell in executed.cells
        for output in cell.get("outputs", ())
        if "data" in output
    ]
    assert any("not comparable" in text for text in shown)
