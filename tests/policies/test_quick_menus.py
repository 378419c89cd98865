"""Quick menus: exact where the plan is, a merit order for the car, and worth playing."""

from dataclasses import replace

import numpy as np
import pandapower
import pytest
from gymnasium.utils import seeding
from scipy.optimize import linprog

from flexgym.baselines.household import cost_to_go
from flexgym.envs import Uncertainty
from flexgym.envs.feeder.accounts import FEEDER_NAMES
from flexgym.envs.feeder.operator_env import FeederOperatorEnv
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.envs.feeder.simulation import FeederSimulation
from flexgym.envs.household import dynamics as d
from flexgym.envs.household.params import DT_H
from flexgym.envs.household.scenario import HouseholdScenario
from flexgym.envs.household.simulation import HouseholdSimulation
from flexgym.policies.feeder import unmanaged
from flexgym.policies.menus import Menus
from flexgym.policies.quick_menus import QuickMenus, charging_cost


def begin(scenario, n, seed=0, **options):
    simulation = HouseholdSimulation(scenario, n, observation="compact", curtailment="action")
    simulation.begin([seeding.np_random(seed + i)[0] for i in range(n)], options)
    return simulation


def test_without_cars_and_chance_they_are_exact():
    """The chart of the exact recursion over active power, and its cheapest powers."""
    scenario = HouseholdScenario.create(car=False, uncertainty="none", split="train")
    homes = begin(scenario, 6, house=np.arange(6), day=150)
    plans = [
        cost_to_go(
            homes.house(i), homes.forecast_series(i),
            terminal_eur_per_kwh=float(homes.episodes.terminal_price[i]),
        )
        for i in range(6)
    ]  # fmt: skip
    menus, rng = QuickMenus(homes), np.random.default_rng(0)
    while not homes.done:
        offers = menus.offer()
        power = np.empty(6)
        for i, (plan, offer) in enumerate(zip(plans, offers, strict=True)):
            load, pv = homes.now[:2, i]
            full = plan.chart(homes.t, homes.soc_kwh[i], load_kw=load, pv_kw=pv)
            x = full.power_kw
            at = np.concatenate([x, rng.uniform(x[0], x[-1], 5)])
            np.testing.assert_allclose(offer.cost(at), full.cost(at), rtol=0, atol=1e-8)
            power[i] = rng.uniform(x[0], x[-1])
        battery, car, used = menus.follow(power)
        share = [
            (g - low) / (high - low) if high > low + 1e-9 else 1.0
            for g, (low, high) in zip(
                used,
                (
                    d.pv_range(homes.episodes.rows[i], battery[i], homes.now[0, i], 0.0,
                               homes.now[1, i])
                    for i in range(6)
                ),
                strict=True,
            )
        ]  # fmt: skip
        outcome = homes.step(homes.action(battery, np.clip(share, 0.0, 1.0), car_kw=car))
        np.testing.assert_allclose(outcome[:, d.METER_KW], power, rtol=0, atol=1e-8)


@pytest.mark.parametrize("seed", range(8))
def test_charging_cost_is_the_least(seed):
    """Against a linear program over what the car draws from sun and grid in each period."""
    rng = np.random.default_rng(seed)
    house = np.zeros(d.HOUSE_COLUMNS)
    house[[d.CAR_POWER, d.CAR_ETA_C, d.CAR_MISSED, d.UNSERVED]] = 7.0, 0.9, 0.6, 3.0
    T, t = 24, int(rng.integers(0, 8))
    leaves, need = int(rng.integers(t + 1, T + 1)), rng.uniform(1.0, 20.0)
    visit = np.array([0.0, leaves, 0.5, need, max(need, rng.uniform(0.0, 25.0))])
    ahead = np.stack(
        [
            rng.uniform(0, 3, T),
            rng.uniform(0, 9, T),
            rng.uniform(0.1, 0.9, T),
            rng.uniform(0, 0.1, T),
        ]
    )
    cost = charging_cost(house, visit, t, ahead)
    later = range(t + 1, leaves)
    most = 7.0 * DT_H
    sun = [min(max(ahead[1, k] - ahead[0, k], 0.0) * DT_H, most) for k in later]
    price = [*(ahead[3, k] for k in later), *(ahead[2, k] for k in later), 0.6]
    bounds = [*((0.0, s) for s in sun), *((0.0, most - s) for s in sun), (0.0, None)]
    fills = np.array([*[0.9] * (2 * len(sun)), 1.0])
    for stored in rng.uniform(0.0, visit[d.TARGET_KWH], 12):
        missing = max(need - stored, 0.0)
        found = linprog(price, -fills[None], [-missing], bounds=bounds)
        assert float(cost(stored)) == pytest.approx(found.fun, abs=1e-7)


