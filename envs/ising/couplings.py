"""Who feels whom, and how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import Floats
from flexgym.envs.ising.placement import Indices, checked_groups, lattice_shape


@dataclass(frozen=True, eq=False)
class Couplings:
    """Couplings J_ij of n spins: bonds, and groups in which every spin feels every other.

    Attributes:
        start: Where the bonds of each spin begin, shape (n + 1,).
        neighbour: Their other ends, by spin and ascending, shape (2 * bonds,), int32.
        strength: Their strengths, shape (2 * bonds,).
        group: Group of each spin, shape (n,).
        pair: Strength between each two members of a group, shape (groups,); 0 where they are
            coupled by bonds alone.
    """

    start: Indices
    neighbour: NDArray[np.int32]
    strength: Floats
    group: Indices
    pair: Floats

    def __post_init__(self) -> None:
        for part in (self.start, self.neighbour, self.strength, self.group, self.pair):
            part.setflags(write=False)

    @classmethod
    def of_bonds(cls, n: int, bonds: ArrayLike, strength: ArrayLike = 1.0) -> Couplings:
        """Any bonds between ``n`` spins.

        Args:
            n: How many spins.
            bonds: The two spins of each, shape (bonds, 2).
            strength: Of each bond, or one for all.

        Raises:
            ScenarioError: A bond leads nowhere, to itself or is there twice, or a strength is no
                finite number.
        """
        if not isinstance(n, int | np.integer) or n < 1:
            raise ScenarioError(f"n is {n!r}; expected a whole number of spins >= 1.")
        pairs = np.asarray(bonds, dtype=np.int64).reshape(-1, 2)
        try:
            each = np.broadcast_to(np.asarray(strength, dtype=np.float64), (len(pairs),))
        except ValueError as error:
            raise ScenarioError(f"strength must be one number or {len(pairs)}.") from error
        if not np.isfinite(each).all():
            raise ScenarioError("strength has values that are no finite numbers.")
        if len(pairs) and not 0 <= pairs.min() <= pairs.max() < n:
            raise ScenarioError(
                f"bonds lead from {pairs.min()} to {pairs.max()}; expected spins 0 to {n - 1}."
            )
        owner, other = np.concatenate([pairs, pairs[:, ::-1]]).T
        order = np.lexsort((other, owner))
        owner, other = owner[order], other[order]
        twice = (np.diff(owner) == 0) & (np.diff(other) == 0)
        if twice.any() or (owner == other).any():
            at = int(np.flatnonzero(twice if twice.any() else owner == other)[0])
            raise ScenarioError(
                f"spins {owner[at]} and {other[at]} have a bond twice or with themselves; "
                "expected at most one bond between two spins. Leave the second out."
            )
        return cls(
            start=np.searchsorted(owner, np.arange(n + 1)),
            neighbour=other.astype(np.int32),
            strength=np.concatenate([each, each])[order],
            group=np.zeros(n, dtype=np.int64),
            pair=np.zeros(1),
        )

    @classmethod
    def lattice(
        cls,
        shape: int | Sequence[int],
        *,
        periodic: bool = False,
        strength: float = 1.0,
        site: ArrayLike | None = None,
    ) -> Couplings:
        """Bonds between neighbours on a rectangular lattice.

        Args:
            shape: Rows and columns, or the side of a square.
            periodic: Whether the last row and column are neighbours of the first.
            strength: Of every bond.
            site: Site (row * columns + column) of each spin, shape (n,); see `snake`. Sites
                without a spin stay empty. By default spin k is on site k.

        Raises:
            ScenarioError: The lattice is smaller than the spins, two spins share a site, or a
                periodic lattice has a side below 3.
        """
        rows, columns = lattice_shape(shape)
        if periodic and min(rows, columns) < 3:
            raise ScenarioError(
                f"a periodic lattice of {rows} x {columns} has neighbours on both sides that are "
                "the same; expected sides of at least 3. Set periodic=False."
            )
        sites = np.arange(rows * columns).reshape(rows, columns)
        if periodic:
            ends = [(sites, np.roll(sites, -1, axis)) for axis in (0, 1)]
        else:
            ends = [(sites[:, :-1], sites[:, 1:]), (sites[:-1], sites[1:])]
        bonds = np.concatenate([np.stack([a.ravel(), b.ravel()], axis=1) for a, b in ends])
        if site is None:
            return cls.of_bonds(rows * columns, bonds, strength)
        at = np.asarray(site)
        if at.ndim != 1 or at.dtype.kind not in "iu" or not 1 <= len(at) <= rows * columns:
            raise ScenarioError(
                f"site has shape {at.shape} and type {at.dtype}; expected whole numbers, at least "
                f"one and at most {rows * columns}, the sites of a lattice of {rows} x {columns}. "
                "Give a lattice that is no smaller than the customers."
            )
        if at.min() < 0 or at.max() >= rows * columns or len(np.unique(at)) != len(at):
            raise ScenarioError(
                f"site has values {at.min()} to {at.max()}, {len(np.unique(at))} different ones; "
                f"expected {len(at)} different sites of 0 to {rows * columns - 1}."
            )
        spin = np.full(rows * columns, -1)
        spin[at] = np.arange(len(at))
        bonds = spin[bonds]
        return cls.of_bonds(len(at), bonds[(bonds >= 0).all(axis=1)], strength)

    @classmethod
    def all_to_all(cls, group: ArrayLike, coupling: ArrayLike) -> Couplings:
        """Every spin feels every other one of its group alike.

        Args:
            group: Group of each spin, shape (n,), numbers from 0 without a gap.
            coupling: Sum of a spin's couplings, J0, for all groups or one for each; a pair has
                J0 / (members - 1).

        Raises:
            ScenarioError: ``group`` is no partition, or a coupling is no finite number.
        """
        of = checked_groups(group)
        size = np.bincount(of)
        try:
            total = np.broadcast_to(np.asarray(coupling, dtype=np.float64), size.shape)
        except ValueError as error:
            raise ScenarioError(f"coupling must be one number or {len(size)}.") from error
        if not np.isfinite(total).all():
            raise ScenarioError(f"coupling is {coupling!r}; expected finite numbers.")
        pair = np.where(size > 1, total / np.maximum(size - 1, 1), 0.0)
        bare = cls.of_bonds(len(of), np.empty((0, 2), dtype=np.int64))
        return cls(bare.start, bare.neighbour, bare.strength, of, pair)

    @property
    def n(self) -> int:
        """How many spins."""
        return len(self.start) - 1

    @property
    def bonds(self) -> Indices:
        """The two spins of each bond, the smaller first, shape (bonds, 2)."""
        return self._ends()[0]

    @property
    def bond_strength(self) -> Floats:
        """Strength of each of `bonds`."""
        return self._ends()[1]

    def _ends(self) -> tuple[Indices, Floats]:
        owner = np.repeat(np.arange(self.n), np.diff(self.start))
        once = owner < self.neighbour
        ends = np.stack([owner[once], self.neighbour[once].astype(np.int64)], axis=1)
        return ends, self.strength[once]

    def inside(self, group: ArrayLike) -> Couplings:
        """Only the bonds between members of the same group: what aggregators cut is gone.

        Args:
            group: Group of each spin, shape (n,), numbers from 0 without a gap.

        Raises:
            ScenarioError: It is no partition, or these are not couplings by bonds alone.
        """
        of = checked_groups(group, self.n)
        self._only_bonds()
        ends, strength = self._ends()
        kept = of[ends[:, 0]] == of[ends[:, 1]]
        return Couplings.of_bonds(self.n, ends[kept], strength[kept])

    def rewired(self, group: ArrayLike, rng: np.random.Generator) -> Couplings:
        """Bonds between two groups are given to boundary spins inside their own.

        Of each such bond one end, drawn at random, is bonded to a random member of its group
        instead. Where both ends already feel all of their groups, the bond is lost.

        Args:
            group: Group of each spin, shape (n,), numbers from 0 without a gap.
            rng: Draws ends and partners.

        Raises:
            ScenarioError: As `inside`.
        """
        of = checked_groups(group, self.n)
        self._only_bonds()
        ends, strength = self._ends()
        cut = of[ends[:, 0]] != of[ends[:, 1]]
        met = [set[int]() for _ in range(self.n)]
        for i, j in ends[~cut].tolist():
            met[i].add(j)
            met[j].add(i)
        kept, strengths = ends[~cut].tolist(), strength[~cut].tolist()
        for bond, J in zip(ends[cut].tolist(), strength[cut].tolist(), strict=True):
            for i in bond if rng.random() < 0.5 else bond[::-1]:
                free = [int(k) for k in np.flatnonzero(of == of[i]) if k != i and k not in met[i]]
                if free:
                    j = free[rng.integers(len(free))]
                    met[i].add(j)
                    met[j].add(i)
                    kept.append([i, j])
                    strengths.append(J)
                    break
        return Couplings.of_bonds(self.n, np.array(kept).reshape(-1, 2), np.array(strengths))

    def moved(self, spin: int, old: int, new: int) -> Couplings:
        """One spin has a neighbour less and another one instead.

        Args:
            spin: The spin.
            old: The neighbour it loses.
            new: The neighbour it gets, with the same strength.

        Raises:
            ScenarioError: ``spin`` and ``old`` have no bond, or ``spin`` and ``new`` have one.
        """
        self._only_bonds()
        ends, strength = self._ends()
        at = np.flatnonzero((ends == sorted((spin, old))).all(axis=1))
        if not len(at):
            raise ScenarioError(f"spins {spin} and {old} have no bond; expected one to move.")
        ends[at[0]] = spin, new
        return Couplings.of_bonds(self.n, ends, strength)

    def _only_bonds(self) -> None:
        if self.pair.any():
            raise ScenarioError(
                "spins that feel their whole group have no bonds to cut; expected couplings by "
                "bonds alone. Make groups with all_to_all."
            )

    @cached_property
    def square(self) -> tuple[NDArray[np.int32], NDArray[np.int32], float] | None:
        """What `attempt_square` needs, or None where it does not apply.

        Returns:
            Neighbours (n, 4) with the spin itself where one is missing, how many are missing
            (n,), and the strength of all bonds.
        """
        degree = np.diff(self.start)
        same = len(self.strength) > 0 and bool((self.strength == self.strength[0]).all())
        if self.pair.any() or not same or degree.max() > 4:
            return None
        neighbour = np.repeat(np.arange(self.n, dtype=np.int32)[:, None], 4, axis=1)
        owner = np.repeat(np.arange(self.n), degree)
        neighbour[owner, np.arange(len(owner)) - self.start[owner]] = self.neighbour
        return neighbour, (4 - degree).astype(np.int32), float(self.strength[0])
