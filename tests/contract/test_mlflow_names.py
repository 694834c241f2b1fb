"""What MLflow holds of a run of `smoke`: params with values, metrics by step, tags, artifacts."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from golden import assert_golden_json
from program import Bench

VARYING_TAGS = {
    "bench.machine",
    "bench.machine_id",
    "bench.mnist_bench",
    "bench.owner",
    "bench.reasons",
    "bench.tensorflow",
    "bench.trajectory",
    "bench.verdict",
    "mlflow.note.content",
    "mlflow.source.git.commit",
    "mlflow.user",
}
"""Those whose values differ from machine to machine or from run to run."""

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the golden file has Linux's memory metrics and tags"
)


def recorded(folder: Path) -> dict[str, Any]:
    """The one run in the folder's store, through MLflow's own client."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{(folder / 'mlflow.db').as_posix()}"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    experiment = client.get_experiment_by_name("mnist-bench")
    (run,) = client.search_runs([experiment.experiment_id])
    run_id = run.info.run_id
    return {
        "experiment": experiment.name,
        "run_name": run.info.run_name,
        "status": run.info.status,
        "params": run.data.params | {"threads": "N"},
        "metrics": {  # at which steps
            name: ", ".join(str(point.step) for point in client.get_metric_history(run_id, name))
            for name in sorted(run.data.metrics)
            if not name.startswith("time_to_")
        },
        "tags": {
            name: "(varies)" if name in VARYING_TAGS else value
            for name, value in sorted(run.data.tags.items())
        },
        "artifacts": sorted(file.path for file in client.list_artifacts(run_id)),
    }


def test_names_of_a_recorded_run(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    ended = bench.call_with_store("run", "smoke", "--json")
    assert ended.status == 0, ended.stderr
    found = recorded(bench.folder)
    (run,) = json.loads(ended.stdout)["runs"]
    if not run["reasons"]:  # a clean run has none to record
        found["tags"] = dict(sorted((found["tags"] | {"bench.reasons": "(varies)"}).items()))
    assert_golden_json("mlflow-run.json", found)
