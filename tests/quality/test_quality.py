"""Lint, types, import laws and the promises of the README are tests like any other."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
ROOMS = ("envs", "baselines", "policies", "train", "evaluate")


def run(*command, cwd=ROOT, **environment):
    return subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **environment},
    )


def passes(result):
    assert result.returncode == 0, result.stdout + result.stderr


def test_ruff_finds_nothing():
    passes(run("ruff", "check", "."))


def test_code_is_formatted():
    passes(run("ruff", "format", "--check", "."))


def test_types_are_right():
    passes(run("pyright", "--pythonpath", sys.executable))


def lint_imports(folder):
    # From inside the namespace, because the tool puts its working folder on the path first.
    config = str(ROOT / "pyproject.toml")
    return run("lint-imports", "--config", config, "--no-cache", cwd=folder, PYTHONPATH=str(folder))


def test_import_laws_hold():
    passes(lint_imports(ROOT / ".ci" / "ns"))


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("envs/household/params.py", "import flexgym.baselines.household\n"),
        ("envs/household/dynamics.py", "from flexgym.envs.household import env\n"),
        ("baselines/household/tables.py", "from flexgym.envs.household import vector_env\n"),
        ("evaluate/score.py", "import torch\n"),
        ("policies/household.py", "from flexgym.train import vec_env\n"),
    ],
)
def test_a_planted_import_is_caught(tmp_path, module, line):
    package = tmp_path / "flexgym"
    package.mkdir()
    for room in ROOMS:
        shutil.copytree(ROOT / room, package / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("__init__.py", "cli.py"):
        shutil.copy(ROOT / "flexgym" / name, package / name)
    planted = package / module
    planted.write_text(line + planted.read_text().replace("from __future__", "# from __future__"))
    result = lint_imports(tmp_path)
    assert result.returncode != 0
    assert "BROKEN" in result.stdout


def test_files_stay_readable():
    long = [
        str(path.relative_to(ROOT))
        for room in (*ROOMS, "flexgym", "tests")
        for path in (ROOT / room).rglob("*.py")
        if len(path.read_text().splitlines()) > 450
    ]
    assert not long, f"over 450 lines: {long}"


def test_ci_calls_exactly_the_test_command_of_the_readme():
    commands = re.findall(r"```bash\n(.*?)\n```", (ROOT / "README.md").read_text(), re.DOTALL)
    last = (ROOT / ".ci" / "run").read_text().splitlines()[-1]
    assert last in commands
    assert last.endswith(".venv/bin/pytest")


def test_nothing_downloads_from_named_hosts():
    sources = [p for room in (*ROOMS, "flexgym") for p in (ROOT / room).rglob("*.py")]
    assert sources
    for path in sources:
        assert not re.search(r"https?://(?!arxiv|doi)", path.read_text()), path
