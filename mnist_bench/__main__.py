"""`python -m mnist_bench` is `mnist-bench`; both begin here."""

import os
import sys


def start() -> None:
    """Run the program; Ctrl-C ends it quietly even while it is still being loaded."""
    # Pydantic would look through every installed package for plugins of its own.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        from mnist_bench.cli.main import main
    except KeyboardInterrupt:
        sys.exit(130)
    main()


if __name__ == "__main__":
    start()
