"""The declared claims, and what is measured for which of them."""

from __future__ import annotations

import re

import pytest

from mnist_bench.claims.declared import CLAIMS, INPUTS, TABLE_1, TECHNIQUES, inputs_of, numbers
from mnist_bench.scenarios import paper, scenario

ALL = tuple(range(1, 13))


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        ((), None),
        (("table-1",), None),
        (("./claim-3.toml",), None),
        (("claims",), ALL),
        (("claim-3",), (3,)),
        (("claim-12", "claim-3", "claim-3"), (3, 12)),
        (("claim-3", "claims"), ALL),
        (("claims", "table-1"), "claims can't be combined"),
        (("claim-13",), "there is no claim 13: claims are numbered 1 to 12"),
        (("claim-0", "claim-1"), "there is no claim 0"),
    ],
)
def test_numbers(names: tuple[str, ...], wanted: tuple[int, ...] | str | None) -> None:
    if isinstance(wanted, str):
        with pytest.raises(ValueError, match=re.escape(wanted)):
            numbers(names)
    else:
        assert numbers(names) == wanted


def test_criteria_and_their_thresholds() -> None:
    """What was declared before anything was measured: the figures are those in the rules."""
    criteria = {(c.number, each.name): each for c in CLAIMS for each in c.criteria}
    assert {key: (c.test, c.threshold, c.must_be_shown) for key, c in criteria.items()} == {
        (1, "rows"): ("by rule", 0, False),
        (2, "shortfall"): ("below", 0.001, False),
        (3, "trend"): ("below", 0, True), (3, "near 100%"): ("below", 100_000, False),
        (4, "step of max"): ("above", 0.5, True), (4, "slowing"): ("above", 0, True),
        (5, "time"): ("at most", 3_600, False), (5, "memory"): ("at most", 2**34, False),
        (5, "accuracy"): ("by rule", 0, False),
        (6, "accuracy"): ("above", 0, False),
        (7, "parameters"): ("above", 1, False), (7, "memory"): ("above", 1, False),
        (7, "operations"): ("above", 1, False), (7, "time"): ("above", 1, False),
        (8, "full batch"): ("at least", 2, False), (8, "second order"): ("at least", 2, False),
        (9, "distortion"): ("by rule", 0, False),
        (10, "flipped"): ("at least", 1, False),
        (11, "size"): ("by rule", 0.099, False), (11, "test images"): ("at least", 2, False),
        (12, "threads"): ("above", 1, False),
    }  # fmt: skip
    assert all(each.question and each.rule for each in criteria.values())
    assert tuple(claim.number for claim in CLAIMS) == ALL
    assert sum(len(claim.criteria) for claim in CLAIMS) == len(criteria), "names are unique"


def test_inputs_are_scenarios_experiments_and_the_layer_maps() -> None:
    assert {number for each in INPUTS for number in each.claims} == set(ALL)
    assert len({str(each) for each in INPUTS}) == len(INPUTS)
    assert max(each.seconds for each in INPUTS) <= 3_600
    assert sum(each.seconds for each in INPUTS) <= 3 * 3_600
    for each in INPUTS:
        assert not (each.scenario and each.measures)
        if each.scenario:
            scenario.read(scenario.find(each.scenario))
    assert {each.measures for each in INPUTS} == {None, 7, 8, 10, 11}
    maps = [str(each) for each in INPUTS if not (each.scenario or each.measures)]
    assert maps == ["figures 1 to 4"]
    packaged = {name for name in scenario.packaged_names() if name.startswith("claim-6-")}
    assert set(TECHNIQUES) == packaged
    not_compared = {"claim-6-svm-small", "claim-6-lenet-5"}
    assert set(CLAIMS[5].criteria[0].compares) == packaged - not_compared


@pytest.mark.parametrize("claim", ALL)
def test_only_claims_3_and_4_need_independent_trainings(claim: int) -> None:
    inputs = inputs_of((claim,))
    table_1 = [each for each in inputs if each.scenario == TABLE_1]
    assert all(claim in each.claims for each in inputs)
    assert {each.independent for each in table_1} <= {claim in {3, 4}}
    assert {each.seconds for each in table_1} <= {760 if claim in {3, 4} else 420}
    if claim in {2, 3, 4}:
        assert len({each.seed for each in table_1}) == paper.CLAIM_SEEDS
    assert any(each.needs_images for each in inputs) == (claim not in {7, 10})
    assert inputs_of(ALL) == INPUTS
