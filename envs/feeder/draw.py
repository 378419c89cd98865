"""How episodes of feeders are drawn: uniform numbers in, houses, weather, prices and noise out.

An episode takes uniform numbers for: draw of the houses, day, state of charge of each house,
period by period weather and price of the feeder; and, in 16 bits, the noise of each house's
consumption.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from flexgym.envs.charts.capability import capability
from flexgym.envs.compiled import compiled
from flexgym.envs.data.calendar import START_QUARTER
from flexgym.envs.feeder import lanes
from flexgym.envs.feeder.coupling import Ints, World
from flexgym.envs.feeder.dynamics import Group
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.envs.grid import Network
from flexgym.envs.household.dynamics import (
    ARRIVAL,
    CAPACITY,
    CAR_ETA_C,
    CAR_ETA_D,
    CAR_POWER,
    DEPARTURE,
    ETA_C,
    ETA_D,
    RETENTION,
    check_soc,
)
from flexgym.envs.household.params import DT_H, STEPS_PER_DAY, Floats
from flexgym.envs.household.scenario import TERMINAL_SHARE
from flexgym.envs.uncertainty import pick, tables

T = STEPS_PER_DAY
_SIXTY_FOUR_BITS = (
    np.random.PCG64, np.random.PCG64DXSM, np.random.SFC64, np.random.Philox,
)  # fmt: skip


def numbers(houses: int) -> tuple[int, int]:
    """Uniform numbers an episode takes: of the feeder (float64), of the noise (16 bits)."""
    return 2 + houses + 2 * T, houses * T


def world_of(scenario: FeederScenario) -> World:
    """The scenario as the compiled functions read it."""
    network, homes = scenario.network, scenario.homes
    tree = network.tree
    is_line = np.zeros(len(tree.element_node), dtype=np.bool_)
    is_line[network.line_element] = True
    costs = scenario.costs
    prices = (costs.loss_eur_per_kwh, costs.voltage_eur_per_pu_h, costs.overload_eur_per_kwh)
    chains = homes.uncertainty
    buses = np.unique(network.bus_node)
    loads = homes.year[:-3]
    nodes = network.bus_node[scenario.house_bus].astype(np.int64)
    return World(
        tree=tree,
        slack_pu=float(network.slack_pu),
        house_node=nodes,
        shares_node=~np.isin(np.arange(len(nodes)), np.unique(nodes, return_index=True)[1]),
        bus_node=buses[buses > 0].astype(np.int64),
        rating_kva=ratings_kva(network),
        is_line=is_line,
        band=np.array(scenario.band_pu),
        costs=np.array(prices),
        # A house that lives later than its profile wraps around the end of the year.
        year=np.ascontiguousarray(np.hstack([loads, loads[:, :T]]).ravel()),
        sun=homes.year[-3].copy(),
        buy=homes.year[-2].copy(),
        sell=homes.year[-1].copy(),
        weather=chains.weather_factor,
        price=chains.price_factor,
        visits=homes.visit_table,
    )


def ratings_kva(network: Network) -> Floats:
    """Rating of each line and transformer at nominal voltage, shape (elements,), kVA."""
    tree = network.tree
    kv = np.zeros(len(tree.parent))
    kv[network.bus_node] = network.vn_kv
    for node in np.flatnonzero(kv == 0.0):  # the open end of a line
        kv[node] = kv[tree.parent[node]]
    rating = np.empty(len(tree.element_node))
    line = network.line_element
    rating[line] = math.sqrt(3.0) * kv[tree.element_node[line]] * 1e3 * network.line_limit_ka
    rating[network.trafo_element] = network.trafo_rating_kva
    return rating


def house_pool(scenario: FeederScenario) -> Floats:
    """Numbers of every house of the pool in the order of the lanes' rows, shape (pool, ROWS)."""
    homes = scenario.homes
    pool = np.zeros((len(homes.houses), lanes.ROWS))
    pool[:, lanes.HOUSE : lanes.HOUSE + homes.rows.shape[1]] = homes.rows
    pool[:, lanes.LOAD_KWH] = homes.load_kwh
    for row, house in zip(pool, homes.houses, strict=True):
        row[lanes.TAN_PHI] = house.load.tan_phi
        row[lanes.HYBRID] = house.inverter == "hybrid"
        limits = capability(house)
        row[lanes.PV_KVA], row[lanes.PV_TAN_PHI] = limits.kva, limits.tan_phi
        row[lanes.BATTERY_KVA] = limits.battery_kva or 0.0
    return pool


