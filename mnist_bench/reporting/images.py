"""What a report shows of images: asked of those that are at hand, each set once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mnist_bench.analysis.confusion import Confusion, confusion_of
from mnist_bench.data import mnist
from mnist_bench.data.dataset import Images, Source
from mnist_bench.results.run import RunResult
from mnist_bench.tracking.mlflow_reader import MlflowReader


class ReportImages:
    """The images of recorded runs, as far as they are at hand.

    Args:
        archive: Where the runs are recorded.
        folder: The user's own folder of images; else, and for others, there are the cache and the
            embedded sample.

    Attributes:
        archive: The same.
        notes: What could not be shown, for people.

    Raises:
        BenchError: The user's folder is not one of images.
    """

    def __init__(self, archive: MlflowReader, folder: Path | None) -> None:
        self.archive = archive
        self.notes: list[str] = []
        self._own = mnist.find("auto", folder, say=lambda _: None) if folder else None
        self._sources: dict[str, Source | None] = {}
        self._images: dict[str, Images] = {}

    def source(self, digest: str) -> Source | None:
        """The images of a digest; None where they are not at hand."""
        if self._own and self._own.digest == digest:
            return self._own
        if digest not in self._sources:
            self._sources[digest] = mnist.at_hand(digest)
        return self._sources[digest]

    def confusion(self, trainings: Sequence[RunResult]) -> Confusion | None:
        """What trainings of one question took the test images for; None where that is not told."""
        digest = trainings[-1].dataset_digest if trainings else ""
        kept = [self.archive.load_predictions(run) for run in trainings]
        predictions = [each for each in kept if each is not None]
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
