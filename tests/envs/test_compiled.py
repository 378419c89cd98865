"""Compiled functions are renewed when any source changes."""

import os

import pytest

from flexgym.envs.compiled import drop_stale


@pytest.fixture
def checkout(tmp_path):
    for room in ("envs", "baselines"):
        (tmp_path / room / "inner" / "__pycache__").mkdir(parents=True)
        (tmp_path / room / "inner" / "physics.py").write_text("x = 1\n")
    return tmp_path


def plant(checkout):
    kept = checkout / "envs" / "inner" / "__pycache__" / "physics.cpython.pyc"
    cached = [
        checkout / room / "inner" / "__pycache__" / name
        for room in ("envs", "baselines")
        for name in ("physics.f-1.nbi", "physics.f-1.1.nbc")
    ]
    for file in (kept, *cached):
        file.write_text("compiled")
    return kept, cached


def test_nothing_changed_nothing_dropped(checkout):
    drop_stale(checkout)
    kept, cached = plant(checkout)
    assert drop_stale(checkout) is False
    assert all(file.exists() for file in (kept, *cached))


def edit(checkout):
    (checkout / "envs" / "inner" / "physics.py").write_text("x = 1234\n")


def touch(checkout):
    os.utime(checkout / "envs" / "inner" / "physics.py", ns=(1, 1))


def add(checkout):
    (checkout / "baselines" / "new.py").write_text("")


def remove(checkout):
    (checkout / "baselines" / "inner" / "physics.py").unlink()


@pytest.mark.parametrize("change", [edit, touch, add, remove])
def test_a_changed_source_drops_every_cache(checkout, change):
    drop_stale(checkout)
    kept, cached = plant(checkout)
    change(checkout)
    assert drop_stale(checkout) is True
    assert not any(file.exists() for file in cached)
    assert kept.exists()
    assert drop_stale(checkout) is False


def test_first_call_drops_what_is_there(checkout):
    _, cached = plant(checkout)
    assert drop_stale(checkout) is True
    assert not any(file.exists() for file in cached)


def test_a_folder_that_cannot_be_written_is_left_alone(tmp_path):
    (tmp_path / "envs").write_text("not a folder")
    assert drop_stale(tmp_path) is False