class Draw:
    """Draws episodes into the groups of a batch.

    Args:
        scenario: Grid, houses and days.
        world: The scenario as compiled functions read it.
        batch: What is filled.
        n: Number of feeders.
    """

    def __init__(self, scenario: FeederScenario, world: World, batch: Group, n: int) -> None:
        self._scenario, self._world, self._batch, self._n = scenario, world, batch, n
        self._pool = house_pool(scenario)
        self._shape = scenario.homes.load_shape
        weather, price, (factors, shares) = tables(scenario.homes.uncertainty)
        self._chains, self._factors = (
            (weather, price),
            (tuple(factors.tolist()), tuple(shares.tolist())),
        )
        size = batch.first.shape[1]
        of_feeder, of_noise = numbers(scenario.n_houses)
        self._uniform = np.zeros((size, of_feeder))
        self._noise = np.zeros((size, of_noise), dtype=np.uint16)

    def __call__(
        self,
        rngs: Sequence[np.random.Generator],
        draw: Ints | None,
        day: Ints | None,
        soc_kwh: Floats | None,
    ) -> tuple[Ints, Ints]:
        """Draw an episode for each feeder; see `FeederSimulation.begin`.

        Returns:
            Draw of the houses and day of each feeder, both shape (n,).
        """
        scenario, batch, homes = self._scenario, self._batch, self._scenario.homes
        count, size = scenario.n_houses, batch.first.shape[1]
        uniform = self._uniform
        draw = np.full(self._n, -1) if draw is None else draw.copy()
        day = np.full(self._n, -1) if day is None else day.copy()
        for g in range(len(batch.first)):
            part = slice(g * size, min((g + 1) * size, self._n))
            used = part.stop - part.start
            for i, rng in enumerate(rngs[part]):
                rng.random(out=uniform[i])
                self._noise[i] = _sixteen_bits(rng, self._noise.shape[1])
            drawn = (uniform[:used, 0] * scenario.draws).astype(np.int64)
            draw[part] = np.where(draw[part] < 0, drawn, draw[part])
            drawn = homes.days[(uniform[:used, 1] * len(homes.days)).astype(np.int64)]
            day[part] = np.where(day[part] < 0, drawn, day[part])
            home = np.zeros((count, size), dtype=np.int64)
            home[:, :used] = draw[part] * count + np.arange(count)[:, None]
            batch.home[g] = home.ravel()
            # Feeders that only fill up the group play the first one's day.
            batch.day[g] = day[part.start]
            batch.day[g, :used] = day[part]
            batch.first[g] = batch.day[g] * T + START_QUARTER
            soc = self._soc_kwh(home, used, None if soc_kwh is None else soc_kwh[part])
            mean = homes.mean_price[batch.day[g]]
            batch.even[g] = TERMINAL_SHARE * mean
            place_houses(count, self._pool, mean, soc, batch.home[g], batch.houses[g])
            walk(uniform, count, *self._chains, batch.state[g])
            realise(
                self._world, self._shape, self._factors, batch.first[g], batch.state[g],
                self._noise, batch.home[g], batch.houses[g], batch.shared[g], batch.load[g],
            )  # fmt: skip
        return draw, day

    def _soc_kwh(self, home: Ints, used: int, given: Floats | None) -> Floats:
        """States of charge of a group's houses, shape (H, G), kWh."""
        count = len(home)
        capacity = self._pool[home, lanes.HOUSE + CAPACITY]
        share = self._scenario.homes.initial_soc
        soc = (self._uniform[:, 2 : 2 + count].T if share is None else share) * capacity
        if given is not None:
            check_soc(given.T, capacity[:, :used])
            soc[:, :used] = given.T
        return soc


