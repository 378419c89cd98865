"""Solutions on disk: the same to the bit, found by content, never believed when damaged."""

import hashlib
import io
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest

from flexgym.baselines.household import SolutionCache, cost_to_go
from flexgym.envs import Battery, Car, House, Series, Session, Uncertainty
from flexgym.envs.errors import RunError
from flexgym.envs.uncertainty import MarkovChain

HOUSE = House(Battery(6.0, 3.0), 5.0, 5.0, 20.0, 20.0, car=Car(7.0, 40.0))
SERIES = Series(
    [1.0] * 6, [0.0, 1.0, 3.0, 2.0, 1.0, 0.0], [0.3] * 6, [0.1] * 6,
    sessions=(Session(1, 5, 10.0, 14.0),),
)  # fmt: skip
CHAINS = Uncertainty(
    MarkovChain((0.5, 1.5), ((0.8, 0.2), (0.4, 0.6))),
    MarkovChain((0.8, 1.2), ((0.7, 0.3), (0.3, 0.7))),
    (0.5, 1.5),
    (0.6, 0.4),
)


def solve(cache, house=HOUSE, series=SERIES, chains=CHAINS, terminal=0.2, tolerance=1e-2):
    return cost_to_go(
        house,
        series,
        uncertainty=chains,
        terminal_eur_per_kwh=terminal,
        tolerance_eur=tolerance,
        cache=cache,
    )


def assert_same(first, second):
    a, b = first.tables, second.tables
    assert a.gap_eur == b.gap_eur
    for name in ("grid_kwh", "lower"):
        assert getattr(a, name).tobytes() == getattr(b, name).tobytes()
    for name in ("levels_kwh", "values"):
        pairs = list(zip(getattr(a, name), getattr(b, name), strict=True))
        assert all(x.tobytes() == y.tobytes() and x.dtype == y.dtype for x, y in pairs)
        assert all(x.shape == y.shape for x, y in pairs)
    soc = np.linspace(0.0, first.house.battery.capacity_kwh if first.house.battery else 0.0, 7)
    for state in (None, 0, 3):
        assert (
            first.value(0, soc, state=state).tobytes()
            == second.value(0, soc, state=state).tobytes()
        )
    assert first.chart(2, soc[1], 12.0, state=1) == second.chart(2, soc[1], 12.0, state=1)
    assert first.flexibility_eur() == second.flexibility_eur()


def entry(folder):
    (path,) = folder.glob("*.solution")
    return path


def test_the_second_answer_is_the_first_to_the_bit(tmp_path):
    cache = SolutionCache(tmp_path / "a" / "b")
    first = solve(cache)
    assert (cache.found, cache.solved) == (0, 1)
    second = solve(cache)
    assert (cache.found, cache.solved) == (1, 1)
    assert_same(first, second)
    assert_same(solve(None), second)
    other = SolutionCache(str(tmp_path / "a" / "b"))
    assert_same(first, solve(other))
    assert (other.found, other.solved) == (1, 0)
    assert not list((tmp_path / "a" / "b").glob("*.part"))


def test_a_house_without_battery_comes_back_as_it_was(tmp_path):
    cache = SolutionCache(tmp_path)
    for house in (replace(HOUSE, battery=None), replace(HOUSE, battery=Battery(0.0, 3.0))):
        assert_same(solve(cache, house), solve(cache, house))
    assert cache.found == 2


MOVED = MarkovChain((0.5, 1.5), ((0.7, 0.3), (0.4, 0.6)))
CHANGES = {
    "house": {"house": replace(HOUSE, battery=Battery(6.0, 3.0, 0.94))},
    "limit": {"house": replace(HOUSE, import_limit_kw=19.0)},
    "car": {"house": replace(HOUSE, car=Car(7.0, 40.0, missed_eur_per_kwh=1.4))},
    "load": {"series": replace(SERIES, load_kw=[1.0] * 5 + [1.1])},
    "price": {"series": replace(SERIES, import_eur_per_kwh=[0.3] * 5 + [0.31])},
    "export": {"series": replace(SERIES, export_eur_per_kwh=[0.1] * 5 + [0.09])},
    "session": {"series": replace(SERIES, sessions=(Session(1, 5, 10.0, 14.5),))},
    "departure": {"series": replace(SERIES, sessions=(Session(1, 6, 10.0, 14.0),))},
    "weather": {"chains": replace(CHAINS, weather=MOVED)},
    "price chain": {"chains": replace(CHAINS, price=replace(CHAINS.price, factors=(0.8, 1.3)))},
    "load factors": {"chains": replace(CHAINS, load_factors=(0.5, 1.4))},
    "load chances": {"chains": replace(CHAINS, load_probabilities=(0.5, 0.5))},
    "terminal": {"terminal": 0.21},
    "tolerance": {"tolerance": 2e-2},
    "no tolerance": {"tolerance": None},
}


