"""The benchmark of training measures what it says."""


def test_both_ways_of_training_are_measured():
    from flexgym.train.bench import OURS, RATIO, SHARE, SINGLE, measure

    rows = {row["what"]: row for row in measure(repeats=1, seed=0, rollout=768)}
    assert set(rows) == {OURS, SINGLE, RATIO, SHARE}
    assert all(row["value"] > 0.0 for row in rows.values())
    assert rows[SHARE]["value"] < 100.0
    assert rows[RATIO]["floor"] == 2.5
    assert rows[SHARE]["ceiling"] == 10.0
