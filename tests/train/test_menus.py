"""Training of learned menus: targets against exact solutions, torch against NumPy, runs."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from flexgym.baselines.household.cost_to_go import known_day
from flexgym.envs.errors import RunError, ScenarioError
from flexgym.envs.household.dynamics import CAPACITY
from flexgym.envs.household.params import Series
from flexgym.envs.household.scenario import HouseholdScenario
from flexgym.evaluate.household import evaluate
from flexgym.policies import menu_tables
from flexgym.policies.learned_menus import LearnedMenus
from flexgym.policies.menu_inputs import CELLS, INPUTS, LEVELS, STEPS, standing
from flexgym.train import menu_lessons, menu_targets
from flexgym.train.menu_learner import Learner, sorted_prices, sorted_slopes
from flexgym.train.menu_lessons import Lessons, Memory, backed, draw, experience, solutions
from flexgym.train.menu_settings import MenuSettings, read_settings
from flexgym.train.menus import train
from flexgym.train.seeds import train_seeds

T = 96


@pytest.fixture(scope="module", params=[True, False], ids=["car", "no car"])
def scenario(request):
    return HouseholdScenario.create(split="train", car=request.param)


def tables_of(scenario, n=3, seed=0):
    episodes = draw(scenario, n, np.random.default_rng(seed))
    rows, visits = standing(episodes.rows), np.ascontiguousarray(episodes.visits)
    inputs = np.zeros((T - 1, n, INPUTS), np.float32)
    none = np.zeros(T, dtype=bool)
    tables = backed(Learner((4,), 0, 0.01).network(), rows, visits, inputs, episodes, none)
    return episodes, rows, visits, tables


def exact_day(scenario, episodes, i):
    house, day = int(episodes.house[i]), int(episodes.day[i])
    series = Series(*episodes.exogenous[:, :, i].T, sessions=scenario.sessions_of(house, day))
    return known_day(scenario.houses[house], series, float(episodes.terminal_price[i]))


def constant(episodes, rows, i):
    """By what tables lie above the cost-to-go: they are zero half-way up at the day's end."""
    return episodes.terminal_price[i] * rows[i, CAPACITY] / 2.0


def seen(scenario):
    """Lessons of two days in hindsight."""
    network = Learner((4,), 0, 0.01).network()
    return experience(scenario, 2, np.random.default_rng(0), network, T)


def visit_of(visits, t, i):
    return visits[t, :, i].copy() if visits.shape[2] else np.array([np.inf, np.inf, 0, 0, 0.0])


def test_a_day_in_hindsight_is_the_exact_known_day(scenario):
    """Chords of 24 cells lie above the exact cost-to-go, and close to it."""
    episodes, rows, visits, tables = tables_of(scenario)
    levels = np.empty(LEVELS)
    weights = np.ones(1)
    for i in range(3):
        exact = exact_day(scenario, episodes, i)
        grid = np.linspace(0.0, rows[i, CAPACITY], CELLS + 1)
        for t in (94, 90, 60, 20, 2):
            visit = visit_of(visits, t, i)
            first, count = menu_tables.table_levels(rows[i], visit, t, levels)
            for k in range(first, first + count):
                car = levels[k]
                if count == 1 and visits.shape[2]:
                    later = visits[t + 1, :, i]
                    car = later[2] if later[0] <= t + 1 < later[1] else 0.0
                wanted = exact.value(t + 1, grid, float(car), weights)
                above = tables[t, i, k] - constant(episodes, rows, i) - wanted
                assert above.min() > -1e-6
                assert above.max() < 0.1
                assert np.ptp(above) < 0.06


def test_one_step_back_is_the_exact_bellman_step(scenario):
    """From the end of the day, where the cost-to-go is a line, no chord adds an error."""
    episodes, rows, visits, _ = tables_of(scenario, seed=3)
    inputs, always = np.zeros((T - 1, 3, INPUTS), np.float32), np.ones(T, dtype=bool)
    tables = backed(Learner((4,), 0, 0.01).network(), rows, visits, inputs, episodes, always)
    levels = np.empty(LEVELS)
    t = T - 2
    for i in range(3):
        exact = exact_day(scenario, episodes, i)
        grid = np.linspace(0.0, rows[i, CAPACITY], CELLS + 1)
        visit = visit_of(visits, t, i)
        first, count = menu_tables.table_levels(rows[i], visit, t, levels)
        for k in range(first, first + count):
            wanted = exact.value(t + 1, grid, float(levels[k]), np.ones(1))
            got = tables[t, i, k] - constant(episodes, rows, i)
            np.testing.assert_allclose(got, wanted, atol=1e-8)


