"""Episodes and their splits."""

import datetime as dt
import zlib
from itertools import combinations

import numpy as np
import pytest

from flexgym.envs.data import (
    EPISODES,
    QUARTERS,
    SCENARIOS,
    SPLITS,
    date,
    episode_start,
    split_days,
)
from flexgym.envs.data.prices import SEASONS
from flexgym.envs.errors import ScenarioError


def test_episodes_start_at_six_and_fit_the_year():
    assert (EPISODES, QUARTERS) == (365, 35136)
    begin = dt.datetime(2016, 1, 1)
    for day in range(EPISODES):
        start = begin + episode_start(day) * dt.timedelta(minutes=15)
        assert start == dt.datetime.combine(date(day), dt.time(6))
    assert episode_start(EPISODES - 1) + 96 <= QUARTERS
    assert date(59) == dt.date(2016, 2, 29)
    assert date(365) == dt.date(2016, 12, 31)


def test_splits_share_out_the_year():
    parts = [split_days(split) for split in SPLITS]
    assert sorted(np.concatenate(parts)) == list(range(EPISODES))
    assert [len(part) for part in parts] == [245, 48, 72]
    for part in parts:
        assert (np.diff(part) > 0).all()


def test_every_month_has_six_test_and_four_validation_days():
    for month in range(1, 13):
        assert len(split_days("test", [month])) == 6
        assert len(split_days("validation", [month])) == 4
        assert {date(d).month for split in SPLITS for d in split_days(split, [month])} == {month}


@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_every_scenario_has_twenty_test_episodes(scenario):
    assert len(split_days("test", SCENARIOS[scenario].months)) >= 20


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("season", sorted(SEASONS))
def test_weekdays_and_weekends_in_every_season(split, season):
    weekend = [date(day).weekday() >= 5 for day in split_days(split, SEASONS[season])]
    assert 2 <= sum(weekend) <= len(weekend) - 2


def test_fixed_once_and_for_all():
    """A changed split makes scores incomparable: it needs a new version, not a new number."""
    assert split_days("test", [1]).tolist() == [2, 3, 9, 14, 16, 25]
    tested, checked = (split_days(s).astype("<i8").tobytes() for s in ("test", "validation"))
    assert (zlib.crc32(tested), zlib.crc32(checked)) == (1711240383, 1964240356)
    assert all(not set(split_days(a)) & set(split_days(b)) for a, b in combinations(SPLITS, 2))


def test_answer_belongs_to_the_caller():
    split_days("test")[:] = 0
    assert split_days("test")[-1] > 0


@pytest.mark.parametrize("split", ["Train", "all", "", None])
def test_unknown_split(split):
    with pytest.raises(ScenarioError, match="train, validation, test"):
        split_days(split)


@pytest.mark.parametrize("months", [[0], [13], [1, 2.5], [], ["May"], [True]])
def test_unknown_month(months):
    with pytest.raises(ScenarioError, match="1 to 12"):
        split_days("train", months)


@pytest.mark.parametrize("day", [-1, 365, 0.0, "1", None])
def test_no_such_episode(day):
    with pytest.raises(ScenarioError, match=r"from 0 .* to 364"):
        episode_start(day)


@pytest.mark.parametrize("day", [-1, 366])
def test_no_such_day(day):
    with pytest.raises(ScenarioError, match="to 365"):
        date(day)
