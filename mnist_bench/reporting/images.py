"""Images for a report: those available locally, each data set loaded once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mnist_bench.analysis.confusion import Confusion, confusion_of
from mnist_bench.data import mnist
from mnist_bench.data.dataset import Images, Source
from mnist_bench.results.run import RunResult
from mnist_bench.tracking.mlflow_store import MlflowStore


class ReportImages:
    """The images of recorded runs, if available locally.

    Args:
        reader: Reader of the recorded runs.
        folder: The user's folder of images; the cache and the embedded sample are used too.

    Attributes:
        notes: Report notes on what can't be shown.

    Raises:
        BenchError: The user's folder does not contain the images.
    """

    def __init__(self, reader: MlflowStore, folder: Path | None) -> None:
        self.reader = reader
        self.notes: list[str] = []
        self._user_images = mnist.find("auto", folder, log=lambda _: None) if folder else None
        self._sources: dict[str, Source | None] = {}
        self._images: dict[str, Images] = {}

    def source(self, digest: str) -> Source | None:
        """Images with this digest; None if not available locally."""
        if self._user_images and self._user_images.digest == digest:
            return self._user_images
        if digest not in self._sources:
            self._sources[digest] = mnist.find_local(digest)
        return self._sources[digest]

    def confusion(self, trainings: Sequence[RunResult]) -> Confusion | None:
        """Confusion matrix of replicates; None without predictions or images."""
        digest = trainings[-1].dataset_digest if trainings else ""
        loaded = [self.reader.load_predictions(run) for run in trainings]
        predictions = [found for found in loaded if found is not None]
        if not predictions:
            return None
        source = self.source(digest)
        if source is None:
            note = "What digits are taken for is not told: the images are not at hand (--data DIR)"
            if note not in self.notes:
                self.notes.append(note)
            return None
        if digest not in self._images:
            self._images[digest] = mnist.load(source).test_images
        return confusion_of(predictions, self._images[digest])