def _sixteen_bits(rng: np.random.Generator, count: int) -> np.ndarray:
    """Uniform numbers of 16 bits, shape (count,): those of ``rng.bytes``."""
    if isinstance(rng.bit_generator, _SIXTY_FOUR_BITS):
        # The same numbers, four times as fast.
        words = rng.bit_generator.random_raw(-(-count // 4)).astype("<u8")
        return words.view("<u2")[:count]
    return np.frombuffer(rng.bytes(2 * count), dtype="<u2")


@compiled
def place_houses(count, pool, mean_price, soc, home, w):
    """Write the numbers of a group's houses at the start of the day; lanes without one idle.

    Args:
        count: Houses on a feeder, H.
        pool: From `house_pool`.
        mean_price: Mean import price of each feeder's day, shape (G,), EUR/kWh.
        soc: State of charge, shape (H, G), kWh.
        home: Position of each house in the pool, shape (H * G,).
        w: Numbers of the houses, flat, overwritten.
    """
    size = len(mean_price)
    w[:] = 0.0
    for n in range(w.size // lanes.ROWS):
        block, lane = divmod(n, lanes.LANES)
        at = block * lanes.ROWS * lanes.LANES + lane
        w[at + (lanes.VISIT + ARRIVAL) * lanes.LANES] = np.inf
        w[at + (lanes.VISIT + DEPARTURE) * lanes.LANES] = np.inf
        if n >= count * size:
            for row in (ETA_C, ETA_D, RETENTION, CAR_ETA_C, CAR_ETA_D):
                w[at + row * lanes.LANES] = 1.0
            continue
        house = pool[home[n]]
        for row in range(lanes.VISIT):
            w[at + row * lanes.LANES] = house[row]
        for row in range(lanes.LOAD_KWH, lanes.PV_TAN_PHI + 1):
            w[at + row * lanes.LANES] = house[row]
        w[at + lanes.SOC * lanes.LANES] = soc[n // size, n % size]
        terminal = TERMINAL_SHARE * house[ETA_D] * mean_price[n % size]
        w[at + lanes.TERMINAL * lanes.LANES] = terminal
        w[at + lanes.PER_KWH * lanes.LANES] = 1.0 / max(house[CAPACITY], 0.1)
        charged = house[CAR_ETA_C] * max(house[CAR_POWER], 0.1) * DT_H
        w[at + lanes.CAR_PERIODS * lanes.LANES] = 1.0 / charged


@compiled
def walk(uniform, count, weather, price, state):
    """Markov states of a group's feeders, shape (T, G), from their uniform numbers."""
    n_price = len(price[0])
    for t in range(state.shape[0]):
        for i in range(state.shape[1]):
            one, two = uniform[i, 2 + count + 2 * t], uniform[i, 3 + count + 2 * t]
            if t == 0:
                w, p = pick(weather[1], one), pick(price[1], two)
            else:
                before = state[t - 1, i]
                w = pick(weather[2][before // n_price], one)
                p = pick(price[2][before % n_price], two)
            state[t, i] = w * n_price + p


@compiled
def realise(world, shape, noise_table, first, state, noise, home, w, shared, load):
    """What happens on a group's feeders: sun, weather and prices, and every house's load.

    Args:
        world: See `World`.
        shape: Profile and shift of each house of the pool, shape (pool, 2).
        noise_table: Load factors and their cumulated shares, tuples: the compiler then knows
            how many there are.
        first: Quarter-hour at which each feeder starts, shape (G,).
        state: Markov states, shape (T, G).
        noise: Uniform numbers in 65536ths, shape (G, H * T).
        home: Position of each house in the pool, shape (H * G,).
        w: Numbers of the houses, flat.
        shared: Sun, weather factor, import and export price, shape (T, 4, G), overwritten.
        load: By lane, shape (T, at least H * G), kW, overwritten.
    """
    T, size = state.shape
    length = len(world.sun)
    for t in range(T):
        for i in range(size):
            at = first[i] + t
            shared[t, 0, i] = world.sun[at]
            shared[t, 1, i] = world.weather[state[t, i]]
            shared[t, 2, i] = world.buy[at] * world.price[state[t, i]]
            shared[t, 3, i] = world.sell[at]
    factors, shares = noise_table
    drawn = np.empty((size, T))
    for h in range(len(home) // size):
        for i in range(size):
            profile, shift = shape[home[h * size + i]]
            begin = lanes.position(profile * (length + T) + (first[i] - shift) % length)
            own = lanes.position(h * T)
            kwh = w[lanes.place(h, size) + lanes.LOAD_KWH * lanes.LANES + i]
            for t in range(T):
                u, factor = (noise[i, own + t] + 0.5) / 65536.0, factors[0]
                for k in range(1, len(factors)):
                    factor = factors[k] if u >= shares[k - 1] else factor
                drawn[i, t] = kwh * world.year[begin + t] * factor
        for t in range(T):
            for i in range(size):
                load[t, lanes.position(h * size) + i] = drawn[i, t]
