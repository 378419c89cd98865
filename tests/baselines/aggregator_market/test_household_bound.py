"""The bound on what real houses' flexibility is worth: attained, independent, never beaten."""

import numpy as np
import pytest
from gymnasium.utils import seeding
from scipy.optimize import linprog
from scipy.sparse import block_diag, csr_matrix, hstack, vstack

from flexgym.baselines.aggregator_market.household_bound import household_bound, household_welfare
from flexgym.baselines.feeder.stacked_houses import HouseBlock
from flexgym.baselines.household.linear_program import EXPORT, IMPORT
from flexgym.envs.aggregator_market.household_buses import HouseholdBuses
from flexgym.envs.aggregator_market.priced_houses import Households
from flexgym.envs.aggregator_market.scenario import synthetic_day
from flexgym.envs.data import load_grid
from flexgym.envs.errors import ScenarioError
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.envs.household.params import DT_H
from flexgym.policies.planning import with_adders
from flexgym.policies.quoted_menus import QuickQuotedMenus, QuotedMenus

SILENT, SHORTAGE = 28.0, 45.0
RTEM = np.roll(np.array(synthetic_day().rtem_eur_per_mwh), -6)[:, None]


@pytest.fixture(scope="module")
def feeder():
    buses = load_grid().load.bus.unique()[:3]
    return FeederScenario.from_pandapower(
        load_grid(), buses=buses, seeds=(0, 1), days=(100, 180), uncertainty="none"
    )


def begun(feeder, seed=1, make=QuotedMenus, buses=(1, 4)):
    houses = HouseholdBuses(Households(feeder, buses, make), 1, SILENT)
    houses.begin([seeding.np_random(seed)[0]])
    return houses


def played(houses, quote):
    """Flexibility at quotes of a function of the hour, (24, 1, m)."""
    shape = (1, houses.m)
    return np.array([houses.play(np.full(shape, quote(hour))) for hour in range(24)])


class Announced(QuotedMenus):
    """Houses that are told the whole day's real-time prices in the morning."""

    def price(self, adder_eur_per_kwh):
        super().price(adder_eur_per_kwh)
        if adder_eur_per_kwh.any():
            episodes = self._homes.episodes
            day = np.repeat(1e-3 * RTEM, 4, axis=0) * np.ones(self._homes.n)
            self.tables = self._planned(with_adders(episodes.exogenous, episodes.rows, day), 0)


def test_houses_that_know_all_prices_attain_it(feeder):
    houses = begun(feeder, make=Announced)
    bound = household_bound(houses, RTEM)
    flexible = played(houses, lambda hour: SILENT + RTEM[hour, 0])
    found = household_welfare(houses, flexible, RTEM)
    np.testing.assert_allclose(found, bound.welfare_eur, rtol=1e-9)
    assert found[0] > 0.01


