"""The report of an error that nobody foresaw: one line, and a file to send.

Only what Python cannot do without is imported here, and the rest where it is used: the error may be
that a library does not load.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

_LIBRARIES = ("mnist-bench", "tensorflow", "tensorflow-cpu", "mlflow", "optuna", "pydantic",
              "numpy", "click", "sqlalchemy")  # fmt: skip
_PRIVATE = r"(pass|pwd|token|secret|key|credential)"
_LEAST_STACK_BYTES = 2**18
_STACK_BYTES = 2**23


def line(error: BaseException) -> str:
    """What is wrong in one line; where nobody knows, with the path of a report that is written."""
    if isinstance(error, MemoryError):
        return "no memory is left; close other programs, or raise the limit of this one"
    if "start new thread" in str(error):
        return "the system allows no further thread; raise its limit (`ulimit -u`)"
    if hidden := hidden_module(error):
        return hidden
    words = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    try:
        path = write(error)
    except Exception as failure:  # noqa: BLE001 - the first error must be told
        return f"unexpected error: {_without_secrets(words)} (no report: {failure})"
    return (
        f"unexpected error: {_without_secrets(words)}; please send the report {path} to the "
        "maintainers of mnist-bench"
    )


def write(error: BaseException) -> Path:
    """Write a report: versions, command and traceback, without secrets and the home folder.

    Raises:
        OSError: It can't be written anywhere.
    """
    import platform
    import traceback

    lines = [
        f"mnist-bench, {time.strftime('%Y-%m-%d %H:%M:%S')}",
        f"Command: {' '.join(sys.argv[1:])}",
        f"Python {sys.version.split()[0]}, {platform.platform()}",
        ", ".join(filter(None, map(_version, _LIBRARIES))),
        "",
        *traceback.format_exception(error, limit=-100),
    ]
    text = _without_secrets("\n".join(lines))
    content = text.encode("utf-8", "backslashreplace")
    name = f"mnist-bench-error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    for number, folder in enumerate(_folders()):
        path = folder / f"{name}.txt"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:  # follows no link
                file.write(content)
        except OSError:
            if number == 1:
                raise
        else:
            return path
    raise OSError("no folder")


def hidden_module(error: BaseException) -> str | None:
    """Whether a file in PYTHONPATH that hides a library is the cause of an error, in one line."""
    places = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    if not isinstance(error, ImportError | AttributeError):
        return None
    for name, module in tuple(sys.modules.items()):
        file = getattr(module, "__file__", None)
        is_named = any(f"{mark}{name}{end}" in str(error) for mark in "'." for end in "'.")
        if "." in name or not file or not is_named:
            continue
        for place in places:
            if Path(file).absolute().is_relative_to(Path(place).absolute()):
                return (
                    f"{file}, which PYTHONPATH leads to, hides the module {name}; rename it, or "
                    "unset PYTHONPATH"
                )
    return None


def check_stack() -> None:
    """Raise a stack limit at which libraries end the process without a word.

    Raises:
        OSError: It can't be raised.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    if soft == resource.RLIM_INFINITY or soft >= _STACK_BYTES // 8:
        return
    most = _STACK_BYTES if hard == resource.RLIM_INFINITY else min(hard, _STACK_BYTES)
    resource.setrlimit(resource.RLIMIT_STACK, (most, hard))
    if most < _LEAST_STACK_BYTES:
        raise OSError(f"the stack limit of {most // 1024} KiB is too small; set `ulimit -s 8192`")


def _folders() -> list[Path]:
    import tempfile

    temporary = Path(tempfile.gettempdir())
    try:
        from mnist_bench.core.locks import state_folder

        return [state_folder() / "errors", temporary]
    except Exception:  # noqa: BLE001 - a library does not load
        return [temporary, Path()]


def _version(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return ""


def _without_secrets(text: str) -> str:
    import re

    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises without one
    if len(home) > 1:
        text = text.replace(home, "~")
    for name, value in os.environ.items():
        if len(value) > 3 and re.search(_PRIVATE, name, re.IGNORECASE):
            text = text.replace(value, "…")
    text = re.sub(r"(?<=://)[^/\s@]+@", "…@", text)
    return re.sub(rf"({_PRIVATE}\w*=)[^&\s'\"]+", r"\1…", text, flags=re.IGNORECASE)