def test_a_step_from_the_tables_of_hindsight_gives_them_back(scenario):
    """Pushing a day's own tables through what happened is the recursion itself."""
    episodes, rows, visits, tables = tables_of(scenario, seed=5)
    ends, later = np.zeros((LEVELS, CELLS + 1)), np.zeros(LEVELS)
    out, levels = np.zeros((LEVELS, CELLS + 1)), np.zeros(LEVELS)
    for t in (93, 70, 40, 5):
        for i in range(3):
            along = np.stack([visit_of(visits, k, i) for k in range(T)])
            ends[:] = tables[t + 1, i]
            count = menu_tables.close(rows[i], along[t + 1], t + 1, ends, later)
            now = episodes.exogenous[t + 1, :, i].copy()
            first, several = menu_targets.step_back(
                rows[i], along, t, now, ends[:count], later[:count], out, levels
            )
            used = slice(first, first + several)
            np.testing.assert_allclose(out[used], tables[t, i, used], atol=1e-9)


def test_over_a_horizon_steps_begin_with_the_network(scenario):
    """Fresh tables stand where they should: a known network's answer, pushed back h periods."""
    episodes, rows, visits, tables = tables_of(scenario, seed=6)
    network = Learner((4,), 0, 0.01).network()
    inputs = np.zeros((T - 1, 3, INPUTS), np.float32)
    fresh = np.zeros(T, dtype=bool)
    fresh[50] = True
    mixed = backed(network, rows, visits, inputs, episodes, fresh)
    always = backed(network, rows, visits, inputs, episodes, np.ones(T, dtype=bool))
    np.testing.assert_array_equal(mixed[50:], tables[50:])
    np.testing.assert_array_equal(mixed[49], always[49])
    assert not np.allclose(mixed[48], always[48])
    assert not np.allclose(mixed[48], tables[48])


@pytest.mark.parametrize("teacher", ["solutions", 1, 7, 96])
def test_lessons_are_of_the_shapes_that_the_memory_keeps(scenario, teacher):
    learner, memory = Learner((4,), 0, 0.01), Memory(150)
    rng = np.random.default_rng(0)
    if teacher == "solutions":
        lessons = solutions(scenario, 2, rng)
    else:
        lessons = experience(scenario, 2, rng, learner.network(), teacher)
    assert np.isfinite(lessons.inputs).all()
    assert np.isfinite(lessons.tables).all()
    assert (np.diff(lessons.slopes, axis=1) > -1e-4).all()
    assert (lessons.sizes > 0.0).all()
    assert bool(len(lessons.tables)) == scenario.has_cars
    memory.add(lessons)
    memory.add(lessons)
    assert memory.counts[0] == min(2 * len(lessons.inputs), 150)
    inputs, slopes = memory.sample(0, 9, np.random.default_rng(1))
    assert inputs.shape == (9, INPUTS)
    assert slopes.shape == (9, CELLS)


def test_the_latest_lessons_replace_the_oldest():
    def lessons(first, n):
        inputs = np.full((n, INPUTS), 0.0, np.float32)
        inputs[:, 0] = np.arange(first, first + n)
        none = np.empty((0, STEPS + 1, CELLS + 1), np.float32)
        return Lessons(
            inputs, np.zeros((n, CELLS), np.float32), inputs[:0], none,
            np.empty((0, 2), np.float32),
        )  # fmt: skip

    memory = Memory(10)
    for first, n in ((0, 4), (4, 9), (13, 25), (38, 3)):
        memory.add(lessons(first, n))
    assert sorted(memory.inputs()[:, 0]) == list(range(31, 41))


def test_numpy_and_torch_agree(scenario):
    lessons = seen(scenario)
    memory = Memory(1000)
    memory.add(lessons)
    learner = Learner((16, 8), 1, 0.5)
    learner.standardise(memory)
    for _ in range(3):
        learner.update(memory, 64, 1e-2, np.random.default_rng(2))
    now = learner.network(averaged=False)
    inputs = torch.from_numpy(memory.inputs())
    with torch.no_grad():
        battery = sorted_slopes(inputs, learner._raw("battery", inputs)).numpy()
        raw = learner._raw("both", inputs)
        split = (STEPS + 1) * CELLS
        slopes = sorted_slopes(inputs[:, None], raw[:, :split].view(-1, STEPS + 1, CELLS)).numpy()
        prices = sorted_prices(inputs, raw[:, split:]).numpy()
    np.testing.assert_allclose(now.battery(inputs.numpy()), 0.1 * battery, atol=1e-5)
    got = now.both(inputs.numpy())
    np.testing.assert_allclose(got[0], 0.1 * slopes, atol=1e-5)
    np.testing.assert_allclose(got[1], 0.1 * prices, atol=1e-5)


