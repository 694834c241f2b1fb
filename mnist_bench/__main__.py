"""`python -m mnist_bench` is `mnist-bench`; both begin here."""

import os
import sys


def start() -> None:
    """Run the program; whatever happens while it is being loaded is told in one line."""
    # Pydantic would look through every installed package for plugins of its own.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # A notebook's backend may not be installed here; charts are drawn into files.
    os.environ["MPLBACKEND"] = "agg"
    try:
        from mnist_bench.core import crash

        crash.check_stack()
        from mnist_bench.cli.main import main

        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - such as a library that does not load
        _end(error)


def _end(error: Exception) -> None:
    """Print one line, with as little as possible, and end."""
    try:
        from mnist_bench.core.crash import line

        text = f"{error}" if type(error) is OSError else line(error)
    except Exception:  # noqa: BLE001 - Python's own modules don't load
        text = f"{type(error).__name__}: {error}"
    sys.stderr.write(f"mnist-bench: {' '.join(text.split())}\n")
    sys.exit(1)


if __name__ == "__main__":
    start()
