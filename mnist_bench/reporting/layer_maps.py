"""Figures 1 to 4 for a test image, made and recorded."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from mnist_bench.core import locks
from mnist_bench.core.errors import BenchError
from mnist_bench.data.dataset import Source
from mnist_bench.measurement import system
from mnist_bench.measurement.machine import machine_id
from mnist_bench.reporting.digit_charts import charts_of_layers
from mnist_bench.reporting.figures import on_paper
from mnist_bench.results import layer_maps
from mnist_bench.results.layer_maps import LayerMaps
from mnist_bench.results.protocol import LayerMapsRequest
from mnist_bench.results.run_summary import RunSummary
from mnist_bench.runner import process
from mnist_bench.scenarios.execution import Execution
from mnist_bench.tracking import schema
from mnist_bench.tracking.layer_maps import WEIGHTS
from mnist_bench.tracking.mlflow_reader import MlflowReader
from mnist_bench.tracking.mlflow_store import MlflowStore

_STEPS = 1_000
"""Enough for the small network: it is then right on nine of ten digits and more."""
_SEED = 0


def make_layer_maps(
    store: MlflowStore,
    source: Source,
    image: int,
    own: RunSummary | None,
    *,
    exclusively: bool = True,
) -> LayerMaps:
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
        file = Path(folder, layer_maps.FILE)
        question = LayerMapsRequest(
            source=source,
            image=image,
            steps=_STEPS,
            seed=_SEED,
            execution=Execution(threads=system.usable_threads()),
            file=str(file),
            weights=_weights(store, own, Path(folder)),
            weights_steps=own.steps if own else 0,
        )
        with locks.benchmark_lock(machine_id(), exclusive=exclusively, say=lambda _: None):
            process.compute_layer_maps(question)
        content = file.read_bytes()
    seen = layer_maps.from_bytes(content)
    _record(store, source, seen, own, content)
    return seen


def _weights(archive: MlflowReader, run: RunSummary | None, folder: Path) -> str | None:
    content = archive.artifact(run.run_id, WEIGHTS) if run and run.run_id else None
    if content is None:
        return None
    path = folder / WEIGHTS
    path.write_bytes(content)
    return str(path)


def _record(
    store: MlflowStore, source: Source, seen: LayerMaps, own: RunSummary | None, content: bytes
) -> None:
    charts = charts_of_layers(seen, "layers")
    files = {f"{chart.name}.svg": on_paper(chart).encode() for chart in charts}
    whose = f" and of run {own.run_id}" if own else ""
    store.keep(
        f"figures 1 to 4, test image {seen.image}",
        f"What layers of the figures' network{whose} make of test image {seen.image}, a "
        f"{seen.label}: untrained as published, and after {seen.steps:,} updates (test accuracy "
        f"{seen.test_accuracy:.4f}).",
        {schema.IMAGE_TAG: str(seen.image), schema.DIGEST_TAG: source.digest}
        | ({schema.WEIGHTS_RUN_TAG: own.run_id} if own and own.run_id else {}),
        files | {layer_maps.FILE: content},
    )
