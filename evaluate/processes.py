"""Work side by side in processes that begin afresh."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any

from flexgym.envs.errors import RunError


@contextmanager
def processes(
    workers: int, begin: Callable[..., object] | None = None, *given: Any
) -> Iterator[ProcessPoolExecutor]:
    """Processes with an interpreter each: threads and compiled code do not survive a fork.

    Whatever ends the block early is heard of at once: jobs that have not begun are dropped, those
    that run end by themselves. Where this process is killed, the others end too.

    Args:
        workers: How many.
        begin: Called in each first.
        *given: What it is called with.

    Raises:
        RunError: A process was killed.
    """
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _begin, (begin, *given))
    # Not as a context manager: leaving that takes the dropping of jobs back.
    try:
        yield pool
    except BaseException as error:
        pool.shutdown(wait=False, cancel_futures=True)
        if isinstance(error, BrokenProcessPool):
            raise RunError(
                "a process was killed, perhaps for want of memory; expected it to end. Try fewer "
                "--threads; what is finished is kept."
            ) from error
        raise
    pool.shutdown()


def _begin(begin: Callable[..., object] | None, *given: Any) -> None:
    Thread(target=_end_with_parent, daemon=True).start()
    if begin is not None:
        begin(*given)


def _end_with_parent() -> None:
    """Nobody would hear of what a process without a parent finds, or could stop it."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def one_thread() -> None:
    """Linear algebra on one thread: processes side by side share the cores."""
    from threadpoolctl import threadpool_limits

    os.environ["OMP_NUM_THREADS"] = "1"
    threadpool_limits(1)
