"""Figures 1 to 4 for a test image, as they are recorded; and runs that kept their weights."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress

from mnist_bench.results import layer_maps
from mnist_bench.results.layer_maps import LayerMaps
from mnist_bench.results.run_summary import RunSummary
from mnist_bench.scenarios import paper
from mnist_bench.tracking import schema
from mnist_bench.tracking.mlflow_reader import MlflowReader

WEIGHTS = "weights.npz"
"""The file in which a run keeps its weights."""
_MOST_ASKED = 5
"""So many runs are asked for their weights, the longest and newest first."""


def load_layer_maps(
    archive: MlflowReader, digests: Collection[str], image: int | None
) -> LayerMaps | None:
    """What is recorded of an image, or of the image whose figures were made last.

    Args:
        archive: Open.
        digests: Of the images.
        image: Its place in the test images; None for any.
    """
    which = "LIKE '%'" if image is None else f"= '{image}'"
    with archive.explained(while_="looking for figures"):
        runs = archive.search(f"tags.`{schema.IMAGE_TAG}` {which}")
    for run in runs:
        if run.data.tags.get(schema.DIGEST_TAG) not in digests:
            continue  # compared here: a digest from elsewhere may hold any quotes
        content = archive.artifact(run.info.run_id, layer_maps.FILE)
        with suppress(ValueError):
            if content:
                return layer_maps.from_bytes(content)
    return None


def run_with_weights(
    archive: MlflowReader, runs: Sequence[RunSummary], digest: str
) -> RunSummary | None:
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
    return next((r for r in longest if r.run_id and archive.keeps(r.run_id, WEIGHTS)), None)
