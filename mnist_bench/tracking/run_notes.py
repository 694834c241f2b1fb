"""The description of a run on its MLflow page."""

from __future__ import annotations

from mnist_bench.core import formatting
from mnist_bench.core.escaping import markdown
from mnist_bench.measurement.quality import assess
from mnist_bench.results.run import PHASES, RunResult
from mnist_bench.scenarios import paper


def run_description(run: RunResult, title: str) -> str:
    """Describe a run and its results in Markdown.

    Text of the run and its title are escaped, since they may come from a bundle.
    """
    request = (
        f"{formatting.counted(run.steps, 'step')} of {markdown(run.model)} on "
        f"{markdown(run.dataset)}, seed {run.seed}, {markdown(run.precision)} on "
        f"{markdown(run.device)}, threads: {run.threads}. Status: {run.status or 'running'}."
    )
    paragraphs = [f"**{markdown(title)}**", request]
    if run.environment:
        paragraphs.append(f"Environment variables: {markdown(run.environment)}")
    if run.trial:
        study = markdown(run.trial.study)
        paragraphs.append(
            f"Trial {run.trial.number} of the study {study}: no test image was looked at."
        )
    if run.failure:
        paragraphs.append(f"Why it did not finish: {markdown(run.failure)}")
    spent = f"{formatting.duration(run.train_seconds_total)} of training, "
    peak = f"peak {formatting.mebibytes(run.peak_rss_bytes)}."
    if run.best:
        paragraphs.append(
            f"Max test accuracy {formatting.accuracy(run.max_test_accuracy)} after "
            f"{formatting.count(run.max_test_accuracy_step)} updates, at the end "
            f"{formatting.accuracy(run.final_test_accuracy)}; {spent}"
            f"{formatting.rate(run.images_per_second)} images/s, {peak}"
        )
    elif run.selected:  # no test image was looked at
        paragraphs.append(
            f"Validation accuracy at the end {formatting.accuracy(run.final_validation_accuracy)}, "
            f"at most {formatting.accuracy(run.max_validation_accuracy)}; {spent}{peak}"
        )
    paragraphs += filter(None, (_verdict(run), _phases(run)))
    if run.dataset != paper.DATASET:
        paragraphs.append(
            "Other images than the full MNIST: not comparable with the paper's Table I."
        )
    return "\n\n".join(paragraphs)


def _verdict(run: RunResult) -> str:
    """The verdict of the run with its reasons; empty if it was not assessed."""
    if run.verdict is None:
        return ""
    if not run.reasons:
        return f"Verdict: {run.verdict}."
    # A reason may apply several times: the first, most severe one is shown.
    assessed = assess(run.conditions).reasons if run.conditions else ()
    details = {reason.words: reason.detail for reason in reversed(assessed)}
    reasons = (
        f"{words} ({details[words]})" if words in details else words
        for words in dict.fromkeys(run.reasons)
    )
    advice = " Do not trust its time and speed." if run.verdict == "invalid" else ""
    return f"Verdict: {run.verdict}: {', '.join(reasons)}.{advice}"


def _phases(run: RunResult) -> str:
    """Peak RSS by phase; empty if unknown."""
    peaks = run.phase_peak_rss_bytes
    parts = [f"{name} {formatting.mebibytes(peaks[name])}" for name in PHASES if name in peaks]
    return f"Peak by phase: {', '.join(parts)}." if parts else ""
