"""What MLflow's page of a run says of it in words."""

from __future__ import annotations

from mnist_bench import paper, units
from mnist_bench.result import RunResult


def note_of(run: RunResult, title: str) -> str:
    """Markdown that says on MLflow's page what a run was and what came of it."""
    asked = (
        f"{units.count(run.steps)} steps of `{run.model}` on {run.dataset}, seed {run.seed}, "
        f"{run.precision} on {run.device}, threads: {run.threads}. "
        f"Status: {run.status or 'running'}."
    )
    lines = [f"**{title}**", "", asked]
    if run.failure:
        lines += ["", f"Why it did not finish: {run.failure}"]
    if run.best:
        got = (
            f"Max test accuracy {units.accuracy(run.max_test_accuracy)} after "
            f"{units.count(run.max_test_accuracy_step)} updates, at the end "
            f"{units.accuracy(run.final_test_accuracy)}; "
            f"{units.duration(run.train_seconds_total)} of training, "
            f"{units.rate(run.images_per_second)} images/s, "
            f"peak {units.mebibytes(run.peak_rss_bytes)}."
        )
        lines += ["", got]
    if run.dataset != paper.DATASET:
        lines += ["", "Other images than the full MNIST: not comparable with the paper's Table I."]
    return "\n".join(lines)