@pytest.mark.parametrize("shortage", [0.0, SHORTAGE])
def test_it_is_the_optimum_of_one_linear_program(feeder, shortage):
    """All houses side by side with one row for what is owed, solved by scipy."""
    houses = begun(feeder, 2)
    homes, rtem = houses.homes, np.repeat(RTEM[:, 0], 4)
    blocks = [
        HouseBlock(
            homes.house(row), homes.realised_series(row), float(homes.episodes.soc_kwh[row]),
            float(homes.episodes.terminal_price[row]),
        )
        for row in range(homes.n)
    ]  # fmt: skip
    cost, owing, low, high = [], [], [], []
    for row, block in enumerate(blocks):
        sign, own = np.zeros(len(block.cost)), block.cost.copy()
        for kind, value in ((IMPORT, 1.0), (EXPORT, -1.0)):
            sign[kind * 96 : (kind + 1) * 96] = value
        per_period = np.tile(rtem, len(sign) // 96 + 1)[: len(sign)]
        cost.append(own + 1e-3 * DT_H * sign * per_period)
        owing.append(-1e-3 * DT_H * sign)
        bounds = block.column_bounds.copy()
        bounds[:, block.battery_state(0)] = homes.episodes.soc_kwh[row]
        low.append(bounds[0])
        high.append(bounds[1])
    # The last column is what is settled, MWh: at least the plan less what is drawn.
    planned = 1e-3 * houses.plan_kw.sum()
    matrix = block_diag([block.matrix for block in blocks], format="csr")
    rows = np.concatenate([block.row_bounds for block in blocks], axis=1)
    matrix = hstack([matrix, csr_matrix((matrix.shape[0], 1))])
    last = csr_matrix(np.concatenate([*owing, [-1.0]])[None])
    equal = rows[0] == rows[1]
    matrix = csr_matrix(matrix)
    above, below = ~equal & np.isfinite(rows[1]), ~equal & np.isfinite(rows[0])
    found = linprog(
        np.concatenate([*cost, [shortage]]),
        A_ub=vstack([matrix[above], -matrix[below], last]),
        b_ub=np.concatenate([rows[1, above], -rows[0, below], [-planned]]),
        A_eq=matrix[equal],
        b_eq=rows[0, equal],
        bounds=np.column_stack([np.concatenate([*low, [0.0]]), np.concatenate([*high, [np.inf]])]),
    )
    assert found.success
    worth = 1e-3 * (RTEM[:, 0] @ houses.plan_kw[:, 0].sum(1)) + houses.plan_eur.sum() - found.fun
    bound = household_bound(houses, RTEM, shortage)
    assert bound.welfare_eur[0] == pytest.approx(worth, abs=1e-5)
    assert 0.0 <= bound.owed_eur_per_mwh[0] <= shortage


@pytest.mark.parametrize(("make", "seed"), [(QuotedMenus, 1), (QuickQuotedMenus, 2)])
def test_no_quotes_beat_it_and_silence_is_zero(feeder, make, seed):
    rng = np.random.default_rng(0)
    random = rng.uniform(-200.0, 300.0, 24)
    policies = {
        "silent": lambda hour: SILENT,
        "rtem": lambda hour: RTEM[hour, 0],
        "flat": lambda hour: 46.0,
        "random": lambda hour: random[hour],
        "adder": lambda hour: SILENT + RTEM[hour, 0] - RTEM.mean(),
    }
    for name, quote in policies.items():
        houses = begun(feeder, seed, make)
        free, settled = (household_bound(houses, RTEM, s) for s in (0.0, SHORTAGE))
        flexible = played(houses, quote)
        welfare = [household_welfare(houses, flexible, RTEM, s)[0] for s in (0.0, SHORTAGE)]
        assert welfare[0] <= free.welfare_eur[0] + 1e-9
        assert welfare[1] <= settled.welfare_eur[0] + 1e-9
        assert 0.0 <= settled.welfare_eur[0] <= free.welfare_eur[0] + 1e-9
        # What an aggregator earns is what the market gains less what houses do.
        earned = 1e-3 * sum((RTEM[h, 0] - quote(h)) * flexible[h].sum() for h in range(24))
        assert earned == pytest.approx(welfare[0] - houses.gain_eur.sum(), abs=1e-9)
        assert name != "silent" or welfare[1] == 0.0


def test_it_holds_where_forecasts_fail(feeder):
    """Two markets on uncertain days: bounds of their own, never beaten, by silence neither."""
    uncertain = FeederScenario.from_pandapower(
        load_grid(), buses=load_grid().load.bus.unique()[:3], days=(180,), uncertainty="markov"
    )
    rtem = np.column_stack([RTEM[:, 0], 1.2 * RTEM[:, 0]])
    houses = HouseholdBuses(Households(uncertain, (1,)), 2, SILENT)
    houses.begin([seeding.np_random(seed)[0] for seed in (1, 2)])
    bound = household_bound(houses, rtem).welfare_eur
    alone = begun(uncertain, 2, buses=(1,))
    assert household_bound(alone, rtem[:, 1:]).welfare_eur[0] == bound[1] != bound[0]
    flexible = np.array([houses.play(np.array([[SILENT], [90.0]])) for _ in range(24)])
    assert np.abs(flexible[:, 0]).max() > 0.0
    assert (household_welfare(houses, flexible, rtem) <= bound + 1e-9).all()


def test_bad_input_is_named(feeder):
    houses = begun(feeder)
    with pytest.raises(ScenarioError, match="rtem_eur_per_mwh has shape"):
        household_bound(houses, RTEM[:, 0])
    with pytest.raises(ScenarioError, match="shortage_eur_per_mwh"):
        household_bound(houses, RTEM, -1.0)
    with pytest.raises(ScenarioError, match="expected a day that is over"):
        household_welfare(houses, np.zeros((24, 1, 2)), RTEM)
