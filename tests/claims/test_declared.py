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


def test_twelve_claims_are_completely_declared() -> None:
    assert tuple(claim.number for claim in CLAIMS) == ALL
    for claim in CLAIMS:
        names = [criterion.name for criterion in claim.criteria]
        assert names
        assert len(set(names)) == len(names)
        assert all(criterion.question and criterion.rule for criterion in claim.criteria)
    by_rule = [
        (c.number, each.name) for c in CLAIMS for each in c.criteria if each.test == "by rule"
    ]
    assert by_rule == [(1, "rows"), (5, "accuracy"), (9, "distortion"), (11, "size")]


def test_thresholds_are_the_figures_in_the_rules() -> None:
    """What was declared before anything was measured."""
    declared = {(c.number, each.name): (each.test, each.threshold, each.must_be_shown)
                for c in CLAIMS for each in c.criteria if each.test != "by rule"}  # fmt: skip
    assert declared == {
        (2, "shortfall"): ("below", 0.001, False),
        (3, "trend"): ("below", 0, True), (3, "near 100%"): ("below", 100_000, False),
        (4, "step of max"): ("above", 0.5, True), (4, "slowing"): ("above", 0, True),
        (5, "time"): ("at most", 3_600, False), (5, "memory"): ("at most", 2**34, False),
        (6, "accuracy"): ("above", 0, False),
        (7, "parameters"): ("above", 1, False), (7, "memory"): ("above", 1, False),
        (7, "operations"): ("above", 1, False), (7, "time"): ("above", 1, False),
        (8, "full batch"): ("at least", 2, False), (8, "second order"): ("at least", 2, False),
        (10, "flipped"): ("at least", 1, False), (11, "test images"): ("at least", 2, False),
        (12, "threads"): ("above", 1, False),
    }  # fmt: skip


def test_inputs_are_scenarios_experiments_and_the_layer_maps() -> None:
    assert {number for each in INPUTS for number in each.claims} == set(ALL)
    assert len({str(each) for each in INPUTS}) == len(INPUTS)
    for each in INPUTS:
        assert not (each.scenario and each.measures)
        if each.scenario:
            scenario.read(scenario.find(each.scenario))
    assert {each.measures for each in INPUTS} == {None, 7, 8, 10, 11}
    assert [str(each) for each in INPUTS if not (each.scenario or each.measures)] == [
        "figures 1 to 4"
    ]
    packaged = {name for name in scenario.packaged_names() if name.startswith("claim-6-")}
    assert set(TECHNIQUES) == packaged
    assert set(CLAIMS[5].criteria[0].compares) == packaged - {
        "claim-6-svm-small",
        "claim-6-lenet-5",
    }


def test_no_input_takes_over_an_hour_and_all_take_three_at_most() -> None:
    assert max(each.seconds for each in INPUTS) <= 3_600
    assert sum(each.seconds for each in INPUTS) <= 3 * 3_600


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
