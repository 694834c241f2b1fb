"""What a report leaves out, and what to know of its rows: sentences, not yet escaped. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from mnist_bench.core.formatting import counted
from mnist_bench.results.document import MachineLine
from mnist_bench.results.run_summary import RecordedRun
from mnist_bench.tuning.document import StudyDocument


def left_out(
    others: int, unreadable: Mapping[str, int], machines: Sequence[MachineLine]
) -> Iterator[str]:
    """Runs that are in no section.

    Args:
        others: Runs of other machines.
        unreadable: Why some could not be read, with their number.
        machines: The table of machines.
    """
    if others:
        where = "in the table of machines alone" if machines else "left out, --machine names one"
        yield f"{counted(others, 'run')} of other machines: {where}"
    for reason, number in unreadable.items():
        yield f"{counted(number, 'run')} left out: {reason}"


def several_versions(runs: Sequence[RecordedRun]) -> Iterator[str]:
    """A row may hold runs of several: its time may be of what changed between them."""
    counts = Counter(
        f"TensorFlow {each.tensorflow or '–'} and mnist-bench {each.mnist_bench or '–'}"
        for each in runs
    )
    if len(counts) > 1:
        told = ", ".join(f"{counted(number, 'run')} of {what}" for what, number in counts.items())
        yield (
            f"Runs of several versions share rows: {told}; `mnist-bench compare --by` holds "
            "them apart"
        )


def without_study(trials: Sequence[RecordedRun], studies: Sequence[StudyDocument]) -> Iterator[str]:
    """Trials stand in the section of their study, and that comes with its end."""
    told = {study.study for study in studies}
    left = Counter(each.study for each in trials if each.study not in told)
    for study, number in left.items():
        yield (
            f"{counted(number, 'trial')} of the study {study} left out: it has not come to its "
            "end, or its document is out of reach"
        )
