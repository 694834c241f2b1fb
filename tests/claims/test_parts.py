"""Inputs of claims, and which of them fit a budget."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_bench.claims import declared
from mnist_bench.claims.parts import INPUTS, TABLE_1, fitting, inputs_of, numbers
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
    ],
)
def test_numbers(names: tuple[str, ...], wanted: tuple[int, ...] | None) -> None:
    assert numbers(names) == wanted


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("claims", "table-1"), "claims can't be combined"),
        (("claim-13",), "there is no claim 13: claims are numbered 1 to 12"),
        (("claim-0", "claim-1"), "there is no claim 0"),
    ],
)
def test_invalid_numbers(names: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        numbers(names)


def test_twelve_claims_are_completely_declared() -> None:
    assert tuple(claim.number for claim in declared.CLAIMS) == ALL
    for claim in declared.CLAIMS:
        assert claim.criteria
        names = [criterion.name for criterion in claim.criteria]
        assert len(set(names)) == len(names)
        for criterion in claim.criteria:
            assert criterion.rule, f"claim {claim.number}: {criterion.name} has no rule"


def test_every_claim_has_an_input_and_every_scenario_exists() -> None:
    assert {number for claim_input in INPUTS for number in claim_input.claims} == set(ALL)
    for claim_input in INPUTS:
        assert not (claim_input.scenario and claim_input.measures)
        if claim_input.scenario:
            scenario.read(scenario.find(claim_input.scenario))
    assert len({str(claim_input) for claim_input in INPUTS}) == len(INPUTS)


def test_all_seeds_of_claims_3_and_4_are_planned() -> None:
    independent = [claim_input for claim_input in inputs_of((3, 4)) if claim_input.independent]
    assert len({claim_input.seed for claim_input in independent}) == paper.CLAIM_SEEDS


def test_every_technique_is_a_packaged_scenario() -> None:
    named = {claim_input.scenario for claim_input in inputs_of((6,))} - {"table-1"}
    assert named == {name for name in scenario.packaged_names() if name.startswith("claim-6-")}


def test_only_claims_3_and_4_need_independent_trainings() -> None:
    whole = {
        claim_input.seed: claim_input.usual_seconds
        for claim_input in inputs_of(ALL)
        if claim_input.scenario == TABLE_1
    }
    for claim in ALL:
        table_1 = [
            claim_input for claim_input in inputs_of((claim,)) if claim_input.scenario == TABLE_1
        ]
        assert {claim_input.independent for claim_input in table_1} <= {claim in (3, 4)}
        assert all(claim in claim_input.claims for claim_input in table_1)
        for claim_input in table_1:
            assert (claim_input.usual_seconds < whole[claim_input.seed]) == (
                not claim_input.independent
            )


def test_the_small_svm_comes_after_the_one_that_it_replaces() -> None:
    names = [claim_input.scenario for claim_input in INPUTS]
    (small,) = [claim_input for claim_input in INPUTS if claim_input.stands_in_for]
    assert names.index(small.stands_in_for) < names.index(small.scenario)


def test_inputs_of_one_claim() -> None:
    assert [str(claim_input) for claim_input in inputs_of((10,))] == ["claim 10 by itself"]
    assert inputs_of(ALL) == INPUTS


def test_no_input_takes_over_an_hour_and_all_take_three_at_most() -> None:
    assert max(claim_input.usual_seconds for claim_input in INPUTS) <= 3_600
    assert sum(claim_input.usual_seconds for claim_input in INPUTS) <= 3 * 3_600


def test_shorter_inputs_fit_where_a_longer_one_does_not() -> None:
    assert fitting((10, 50, 5, 0, 6), 20) == (True, False, True, True, False)


@given(st.lists(st.floats(0, 1e4)), st.floats(0, 1e5))
def test_what_fits_is_within_the_budget(costs: list[float], budget: float) -> None:
    fits = fitting(costs, budget)
    assert len(fits) == len(costs)
    taken = sum(cost for cost, fit in zip(costs, fits, strict=True) if fit)
    assert taken <= budget * (1 + 1e-9)
    remaining = budget - taken
    refused = [cost for cost, fit in zip(costs, fits, strict=True) if not fit]
    assert all(cost > remaining - 1e-6 for cost in refused)