def test_one_house_day_is_learned_by_heart(scenario):
    """A network that is shown one solved day again and again reproduces its slopes."""
    lessons = solutions(scenario, 1, np.random.default_rng(4))
    memory, learner = Memory(400), Learner((64, 64), 0, 0.05)
    memory.add(lessons)
    learner.standardise(memory)
    first = learner.update(memory, 256, 3e-3, np.random.default_rng(0))
    rng = np.random.default_rng(0)
    for k in range(400):
        last = learner.update(memory, 256, 3e-3 * (1.0 - k / 401), rng)
    for before, after in zip(first, last, strict=True):
        assert after <= 0.1 * before
    error = learner.network().battery(lessons.inputs) - lessons.slopes
    assert np.sqrt(np.square(error).mean()) < 0.004  # EUR/kWh


SMALL = {
    "worlds": [{"environment": "household", "car": False}],
    "phases": [
        {"teacher": "solutions", "house_days": 1, "share": 0.5},
        {"teacher": "experience", "horizon": 1, "house_days": 2, "share": 0.5},
    ],
    "hidden": [8],
    "updates": 12,
    "updates_per_draw": 3,
    "batch": 64,
    "learning_rate": 1e-3,
    "average": 0.1,
    "memory": 500,
}


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "small.yml"
    path.write_text(yaml.safe_dump(SMALL))
    return path


def test_a_best_network_is_remembered_however_the_run_ends(tmp_path, config, monkeypatch):
    from flexgym.train.menu_run import MenuRun

    def killed(self):
        raise KeyboardInterrupt

    folder = tmp_path / "seed-0"
    with monkeypatch.context() as patch:
        patch.setattr(MenuRun, "_turn", killed)
        with pytest.raises(KeyboardInterrupt):
            train(folder, config=config, updates=2, validation=2)
    best = json.loads((folder / "state.json").read_text())["best_score"]
    with (folder / "validation.csv").open(newline="") as stream:
        assert best == pytest.approx(float(next(csv.DictReader(stream))["score"]), abs=1e-3)
    assert (folder / "learner.safetensors").exists()
    # Seeds of menus are trained as those of everything else.
    options = {"config": config, "updates": 2, "resume": True}
    assert set(train_seeds("menus", tmp_path, 2, validation=2, **options)) == {0, 1}
    assert (tmp_path / "seed-1" / "best.safetensors").stat().st_mode & 0o044


def test_a_run_is_resumed_validated_and_evaluated(tmp_path, config):
    folder = tmp_path / "run"
    options = {"config": config, "validation": 4}
    reached = train(folder, updates=6, **options)
    assert {p.name for p in folder.iterdir()} >= {
        "best.safetensors", "last.safetensors", "learner.safetensors", "config.yaml", "state.json",
        "validation.csv", "tb", "day.png",
    }  # fmt: skip
    assert json.loads((folder / "state.json").read_text())["frames"] == 6
    with pytest.raises(RunError, match="already holds a run"):
        train(folder, **options)
    with pytest.raises(RunError, match="recipe distilled, but this command has recipe experience"):
        train(folder, recipe="experience", resume=True)
    with pytest.raises(RunError, match="seed 0, but this command has seed 1"):
        train(folder, seed=1, resume=True)
    with pytest.raises(RunError, match="validation 4, but this command has validation 2"):
        train(folder, resume=True, validation=2)
    assert train(folder, updates=12, resume=True) >= reached
    with (folder / "validation.csv").open(newline="") as stream:
        played = [int(row["updates"]) for row in csv.DictReader(stream)]
    assert played == sorted(played)
    assert played[-1] == 12
    # Over: nothing is trained any more.
    assert (
        train(folder, resume=True) == json.loads((folder / "state.json").read_text())["best_score"]
    )
    results = evaluate(
        tmp_path / "results", runs=[folder], policies=["mpc"], house_days=2, car=False
    )
    scores = {row["policy"]: row["score"]["mean"] for row in results["rows"]}
    assert 60.0 < scores["distilled menus"] < 110.0
    whole = (folder / "learner.safetensors").read_bytes()
    state = (folder / "state.json").read_text()
    (folder / "learner.safetensors").write_bytes(whole[:-9])
    with pytest.raises(RunError, match=r"cannot read the checkpoint .*learner.safetensors"):
        train(folder, updates=20, resume=True)
    (folder / "learner.safetensors").unlink()
    with pytest.raises(RunError, match="is missing after 12 frames"):
        train(folder, updates=20, resume=True)
    assert (folder / "state.json").read_text() == state


