"""One's own code in the benchmark: what it is made of, and what may be in its way."""

import re
import sys
from pathlib import Path

import pytest

from flexgym.envs.errors import RunError
from flexgym.evaluate.benchmark.arena import Setting, arena_class
from flexgym.evaluate.benchmark.command import benchmark
from flexgym.evaluate.benchmark.entry import code_entries, policy_of, team_of


def test_the_manuals_policy_takes_part(tmp_path, monkeypatch):
    manual = (Path(__file__).parents[2] / "docs" / "benchmark.md").read_text()
    code = re.findall(r"```python\n(.*?)```", manual, re.DOTALL)[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    file, source = re.findall(r"--policy (my_policy\.py):(\w+)\n", manual)[0]
    (tmp_path / file).write_text(code)
    monkeypatch.chdir(tmp_path)
    setting = Setting("household", "no-car", 24)
    results = benchmark(tmp_path / "out", settings=[setting], code=[f"{file}:{source}"])
    scores = {row["policy"]: row["score"]["mean"] for row in results["rows"]}
    # It is the rule of self-consumption that charges in cheap hours as well.
    assert scores["thrifty"] > scores["self-consumption"] > scores["uncontrolled"]


OWN = {
    "reads": "def reads(seen):\n    return seen[:, :0]\n\n\nreads.files = ['weights.txt']\n",
    "raises": "def raises(seen):\n    raise KeyError('gone')\n",
    "unmade": "class unmade:\n    def __init__(self):\n        raise ValueError('no')\n",
    "unknown": "class unknown:\n    settings = {'nonsense': 1}\n\n    def predict(self, seen):\n"
    "        return seen\n",
}


@pytest.fixture
def own(tmp_path):
    """Writes an own policy; what it is called on the command line."""

    def write(name, folder="."):
        file = tmp_path / folder / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(OWN[name])
        return f"{file}:{name}"

    return write


def test_what_an_own_policy_reads_counts_as_part_of_it(own, tmp_path):
    with pytest.raises(RunError, match="files that cannot be read"):
        code_entries([own("reads")])
    digests = set()
    for text in ("0", "1"):
        (tmp_path / "weights.txt").write_text(text)
        digests.add(code_entries([own("reads")])[0][1].digest)
    assert len(digests) == 2


def test_what_an_own_policy_imports_counts_as_part_of_it(tmp_path):
    """Modules beside it and packages, also within functions; nothing that is installed."""
    from flexgym.evaluate.benchmark.own_code import files_of

    (tmp_path / "ours_beside.py").write_text("import ours_deeper\n")
    (tmp_path / "ours_deeper.py").write_text("A = 1\n")
    package = tmp_path / "ours_package"
    package.mkdir()
    (package / "__init__.py").write_text("from .inner import B\n")
    (package / "inner.py").write_text("B = 1\n")
    file = tmp_path / "ours_mine.py"
    file.write_text(
        "import json\nimport numpy.linalg\nfrom ours_beside import ours_deeper as d\n\n\n"
        "def mine(seen):\n    from ours_package.inner import B\n    import nowhere_at_all\n"
        "    return seen\n"
    )
    entry = code_entries([f"{file}:mine"])[0][1]
    names = {path.name for path in files_of(entry.source, None)}
    assert names == {
        "ours_mine.py", "ours_beside.py", "ours_deeper.py", "__init__.py", "inner.py"
    }  # fmt: skip
    digests = {entry.digest}
    for changed in (tmp_path / "ours_deeper.py", package / "inner.py", package / "__init__.py"):
        changed.write_text(changed.read_text() + "C = 2\n")
        digests.add(code_entries([f"{file}:mine"])[0][1].digest)
    assert len(digests) == 4


IMPORTING = {
    "above": ("from ours_{n} import still\n", "ours_{n}.py"),
    "within": ("def still(seen):\n    import ours_{n}\n    return seen\n", "ours_{n}.py"),
    "folder": ("from ours_{n}.deep import still\n", "ours_{n}/deep.py"),
    "package": ("from ours_{n}.deep import still\n", "ours_{n}/deep.py"),
}
STILL = "def still(seen):\n    return seen\n"


@pytest.mark.parametrize("kind", IMPORTING)
def test_policies_never_share_modules(tmp_path, kind):
    """Whoever comes second is refused, however it imports; a copy may read what lies beside it."""
    number = list(IMPORTING).index(kind)
    text, helper = (one.format(n=number) for one in IMPORTING[kind])
    for name in ("one", "copy", "other"):
        folder = tmp_path / name
        (folder / helper).parent.mkdir(parents=True)
        (folder / helper).write_text(STILL + "A = 1\n" * (name == "other"))
        if kind == "package":
            (folder / helper).with_name("__init__.py").write_text("")
        (folder / "policy.py").write_text(text)
    code_entries([f"{tmp_path}/one/policy.py:still"])
    for name in ("copy", "other"):
        with pytest.raises(RunError, match=rf"{name}/ours_.*\.py cannot be .*one/ours_"):
            code_entries([f"{tmp_path}/{name}/policy.py:still"])


@pytest.mark.parametrize("first", ["sub/one", "two"])
def test_modules_beside_another_policy_are_not_found(tmp_path, first):
    """Else who plays would depend on who is named before."""
    (tmp_path / "sub").mkdir()
    name = f"helper_of_one_{first[-3:]}"
    (tmp_path / "sub" / "one.py").write_text(STILL)
    (tmp_path / "sub" / f"{name}.py").write_text("A = 1\n")
    wants = f"try:\n    import {name}\nexcept ImportError:\n    pass\n\n\n{STILL}"
    (tmp_path / "two.py").write_text(wants)
    other = {"two": "sub/one", "sub/one": "two"}[first]
    with pytest.raises(RunError, match=rf"{name}\.py, imported as {name} .* beside another"):
        code_entries([f"{tmp_path}/{one}.py:still" for one in (first, other)])


def test_modules_that_are_found_anyway_may_lie_beside_another_policy(tmp_path, monkeypatch):
    """Such as a project's own, on its path or linked."""
    source = tmp_path / "src"
    (source / "ours_project").mkdir(parents=True)
    (source / "ours_project" / "__init__.py").write_text(STILL)
    (tmp_path / "ours_named.py").write_text(STILL)
    (tmp_path / "ours_linked.py").write_text("A = 1\n")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "ours_linked.py").symlink_to(tmp_path / "ours_linked.py")
    policy = tmp_path / "other" / "policy.py"
    policy.write_text(f"import ours_linked\nfrom ours_project import still as a\n\n\n{STILL}")
    monkeypatch.syspath_prepend(str(source))
    monkeypatch.chdir(tmp_path)
    assert len(code_entries(["ours_named:still", f"{policy}:still"])) == 2


