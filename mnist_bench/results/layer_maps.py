"""What the layers of networks make of one image, as arrays in one file. Pure."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mnist_bench.core.npz import from_npz

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Maps = npt.NDArray[np.float32]
    """(height, width, filters)."""

FILE = "layers.npz"
_FACTS = ("dataset", "image", "label", "steps", "seed", "test_accuracy", "own_steps")
_KINDS = ("untrained", "trained", "own")


@dataclass(frozen=True, eq=False)
class LayerMaps:
    """One test image as layers show it.

    Attributes:
        dataset: Name of the images.
        image: Its place in the test images, from 0 on.
        label: The digit that it is.
        steps: Updates that the figures' network was trained for.
        seed: Of its training.
        test_accuracy: That it came to.
        pixels: uint8 (28, 28).
        untrained: Of the figures' network before its first step: a layer each.
        trained: The same after its last.
        own: Of a trained network of Table I whose weights were kept; else empty.
        own_steps: Updates that it was trained for; 0 without.
    """

    dataset: str
    image: int
    label: int
    steps: int
    seed: int
    test_accuracy: float
    pixels: npt.NDArray[np.uint8]
    untrained: tuple[Maps, ...]
    trained: tuple[Maps, ...]
    own: tuple[Maps, ...] = ()
    own_steps: int = 0

    def to_bytes(self) -> bytes:
        """As an .npz file."""
        import numpy as np

        arrays: dict[str, Any] = {name: np.asarray(getattr(self, name)) for name in _FACTS}
        arrays["pixels"] = self.pixels
        for kind in _KINDS:
            maps: tuple[Maps, ...] = getattr(self, kind)
            arrays |= {f"{kind}_{number}": each for number, each in enumerate(maps, 1)}
        stream = io.BytesIO()
        np.savez_compressed(stream, **arrays)
        return stream.getvalue()


def from_bytes(content: bytes) -> LayerMaps:
    """The same, read back without pickle.

    Raises:
        ValueError: It is no such file.
    """
    arrays = from_npz(content)
    maps = {
        kind: tuple(arrays[name] for name in sorted(arrays) if re.fullmatch(rf"{kind}_\d", name))
        for kind in _KINDS
    }
    if any(each.ndim != 3 for of in maps.values() for each in of):
        raise ValueError("what should be maps is none")
    if len(maps["untrained"]) != len(maps["trained"]):
        raise ValueError("not as many layers untrained as trained")
    try:
        return LayerMaps(
            dataset=str(arrays["dataset"]),
            image=int(arrays["image"]),
            label=int(arrays["label"]),
            steps=int(arrays["steps"]),
            seed=int(arrays["seed"]),
            test_accuracy=float(arrays["test_accuracy"]),
            own_steps=int(arrays["own_steps"]),
            pixels=arrays["pixels"],
            **maps,
        )
    except (KeyError, TypeError) as error:
        raise ValueError("no file of layers") from error
