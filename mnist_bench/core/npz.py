"""Reading of .npz files without pickle."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt


def load_npz(content: bytes) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an .npz file, by name.

    Raises:
        ValueError: The content is not an .npz file, or is damaged.
    """
    import numpy as np

    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # zipfile, zlib and struct raise many types
        raise ValueError("not a complete .npz file") from error
