"""The centralised optimum of a feeder-day with perfect foresight, as one linear program."""

from __future__ import annotations

import time
from dataclasses import dataclass

import highspy
import numpy as np

from flexgym.baselines.feeder.feeder_day import FeederDay
from flexgym.baselines.feeder.stacked_houses import StackedHouses
from flexgym.envs.errors import PowerFlowError, SolverError
from flexgym.envs.grid.linear import LinDistFlow
from flexgym.envs.grid.power_flow import RadialPowerFlow
from flexgym.envs.household.params import DT_H, Floats

W = 1000.0

class CentralProgram:
    def __init__(self, day: FeederDay, costs=None, near=(0.003, 95.0)):
        self.day, self.costs = day, costs or day.costs
        self.near = near
        self.houses = StackedHouses(day)
        self.h = h = highspy.Highs()
        for k, v in (("output_flag", False), ("threads", 1),
                     ("primal_feasibility_tolerance", 1e-9), ("dual_feasibility_tolerance", 1e-9)):
            h.setOptionValue(k, v)
        self.houses.pass_to(h)
        self.ncol = int(self.houses.first[-1])
        self.lin = LinDistFlow(day.network)
        self.flow = RadialPowerFlow(day.network)
        self.q = day.reactive_kvar().T @ day.at_bus
        nodes, first = np.unique(day.network.bus_node, return_index=True)
        self.counted = first[nodes > 0]
        hb = day.house_bus
        self.vcoef = -2.0 * W * self.lin.resistance[:, hb]
        self.bcoef = self.lin.subtree[:, hb]
        self.rows = {}
        self.theta = None
        self.log = []

    def add_cols(self, costs, lower=0.0):
        n0 = self.h.getNumCol()
        for c in costs:
            self.h.addCol(float(c), lower, highspy.kHighsInf, 0, np.array([],np.int32), np.array([]))
        return n0

    def solve_lp(self):
        h = self.h
        h.run()
        if h.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            print('retry', h.getModelStatus())
            h.clearSolver(); h.run()
        if h.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            raise SolverError(str(h.getModelStatus()))
        x = np.asarray(h.getSolution().col_value)
        self.x = x
        self.obj = h.getInfo().objective_function_value
        self.plans = self.houses.plans(x)
        self.meter = np.stack([p.meter_kw for p in self.plans])
        self.house_eur = sum(p.cost_eur for p in self.plans)
        return x

    def judge(self):
        day = self.day
        self.p = self.meter.T @ day.at_bus
        r = self.flow.solve(self.p, self.q)
        assert r.converged.all()
        v = r.v_pu[:, self.counted]
        lo, hi = day.band_pu
        self.ac = r
        self.loading = np.hstack([r.line_loading_percent, r.trafo_loading_percent])
        self.ex = np.maximum(np.maximum(v-hi, lo-v), 0)
        self.over = np.maximum(self.loading/100-1, 0)*day.rating_kva
        c = self.costs
        self.loss_eur = DT_H*c.loss_eur_per_kwh*r.losses_kw.sum()
        self.pen = DT_H*c.voltage_eur_per_pu_h*self.ex.sum(), DT_H*c.overload_eur_per_kwh*self.over.sum()
        return self.house_eur + self.loss_eur + sum(self.pen)

    def cut(self, models, p):
        h, T, H = self.h, self.day.periods, len(self.day.houses)
        if self.costs.loss_eur_per_kwh == 0: return
        if self.theta is None:
            self.theta = self.add_cols([DT_H*self.costs.loss_eur_per_kwh]*T)
        for t, m in enumerate(models):
            if m is None: continue
            f = m.loss_factor[self.day.house_bus]
            rhs = m.losses(np.zeros_like(p[t]), self.q[t])
            idx = np.concatenate([self.houses.meter_columns(t), [self.theta+t]]).astype(np.int32)
            h.addRow(float(rhs), highspy.kHighsInf, len(idx), idx, np.concatenate([-f, f, [1.0]]))

    def linearise(self):
        day = self.day
        models = []
        for t in range(day.periods):
            try: models.append(self.lin.corrected(self.p[t], self.q[t]))
            except PowerFlowError: models.append(None)
        self.models = models
        return models

    def update_rows(self):
        day, lo, hi = self.day, *self.day.band_pu
        nv, nl = self.near
        v = self.ac.v_pu
        new = []
        for t in range(day.periods):
            for b in self.counted:
                if v[t,b] > hi-nv or v[t,b] < lo+nv:
                    if ('v',t,b) not in self.rows: new.append(('v',t,b))
            for l in np.flatnonzero(self.loading[t] > nl):
                if ('b',t,l) not in self.rows: new.append(('b',t,l))
        c = self.costs
        for kind,t,i in new:
            cols = self.houses.meter_columns(t)
            price = c.voltage_eur_per_pu_h if kind=='v' else c.overload_eur_per_kwh
            coef = self.vcoef[i] if kind=='v' else self.bcoef[i]
            k = self.add_cols([DT_H*price]*2)
            sc = (2*W*lo, -2*W*hi) if kind=='v' else (1.0,-1.0)
            idx = np.concatenate([cols,[k,k+1]]).astype(np.int32)
            val = np.concatenate([coef,-coef,sc])
            keep = val != 0
            self.rows[kind,t,i] = self.h.getNumRow()
            self.h.addRow(-highspy.kHighsInf, highspy.kHighsInf, int(keep.sum()), idx[keep], val[keep])
        # right-hand sides
        zero = np.zeros_like(self.p)
        w0 = np.stack([m.squared_voltage(z,q) for m,z,q in zip(self.models, zero, self.q)])
        f0 = np.stack([m.flows(z,q)[0] for m,z,q in zip(self.models, zero, self.q)])
        cap = np.stack([m.caps_kw(q) for m,q in zip(self.models, self.q)])
        for (kind,t,i),r in self.rows.items():
            if kind=='v':
                a,b = W*(lo*lo-w0[t,i]), W*(hi*hi-w0[t,i])
            else:
                a,b = -cap[t,i]-f0[t,i], cap[t,i]-f0[t,i]
            self.h.changeRowBounds(r, a, b)
        return len(new)

    def solve(self, rounds=12, verbose=True, fractions=(0.0,0.4,0.7)):
        T0 = time.process_time()
        self.history=[]
        for k in range(rounds):
            t0=time.process_time()
            self.solve_lp()
            t1=time.process_time()
            social = self.judge()
            ref = self.obj
            self.history.append((self.obj, social))
            if verbose:
                v=self.ac.v_pu[:,self.counted]
                print(f"{k:2d} lp {t1-t0:6.2f}s obj {self.obj:10.4f} social {social:10.4f} house {self.house_eur:9.3f} loss {self.loss_eur:6.3f} pen {self.pen[0]:8.3f} {self.pen[1]:8.3f} v {v.min():.4f} {v.max():.4f} load {self.loading.max():6.1f} rows {len(self.rows)} it {self.h.getInfo().simplex_iteration_count}", flush=True)
            t0=time.process_time()
            self.linearise()
            if k==0:
                keep=self.p
                for a in fractions:
                    self.cut([self.lin.corrected(a*p,q) for p,q in zip(self.p,self.q)], self.p)
            self.cut(self.models, self.p)
            n=self.update_rows()
            t1=time.process_time()
            if verbose: print(f"     lin {t1-t0:.2f}s new {n}")
        return self

    def duals(self):
        d=np.asarray(self.h.getSolution().row_dual)
        lo,hi=self.day.band_pu
        out=[]
        for (kind,t,i),r in self.rows.items():
            if abs(d[r])<1e-9: continue
            if kind=='v': out.append((kind,t,i,d[r]*W*2*(hi if d[r]<0 else lo)/DT_H))
            else: out.append((kind,t,i,d[r]/DT_H))
        return out