def test_a_policy_may_lie_in_a_checkout(tmp_path):
    (tmp_path / "flexgym").mkdir()
    (tmp_path / "flexgym" / "__init__.py").write_text("MINE = 1\n")
    (tmp_path / "here.py").write_text(f"from flexgym.envs.errors import FlexgymError\n\n{STILL}")
    assert code_entries([f"{tmp_path}/here.py:still"])[0][1].digest


@pytest.mark.parametrize("name", ["queue", "time", "yaml"])
def test_names_of_installed_modules_are_taken(tmp_path, name):
    """They stay what they are for everybody else; who imports them from beside is told."""
    import importlib

    (tmp_path / f"{name}.py").write_text("MINE = 1\n")
    (tmp_path / "idle.py").write_text(STILL)
    (tmp_path / "wants.py").write_text(f"import {name}\n\n{STILL}")
    before = importlib.util.find_spec(name).origin
    code_entries([f"{tmp_path}/idle.py:still"])
    taken = sys.modules.pop(name)
    try:
        assert importlib.util.find_spec(name).origin == before
    finally:
        sys.modules[name] = taken
    with pytest.raises(RunError, match=rf"{name}\.py cannot be imported as {name}, for which"):
        code_entries([f"{tmp_path}/wants.py:still"])


def test_a_module_whose_name_is_taken_is_told(tmp_path, monkeypatch):
    (tmp_path / "random.py").write_text("def choice(seen):\n    return seen\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match=r"random\.py cannot be imported as random"):
        code_entries(["random:choice"])


def test_a_policy_that_changes_while_others_play_is_said(own, tmp_path):
    entry = code_entries([own("raises")])[0][1]
    arena = arena_class("household")(Setting("household", "no-car", 8), 0, tmp_path)
    assert callable(policy_of(entry, arena).act)
    (tmp_path / "raises.py").write_text(OWN["raises"] + "A = 1\n")
    with pytest.raises(RunError, match="has changed since the benchmark began"):
        policy_of(entry, arena)


def test_modules_of_the_current_folder_are_found(tmp_path, monkeypatch):
    (tmp_path / "ours_here.py").write_text("def still(seen):\n    return seen\n")
    monkeypatch.chdir(tmp_path)
    assert code_entries(["ours_here:still"])[0][1].kind == "own"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def a(seen):\n    return seen\n\n\na.files = 'weights.txt'\n", "files is 'weights.txt'"),
        ("def a(seen):\n    return seen\n\n\na.files = iter(['a'])\n", "files is <list_iterator"),
        ("import sys\n\nsys.exit(0)\n", "got the policy"),
        ("1 / 0\n", "division by zero"),
    ],
)
def test_files_of_others_that_fail_are_named(tmp_path, text, message):
    (tmp_path / "failing.py").write_text(text)
    with pytest.raises(RunError, match=message):
        code_entries([f"{tmp_path}/failing.py:a"])


