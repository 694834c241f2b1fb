"""Compute and record Figures 1 to 4 for a test image."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from mnist_bench.core import locks
from mnist_bench.core.errors import BenchError
from mnist_bench.data.dataset import Source
from mnist_bench.reporting.digit_charts import charts_of_layers
from mnist_bench.reporting.figures import standalone_svg
from mnist_bench.results import layer_maps
from mnist_bench.results.layer_maps import LayerMaps
from mnist_bench.results.protocol import LayerMapsRequest
from mnist_bench.results.run_summary import RunSummary
from mnist_bench.runner import process
from mnist_bench.runner.options import base_execution
from mnist_bench.tracking import schema
from mnist_bench.tracking.mlflow_store import WEIGHTS, MlflowStore

_STEPS = 1_000
"""Enough for the small network to exceed 90% test accuracy."""
_SEED = 0


def make_layer_maps(
    store: MlflowStore,
    source: Source,
    image: int,
    run: RunSummary | None,
    *,
    exclusively: bool = True,
) -> LayerMaps:
    """Train the figures' network, compute its layer maps of an image, and record them.

    Args:
        store: Open store.
        source: The images.
        image: Index of the test image.
        run: Run with saved weights of Table I's network, whose maps are computed too.
        exclusively: Whether to take this user's benchmark lock exclusively.

    Raises:
        BenchError: There is no such image, another benchmark is running, or the training fails.
    """
    if image >= source.test_images:
        raise BenchError(
            f"--image {image}: {source.name} has {source.test_images:,} test images",
            f"choose a number from 0 to {source.test_images - 1:,}",
        )
    with TemporaryDirectory(prefix="mnist-bench-") as folder:
        file = Path(folder, layer_maps.FILE)
        request = LayerMapsRequest(
            source=source,
            image=image,
            steps=_STEPS,
            seed=_SEED,
            execution=base_execution(None, "float32", "cpu"),
            file=str(file),
            weights=_weights(store, run, Path(folder)),
            weights_steps=run.steps if run else 0,
        )
        with locks.benchmark_lock(exclusive=exclusively, warn=lambda _: None):
            process.compute_layer_maps(request)
        content = file.read_bytes()
    maps = layer_maps.from_bytes(content)
    _record(store, source, maps, run, content)
    return maps


def _weights(reader: MlflowStore, run: RunSummary | None, folder: Path) -> str | None:
    content = reader.artifact(run.run_id, WEIGHTS) if run and run.run_id else None
    if content is None:
        return None
    path = folder / WEIGHTS
    path.write_bytes(content)
    return str(path)


def _record(
    store: MlflowStore, source: Source, maps: LayerMaps, run: RunSummary | None, content: bytes
) -> None:
    charts = charts_of_layers(maps, "layers")
    files = {f"{chart.name}.svg": standalone_svg(chart).encode() for chart in charts}
    run_text = f" and of run {run.run_id}" if run else ""
    store.save_files(
        f"figures 1 to 4, test image {maps.image}",
        f"What layers of the figures' network{run_text} make of test image {maps.image}, a "
        f"{maps.label}: untrained as published, and after {maps.steps:,} updates (test accuracy "
        f"{maps.test_accuracy:.4f}).",
        {schema.IMAGE_TAG: str(maps.image), schema.DIGEST_TAG: source.digest}
        | ({schema.WEIGHTS_RUN_TAG: run.run_id} if run and run.run_id else {}),
        files | {layer_maps.FILE: content},
    )
