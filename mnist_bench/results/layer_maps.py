"""Feature maps of one test image in the layers of networks, stored as an .npz file."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mnist_bench.core.npz import load_npz

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Maps = npt.NDArray[np.float32]
    """(height, width, filters)."""

FILE = "layers.npz"
_SCALARS: dict[str, Callable[[Any], Any]] = {
    "dataset": str, "image": int, "label": int, "steps": int, "seed": int, "test_accuracy": float,
    "own_steps": int,
}  # fmt: skip
_KINDS = ("untrained", "trained", "own")


@dataclass(frozen=True, eq=False)
class LayerMaps:
    """Feature maps of one test image.

    Attributes:
        image: Index in the test images, from 0.
        steps: Updates of the network of the paper's figures.
        pixels: uint8 (28, 28).
        untrained: Maps of that network before its first step, one per layer.
        trained: Maps of that network after its last step.
        own: Maps of a trained Table I network whose weights were saved; empty without.
        own_steps: Updates of the Table I network; 0 without.
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
        """The content of the .npz file."""
        import numpy as np

        arrays: dict[str, Any] = {name: np.asarray(getattr(self, name)) for name in _SCALARS}
        arrays["pixels"] = self.pixels
        for kind in _KINDS:
            maps: tuple[Maps, ...] = getattr(self, kind)
            arrays |= {f"{kind}_{number}": each for number, each in enumerate(maps, 1)}
        stream = io.BytesIO()
        np.savez_compressed(stream, **arrays)
        return stream.getvalue()


def from_bytes(content: bytes) -> LayerMaps:
    """Parse the content of the .npz file, without pickle.

    Raises:
        ValueError: The content is not such a file.
    """
    arrays = load_npz(content)
    maps = {
        kind: tuple(arrays[name] for name in sorted(arrays) if re.fullmatch(rf"{kind}_\d", name))
        for kind in _KINDS
    }
    if any(each.ndim != 3 for layers in maps.values() for each in layers):
        raise ValueError("feature maps do not have three dimensions")
    if len(maps["untrained"]) != len(maps["trained"]):
        raise ValueError("untrained and trained networks differ in their number of layers")
    try:
        scalars: dict[str, Any] = {name: kind(arrays[name]) for name, kind in _SCALARS.items()}
        return LayerMaps(pixels=arrays["pixels"], **scalars | maps)
    except (KeyError, TypeError) as error:
        raise ValueError("not a file of feature maps") from error
