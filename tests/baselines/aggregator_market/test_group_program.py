"""The day of a group against enumeration, a plain recursion, simulation and the reference."""

from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pytest

from flexgym.baselines.aggregator_market.bounds import fluid_bound
from flexgym.baselines.aggregator_market.group_certificate import exact_group_value
from flexgym.baselines.aggregator_market.group_problem import GroupProblem, hour_matrices
from flexgym.baselines.aggregator_market.group_program import GroupProgram, group_program
from flexgym.baselines.aggregator_market.group_rule import exact_rule_value
from flexgym.baselines.aggregator_market.group_tables import shipped_problems
from flexgym.envs.aggregator_market.dynamics import owed_h, settlement_eur
from flexgym.envs.aggregator_market.params import Day, Group, Herding, Tariffs
from flexgym.envs.errors import ScenarioError, StateError
from flexgym.envs.uncertainty import MarkovChain

DAY = shipped_problems()[0].day
ROLES = ("aggregator", "directive")


def problem_of(customers, role="aggregator", herding=None, day=DAY, tariffs=None):
    share = customers / 289
    return GroupProblem(
        day, herding or Herding(), tariffs or Tariffs(), Group(customers, share), role
    )


def program_of(problem, points=281):
    p = problem
    return group_program(p.day, p.herding, p.tariffs, p.group, p.role, points)


@cache
def solved(customers, role):
    """A problem and its table."""
    problem = problem_of(customers, role)
    return problem, program_of(problem)


def micro_matrix(field, customers, herding):
    """One attempt over all 2**N states, lumped afterwards: no birth-death chain is assumed."""
    N = customers
    states = list(product((-1, 1), repeat=N))
    where = {s: i for i, s in enumerate(states)}
    pair = herding.coupling / (N - 1)

    def energy(s):
        bonds = sum(s[i] * s[j] for i in range(N) for j in range(i))
        return -pair * bonds - field * sum(s)

    step = np.zeros((len(states), len(states)))
    for s in states:
        for c in range(N):
            flipped = (*s[:c], -s[c], *s[c + 1 :])
            accepted = min(1.0, np.exp(-(energy(flipped) - energy(s)) / herding.temperature))
            step[where[s], where[flipped]] += accepted / N
            step[where[s], where[s]] += (1.0 - accepted) / N
    power = np.linalg.matrix_power(step, herding.sweeps * N)
    up = np.array([sum(c == 1 for c in s) for s in states])
    lumped = np.zeros((N + 1, N + 1))
    for n in range(N + 1):
        first = int(np.flatnonzero(up == n)[0])
        np.add.at(lumped[n], up, power[first])
    return lumped


@pytest.mark.parametrize("field", [-1.7, 0.0, 0.35])
def test_an_hour_of_sweeps_equals_the_enumeration_of_all_states(field):
    herding = Herding(temperature=2.3)
    got = hour_matrices(np.array([field]), 5, herding)[0]
    np.testing.assert_allclose(got, micro_matrix(field, 5, herding), atol=1e-13)


def test_sweeps_keep_the_distribution_of_boltzmann():
    herding = Herding()
    N, field = 12, 0.2
    problem = problem_of(N)
    total = 2 * np.arange(N + 1) - N
    pair = herding.coupling / (N - 1)
    energy = -pair * (total**2 - N) / 2 - field * total
    weight = problem.start * np.exp(-energy / herding.temperature)
    weight /= weight.sum()
    matrix = hour_matrices(np.array([field]), N, herding)[0]
    np.testing.assert_allclose(weight @ matrix, weight, rtol=1e-10)


def test_one_customer_has_no_neighbours():
    matrix = hour_matrices(np.array([0.0]), 1, Herding())[0]
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0)


