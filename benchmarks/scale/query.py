"""One timed query of a database in a process of its own, started by `scale.py`.

`query.py WAY FOLDER` prints a line of JSON. `paging` lists all runs with MLflow, page by page;
`report` makes a complete report. Imports are not timed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

_URI = "sqlite:///mlflow.db"


def paging() -> int:
    """Number of runs that MLflow lists, a thousand per page."""
    from mnist_bench.tracking.mlflow_store import import_mlflow

    client = import_mlflow().MlflowClient(tracking_uri=_URI)
    experiment = client.get_experiment_by_name("mnist-bench")
    count, token = 0, ""
    while token is not None:
        page = client.search_runs(
            [experiment.experiment_id], max_results=1_000, page_token=token or None
        )
        # Reports are recorded as runs too; they don't count.
        count += sum("bench.trajectory" in run.data.tags for run in page)
        token = page.token or None
    return count


def report() -> int:
    """Number of runs in a complete report in all formats, with digits if there are images."""
    import mnist_bench

    if Path("images").exists():
        os.environ["MNIST_BENCH_DATA"] = "images"
    results = mnist_bench.load(_URI, "mnist-bench")
    results.report()
    return len(results.runs)


if __name__ == "__main__":
    way, folder = sys.argv[1:]
    os.chdir(folder)
    import jinja2  # noqa: F401
    import matplotlib.backends.backend_svg  # noqa: F401
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
    import scipy.stats  # noqa: F401

    from mnist_bench.measurement.memory import peak_rss

    begin = time.perf_counter()
    runs = {"paging": paging, "report": report}[way]()
    seconds, peak = time.perf_counter() - begin, peak_rss().bytes
    # An earlier report may be in the folder too.
    page_bytes = Path("reports", "report.html").stat().st_size if way == "report" else 0
    print(json.dumps({"runs": runs, "seconds": seconds, "peak_rss_bytes": peak,
                      "page_bytes": page_bytes}))  # fmt: skip