def test_other_questions_have_other_keys(tmp_path):
    cache = SolutionCache(tmp_path)
    solve(cache)
    for k, change in enumerate(CHANGES.values(), 1):
        solve(cache, **change)
        assert (cache.found, cache.solved) == (0, k + 1), change
    assert len(list(tmp_path.glob("*.solution"))) == len(CHANGES) + 1


def reseal(content):
    """With a checksum that fits, as a file from elsewhere may have."""
    return hashlib.sha256(content).digest() + content


def archive(**arrays):
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def pickled(data):
    """An archive whose key is a pickled object."""
    entries = dict(np.load(io.BytesIO(data[32:])))
    return reseal(archive(**(entries | {"key": np.array([{}], dtype=object)})))


def changed(**change):
    def damage(data):
        entries = dict(np.load(io.BytesIO(data[32:])))
        for name, edit in change.items():
            entries[name] = edit(entries[name])
        return reseal(archive(**entries))

    return damage


def without(name):
    def damage(data):
        entries = dict(np.load(io.BytesIO(data[32:])))
        del entries[name]
        return reseal(archive(**entries))

    return damage


DAMAGES = {
    "empty": lambda data: b"",
    "checksum only": lambda data: data[:32],
    "truncated": lambda data: data[: len(data) // 2],
    "one byte short": lambda data: data[:-1],
    "one byte more": lambda data: data + b"\0",
    "flipped in front": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "flipped in the middle": lambda data: (
        data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]
    ),
    "text": lambda data: b"no solution " * 20,
    "pickle": lambda data: pickle.dumps({"gap": 0.0}),
    "sealed pickle": lambda data: reseal(pickle.dumps({"gap": 0.0})),
    "sealed array": lambda data: reseal(np.arange(3.0).tobytes()),
    "pickled key": pickled,
    "sealed, truncated": lambda data: reseal(data[32 : len(data) // 2]),
    "sealed, empty archive": lambda data: reseal(archive()),
    "no values": without("values"),
    "no gap": without("gap"),
    "no lower bound": without("lower"),
    "no house": without("house"),
    "fewer values": changed(values=lambda v: v[:-1]),
    "fewer levels": changed(counts=lambda c: c[:-1]),
    "other key": changed(key=lambda k: np.array("0" * 64)),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_entry_is_solved_anew_and_replaced(tmp_path, damage):
    cache = SolutionCache(tmp_path)
    first = solve(cache)
    path = entry(tmp_path)
    good = path.read_bytes()
    path.write_bytes(damage(good))
    assert_same(first, solve(cache))
    assert (cache.found, cache.solved) == (0, 2)
    assert_same(first, solve(cache))
    assert (cache.found, cache.solved) == (1, 2)


def test_bits_flipped_anywhere_are_noticed(tmp_path):
    cache = SolutionCache(tmp_path)
    first = solve(cache)
    path = entry(tmp_path)
    good = path.read_bytes()
    for at in np.linspace(0, len(good) - 1, 12).astype(int).tolist():
        spoilt = bytearray(good)
        spoilt[at] ^= 16
        path.write_bytes(bytes(spoilt))
        assert_same(first, solve(cache))
    assert cache.found == 0


def test_another_houses_entry_under_this_name_is_not_believed(tmp_path):
    mine, others = SolutionCache(tmp_path / "mine"), SolutionCache(tmp_path / "others")
    first = solve(mine)
    solve(others, replace(HOUSE, battery=Battery(9.0, 4.0)))
    foreign = entry(tmp_path / "others").read_bytes()
    entry(tmp_path / "mine").write_bytes(foreign)
    assert_same(first, solve(mine))
    assert (mine.found, mine.solved) == (0, 2)


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path, monkeypatch):
    cache = SolutionCache(tmp_path)

    def refuse(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    first = solve(cache)
    assert_same(first, solve(cache))
    assert (cache.found, cache.solved) == (0, 2)
    monkeypatch.undo()
    monkeypatch.setattr(os, "replace", refuse)
    assert_same(first, solve(cache))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_disappears_costs_time_only(tmp_path):
    cache = SolutionCache(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert_same(solve(cache), solve(cache))
    assert (cache.found, cache.solved) == (0, 2)


def test_an_entry_that_is_a_folder_is_solved_anew(tmp_path):
    cache = SolutionCache(tmp_path)
    first = solve(cache)
    path = entry(tmp_path)
    path.unlink()
    path.mkdir()
    assert_same(first, solve(cache))
    assert (cache.found, cache.solved) == (0, 2)


def test_a_folder_that_cannot_be_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(RunError, match="cannot create the folder"):
            SolutionCache(path)


def test_known_days_and_single_stores_are_not_kept(tmp_path):
    cache = SolutionCache(tmp_path)
    solve(cache, chains=None)
    solve(cache, series=replace(SERIES, sessions=()))
    assert (cache.found, cache.solved) == (0, 0)
    assert not list(tmp_path.iterdir())