def plain_optimum(problem):
    """The same problem as a plain recursion over whatever can happen."""
    p, N = problem, problem.group.customers
    mean = p.day.percent.mean()

    def field(option, owed):
        felt = owed_h(owed, mean, p.herding.most_owed_h)
        quote = option if p.role == "aggregator" else p.herding.shadow_price_eur_per_mwh
        directive = 0.0 if p.role == "aggregator" else option
        gap = quote - p.herding.shadow_price_eur_per_mwh
        return directive + p.herding.incentive * (gap - p.herding.rebound_eur_per_mwh_h * felt)

    @cache
    def chances(h):
        return hour_matrices(np.array([h]), N, p.herding)[0]

    @cache
    def value(t, n, owed, s):
        if t == 24:
            rule = (p.group.share, p.day.load_kw, p.tariffs.shortage_eur_per_mwh)
            return -settlement_eur(owed, *rule)
        price = p.day.rtem_eur_per_mwh[t] * p.day.price.factors[s]
        energy = p.group.share * p.day.load_kw * p.day.source_percent[t] / 1e5
        best = -np.inf
        for option in p.options:
            if p.role == "aggregator" and option > max(price / p.tariffs.profit_factor, 10) + 1e-9:
                continue
            total = 0.0
            for n2, chance in enumerate(chances(round(field(option, owed), 12))[n]):
                m = (2 * n2 - N) / N
                paid = price - option if p.role == "aggregator" else price
                total += chance * energy * paid * m
                if p.role == "directive":
                    cost = p.tariffs.directive_eur_per_mwh * abs(option)
                    total -= chance * energy * cost
                then = round(owed + p.day.source_percent[t] * m, 9)
                for s2, next_state in enumerate(p.day.price.transition[s]):
                    if next_state > 0:
                        total += chance * next_state * value(t + 1, n2, then, s2)
            best = max(best, total)
        return best

    return sum(problem.start[n] * value(0, n, 0.0, p.day.first_state) for n in range(N + 1))


@pytest.mark.parametrize("role", ROLES)
def test_the_integer_program_equals_a_plain_recursion(role):
    chain = MarkovChain((0.8, 1.25), ((0.7, 0.3), (0.4, 0.6)))
    day = Day((50, 100) * 12, DAY.rtem_eur_per_mwh, price=chain)
    tariffs = Tariffs(quote_step_eur_per_mwh=9.0, directive_step=1.5)
    herding = Herding(temperature=1.5, coupling=1.0, most_owed_h=3.04)
    problem = problem_of(2, role, herding, day, tariffs)
    optimum = plain_optimum(problem)
    assert exact_group_value(problem) == pytest.approx(optimum, rel=1e-9)
    program = program_of(problem, 1001)
    played = exact_rule_value(problem, program.act)
    assert played.value_eur <= optimum + 1e-9
    assert program.value_eur == pytest.approx(optimum, abs=0.01)


def test_the_table_comes_close_to_the_exact_program_of_33_customers():
    problem, program = solved(33, "aggregator")
    exact = exact_group_value(problem, np.float32)
    assert exact == pytest.approx(21.196, abs=0.01)
    assert program.value_eur == pytest.approx(exact, abs=0.005)
    played = exact_rule_value(problem, program.act).value_eur
    assert exact - 0.005 <= played <= exact + 1e-4
    coarse = program_of(problem, 71).value_eur
    assert coarse == pytest.approx(exact, abs=0.05)


def simulate(problem, act, days, seed):
    """Rewards of drawn days; consumers are drawn one attempt after the other."""
    p, N, rng = problem, problem.group.customers, np.random.default_rng(seed)
    c = p.herding
    up = rng.binomial(N, 0.5, days)
    owed, state, reward = np.zeros(days), np.full(days, p.day.first_state), np.zeros(days)
    rising = np.cumsum(p.day.price.matrix, axis=1)
    for t in range(24):
        wish = act(t, up, owed, state)
        quote = wish if p.role == "aggregator" else c.shadow_price_eur_per_mwh
        directive = 0.0 if p.role == "aggregator" else wish
        felt = np.clip(np.rint(10 * owed / p.day.percent.mean()) / 10, -14, 14)
        gap = quote - c.shadow_price_eur_per_mwh - c.rebound_eur_per_mwh_h * felt
        h = directive + c.incentive * gap
        for _ in range(c.sweeps * N):
            spin = np.where(rng.random(days) < up / N, 1, -1)
            others = 2 * up - N - spin
            cost = 2 * spin * (c.coupling / (N - 1) * others + h)
            flips = rng.random(days) < np.exp(-np.maximum(cost, 0) / c.temperature)
            up = up - spin * flips
        m = (2 * up - N) / N
        energy = p.group.share * p.day.load_kw * p.day.source_percent[t] / 1e5
        price = p.day.rtem[t, state]
        if p.role == "aggregator":
            reward += energy * (price - quote) * m
        else:
            reward += energy * (price * m - p.tariffs.directive_eur_per_mwh * np.abs(wish))
        owed += p.day.source_percent[t] * m
        state = (rng.random((days, 1)) >= rising[state, :-1]).sum(axis=1)
    energy = p.group.share * p.day.load_kw * np.maximum(owed, 0.0) / 1e5
    return reward - p.tariffs.shortage_eur_per_mwh * energy