def test_policies_that_share_a_name_are_refused(own, tmp_path):
    household = Setting("household", "no-car", 8)
    arena = arena_class("household")(household, 0, tmp_path)
    two = code_entries([own("raises"), own("raises", "other")])
    with pytest.raises(RunError, match="are both called raises"):
        team_of(household, arena, code=two)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("raises", r"household/no-car/raises.*KeyError\('gone'\)"),
        ("unmade", "cannot be made"),
        ("unknown", "nonsense"),
    ],
)
def test_whose_policy_raised_is_said(own, tmp_path, name, message):
    setting = Setting("household", "no-car", 8)
    with pytest.raises(RunError, match=message):
        benchmark(tmp_path / "out", settings=[setting], code=[own(name)])


OBJECTS = """
from functools import partial


class Model:
    def predict(self, seen):
        return seen[:, :SIZE]


Model.__module__ = "json"
model, part = Model(), partial(print, SIZE)
model.files = ["weights.txt"]
"""


@pytest.mark.parametrize("name", ["model", "part"])
def test_objects_are_made_of_the_file_that_names_them(tmp_path, name):
    (tmp_path / "weights.txt").write_text("0")
    digests = set()
    for size in (1, 2):
        file = tmp_path / f"{size}" / "mine.py"
        file.parent.mkdir()
        file.write_text(OBJECTS.replace("SIZE", str(size)))
        (file.parent / "weights.txt").write_text("0")
        digests.add(code_entries([f"{file}:{name}"])[0][1].digest)
    assert len(digests) == 2


def test_folders_of_policies_may_have_an_equals_sign(tmp_path):
    file = tmp_path / "lr=0.1" / "ours_equal.py"
    file.parent.mkdir()
    file.write_text(STILL)
    for pattern in ("", "trader/*="):
        found = code_entries([f"{pattern}{file}:still"])[0]
        assert (found[0], found[1].source) == (pattern.rstrip("=") or "*", f"{file}:still")
