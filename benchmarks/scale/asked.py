"""One timed query of a database: `asked.py WAY FOLDER` prints a JSON line.

`paging` lists all runs with MLflow, page by page; `report` makes a complete report. Imports are not
timed.
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
    count, token = 0, None
    while True:
        page = client.search_runs([experiment.experiment_id], max_results=1_000, page_token=token)
        # Reports are recorded as runs too; they don't count.
        count += sum("bench.trajectory" in run.data.tags for run in page)
        token = page.token
        if not token:
            return count


def report() -> int:
    """Number of runs in a complete report in all formats, with digits if there are images."""
    from mnist_bench.core.limits import REPORT_FORMATS
    from mnist_bench.reporting import build

    images = Path("images")
    options = build.ReportOptions(
        tracking_uri=_URI,
        experiment="mnist-bench",
        query="",
        scenarios=(),
        machine=None,
        since_ms=None,
        until_ms=None,
        formats=REPORT_FORMATS,
        folder=Path("reports"),
        images=images if images.exists() else None,
        image=None,
        command="mnist-bench report",
    )
    written, _ = build.write_report(options, print)
    return len(written.document.runs)


def main() -> None:
    """Run the query."""
    way, folder = sys.argv[1:]
    os.chdir(folder)
    import jinja2  # noqa: F401
    import matplotlib.backends.backend_svg  # noqa: F401
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
    import scipy.stats  # noqa: F401

    from mnist_bench.measurement.memory import peak_rss

    begin = time.perf_counter()
    runs = {"paging": paging, "report": report}[way]()
    seconds = time.perf_counter() - begin
    peak = peak_rss().bytes
    # An earlier report may be in the folder too.
    page_bytes = Path("reports", "report.html").stat().st_size if way == "report" else 0
    answer = {"runs": runs, "seconds": seconds, "peak_rss_bytes": peak, "page_bytes": page_bytes}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