@pytest.mark.parametrize("role", ROLES)
def test_simulated_days_agree_with_the_exact_value_of_the_policy(role):
    problem, program = solved(33, role)
    expected = exact_rule_value(problem, program.act)
    drawn = simulate(problem, program.act, 4000, seed=3)
    half = 2.576 * drawn.std(ddof=1) / np.sqrt(len(drawn))
    assert half < 0.03 * abs(expected.value_eur) + 0.2
    assert abs(drawn.mean() - expected.value_eur) <= half
    assert expected.dropped < 1e-9
    paid = expected.customers_eur if role == "aggregator" else expected.directive_eur
    total = expected.market_eur - paid - expected.settlement_eur
    assert expected.value_eur == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("role", ROLES)
def test_no_group_beats_the_fluid_bound(role):
    problem, program = solved(33, role)
    assert program.value_eur < fluid_bound(DAY, Tariffs(), problem.group.share)


def test_quotes_stay_within_what_may_be_quoted():
    _, program = solved(33, "aggregator")
    state = np.arange(3)[:, None, None]
    owed = np.linspace(-2000.0, 2000.0, 101)
    for t in range(24):
        quote = program.act(t, np.arange(34)[:, None], owed, state)
        cap = np.maximum(DAY.rtem[t] / 1.10, 10.0)[:, None, None]
        assert (quote <= cap + 1e-9).all()
        assert (quote >= 10.0).all()
        np.testing.assert_allclose(quote % 2.0, 0.0, atol=1e-9)


def test_a_table_survives_its_file(tmp_path):
    _, program = solved(33, "directive")
    program.save(tmp_path / "table.npz")
    again = GroupProgram.load(tmp_path / "table.npz")
    np.testing.assert_array_equal(again.choice, program.choice)
    np.testing.assert_array_equal(again.options, program.options)
    np.testing.assert_array_equal(again.owed_percent, program.owed_percent)
    assert (again.role, again.value_eur) == (program.role, program.value_eur)
    assert again.customers == 33
    assert (tmp_path / "table.npz").stat().st_size < 60_000


@pytest.mark.parametrize(
    ("t", "up", "state", "named"),
    [(24, 0, 0, "t has"), (-1, 0, 0, "t has"), (0, 34, 0, "up has"), (0, 0, 3, "price_state")],
)
def test_states_that_do_not_exist_are_refused(t, up, state, named):
    _, program = solved(33, "aggregator")
    with pytest.raises(StateError, match=named):
        program.act(t, np.array([up]), np.array([0.0]), np.array([state]))


def test_bad_requests_are_refused():
    with pytest.raises(ScenarioError, match="role"):
        problem_of(5, "bus")
    for points in (1, 2, 70):
        with pytest.raises(ScenarioError, match="points"):
            program_of(problem_of(5), points)
    fine = replace(Tariffs(), quote_step_eur_per_mwh=0.2)
    with pytest.raises(ScenarioError, match="larger step"):
        program_of(problem_of(5, tariffs=fine))


def test_a_kept_table_is_read_back_and_a_torn_one_solved_anew(tmp_path, monkeypatch):
    from flexgym.baselines.aggregator_market import group_tables
    from flexgym.envs.aggregator_market.params import Day, Group, Herding, Tariffs

    day = Day((50,) * 24, (40.0,) * 24)
    problem = group_tables.GroupProblem(
        day, Herding(temperature=4.0), Tariffs(), Group(3, 0.1), "aggregator"
    )
    first = group_tables.kept_program(problem, tmp_path, 21)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for content in (whole, whole[: len(whole) // 2], b""):
        path.write_bytes(content)
        again = group_tables.kept_program(problem, tmp_path, 21)
        np.testing.assert_array_equal(again.choice, first.choice)
        assert path.read_bytes() == whole
    monkeypatch.setattr(group_tables, "sources_digest", lambda *places: "0" * 64)
    group_tables.kept_program(problem, tmp_path, 21)
    assert len(list(tmp_path.iterdir())) == 2
