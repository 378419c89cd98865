"""``flexgym bench ising``: spin updates per second, beside a plain loop and a NumPy checkerboard.

All three flip the spins of a 17 x 17 lattice with free boundaries on one core, at the critical
temperature. The checkerboard updates half of the lattice at once, in a fixed order: the same
equilibrium, but not the dynamics of single spins at random sites.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from flexgym.envs.compiled import compiled
from flexgym.envs.errors import ScenarioError
from flexgym.evaluate.bench.figures import (
    figure,
    markdown_table,
    one_core,
    print_figures,
    seconds,
)

SIDE = 17
SPINS = SIDE * SIDE
CRITICAL = 2.0 / np.log(1.0 + np.sqrt(2.0))
WARM = 3.0
"""Temperature at which the energies are compared: chains are soon in equilibrium there."""
OURS = "17 x 17 lattice, random sites, million spin updates/s"
PLAIN = "the same by a plain numba loop"
CHECKERBOARD = "the same lattice by a vectorised NumPy checkerboard"
FLOORS = {OURS: 50.0}

_WIDE = SIDE + 2
"""Row of a lattice with a border of zeros; odd, so that the colour of a site is its parity."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--repeats", type=int, default=9, help="runs the median is taken of")
    parser.add_argument(
        "--attempts", type=int, default=20_000, help="attempts in each of 256 lattices a run"
    )
    parser.add_argument(
        "--document", type=Path, help="Markdown file whose block <!-- bench-ising --> gets it"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, write."""
    if arguments.repeats < 1 or arguments.attempts < SPINS:
        raise ScenarioError(f"repeats must be at least 1 and attempts at least {SPINS}.")
    from flexgym.evaluate.report import block_marks, output_folder, publish, write_results

    if arguments.document:
        block_marks(arguments.document, "bench-ising")
    folder = output_folder(arguments.out or Path("results/bench-ising"))
    with one_core() as core:
        rows = measure(arguments.repeats, arguments.attempts, arguments.seed)
    results = write_results(
        folder,
        command=arguments.command,
        seed=arguments.seed,
        environment="flexgym.envs.ising",
        scenario={"title": "Ising spins on one core", "core": core},
        rows=rows,
    )
    print_figures(rows, arguments.repeats)
    if arguments.document:
        publish(arguments.document, "bench-ising", markdown_table(results), results)
    print(f"wrote {folder}/results.json")
    return 0


@compiled
def plain_loop(spins, temperature, attempts):
    """What one would write first: numba's random numbers, an exponential for each attempt.

    Args:
        spins: Shape (rows, side, side), updated.
        temperature: T > 0.
        attempts: In each row.
    """
    rows, side, _ = spins.shape
    for r in range(rows):
        for _ in range(attempts):
            i, j = np.random.randint(side), np.random.randint(side)  # noqa: NPY002
            around = 0
            if i > 0:
                around += spins[r, i - 1, j]
            if i < side - 1:
                around += spins[r, i + 1, j]
            if j > 0:
                around += spins[r, i, j - 1]
            if j < side - 1:
                around += spins[r, i, j + 1]
            cost = 2.0 * spins[r, i, j] * around
            if cost <= 0.0 or np.random.random() < np.exp(-cost / temperature):  # noqa: NPY002
                spins[r, i, j] = -spins[r, i, j]


@compiled
def seed_plain_loop(seed):
    """Seed numba's own random numbers."""
    np.random.seed(seed)  # noqa: NPY002


def bordered(rows: int) -> Any:
    """Lattices of +1 with a border of zeros, shape (sites with the border, rows), int8."""
    spins = np.zeros((_WIDE, _WIDE, rows), dtype=np.int8)
    spins[1:-1, 1:-1] = 1
    return spins.reshape(_WIDE * _WIDE, rows)


def checkerboard(spins: Any, temperature: float, sweeps: int, rng: np.random.Generator) -> None:
    """Sweeps over `bordered` lattices, one colour after the other, all rows at once, in place."""
    cost = 2.0 * np.arange(-4, 5)
    table = np.exp(np.minimum(-cost / temperature, 0.0)).astype(np.float32)
    # Sites of one colour are every other one; all their neighbours are of the other colour.
    # The border's zeros stay zeros.
    for _ in range(sweeps):
        for first in (_WIDE, _WIDE + 1):
            at = range(first, _WIDE * (_WIDE - 1), 2)
            centre = spins[at.start : at.stop : 2]
            around = sum(
                spins[at.start + k : at.stop + k : 2].copy() for k in (-1, 1, -_WIDE, _WIDE)
            )
            aligned = centre * around
            aligned += 4
            flips = rng.random(centre.shape, dtype=np.float32) < table.take(aligned)
            np.negative(centre, out=centre, where=flips)


def measure(repeats: int, attempts: int, seed: int, rows: int = 256) -> list[dict[str, Any]]:
    """Rates, ratios, and the energies that show that all sample the same."""
    from flexgym.envs.ising import Couplings, balance_weights, energy, evolve, random_state, snake

    rng = np.random.default_rng(seed)
    seed_plain_loop(seed)
    lattice = Couplings.lattice(SIDE, site=snake(SIDE))
    thirds = np.repeat(np.arange(3), (96, 96, 97))
    torus = Couplings.lattice(256, periodic=True)
    weights, _ = balance_weights([1000, 1100, 1200], thirds)
    sweeps = max(attempts // SPINS, 1)

    def ours(couplings: Any, count: int, number: int, **settings: Any) -> Callable[[], Any]:
        spins = np.ones((count, couplings.n), dtype=np.int8)
        state = random_state(rng, count)
        settings = {"temperature": CRITICAL, "attempts": number, **settings}
        return lambda: evolve(couplings, spins, state, **settings)

    squares = np.ones((rows, SIDE, SIDE), dtype=np.int8)
    colours = bordered(rows)
    pair = Couplings.all_to_all(np.zeros(67, dtype=np.int64), 4.0)
    whole = Couplings.all_to_all(np.zeros(SPINS, dtype=np.int64), 4.0)
    groups = Couplings.all_to_all(thirds, 4.0)
    all_work: dict[str, tuple[int, Callable[[], Any]]] = {
        OURS: (rows * attempts, ours(lattice, rows, attempts)),
        PLAIN: (rows * attempts, lambda: plain_loop(squares, CRITICAL, attempts)),
        CHECKERBOARD: (
            rows * sweeps * SPINS, lambda: checkerboard(colours, CRITICAL, sweeps, rng),
        ),
        "256 x 256 torus, million/s": (rows * attempts, ours(torus, 1, rows * attempts)),
        "group of 289, each feels all, million/s": (
            rows * attempts, ours(whole, rows, attempts, temperature=3.2),
        ),
        "group of 67, 2 sweeps a call as in a market hour, million/s": (
            16 * rows * 134, ours(pair, 16 * rows, 134, temperature=3.2),
        ),
        "3 groups in one chain, million/s": (
            rows * attempts, ours(groups, rows, attempts, temperature=3.2),
        ),
        "17 x 17 lattice under a constraint, million/s": (
            rows * attempts, ours(lattice, rows, attempts, weights=weights),
        ),
    }  # fmt: skip
    times: dict[str, list[float]] = {what: [] for what in all_work}
    for _, work in all_work.values():  # compiles
        work()
    for _ in range(repeats):
        for what, (updates, work) in all_work.items():
            times[what].append(seconds(work) / updates)
    found = [_row(what, 1e-6 / median(each)) for what, each in times.items()]
    for what, rival in (("a plain numba loop", PLAIN), ("a NumPy checkerboard", CHECKERBOARD)):
        ratio = median(b / a for a, b in zip(times[OURS], times[rival], strict=True))
        found.append(_row(f"17 x 17 lattice, times faster than {what}", ratio))

    # 300 sweeps, of which the last is measured.
    spins, state = np.ones((rows, SPINS), dtype=np.int8), random_state(rng, rows)
    evolve(lattice, spins, state, temperature=WARM, attempts=300 * SPINS)
    plain_loop(squares, WARM, 300 * SPINS)
    checkerboard(colours, WARM, 300, rng)
    flat = Couplings.lattice(SIDE)
    inner = colours.reshape(_WIDE, _WIDE, rows)[1:-1, 1:-1].reshape(SPINS, rows).T
    for who, per_spin in (
        ("flexgym", energy(lattice, spins)),
        ("plain loop", energy(flat, squares.reshape(rows, SPINS))),
        ("checkerboard", energy(flat, inner)),
    ):
        found.append(_row(f"energy a spin at T = {WARM:g}, {who}", float(per_spin.mean() / SPINS)))
    return found


def _row(what: str, value: float) -> dict[str, Any]:
    return figure(what, value, FLOORS, {})
