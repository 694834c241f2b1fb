"""Hardware features that determine the speed of matrix products."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mnist_bench.core.records import Record
from mnist_bench.measurement import machine

_CPUINFO = Path("/proc/cpuinfo")
INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16", "asimd", "bf16")
"""Relevant instruction sets by Linux's names; the last two are Arm's."""


class Hardware(Record):
    """This machine.

    Attributes:
        name: One-line description.
        instruction_sets: Relevant ones that it has; None if unknown.
        virtual: Whether it is a virtual machine; None if unknown.
    """

    name: str
    instruction_sets: tuple[str, ...] | None
    virtual: bool | None

    @property
    def sentences(self) -> str:
        """Description in sentences."""
        virtual = {True: " A virtual machine, not a laptop.", False: "", None: ""}[self.virtual]
        if self.instruction_sets is None:
            return f"{self.name}.{virtual} Instruction sets: not told by the system."
        missing = [name for name in INSTRUCTION_SETS[:5] if name not in self.instruction_sets]
        has = ", ".join(self.instruction_sets) or "none of those that matter here"
        lacks = f" (without {', '.join(missing)})" if missing else ""
        return f"{self.name}.{virtual} Instruction sets: {has}{lacks}."


def describe() -> Hardware:
    """Describe this machine."""
    flags = _flags()
    if flags is None:
        return Hardware(name=machine.describe().name, instruction_sets=None, virtual=None)
    return Hardware(
        name=machine.describe().name,
        instruction_sets=tuple(name for name in INSTRUCTION_SETS if name in flags),
        virtual="hypervisor" in flags,
    )


def _flags() -> set[str] | None:
    """The processor's features by Linux's names; None if unknown."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    values = (
        line.partition(":")[2] for line in lines if line.lower().startswith(("flags", "featu"))
    )
    flags = next(values, None)
    return None if flags is None else set(flags.split())


def versions(*distributions: str) -> dict[str, str]:
    """Versions of the installed distributions."""
    return {name: number for name in distributions if (number := version_of(name))}


def in_words(numbers: dict[str, str]) -> str:
    """Versions in one line."""
    return ", ".join(f"{name} {number}" for name, number in numbers.items())


def version_of(distribution: str) -> str | None:
    """Version of a distribution; None if not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
