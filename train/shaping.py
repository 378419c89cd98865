"""Rewards of the small environments with the luck taken out, in training only.

Each differs from the return by something whose expectation no policy can change, so with discount 1
the optimum stays the same, and what is left of the reward is what the action did. Policies are
judged on the environment's own cost.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnvWrapper

from flexgym.baselines.appliance.window import plan_rows
from flexgym.envs.appliance.simulation import ApplianceSimulation
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import Floats
from flexgym.envs.local_market.dynamics import AMOUNTS, ITEMS, account
from flexgym.envs.local_market.hierarchy import clear_tree
from flexgym.envs.local_market.play import LocalMarketPlay
from flexgym.envs.trader.simulation import OUTCOME_NAMES, TraderSimulation
from flexgym.policies.appliance import running_on
from flexgym.train.vec_env import BatchedVecEnv

Step = tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]


class _Shaped(VecEnvWrapper):
    """Rewards of a batch whose simulation is known; ``episode`` in infos stays as it was.

    Args:
        venv: The batch.
        scale: Factor on the reward.

    Raises:
        ScenarioError: It is the batch of another environment.
    """

    venv: BatchedVecEnv
    kind: type

    def __init__(self, venv: BatchedVecEnv, scale: float = 1.0) -> None:
        super().__init__(venv)
        simulation = venv.get_attr("simulation")[0]
        if not isinstance(simulation, self.kind):
            raise ScenarioError(
                f"{type(self).__name__} got a batch of {type(simulation).__name__}; expected "
                f"{self.kind.__name__}."
            )
        self.simulation: Any = simulation
        self.scale = scale
        self._before = np.zeros(venv.num_envs)

    def reset(self) -> np.ndarray:
        """Begin new episodes."""
        observation = self.venv.reset()
        assert isinstance(observation, np.ndarray)
        self._before = self._known()
        return observation

    def step_wait(self) -> Step:
        """Play the actions and shape the reward."""
        observation, reward, done, infos = self.venv.step_wait()
        assert isinstance(observation, np.ndarray)
        info, after = self.venv.last_info, self._known()
        shaped = self._shaped(reward, info.get("final_info", info), after, bool(done.all()))
        self._before = after
        return observation, (self.scale * shaped).astype(np.float32), done, infos

    def _known(self) -> Floats:
        """What must be known before the next step, a column or more a row."""
        raise NotImplementedError

    def _shaped(self, reward: np.ndarray, info: Any, after: Floats, ended: bool) -> Floats:
        """Rewards of what has just happened, shape (rows,); ``after`` is known by now.

        Where the day ended, ``after`` is of the day that has begun.
        """
        raise NotImplementedError


class PlanRegret(_Shaped):
    """What an hour of an appliance costs beside the plan on the forecasts, news averaged out.

    ``(plan before - price while it runs - expected plan after) * scale``, for each kW: a plan is
    the forecast cost of the cheapest hours that are left, and what the next hour's signal will make
    of it is averaged over the signals by the price model's own probabilities. Without that average
    it is potential-based shaping, over a day minus the cost of a kW plus that of the first plan;
    the average takes out news, which no action can foresee. A job's power scales its whole day
    alike, so that leaving it out changes no optimum and small jobs are learned as well as large
    ones. Source of the potential: Ng, Harada, Russell, ICML 1999.

    Args:
        venv: Batch of appliances.
        scale: Factor on the reward.
    """

    kind = ApplianceSimulation

    def _known(self) -> Floats:
        simulation: ApplianceSimulation = self.simulation
        return np.stack([self._plans(simulation.forecast[:, None])[:, 0], simulation.signal])

    def _plans(self, forecast: Floats) -> Floats:
        """Forecast cost of the cheapest hours left of each kW, shape (n, k), EUR.

        Args:
            forecast: k of them for each appliance, shape (n, k, T), EUR/kWh.
        """
        simulation: ApplianceSimulation = self.simulation
        jobs, (n, k, periods) = simulation.episodes.jobs, forecast.shape
        begin = np.maximum(jobs.earliest, simulation.t)
        # What has begun and may not pause runs on.
        end = np.where(running_on(simulation), begin + simulation.left, jobs.deadline)
        chosen = np.zeros((n * k, periods), dtype=bool)
        plan_rows(
            forecast.reshape(n * k, periods), simulation.left.repeat(k), begin.repeat(k),
            end.repeat(k), jobs.interruptible.repeat(k), chosen,
        )  # fmt: skip
        return (forecast * chosen.reshape(n, k, periods)).sum(axis=2)

    def _shaped(self, reward: np.ndarray, info: Any, after: Floats, ended: bool) -> Floats:
        simulation: ApplianceSimulation = self.simulation
        plan, signal = self._before
        paid = info["ran"] * info["expected_eur_per_kwh"]
        if ended:
            return plan - paid
        scenario, t = simulation.scenario, simulation.t
        plans = self._plans(scenario.forecast_table[simulation.episodes.row, t])
        chance = scenario.processes[0].transition[t - 1, signal.astype(np.int64)]
        return plan - paid - (chance * plans).sum(axis=1)


class FairValue(_Shaped):
    """What a trader's step was worth beside the price model's values of the same contracts.

    While contracts trade: value less quote of what was bought. At delivery: what exercising gained
    in this hour less the most that could be gained. The rest of the day's cost is how values
    moved, which by the price model's own martingales no policy can foresee: given the state,
    the shaped return's expectation differs from the return's by a constant of the day.

    Args:
        venv: Batch of traders.
        scale: Factor on the reward.
    """

    kind = TraderSimulation

    def _known(self) -> Floats:
        simulation: TraderSimulation = self.simulation
        strike, spot = simulation.strike_eur_per_kwh, simulation.expected_eur_per_kwh
        values = simulation.fair if simulation.trading else (np.zeros(simulation.n),) * 2
        held = simulation.optioned.astype(np.float64)
        trading = np.full(simulation.n, simulation.trading)
        return np.stack([*values, spot - strike, held, trading])

    def _shaped(self, reward: np.ndarray, info: Any, after: Floats, ended: bool) -> Floats:
        block, call, above, held, trading = self._before
        terms = self.simulation.terms
        forward, options, used = (info[name] for name in OUTCOME_NAMES[:3])
        bought = terms.contract_kwh * (forward * block + options * call)
        gained = terms.lot_kwh * (used * above - held * np.maximum(above, 0.0))
        traded = bought - info["forward_eur"] - info["premium_eur"]
        return np.where(trading > 0.0, traded, gained)


class GainOverTruth(_Shaped):
    """What a participant gains beside the hour in which everybody tells the truth.

    No order changes what that hour would have been, so this is the reward less something that no
    action changes: whom it met is out of it, what its order did to it is left. With one learner
    among truthful others it is what the learner would have had by the truth.

    Args:
        venv: Rows of participants of local markets, without contracts.
        scale: Factor on the reward.

    Raises:
        ScenarioError: It is the batch of another environment, or has contracts.
    """

    kind = LocalMarketPlay

    def __init__(self, venv: BatchedVecEnv, scale: float = 1.0) -> None:
        super().__init__(venv, scale)
        if self.simulation.market.contracts is not None:
            raise ScenarioError("GainOverTruth got markets with contracts; expected none of them.")

    def _known(self) -> Floats:
        play: LocalMarketPlay = self.simulation
        market = play.market
        hour, shape = market.hour, market.hour.net_kwh.shape
        found = clear_tree(
            market.scenario.hierarchy, hour.limit, hour.position_kwh, market.rule,
            market.position, market.wholesale,
        )  # fmt: skip
        items, truth = np.empty((len(ITEMS) + len(AMOUNTS), *shape)), np.empty(shape)
        none = np.zeros(shape)
        account(
            hour.net_kwh, hour.retail, hour.feed_in, hour.value, hour.cost,
            (found.traded_kwh, found.paid_eur, found.fee_eur), (none, none), items, truth,
        )  # fmt: skip
        return play.of_learners(truth).ravel()

    def _shaped(self, reward: np.ndarray, info: Any, after: Floats, ended: bool) -> Floats:
        return reward - self._before
