"""The plain loops of ``flexgym bench contracts`` play by the rules of the environments."""

import numpy as np
import pytest

from flexgym.cli import main
from flexgym.envs.appliance.vector_env import ApplianceVectorEnv
from flexgym.envs.local_market.clearing import clear
from flexgym.evaluate.bench.contracts import drawn_days
from flexgym.evaluate.bench.plain_loops import appliance_day, clear_book


def test_the_plain_appliance_pays_what_the_environment_does():
    env, again = ApplianceVectorEnv(64), ApplianceVectorEnv(64)
    for each in (env, again):
        each.reset(seed=4)
    jobs, prices, forecasts = drawn_days(again)
    action = np.random.default_rng(0).uniform(-1.0, 1.0, (24, 64, 1))
    cost = -sum(env.step(played)[1] for played in action)
    wished = (action[:, :, 0].T > 0.0).tolist()
    plain = [appliance_day(*given) for given in zip(jobs, prices, forecasts, wished, strict=True)]
    assert forecasts[0].shape == (24, 24)
    np.testing.assert_allclose(cost, plain, rtol=1e-12)
    assert min(plain) > 0.0


def test_the_plain_book_clears_as_the_market_does():
    rng = np.random.default_rng(1)
    price, volume = rng.uniform(0.05, 0.35, (40, 50)), rng.normal(size=(40, 50))
    traded, paid = clear(price, volume, "pay-as-bid")
    for row in range(40):
        kwh, eur = clear_book(price[row].tolist(), volume[row].tolist())
        np.testing.assert_allclose(traded[row], kwh, atol=1e-9)
        np.testing.assert_allclose(paid[row], eur, atol=1e-9)
    assert np.abs(traded).sum() > 100.0


@pytest.mark.parametrize("option", ["--repeats", "--appliances", "--markets"])
def test_bad_options_are_named(option, tmp_path, capsys):
    assert main(["bench", "contracts", "--out", str(tmp_path), option, "0"]) == 2
    assert "at least 1" in capsys.readouterr().err
