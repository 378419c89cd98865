"""The paper's programs give the values of the reference, and agree with independent oracles."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from flexgym.baselines.aggregator_market.assignment import (
    aggregator_worth_eur,
    assignment,
    best_assignment,
    even_worth_eur,
    greedy_assignment,
    random_worth_eur,
    smallest_slack,
)
from flexgym.baselines.aggregator_market.self_sufficiency import (
    balanced_buses,
    balanced_spins,
    regularise,
)
from flexgym.baselines.aggregator_market.shiftable import (
    best_spins,
    least_multiple,
    selfish_day,
    shiftable_day,
    shiftable_spins,
    spins_up,
)
from flexgym.baselines.aggregator_market.simple_days import (
    homogeneous_limit_eur,
    random_days,
    stationary_limit_eur,
    unconstrained_day,
    uncontrolled_day,
)
from flexgym.envs.aggregator_market.objectives import aggregation_eur, objectives
from flexgym.envs.aggregator_market.projection import (
    project_balanced,
    project_shiftable,
    shiftable_residual,
)
from flexgym.envs.aggregator_market.static_market import StaticMarket
from flexgym.envs.data.case33_day import case33_day
from flexgym.envs.errors import InfeasibleError, MarketError, PartitionError

DAY = case33_day()
WORTH = aggregator_worth_eur(DAY)
CUSTOMERS = sorted(set(DAY.customers.tolist()))


def world():
    return StaticMarket.of(DAY, best_assignment(DAY.load_kw, WORTH, Fraction(2, 3)).aggregator_of)


def test_the_shiftable_program():
    best = shiftable_day(DAY)
    assert best.welfare_eur == pytest.approx(-322.291, abs=5e-4)
    assert best.fractional == {14: Fraction(5, 11)}
    up = [t + 1 for t, m in enumerate(best.magnetisation) if m == 1]
    assert up == [9, 10, 11, 12, 13, 18, 19, 20, 21]
    m = np.array([float(x) for x in best.magnetisation])
    assert (
        sum(p * x for p, x in zip(DAY.source_percent.tolist(), best.magnetisation, strict=True))
        == 0
    )
    played = objectives(world(), np.repeat(m[:, None], 32, axis=1))
    assert played.welfare_eur == pytest.approx(best.welfare_eur, rel=1e-12)


def test_no_bus_can_realise_the_fractional_hour():
    assert least_multiple(Fraction(5, 11)) == 11
    for n in CUSTOMERS:
        with pytest.raises(InfeasibleError, match="expected a multiple of 11"):
            spins_up(Fraction(5, 11), n)


def test_the_rule_of_eq_33_is_the_program_35():
    # Maximise the customers at +1 with the magnetisation fixed: feasible where the rule says so.
    for n, (p, q) in itertools.product(
        range(1, 13), [(0, 1), (1, 1), (-1, 1), (1, 2), (1, 3), (-3, 5)]
    ):
        m = Fraction(p, q)
        total = float(n * m)
        found = milp(
            -np.ones(n),
            integrality=np.ones(n),
            bounds=Bounds(0, 1),
            constraints=LinearConstraint(2.0 * np.ones((1, n)), total + n, total + n),
        )
        assert (found.status == 0) == (n % least_multiple(m) == 0)
        if found.status == 0:
            assert spins_up(m, n) == round(-found.fun)
    with pytest.raises(InfeasibleError, match="odd number of customers has no half"):
        spins_up(Fraction(0), 3)
    with pytest.raises(MarketError, match="-1 to 1"):
        least_multiple(Fraction(3, 2))


def test_whole_spins_of_the_shiftable_day():
    best = shiftable_spins(DAY)
    assert best.welfare_eur == pytest.approx(-320.053, abs=5e-4)
    assert not shiftable_residual(best.up, DAY.customers, DAY.source_percent).any()
    played = objectives(world(), 2.0 * best.up / DAY.customers - 1.0)
    assert played.welfare_eur == pytest.approx(best.welfare_eur, rel=1e-12)
    share = best.bus_welfare_eur / (DAY.load_kw / 3715) / shiftable_day(DAY).welfare_eur
    per_count = [share[DAY.customers.tolist().index(n)] for n in CUSTOMERS]
    wanted = [0.929, 0.986, 0.997, 0.992, 0.989, 0.996, 0.998, 0.996, 0.998]
    np.testing.assert_allclose(per_count, wanted, atol=5e-4)


@pytest.mark.parametrize("customers", [3, 5, 8])
def test_whole_spins_against_a_dynamic_program(customers):
    worth = DAY.source_kw * DAY.rtem_eur_per_mwh / 1e3
    percent, total = DAY.source_percent, customers * int(DAY.source_percent.sum())
    value = np.full(total + 1, -np.inf)
    value[0] = 0.0
    for now, price in zip(percent.tolist(), worth.tolist(), strict=True):
        later = np.full_like(value, -np.inf)
        for n in range(customers + 1):
            shift = now * n
            gain = value[: len(value) - shift] + price * (2 * n / customers - 1)
            np.maximum(later[shift:], gain, out=later[shift:])
        value = later
    up = best_spins(customers, percent, worth)
    assert worth @ (2.0 * up / customers - 1.0) == pytest.approx(value[total // 2], rel=1e-12)


def test_days_that_whole_spins_cannot_meet():
    with pytest.raises(InfeasibleError, match=r"is odd\. Use an even number of customers"):
        best_spins(3, np.array([50, 51]), np.ones(2))
    with pytest.raises(InfeasibleError, match="no whole numbers of 3 customers"):
        best_spins(3, np.array([50, 52]), np.ones(2))


@pytest.mark.parametrize("largest", [True, False])
def test_the_self_sufficient_program(largest):
    sign = 1 if largest else -1
    found = balanced_buses(DAY.load_kw, DAY.customers, largest=largest, most=9)
    assert len(found) == 3
    # Bus numbers of the source: the first load bus is 2.
    unsolvable = sorted(tuple(each.unsolvable + 2) for each in found)
    assert unsolvable == [(4, 11), (11, 14), (11, 29)]
    for each in found:
        assert DAY.load_kw @ each.magnetisation == 0
        assert each.bus_sum == sign * 16
        assert each.customer_sum == sign * 7
        assert each.split == ((132, 125, 32) if largest else (125, 132, 32))
        zero = DAY.load_kw[each.magnetisation == 0].tolist()
        assert sorted(zero) == [45, 100, 120, 150]


def test_the_number_of_optima_by_counting():
    # Number of choices by sum in kW and objective, bus by bus: nothing of it is a solver's.
    ways = {(0, 0): 1}
    for kw in DAY.load_kw.tolist():
        later = {}
        for (power, total), count in ways.items():
            for m in (-1, 0, 1):
                key = power + m * kw, total + m
                later[key] = later.get(key, 0) + count
        ways = later
    even = {total: count for (power, total), count in ways.items() if power == 0}
    assert max(even) == 16
    assert min(even) == -16
    assert even[16] == even[-16] == 3


@pytest.mark.parametrize("seed", range(5))
def test_buses_at_zero_get_even_and_solvable(seed):
    rng = np.random.default_rng(seed)
    bus_of = np.repeat(np.arange(32), DAY.customers)
    best = balanced_buses(DAY.load_kw, DAY.customers)[0]
    with pytest.raises(InfeasibleError, match="expected an even number"):
        balanced_spins(bus_of, best.magnetisation, rng)
    wired = regularise(bus_of, best.magnetisation, rng)
    counts = np.bincount(wired, minlength=32)
    assert counts.sum() == 289
    assert (wired != bus_of).sum() == 2
    assert counts.min() >= 1
    assert not (counts[best.magnetisation == 0] % 2).any()
    spins = balanced_spins(wired, best.magnetisation, rng)
    assert set(np.unique(spins)) == {-1, 1}
    magnetisation = np.bincount(wired, weights=spins) / counts
    np.testing.assert_array_equal(magnetisation, best.magnetisation)
    assert DAY.load_kw @ magnetisation == 0


def test_regularising_needs_a_donor():
    with pytest.raises(InfeasibleError, match="no bus at -1 or 1 has one to spare"):
        regularise(np.array([0, 0, 0]), np.array([0]), np.random.default_rng(0))
    with pytest.raises(MarketError, match="whole kW"):
        balanced_buses(DAY.load_kw * 1.0, DAY.customers)


@pytest.mark.parametrize(
    ("slack", "value", "sizes"),
    [
        (2 / 3, -394.03, (10, 11, 11)),
        (1, -394.03, (10, 11, 11)),
        (2, -397.43, None),
        (5, -407.635, None),
        (10, -422.78, None),
        (math.inf, -445.14, (0, 32, 0)),
    ],
)
def test_the_assignment_program(slack, value, sizes):
    best = best_assignment(DAY.load_kw, WORTH, slack)
    assert best.objective_eur == pytest.approx(value, abs=6e-3)
    assert best.sizes.sum() == 32
    if sizes:
        assert tuple(best.sizes) == sizes
    market = StaticMarket.of(DAY, best.aggregator_of)
    got = aggregation_eur(market, unconstrained_day(market))
    assert got == pytest.approx(best.objective_eur, rel=1e-12)


def test_shares_of_the_papers_slack():
    best = best_assignment(DAY.load_kw, WORTH, Fraction(2, 3))
    np.testing.assert_allclose(100 * best.load_shares, [15.8, 60.8, 23.4], atol=0.06)
    assert best.objective_eur == pytest.approx(-394.027, abs=5e-4)


@pytest.mark.parametrize("slack", [0.0, 1 / 3, 0.6])
def test_an_infeasible_slack_is_named_with_the_smallest(slack):
    with pytest.raises(InfeasibleError, match=r"at least 0\.666667 \(2/3\)") as caught:
        best_assignment(DAY.load_kw, WORTH, slack)
    assert caught.value.smallest_slack == pytest.approx(2 / 3)
    with pytest.raises(InfeasibleError):
        greedy_assignment(DAY.load_kw, WORTH, slack)


def test_smallest_slack_by_trying_sizes():
    whole = [n for n in range(1, 33) if smallest_slack(32, n) == 0]
    assert whole == [1, 2, 4, 8, 16, 32]
    assert smallest_slack(32, 5) == Fraction(3, 5)
    for n in range(1, 33):
        low, mean = 32 // n, Fraction(32, n)
        # The most even split: low and low + 1 only.
        sizes = {low, low + 1} if 32 % n else {low}
        assert smallest_slack(32, n) == max(abs(size - mean) for size in sizes)
        assert smallest_slack(32, n) <= 1


@given(
    seed=st.integers(0, 2**32 - 1),
    aggregators=st.integers(1, 9),
    slack=st.floats(1.0, 12.0),
)
@settings(max_examples=25, deadline=None)
def test_greedy_is_optimal(seed, aggregators, slack):
    rng = np.random.default_rng(seed)
    load = rng.choice([45, 60, 90, 100, 120, 150, 200, 210, 420], 14)
    worth = rng.uniform(-445.0, -292.0, aggregators)
    best, greedy = (f(load, worth, slack) for f in (best_assignment, greedy_assignment))
    assert greedy.objective_eur == pytest.approx(best.objective_eur, rel=1e-9)
    assert np.abs(greedy.sizes - 14 / aggregators).max() <= slack + 1e-9


def test_prices_of_other_numbers_of_aggregators():
    np.testing.assert_allclose(WORTH, [-292.22, -445.14, -329.71], atol=5e-3)
    assert even_worth_eur(WORTH, 1) == pytest.approx([-355.69], abs=5e-3)
    assert np.array_equal(even_worth_eur(WORTH, 3), WORTH)
    even = even_worth_eur(WORTH, 7)
    np.testing.assert_allclose(np.diff(even), np.diff(even)[0])
    assert (even.min(), even.max()) == (WORTH.min(), WORTH.max())
    drawn = random_worth_eur(WORTH, 50, np.random.default_rng(0))
    assert WORTH.min() <= drawn.min() <= drawn.max() <= WORTH.max()
    with pytest.raises(MarketError, match="at least 1"):
        even_worth_eur(WORTH, 0)
    with pytest.raises(MarketError, match="slack is -1"):
        best_assignment(DAY.load_kw, WORTH, -1.0)


@pytest.mark.parametrize("solve", [best_assignment, greedy_assignment])
@pytest.mark.parametrize(
    ("load", "worth", "slack", "says"),
    [
        ("heavy", WORTH, 1.0, "load_kw"),
        ([1.0, np.nan], WORTH, 1.0, "load_kw"),
        ([[1.0]], WORTH, 1.0, "load_kw"),
        ([0.0, 0.0], WORTH, 1.0, "load_kw"),
        ([1.0, -1.0], WORTH, 1.0, "load_kw"),
        ([1.0, 2.0], [], 1.0, "worth_eur"),
        ([1.0, 2.0], None, 1.0, "worth_eur"),
        ([1.0, 2.0], WORTH, "some", "slack"),
        ([1.0, 2.0], WORTH, np.nan, "slack"),
    ],
)
def test_bad_assignments_are_named(solve, load, worth, slack, says):
    with pytest.raises(MarketError, match=says):
        solve(load, worth, slack)


@pytest.mark.parametrize("chosen", [[0], [0, 3], [0, -1], [0.0, 1.0], "ab", [[0, 1]]])
def test_maps_that_are_none_are_named(chosen):
    with pytest.raises(PartitionError, match="aggregator_of"):
        assignment([1.0, 2.0], WORTH, chosen)


@pytest.mark.parametrize("aggregators", [1.5, True, "two"])
def test_aggregators_are_counted_in_whole_numbers(aggregators):
    with pytest.raises(MarketError, match="whole number"):
        even_worth_eur(WORTH, aggregators)


@pytest.mark.parametrize(
    ("slack", "aggregators", "ratio"),
    [
        (1, 2, -1.146), (1, 5, -1.131), (1, 16, -1.156), (1, 32, -1.186),
        (8, 2, -1.198), (8, 5, -1.211), (8, 16, -1.233), (8, 32, -1.241),
    ],
)  # fmt: skip
def test_the_trend_with_the_number_of_aggregators(slack, aggregators, ratio):
    best = best_assignment(DAY.load_kw, even_worth_eur(WORTH, aggregators), slack)
    assert best.objective_eur / abs(WORTH.mean()) == pytest.approx(ratio, abs=6e-4)


def test_the_two_limits_of_eq_37_are_zero():
    market, rng = world(), np.random.default_rng(0)
    wanted = rng.uniform(-1, 1, (30, 24, 32))
    balanced = project_balanced(wanted, market.load_kw)
    even = project_shiftable(wanted, market.source_kw)
    np.testing.assert_allclose(homogeneous_limit_eur(market, balanced), 0.0, atol=1e-9)
    np.testing.assert_allclose(stationary_limit_eur(market, even), 0.0, atol=1e-9)
    # Each needs its own constraint, and both their prices.
    assert np.abs(homogeneous_limit_eur(market, even)).min() > 1e-3
    assert np.abs(stationary_limit_eur(market, balanced)).min() > 1e-3
    assert np.abs(aggregation_eur(market, balanced)).min() > 1e-3


def test_simple_days():
    market = world()
    assert objectives(market, uncontrolled_day(market)).welfare_eur == 0.0
    bound = objectives(market, unconstrained_day(market)).welfare_eur
    assert bound == pytest.approx(-2224.795, abs=5e-4)
    days = random_days(market, 4000, np.random.default_rng(0))
    assert np.array_equal(np.rint((days + 1) * market.customers / 2) % 1, np.zeros(days.shape))
    welfare = objectives(market, days).welfare_eur
    assert abs(welfare.mean()) < 4.0 * welfare.std() / math.sqrt(len(welfare))
    assert bound < welfare.min()


def test_selfish_buses_of_the_third_aggregator_reverse_two_hours():
    days = [selfish_day(DAY, k) for k in range(3)]
    worth = [-day.welfare_eur for day in days]
    np.testing.assert_allclose(worth, [322.291, 322.291, 321.221], atol=5e-4)
    assert days[2].fractional == {9: Fraction(3, 7)}
    with pytest.raises(MarketError, match="expected 0 to 2"):
        selfish_day(DAY, 3)
