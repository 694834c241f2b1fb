"""Figures 1 to 4 for a test image: found where they are recorded, else made and recorded."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from mnist_bench import exclusive, figures, layers, paper, process, sensing
from mnist_bench.archive import Archive
from mnist_bench.dataset import Source
from mnist_bench.errors import BenchError
from mnist_bench.execution import Execution
from mnist_bench.layers import Layers
from mnist_bench.machine import machine_id
from mnist_bench.protocol import LayersQuestion
from mnist_bench.report.digits import charts_of_layers
from mnist_bench.report.drawings import on_paper
from mnist_bench.store import Store
from mnist_bench.summary import RunSummary

_STEPS = 1_000
"""Enough for the small network: it is then right on nine of ten digits and more."""
_SEED = 0
_WEIGHTS = "weights.npz"
_MOST_ASKED = 5
"""So many runs are asked for their weights, the longest and newest first."""


def found(archive: Archive, digests: Collection[str], image: int | None) -> Layers | None:
    """What is recorded of an image, or of the image whose figures were made last.

    Args:
        archive: Open.
        digests: Of the images.
        image: Its place in the test images; None for any.
    """
    which = "LIKE '%'" if image is None else f"= '{image}'"
    with archive.explained(while_="looking for figures"):
        runs = archive.search(f"tags.`{figures.IMAGE_TAG}` {which}")
    for run in runs:
        if run.data.tags.get(figures.DIGEST_TAG) not in digests:
            continue  # compared here: a digest from elsewhere may hold any quotes
        content = archive.artifact(run.info.run_id, layers.FILE)
        with suppress(ValueError):
            if content:
                return layers.from_bytes(content)
    return None


def make(
    store: Store,
    source: Source,
    image: int,
    own: RunSummary | None,
    *,
    exclusively: bool = True,
) -> Layers:
    """Train the figures' network, look at an image through its layers, and record what is seen.

    Args:
        store: Open.
        source: The images.
        image: Its place in the test images.
        own: A run that kept the weights of Table I's network, which is looked through too.
        exclusively: Whether other benchmarks of this user are kept away.

    Raises:
        BenchError: There is no such image, another benchmark measures now, or the network can't be
            trained.
    """
    if image >= source.test_images:
        raise BenchError(
            f"--image {image}: {source.name} has {source.test_images:,} test images",
            f"give a number from 0 to {source.test_images - 1:,}",
        )
    with TemporaryDirectory(prefix="mnist-bench-") as folder:
        file = Path(folder, layers.FILE)
        question = LayersQuestion(
            source=source,
            image=image,
            steps=_STEPS,
            seed=_SEED,
            execution=Execution(threads=sensing.usable_threads()),
            file=str(file),
            weights=_weights(store, own, Path(folder)),
            weights_steps=own.steps if own else 0,
        )
        with exclusive.held(machine_id(), exclusive=exclusively, say=lambda _: None):
            process.look(question)
        content = file.read_bytes()
    seen = layers.from_bytes(content)
    _record(store, source, seen, own, content)
    return seen


def with_weights(archive: Archive, runs: Sequence[RunSummary], digest: str) -> RunSummary | None:
    """The longest, newest run that kept the weights of Table I's network.

    Args:
        archive: Open.
        runs: Of these, the oldest first.
        digest: Of the images that it must have been trained on.
    """
    theirs = paper.HYPERPARAMETERS, digest, "finished"
    same = [r for r in runs if (r.hyperparameters, r.dataset_digest, r.status) == theirs]
    # Stable: of those of one length the newest, which stands last, comes first.
    longest = sorted(same, key=lambda run: run.steps)[: -_MOST_ASKED - 1 : -1]
    return next((r for r in longest if r.run_id and archive.keeps(r.run_id, _WEIGHTS)), None)


def _weights(archive: Archive, run: RunSummary | None, folder: Path) -> str | None:
    content = archive.artifact(run.run_id, _WEIGHTS) if run and run.run_id else None
    if content is None:
        return None
    path = folder / _WEIGHTS
    path.write_bytes(content)
    return str(path)


def _record(
    store: Store, source: Source, seen: Layers, own: RunSummary | None, content: bytes
) -> None:
    charts = charts_of_layers(seen, "layers")
    files = {f"{chart.name}.svg": on_paper(chart).encode() for chart in charts}
    whose = f" and of run {own.run_id}" if own else ""
    store.keep(
        f"figures 1 to 4, test image {seen.image}",
        f"What layers of the figures' network{whose} make of test image {seen.image}, a "
        f"{seen.label}: untrained as published, and after {seen.steps:,} updates (test accuracy "
        f"{seen.test_accuracy:.4f}).",
        {figures.IMAGE_TAG: str(seen.image), figures.DIGEST_TAG: source.digest}
        | ({figures.WEIGHTS_RUN_TAG: own.run_id} if own and own.run_id else {}),
        files | {layers.FILE: content},
    )
