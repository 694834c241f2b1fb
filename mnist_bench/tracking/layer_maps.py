"""Reading recorded feature maps, and finding runs with saved weights."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress

from mnist_bench.results import layer_maps
from mnist_bench.results.layer_maps import LayerMaps
from mnist_bench.results.run_summary import RunSummary
from mnist_bench.scenarios import paper
from mnist_bench.tracking import schema
from mnist_bench.tracking.mlflow_store import WEIGHTS, MlflowStore

_MAX_CANDIDATES = 5
"""Number of runs that are searched for weights, the longest and newest first."""


def load_layer_maps(
    reader: MlflowStore, digests: Collection[str], image: int | None
) -> LayerMaps | None:
    """Load the recorded feature maps of a test image.

    Args:
        digests: Digests of the accepted image sets.
        image: Index in the test images; None for the most recently recorded image.
    """
    condition = "LIKE '%'" if image is None else f"= '{image}'"
    with reader.wrap_errors(action="looking for figures"):
        runs = reader.search(f"tags.`{schema.IMAGE_TAG}` {condition}")
    for run in runs:
        if run.data.tags.get(schema.DIGEST_TAG) not in digests:
            continue  # not part of the filter: an imported digest may contain any quotes
        content = reader.artifact(run.info.run_id, layer_maps.FILE)
        with suppress(ValueError):
            if content:
                return layer_maps.from_bytes(content)
    return None


def run_with_weights(
    reader: MlflowStore, runs: Sequence[RunSummary], digest: str
) -> RunSummary | None:
    """The longest, newest finished run of Table I's network whose weights were saved.

    Args:
        runs: Candidates, oldest first.
        digest: Digest of the images that the run must have been trained on.
    """
    required = paper.HYPERPARAMETERS, digest, "finished"
    same = [r for r in runs if (r.hyperparameters, r.dataset_digest, r.status) == required]
    # The sort is stable, so of equal lengths the newest is last; the slice reverses the order.
    longest = sorted(same, key=lambda run: run.steps)[: -_MAX_CANDIDATES - 1 : -1]
    return next((r for r in longest if r.run_id and reader.has_artifact(r.run_id, WEIGHTS)), None)
