"""The model card of a policy that ships: all of it from what its runs have written down."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from flexgym.evaluate.benchmark.cards import BLOCK, UNPLAYED
from flexgym.policies.learned_weights import ALGORITHMS
from flexgym.policies.runs import MENUS
from flexgym.train.finished import Trained
from flexgym.train.run_folder import LENGTHS_BEFORE

HYPERPARAMETERS = "hyperparameters.yml"
"""What a file with the card's hyper-parameters is called in its command."""
_SHARED = (
    *("environment", "task", "algorithm", "recipe", "seed", "minutes", "validation"),
    *("hyperparameters", "date", "versions", "git", LENGTHS_BEFORE),
)
"""Keys of ``config.yaml`` that every environment has; the others are options of its command."""


def model_card(name: str, seeds: Sequence[Trained], best: Trained, settings: Sequence[str]) -> str:
    """The card, Markdown.

    Args:
        name: Of the policy.
        seeds: Its runs, by seed.
        best: That of the seed which is played unless another is asked for.
        settings: Patterns of the benchmark's settings that it plays in.
    """
    config, command = seeds[0].config, training_command(name, seeds)
    saved = f"Saved as `{HYPERPARAMETERS}` for the command above:\n\n"
    parts = [
        f"# {name}",
        _what(config),
        "\n".join(
            [
                "```python",
                "import flexgym.policies",
                "",
                f'policy = flexgym.policies.load("{name}")  # seed {best.seed}, best on validation',
                "```",
            ]
        ),
        f"In the benchmark it plays in: {', '.join(settings) or 'no setting'}.",
        "## Test scores",
        f"<!-- {BLOCK} -->\n{UNPLAYED}\n<!-- end {BLOCK} -->",
        "## Training",
        _data(config),
        f"```bash\n{command}\n```{_lengths_before(config)}",
        _seeds(seeds, best),
        "## Hyper-parameters",
        f"{saved if HYPERPARAMETERS in command else ''}```yaml\n{hyperparameters(config)}```",
        "## Versions",
        _versions(seeds),
        "## Use and limits",
        _limits(config),
        "## Licence",
        "Weights and code: MIT, see `LICENSE`. The data they were trained on come with licences "
        "of their own: `envs/data/semiurb4/SOURCES.md`, `envs/data/case33/SOURCES.md`.",
    ]
    return "\n\n".join(parts) + "\n"


def training_command(name: str, seeds: Sequence[Trained]) -> str:
    """The command line that trains these runs.

    Args:
        name: Of the policy, and of the folder in ``runs`` that the command writes.
        seeds: The runs.
    """
    config, numbers = seeds[0].config, [one.seed for one in seeds]
    words = ["flexgym", "train", *_options(config)]
    row = numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    if row:
        if numbers[0]:
            words += ["--seed", str(numbers[0])]
        return shlex.join([*words, "--seeds", str(len(numbers)), "--out", f"runs/{name}"])
    each = f"{shlex.join(words)} --seed $seed --out runs/{name}/seed-$seed"
    return f"for seed in {' '.join(map(str, numbers))}; do\n    {each}\ndone"


def hyperparameters(config: Mapping[str, Any]) -> str:
    """A run's hyper-parameters, YAML as ``--config`` takes it."""
    content = config["hyperparameters"]
    if config["algorithm"] != MENUS:
        content = {config["environment"]: content}
    return yaml.safe_dump(content, sort_keys=False)


def _options(config: Mapping[str, Any]) -> list[str]:
    """Words of the command after ``flexgym train``, but for seeds and folder."""
    from flexgym.train.menu_settings import read_settings
    from flexgym.train.menus import VALIDATION_HOUSE_DAYS
    from flexgym.train.settings import read_hyperparameters
    from flexgym.train.task import task_class

    if config["algorithm"] == MENUS:
        words = [MENUS, "--recipe", config["recipe"]]
        usual, length, option = read_settings(config["recipe"]), "updates", "--updates"
        episodes = VALIDATION_HOUSE_DAYS
    else:
        task = task_class(str(config.get("task")))
        words = [config["task"], "--algo", config["algorithm"]]
        usual = read_hyperparameters(config["algorithm"], task, options=config)
        length, option, episodes = "n_timesteps", "--steps", task.episodes
    for key, value in config.items():
        if key in _SHARED or value is None:
            continue
        flag = key.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", str(value)]
    chosen = config["hyperparameters"]
    if {**chosen, length: None} != {**usual, length: None}:
        words += ["--config", HYPERPARAMETERS]
    elif chosen[length] != usual[length]:
        words += [option, str(chosen[length])]
    if config.get("minutes") is not None:
        words += ["--minutes", f"{config['minutes']:g}"]
    if config.get("validation", episodes) != episodes:
        words += ["--validation", str(config["validation"])]
    return words


