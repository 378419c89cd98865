"""From training to a policy that ships, plays in the benchmark, and says where it comes from."""

import json
import re
import shlex
import shutil

import numpy as np
import pytest
import yaml

from flexgym.cli import _parser, main
from flexgym.envs.aggregator_market.scenario import MarketScenario
from flexgym.envs.errors import RunError, ScenarioError
from flexgym.evaluate.benchmark.arena import Setting
from flexgym.evaluate.benchmark.cards import card_scores, check_cards, update_cards
from flexgym.evaluate.benchmark.command import benchmark
from flexgym.evaluate.benchmark.suite import chosen
from flexgym.evaluate.market_play import play_market
from flexgym.policies import zoo
from flexgym.policies.runs import read_run
from flexgym.train.card import HYPERPARAMETERS, model_card, training_command
from flexgym.train.finished import Trained, trained_seeds
from flexgym.train.run_folder import RunState
from flexgym.train.seeds import train_seeds
from flexgym.train.settings import CONFIG_FOLDER, read_hyperparameters
from flexgym.train.ship import ship
from flexgym.train.task import TASKS, task_class

CONTENT = {
    "flexgym/Aggregator-v0": {
        "n_envs": 4,
        "n_steps": 24,
        "batch_size": 96,
        "n_epochs": 1,
        "n_timesteps": 192,
        "policy": "MlpPolicy",
        "learning_rate": 1e-3,
        "policy_kwargs": "dict(net_arch=[8])",
    }
}
SETTING = Setting("aggregator", "loose", 64)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two seeds, trained for two rollouts each."""
    folder = tmp_path_factory.mktemp("trained")
    file = folder / "ppo.yml"
    file.write_text(yaml.safe_dump(CONTENT))
    options = {"scenario": "loose"}
    train_seeds("aggregator", folder / "runs", 2, config=file, validation=8, options=options)
    return folder / "runs"


@pytest.fixture
def runs(trained, tmp_path):
    """A copy of them to change."""
    return shutil.copytree(trained, tmp_path / "runs")


@pytest.fixture(scope="module")
def weights(trained, tmp_path_factory):
    """Where the policy ``tiny`` lies."""
    place = tmp_path_factory.mktemp("weights")
    assert main(["ship", "tiny", "--runs", str(trained), "--to", str(place)]) == 0
    return place


@pytest.fixture(scope="module")
def results(weights, tmp_path_factory):
    return benchmark(tmp_path_factory.mktemp("out"), settings=[SETTING], weights=weights)


def reconfigure(run, **changes):
    path = run / "config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))


def test_what_was_trained_is_what_ships(trained, weights):
    assert sorted(path.name for path in weights.iterdir()) == ["tiny"]
    about = zoo.shipped("tiny", weights)
    states = [json.loads((trained / f"seed-{k}" / "state.json").read_text()) for k in range(2)]
    scores = [state["best_score"] for state in states]
    assert [about.seeds[k].score for k in range(2)] == scores
    assert about.best == int(np.argmax(scores))
    assert about.settings == ("aggregator/loose",)
    for k in range(2):
        kept = {path.name: path.read_bytes() for path in about.seeds[k].folder.iterdir()}
        run = trained / f"seed-{k}"
        assert kept == {name: (run / name).read_bytes() for name in about.seeds[k].digests}
        assert set(kept) == {"config.yaml", "policy.safetensors"}


def test_it_plays_in_the_benchmark_as_when_loaded(weights, results):
    row = next(one for one in results["rows"] if one["policy"] == "tiny")
    assert (row["kind"], row["seeds"]) == ("learned", 2)
    scenario = MarketScenario.create("loose")
    costs = []
    for k in range(2):
        played = play_market(zoo.load("tiny", k, weights), scenario, SETTING.episodes, 0)
        costs.append(-played.earned_eur.sum(axis=1).mean())
    assert row["cost_eur"]["mean"] == pytest.approx(np.mean(costs), rel=1e-12)


def test_the_card_gets_its_scores(weights, results, tmp_path):
    place = tmp_path / "weights"
    shutil.copytree(weights, place)
    check_cards(place)
    update_cards(results, place)
    card = zoo.shipped("tiny", place).card
    shown = re.findall(r"<!-- score -->\n(.*?)\n<!-- end score -->", card, re.DOTALL)
    assert shown == [card_scores(results, "tiny")]
    row = next(one for one in results["rows"] if one["policy"] == "tiny")
    assert f"| aggregator/loose | 2 | {row['score']['mean']:.1f} |" in shown[0]
    assert results["date"] in shown[0]
    assert "no setting" in card_scores(results, "nobody")
    (place / "tiny" / "card.md").write_text("# Tiny\n")
    with pytest.raises(RunError, match="lacks the marks"):
        check_cards(place)
    # Playing is of no matter to what is loaded.
    zoo.load("tiny", folder=place)


def test_tampered_weights_do_not_take_part(weights, tmp_path):
    place = shutil.copytree(weights, tmp_path / "weights")
    (place / "tiny" / "seed-1" / "policy.safetensors").write_bytes(b"others")
    with pytest.raises(RunError, match="SHA-256"):
        benchmark(tmp_path / "out", settings=[SETTING], weights=place)


def test_names_are_of_one_policy(trained, weights, tmp_path):
    with pytest.raises(RunError, match=r"called tiny.*NAME=FOLDER"):
        benchmark(tmp_path / "out", settings=[SETTING], weights=weights, runs=[f"tiny={trained}"])


def test_the_command_of_the_card_trains_it(trained, weights, tmp_path):
    card = zoo.shipped("tiny", weights).card
    command = re.findall(r"```bash\n(.*?)\n```", card, re.DOTALL)[0]
    arguments = _parser().parse_args(shlex.split(command)[1:])
    assert arguments.target == "aggregator"
    assert (arguments.seed, arguments.seeds, arguments.validation) == (0, 2, 8)
    file = tmp_path / HYPERPARAMETERS
    assert arguments.config.name == file.name
    file.write_text(re.findall(r"```yaml\n(.*?)```", card, re.DOTALL)[0])
    config = read_run(trained / "seed-0")
    task = task_class(arguments.target)
    assert read_hyperparameters(arguments.algo, task, file) == config["hyperparameters"]
    assert task.options(arguments) == {"scenario": config["scenario"]}


def config_of(task, algorithm, **changes):
    kind = task_class(task)
    return {
        "environment": kind.env_id, "task": task, "algorithm": algorithm, "seed": 0,
        "minutes": None, "hyperparameters": read_hyperparameters(algorithm, kind, options=changes),
        "validation": kind.episodes, **changes,
    }  # fmt: skip


def finished(config, *seeds):
    return [Trained(None, {**config, "seed": k}, RunState(7, 60.0, 95.0)) for k in seeds]


@pytest.mark.parametrize("task", TASKS)
def test_usual_runs_have_short_commands(task):
    for algorithm in task_class(task).algorithms:
        if not (CONFIG_FOLDER / f"{algorithm}.yml").is_file():
            continue
        command = training_command("x", finished(config_of(task, algorithm), 0, 1, 2))
        assert command == f"flexgym train {task} --algo {algorithm} --seeds 3 --out runs/x"


def test_commands_say_what_is_unusual():
    config = config_of("household", "sac", car=False, prices=None, sessions=None, minutes=8.0)
    config["hyperparameters"] = {**config["hyperparameters"], "n_timesteps": 12}
    config["validation"] = 5
    command = training_command("x", finished(config, 3, 4))
    assert command == (
        "flexgym train household --algo sac --no-car --steps 12 --minutes 8 --validation 5 "
        "--seed 3 --seeds 2 --out runs/x"
    )
    arguments = _parser().parse_args(shlex.split(command)[1:])
    kind = task_class("household")
    assert kind.options(arguments) == {"car": False, "prices": None, "sessions": None}
    loop = training_command("x", finished(config, 3, 5))
    assert loop.startswith("for seed in 3 5; do\n")
    assert "--seed $seed --out runs/x/seed-$seed\n" in loop


def test_cards_of_menus_say_how_they_learn():
    from flexgym.train.menu_settings import read_settings

    config = {
        "environment": "flexgym/Household-v0", "algorithm": "menus", "recipe": "distilled",
        "minutes": None, "prices": None, "hyperparameters": read_settings("distilled"),
        "date": "2026-01-01", "versions": {"numpy": "2"}, "git": None,
    }  # fmt: skip
    seeds = finished(config, 0, 1)
    card = model_card("x", seeds, seeds[1], ["household/car"])
    assert "| 1 (best) | 95.00 | 7 | 1.0 |" in card
    assert "recipe *distilled*" in card
    assert "2026-01-01, numpy 2, commit unknown" in card
    line = next(x for x in card.splitlines() if "flexgym train" in x).strip()
    arguments = _parser().parse_args(shlex.split(line)[1:])
    assert (arguments.target, arguments.recipe, arguments.seeds) == ("menus", "distilled", 2)


def test_shipping_again_replaces_what_was_there(runs, tmp_path):
    place = ship("tiny", runs, ["aggregator/*"], tmp_path)
    shutil.rmtree(runs / "seed-1")
    assert ship("tiny", runs / "seed-0", to=tmp_path) == place
    assert sorted(path.name for path in place.iterdir()) == ["about.json", "card.md", "seed-0"]
    assert zoo.shipped("tiny", tmp_path).settings == ("aggregator/loose",)
    (place / "about.json").unlink()
    with pytest.raises(RunError, match="is no policy"):
        ship("tiny", runs, to=tmp_path)
    assert (place / "card.md").is_file()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"environment": "flexgym/Directive-v0"}, "environment"),
        ({"algorithm": "sac"}, "algorithm"),
        ({"scenario": "free"}, "scenario"),
        ({"hyperparameters": {**CONTENT["flexgym/Aggregator-v0"], "gamma": 0.5}}, "hyperparam"),
        ({"minutes": 3.0}, "minutes"),
    ],
)
def test_runs_of_several_commands_do_not_mix(runs, changes, told):
    reconfigure(runs / "seed-1", **changes)
    with pytest.raises(RunError, match=rf"seed-1 and .*seed-0 differ in .*{told}"):
        trained_seeds(runs)


def test_policies_play_in_settings_of_their_environment(runs, tmp_path):
    with pytest.raises(ScenarioError, match=r"trader/evening.*such as aggregator/loose"):
        ship("tiny", runs, ["trader/*"], tmp_path)
    with pytest.raises(ScenarioError, match="got 'trade/"):
        ship("tiny", runs, ["trade/*"], tmp_path)
    assert not (tmp_path / "tiny").exists()


def test_a_run_that_was_made_longer_says_so(runs, tmp_path):
    for seed in range(2):
        reconfigure(runs / f"seed-{seed}", lengths_before=["96 frames", "2 minutes"])
    card = (ship("tiny", runs, to=tmp_path) / "card.md").read_text()
    assert "first meant to take 96 frames, then 2 minutes;" in card
    assert "--lengths" not in card


def test_runs_of_code_that_nobody_has_are_told(runs, tmp_path, capsys):
    for seed in range(2):
        reconfigure(runs / f"seed-{seed}", git="0123abcd")
    ship("tiny", runs, to=tmp_path)
    assert "note" not in capsys.readouterr().err
    reconfigure(runs / "seed-1", git="0123abcd+changes")
    ship("tiny", runs, to=tmp_path)
    assert "changes that are in no commit (seed 1)" in capsys.readouterr().err


def test_the_best_seed_keeps_limits_if_any_does(runs, tmp_path):
    for seed, score, keeps in ((0, 95.0, False), (1, 91.0, True)):
        path = runs / f"seed-{seed}" / "state.json"
        state = json.loads(path.read_text())
        path.write_text(json.dumps({**state, "best_score": score, "best_keeps_limits": keeps}))
    ship("tiny", runs, ["aggregator/*"], tmp_path)
    assert zoo.shipped("tiny", tmp_path).best == 1


def test_runs_of_one_seed_do_not_mix(runs):
    reconfigure(runs / "seed-1", seed=0)
    with pytest.raises(RunError, match="both of seed 0"):
        trained_seeds(runs)
    # Which machine, and when, may differ.
    reconfigure(runs / "seed-1", seed=1, git="abc", date="2026-01-01", versions={})
    assert [one.seed for one in trained_seeds(runs)] == [0, 1]


def unfinished_state(run):
    path = run / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "frames": 96}))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (unfinished_state, "unfinished: 96 of 192"),
        (lambda run: (run / "policy.safetensors").unlink(), "weights missing"),
        (lambda run: (run / "config.yaml").unlink(), "holds no run"),
        (lambda run: (run / "state.json").unlink(), r"state\.json"),
        (lambda run: (run / "state.json").write_text('{"frames": "many"}'), r"state\.json"),
        (lambda run: reconfigure(run, prices="/home/me/prices.csv"), "/home/me/prices.csv"),
        (lambda run: reconfigure(run, sessions="C:\\cars.csv"), r"C:\\cars.csv"),
        (lambda run: reconfigure(run, hyperparameters={"n_timesteps": 1, "x": ["~/y"]}), "~/y"),
        (lambda run: (run / "config.yaml").write_text("!!python/name:os.system"), "cannot read"),
    ],
)
def test_runs_that_are_not_fit_are_named(runs, spoil, told, tmp_path):
    spoil(runs / "seed-1")
    with pytest.raises(RunError, match=told) as caught:
        ship("tiny", runs, to=tmp_path / "weights")
    assert "seed-1" in str(caught.value)
    assert not (tmp_path / "weights").exists()


def test_a_run_that_time_ended_is_finished(runs):
    for k in range(2):
        unfinished_state(runs / f"seed-{k}")
        path = runs / f"seed-{k}" / "state.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "used_s": 60.1}))
        reconfigure(runs / f"seed-{k}", minutes=1.0)
    assert len(trained_seeds(runs)) == 2


def test_damaged_weights_do_not_ship(runs, tmp_path):
    (runs / "seed-1" / "policy.safetensors").write_bytes(b"nothing")
    with pytest.raises(RunError, match="cannot read the policy"):
        ship("tiny", runs, to=tmp_path / "weights")
    assert list((tmp_path / "weights").iterdir()) == []


@pytest.mark.parametrize("name", ["Tiny", "a b", "../up", "", "a--b", "optimal/x"])
def test_bad_names_are_refused(trained, tmp_path, name):
    with pytest.raises(ScenarioError, match="name is"):
        ship(name, trained, to=tmp_path / "weights")


def test_bad_options_are_named(trained, tmp_path, capsys):
    arguments = ["ship", "tiny", "--to", str(tmp_path / "weights"), "--runs"]
    assert main([*arguments, str(tmp_path)]) == 2
    assert "no run in" in capsys.readouterr().err
    assert main([*arguments, str(trained), "--settings", "nowhere/*"]) == 2
    assert "nowhere" in capsys.readouterr().err
    assert main(["benchmark", "--cards", "--only", "trader/*", "--out", str(tmp_path)]) == 2
    assert "whole suite" in capsys.readouterr().err


@pytest.mark.parametrize("name", zoo.names())
def test_what_ships_is_whole(name):
    """At least five seeds that load, settings that exist, and a card that still tells the truth."""
    about = zoo.shipped(name)
    assert len(about.seeds) >= 5
    assert chosen("small", about.settings)
    seeds = []
    for k, one in about.seeds.items():
        assert zoo.load(name, k).name == name
        seeds.append(Trained(one.folder, read_run(one.folder), RunState()))
        assert re.search(rf"\n\| {k}( \(best\))? \| {one.score:.2f} \|", about.card)
    command = f"```bash\n{training_command(name, seeds)}\n```"
    assert command in about.card, "train/config has changed: ship it again"