def test_a_learner_goes_on_exactly_where_it_stood(tmp_path):
    scenario = HouseholdScenario.create(split="train", car=False)
    memory = Memory(500)
    memory.add(seen(scenario))
    one = Learner((8,), 3, 0.1)
    one.standardise(memory)
    for k in range(3):
        one.update(memory, 32, 1e-2, np.random.default_rng(k))
    one.save(tmp_path / "learner.safetensors")
    other = Learner((8,), 4, 0.1)
    other.restore(tmp_path / "learner.safetensors")
    for learner in (one, other):
        for k in range(3, 5):
            learner.update(memory, 32, 1e-2, np.random.default_rng(k))
    assert one.updates == other.updates == 5
    for averaged in (True, False):
        a, b = one.network(averaged), other.network(averaged)
        for name in a.layers:
            for (w, x), (y, z) in zip(a.layers[name], b.layers[name], strict=True):
                np.testing.assert_array_equal(w, y)
                np.testing.assert_array_equal(x, z)
    with pytest.raises(RunError, match="of the same network"):
        Learner((9,), 4, 0.1).restore(tmp_path / "learner.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"worlds": []}, "worlds is"),
        ({"worlds": [{"environment": "moon"}]}, "expected an environment of household, feeder"),
        ({"worlds": [{"environment": "household", "split": "test"}]}, "has \\['split'\\]"),
        ({"phases": [{"teacher": "solutions", "house_days": 1, "share": 0.5}]}, "add up to 0.5"),
        ({"phases": [{"teacher": "nobody", "house_days": 1, "share": 1.0}]}, "teacher is 'nobody'"),
        ({"phases": [{"teacher": "experience", "house_days": 1, "share": 1.0}]}, "a phase is"),
        ({"hidden": []}, "hidden is"),
        ({"hidden": [0]}, "hidden is 0"),
        ({"batch": "many"}, "batch is 'many'"),
        ({"learning_rate": -1}, "learning_rate is -1"),
        ({"extra": 1}, "expected exactly the keys"),
    ],
)
def test_wrong_configurations_are_named(change, message):
    with pytest.raises(ScenarioError, match=message):
        MenuSettings.parse({**SMALL, **change})


def test_the_shipped_configurations_can_be_read():
    for recipe in ("distilled", "experience"):
        settings = MenuSettings.parse(read_settings(recipe))
        assert settings.phase(0.0).teacher == settings.phases[0].teacher
        assert settings.phase(1.0).teacher == settings.phases[-1].teacher
    # Experience alone asks no solver.
    assert all(phase.teacher != "solutions" for phase in settings.phases)
    with pytest.raises(ScenarioError, match="recipe is 'magic'"):
        read_settings("magic")


def test_experience_reads_no_probabilities(monkeypatch):
    """The teachers of experience work where transitions and chances cannot be read."""
    scenario = HouseholdScenario.create(split="train", car=False)
    sealed = SimpleNamespace(
        weather_factor=scenario.uncertainty.weather_factor,
        price_factor=scenario.uncertainty.price_factor,
    )
    episodes = draw(scenario, 2, np.random.default_rng(0))
    monkeypatch.setattr(menu_lessons, "draw", lambda *_: episodes)
    blind = SimpleNamespace(uncertainty=sealed)
    learner = Learner((4,), 0, 0.01)
    for horizon in (96, 8, 1):
        lessons = experience(blind, 2, np.random.default_rng(0), learner.network(), horizon)
        assert len(lessons.inputs) == 2 * (T - 1)


def test_a_trained_run_plays_as_its_network(tmp_path):
    learner = Learner((4,), 0, 0.01)
    learner.network().save(tmp_path / "best.safetensors")
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump(
            {
                "algorithm": "menus", "seed": 0, "hyperparameters": {}, "recipe": "experience",
                "environment": "x", "minutes": None, "prices": None,
            }
        )
    )  # fmt: skip
    policy = LearnedMenus.from_run(tmp_path)
    assert policy.algorithm == "experience menus"
    with pytest.raises(RunError, match="got no learned menu"):
        LearnedMenus.from_run(tmp_path, "last")
