"""Notes on what a report leaves out and on mixed versions; not yet escaped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from mnist_bench.core.formatting import counted
from mnist_bench.results.document import MachineLine
from mnist_bench.results.run_summary import RecordedRun
from mnist_bench.tuning.document import StudyDocument


def left_out(
    others: int,
    unreadable: Mapping[str, int],
    machines: Sequence[MachineLine],
    *,
    running: int,
) -> Iterator[str]:
    """Notes on runs that are in no section.

    Args:
        others: Number of runs of other machines.
        unreadable: Number of unreadable runs by reason.
        machines: The machine ranking.
        running: Number of runs that have not ended yet.
    """
    if running:
        yield f"{counted(running, 'run')} left out: still running"
    if others:
        place = "in the table of machines alone" if machines else "left out, --machine names one"
        yield f"{counted(others, 'run')} of other machines: {place}"
    for reason, number in unreadable.items():
        yield f"{counted(number, 'run')} left out: {reason}"


def not_pooled(number: int) -> Iterator[str]:
    """Note on runs of other machines that only their TensorFlow version keeps apart."""
    if number:
        yield (
            f"{counted(number, 'run')} of other machines not pooled: not known to be of the "
            "TensorFlow version of all runs here"
        )


def several_versions(runs: Sequence[RecordedRun]) -> Iterator[str]:
    """Note on runs of several versions, since a row's time may mix them."""
    counts = Counter(
        f"TensorFlow {recorded.tensorflow or '–'} and mnist-bench {recorded.mnist_bench or '–'}"
        for recorded in runs
    )
    if len(counts) > 1:
        counts_in_words = ", ".join(
            f"{counted(number, 'run')} of {versions}" for versions, number in counts.items()
        )
        yield (
            f"Runs of several versions share rows: {counts_in_words}; "
            "`mnist-bench compare --by` holds them apart"
        )


def without_study(trials: Sequence[RecordedRun], studies: Sequence[StudyDocument]) -> Iterator[str]:
    """Note on trials without a study's document, which is written when the study ends."""
    with_document = {study.study for study in studies}
    missing = Counter(trial.study for trial in trials if trial.study not in with_document)
    for study, number in missing.items():
        yield (
            f"{counted(number, 'trial')} of the study {study} left out: it has not come to its "
            "end, or its document is out of reach"
        )
