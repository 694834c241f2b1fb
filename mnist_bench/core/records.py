"""The base class of records that pass between packages."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, FailFast

Item = TypeVar("Item")
Items = Annotated[tuple[Item, ...], FailFast()]
"""Records that others may have written: the first wrong one is told, and not thousands."""


class Record(BaseModel):
    """A frozen, strictly typed model; unknown fields and infinite numbers are rejected."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def shared_fields(source: object, kind: type[Record]) -> dict[str, Any]:
    """The values of a source under the names that records of a kind have too."""
    return {name: getattr(source, name) for name in kind.model_fields if hasattr(source, name)}