def _what(config: Mapping[str, Any]) -> str:
    environment = f"`{config['environment']}`"
    if config["algorithm"] == MENUS:
        return (
            f"Learned menus for houses of {environment}, recipe *{config['recipe']}*: a network "
            "reads a house's sizes, state and forecast and gives the convex cost-to-go of its "
            "stored energy, from which its menu is made. One network serves every house."
        )
    title = ALGORITHMS[config["algorithm"]].title
    return f"{title}, for {environment}. It acts on what it observes, without exploration."


def _data(config: Mapping[str, Any]) -> str:
    episodes = config.get("validation")
    chosen = "on episodes for validation" if episodes is None else (
        f"on {episodes} episodes for validation"
        + (" in each of them" if config["algorithm"] == MENUS else "")
    )  # fmt: skip
    return (
        f"Episodes of {_world(config)} for training alone: of the training split, or with random "
        "numbers of their own where there is no split. Checkpoints, and the best seed, were "
        f"chosen {chosen}; test episodes are played by the benchmark alone."
    )


def _world(config: Mapping[str, Any]) -> str:
    """Where a policy was trained, with its options."""
    parameters = config["hyperparameters"]
    if config["algorithm"] == MENUS:
        from flexgym.train.menu_settings import MenuSettings

        return "; ".join(f"`{world.name}`" for world in MenuSettings.parse(dict(parameters)).worlds)
    options = dict(parameters.get("env_kwargs") or {})
    options |= {k: v for k, v in config.items() if k not in _SHARED and v is not None}
    told = ", ".join(f"{key} {value}" for key, value in options.items())
    return f"`{config['environment']}`" + (f" ({told})" if told else "")


def _lengths_before(config: Mapping[str, Any]) -> str:
    """What the command leaves out of a run whose length was changed."""
    lengths = ", then ".join(map(str, config.get(LENGTHS_BEFORE) or []))
    if not lengths:
        return ""
    return (
        f"\n\nTraining was first meant to take {lengths}; that was changed "
        "with `--resume`, so that the learning rate fell more than once; the command in one go "
        "trains another network."
    )


def _seeds(seeds: Sequence[Trained], best: Trained) -> str:
    menus = best.config["algorithm"] == MENUS
    lines = [
        f"| seed | validation score | {'updates' if menus else 'frames'} | minutes |",
        "|---:|---:|---:|---:|",
    ]
    for one in seeds:
        state, mark = one.state, " (best)" if one is best else ""
        lines.append(
            f"| {one.seed}{mark} | {state.best_score:.2f} | {state.frames:,} | "
            f"{state.used_s / 60.0:.1f} |"
        )
    return "\n".join(lines)


def _versions(seeds: Sequence[Trained]) -> str:
    """Date, versions and commit of each seed, those that share them together."""
    told: dict[str, list[int]] = {}
    for one in seeds:
        versions = ", ".join(f"{k} {v}" for k, v in (one.config.get("versions") or {}).items())
        date, commit = one.config.get("date"), one.config.get("git")
        text = (
            f"{f'{date}, ' if date else ''}{versions or 'not noted'}, commit {commit or 'unknown'}"
        )
        told.setdefault(text, []).append(one.seed)
    return "\n".join(
        f"- seed{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}: {text}"
        for text, numbers in told.items()
    )


def _limits(config: Mapping[str, Any]) -> str:
    lines = [
        "- For research: a baseline to compare with and a start to train from. It has played in "
        "simulation only; no real device should follow it without safeguards of its own.",
        f"- It knows {_world(config)} and nothing else. Houses, tariffs, grids and options that "
        "differ from these may cost its score; the benchmark says what it is worth on test "
        "episodes, and where.",
    ]
    if config["algorithm"] == MENUS:
        lines.append(
            "- Every menu is valid whatever the weights are; connection limits are no input, and "
            "days have 96 periods from 06:00."
        )
    else:
        lines.append("- An observation of another length than it was trained with is refused.")
    return "\n".join(lines)
