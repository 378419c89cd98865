"""Processes side by side: failures are heard of at once, and end what has not begun."""

import os
import signal
import subprocess
import sys
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


ORPHANS = """
import time
from pathlib import Path
from flexgym.evaluate.processes import processes

def tick(path):
    for _ in range(1200):
        path.write_text("on")
        time.sleep(0.05)

if __name__ == "__main__":
    with processes(2) as pool:
        for k in range(2):
            pool.submit(tick, Path(f"mark-{k}"))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_goes_on_without_its_parent(tmp_path, number):
    (tmp_path / "ticking.py").write_text(ORPHANS)
    parent = subprocess.Popen([sys.executable, "ticking.py"], cwd=tmp_path)
    marks = [tmp_path / f"mark-{k}" for k in range(2)]
    deadline = time.monotonic() + 60.0
    while not all(mark.exists() for mark in marks) and time.monotonic() < deadline:
        time.sleep(0.1)
    begun = all(mark.exists() for mark in marks)
    parent.send_signal(number)
    parent.wait(30.0)
    assert begun
    time.sleep(2.0)
    for mark in marks:
        mark.unlink()
    time.sleep(1.0)
    assert not any(mark.exists() for mark in marks)


def test_a_killed_process_is_named():
    with pytest.raises(RunError, match="was killed"), processes(1) as pool:
        pool.submit(die).result()
