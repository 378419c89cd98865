"""Networks, and an oracle that shares nothing with the power flow under test."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandapower
import pandapower.networks
import pytest

from flexgym.envs.data import load_grid

NETS = Path(__file__).parent / "nets"
NAMES = (
    "33bw", "semiurb4", "rural1", "rural2", "rural3", "semiurb5", "urban6",
    "cigre_lv", "kerber_landnetz", "kerber_dorfnetz",
)  # fmt: skip


def read(name: str):
    """A fresh net by its name in `NAMES`."""
    made = {
        "33bw": pandapower.networks.case33bw,
        "semiurb4": load_grid,
        "cigre_lv": pandapower.networks.create_cigre_network_lv,
        "kerber_landnetz": pandapower.networks.create_kerber_landnetz_freileitung_1,
        "kerber_dorfnetz": pandapower.networks.create_kerber_dorfnetz,
    }
    return made[name]() if name in made else pandapower.from_json(str(NETS / f"{name}.json"))


class Solution(NamedTuple):
    """What the oracle found; columns as in pandapower's tables of buses, lines, transformers."""

    v_pu: np.ndarray
    line_loading_percent: np.ndarray
    trafo_loading_percent: np.ndarray
    slack_kva: np.ndarray


class Oracle:
    """Dense fixed point on pandapower's own admittance matrices, iterated to rounding."""

    def __init__(self, net) -> None:
        pandapower.runpp(net, tolerance_mva=1e-10)
        matrices = net._ppc
        self.net = net
        self.base_kva = 1e3 * matrices["baseMVA"]
        admittance = matrices["internal"]["Ybus"].toarray()
        self.bus = net._pd2ppc_lookups["bus"][net.bus.index]
        slack = int(net._pd2ppc_lookups["bus"][net.ext_grid.bus.iloc[0]])
        self.slack, self.free = slack, np.delete(np.arange(len(admittance)), slack)
        self.impedance = np.linalg.inv(admittance[np.ix_(self.free, self.free)])
        angle = np.radians(net.ext_grid.va_degree.iloc[0])
        self.v_slack = net.ext_grid.vm_pu.iloc[0] * np.exp(1j * angle)
        self.no_load = -self.impedance @ admittance[self.free, slack] * self.v_slack
        self.admittance = admittance
        base_kv = matrices["bus"][:, 9].real
        self.live = np.flatnonzero(matrices["internal"]["branch_is"])
        ends = matrices["branch"][self.live, :2].real.astype(int)
        self.flows = [
            (matrices["internal"][name], self.base_kva / 1e3 / np.sqrt(3) / base_kv[ends[:, end]])
            for end, name in enumerate(("Yf", "Yt"))
        ]

    def __call__(self, p_kw, q_kvar) -> Solution:
        """Solve for powers of shape (batch, bus)."""
        s = np.zeros((len(p_kw), len(self.admittance)), complex)
        np.add.at(s.T, self.bus, ((p_kw + 1j * q_kvar) / self.base_kva).T)
        v = np.tile(self.no_load, (len(s), 1))
        for _ in range(400):
            new = self.no_load - (s[:, self.free] / v).conj() @ self.impedance.T
            change, v = abs(new - v).max(), new
            if change < 1e-14:
                break
        assert change < 1e-13
        full = np.empty_like(s)
        full[:, self.slack], full[:, self.free] = self.v_slack, v
        ka = np.maximum(*(abs(full @ y.toarray().T) * base for y, base in self.flows))
        slack = full[:, self.slack] * (full @ self.admittance[self.slack]).conj()
        return Solution(
            abs(full[:, self.bus]),
            self._lines(ka),
            self._trafos(full),
            self.base_kva * (slack + s[:, self.slack]),
        )

    def _rows(self, table: str):
        first, last = self.net._pd2ppc_lookups["branch"].get(table, (0, 0))
        rows = np.arange(first, last)
        rows = rows[np.isin(rows, self.live)]
        return np.searchsorted(self.live, rows), self.net[table].iloc[rows - first]

    def _lines(self, ka):
        rows, line = self._rows("line")
        return 100 * ka[:, rows] / (line.max_i_ka * line.df * line.parallel).to_numpy()

    def _trafos(self, full):
        rows, trafo = self._rows("trafo")
        mva = (trafo.sn_mva * trafo.df * trafo.parallel).to_numpy()
        each = [
            abs(full @ y[rows].toarray().T) * base[rows] * trafo[column].to_numpy()
            for (y, base), column in zip(self.flows, ("vn_hv_kv", "vn_lv_kv"), strict=True)
        ]
        return 100 * np.sqrt(3) * np.maximum(*each) / mva


@pytest.fixture(scope="session")
def read_net() -> Callable:
    return read


@pytest.fixture(scope="session", params=NAMES)
def named_net(request):
    return request.param, read(request.param)


@pytest.fixture(scope="session")
def make_oracle() -> type[Oracle]:
    return Oracle