@pytest.fixture(scope="module")
def known():
    """The stress feeder on a winter day without chance."""
    return FeederScenario.create("stress", draws=(0,), days=[20], uncertainty="none")


def played(policy, scenario):
    simulation = FeederSimulation(scenario, 1, observation="compact", **policy.settings)
    simulation.begin([seeding.np_random(1)[0]])
    policy.begin(simulation)
    while not simulation.done:
        simulation.step(policy.act(simulation))
    return dict(zip(FEEDER_NAMES, simulation.episode[0].tolist(), strict=True))


def cleared(scenario, **options):
    env = FeederOperatorEnv(scenario=scenario, **options)
    env.reset(seed=1)
    while True:
        *_, info = env.step(env.action_of(env.cleared.power_kw))
        if "totals" in info:
            return info["totals"]


def test_cleared_within_limits_they_beat_houses_nobody_controls(known):
    quick, blind = cleared(known), played(unmanaged(), known)
    assert quick["violation_h"] == 0.0 < blind["violation_h"]
    assert quick["cost_eur"] < 0.5 * blind["cost_eur"]


def test_they_come_close_to_certified_menus():
    """Four houses behind a transformer that does not carry their cars at once."""
    net = pandapower.create_empty_network()
    high, at = pandapower.create_bus(net, 20.0), pandapower.create_bus(net, 0.4)
    pandapower.create_ext_grid(net, high)
    pandapower.create_transformer(net, high, at, "0.25 MVA 20/0.4 kV")
    net.trafo["sn_mva"] = 0.02
    for _ in range(4):
        bus = pandapower.create_bus(net, 0.4)
        pandapower.create_line(net, at, bus, 0.03, "NAYY 4x150 SE")
        at = bus
    street = FeederScenario.from_pandapower(
        net, buses=[2, 3, 4, 5], scenario="winter_evening", days=[20], uncertainty="none"
    )
    certified, blind = played(Menus(), street), played(unmanaged(), street)
    quick = cleared(street, n_vertices=32)
    saved = blind["cost_eur"] - certified["cost_eur"]
    assert saved > 1.0
    assert blind["cost_eur"] - quick["cost_eur"] > 0.95 * saved


def test_a_plan_depends_on_the_day_alone(known):
    """Made anew in the middle of a day it offers the same menus."""
    homes = begin(known.homes, known.n_houses, house=np.arange(known.n_houses), day=20)
    menus = QuickMenus(homes)
    for _ in range(60):
        menus.offer()
        homes.step(homes.action(np.zeros(homes.n)))
    assert menus.offer() == QuickMenus(homes).offer()


def test_odd_prices_do_not_stop_them():
    """Negative prices would make losses pay; the plan counts them as none."""
    scenario = HouseholdScenario.create(car=False, uncertainty="none")
    prices = scenario.prices
    cheap = replace(
        prices,
        import_eur_per_kwh=prices.import_eur_per_kwh - 0.35,
        export_eur_per_kwh=prices.export_eur_per_kwh - 0.45,
    )
    homes = begin(
        replace(scenario, prices=cheap, uncertainty=Uncertainty.named("none")), 4,
        house=np.arange(4), day=150,
    )  # fmt: skip
    assert (homes.episodes.forecast[:, 2] < 0.0).any()
    menus = QuickMenus(homes)
    while not homes.done:
        offers = menus.offer()
        best = np.array([menu.best_power_kw for menu in offers])
        battery, car, _ = menus.follow(best)
        homes.step(homes.action(battery, 1.0, car_kw=car))
