"""Processes side by side: failures are heard of at once, and end what has not begun."""

import os
import signal
import time
from concurrent.futures import as_completed
from pathlib import Path

import pytest

from flexgym.envs.errors import RunError
from flexgym.evaluate.processes import processes


def leave(mark: Path, seconds: float) -> int:
    mark.touch()
    time.sleep(seconds)
    return os.getpid()


def fail() -> None:
    raise KeyError("gone")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_each_has_an_interpreter_of_its_own(tmp_path):
    with processes(2, leave, tmp_path / "begun", 0.0) as pool:
        jobs = [pool.submit(leave, tmp_path / str(k), 0.3) for k in range(2)]
        found = {one.result() for one in as_completed(jobs)}
    assert len(found) == 2
    assert os.getpid() not in found
    assert (tmp_path / "begun").exists()


def test_what_fails_ends_what_has_not_begun(tmp_path):
    def play():
        with processes(1) as pool:
            jobs = [pool.submit(fail)]
            jobs += [pool.submit(leave, tmp_path / f"{k}", 0.2) for k in range(9)]
            for one in as_completed(jobs):
                one.result()

    with pytest.raises(KeyError, match="gone"):
        play()
    # Long enough for all nine; one or two were on their way.
    time.sleep(2.5)
    assert len(list(tmp_path.iterdir())) <= 3


def test_a_killed_process_is_named():
    with pytest.raises(RunError, match="was killed"), processes(1) as pool:
        pool.submit(die).result()
