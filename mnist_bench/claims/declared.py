"""The paper's claims, as declared in `claims.toml`."""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import Any

from mnist_bench.results.claims import Claim, Criterion


def _claim(declared: dict[str, Any]) -> Claim:
    criteria = tuple(Criterion(**each) for each in declared.pop("criteria"))
    return Claim(criteria=criteria, **declared)


_TEXT = resources.files(__package__).joinpath("claims.toml").read_text(encoding="utf-8")
CLAIMS = tuple(_claim(each) for each in tomllib.loads(_TEXT)["claims"])


def claim_of(number: int) -> Claim:
    """Return the claim with this number.

    Raises:
        KeyError: There is no such claim.
    """
    return {claim.number: claim for claim in CLAIMS}[number]
