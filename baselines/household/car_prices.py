"""Cost-to-go of battery and car together: the lower bound.

V(e, c) is at least the largest over prices mu of f_mu(e) + mu*c with f_mu(e) = min over c of
V(e, c) - mu*c. At a price the car is a device that takes what pays, one more piece in a sorted
list of slopes, so f_mu is found by merging as for one store. The expectation over Markov states
and load leaves the chosen prices: there the lines of all outcomes are summed over c exactly and
cut at the prices of the period before.
"""

from __future__ import annotations

import numpy as np

from flexgym.baselines.household.bounds import sample, tangents
from flexgym.envs.charts.recursion import convolve
from flexgym.envs.compiled import compiled
from flexgym.envs.household.dynamics import BUY, CAPACITY, LOAD, PV, PV_KWP, RETENTION, SELL
from flexgym.envs.household.stage import STAGE_PIECES, priced_stage_cost, stage_cost
from flexgym.envs.uncertainty import realised_pv


@compiled
def lower_stage(
    house, now, weather, price, noise, plugged, prices, ends, left, right, grid, out
):  # fmt: skip
    """One period back with tangents, for each price of the car's energy.

    Args:
        house: Shape (18,).
        now: Load, PV, import and export price as forecast, shape (4,).
        weather: Weather factor of each Markov state, shape (m,).
        price: Price factor of each Markov state, shape (m,).
        noise: Load factors, shape (w,).
        plugged: Whether the car is there.
        prices: Slopes mu of the cost in the car's energy, shape (k,); (1,) while it is away.
        ends: f_mu after the period, shape (m, k, n).
        left: Its left-hand slopes, likewise.
        right: Its right-hand slopes, likewise.
        grid: Energies of the battery, shape (n,), kWh.
        out: f_mu and its slopes given the load, shape (3, m, w, k, n), overwritten.
    """
    m, K, n = ends.shape
    size = 2 * n + STAGE_PIECES + 2
    slopes, lengths = np.empty(size), np.empty(size)
    merged, widths = np.empty(size), np.empty(size)
    psi_slopes, psi_lengths = np.empty(STAGE_PIECES), np.empty(STAGE_PIECES)
    out[:] = 0.0
    for s in range(m):
        pv = realised_pv(weather[s], now[PV], house[PV_KWP])
        buy = now[BUY] * price[s]
        for k in range(K):
            count = tangents(ends[s, k], left[s, k], right[s, k], grid, slopes, lengths)
            for w in range(len(noise)):
                load = now[LOAD] * noise[w]
                if plugged:
                    n_psi, psi_low, psi_cost = priced_stage_cost(
                        house, load, -prices[k], pv, buy, now[SELL], psi_slopes, psi_lengths
                    )
                else:
                    n_psi, psi_low, psi_cost = stage_cost(
                        house, load, 0.0, pv, buy, now[SELL], psi_slopes, psi_lengths
                    )
                start, pieces = convolve(
                    house[RETENTION], house[CAPACITY], ends[s, k, 0], slopes, lengths, 0, count,
                    psi_slopes, psi_lengths, n_psi, psi_low, psi_cost, merged, widths, 0,
                )  # fmt: skip
                sample(
                    start, merged, widths, pieces, grid, out[0, s, w, k], out[1, s, w, k],
                    out[2, s, w, k], 1.0,
                )  # fmt: skip


@compiled
def recombine(parts, weights, prices, targets, least, top, out):
    """Expectation of max over prices of (f_mu + mu*c), as f_mu again.

    Args:
        parts: f_mu and its slopes of every outcome, shape (3, r, k, n).
        weights: Probability of each outcome given each Markov state, shape (m, r).
        prices: Slopes mu, shape (k,), ascending.
        targets: Slopes wanted, shape (j,), ascending.
        least: Least energy the car can have, kWh.
        top: Energy at which charging ends, kWh.
        out: f_mu and its slopes at the targets, shape (3, m, j, n), overwritten.
    """
    _, R, K, n = parts.shape
    m, J = len(weights), len(targets)
    events = R * K
    at, which = np.empty(events), np.empty(events, dtype=np.int64)
    source, target = np.empty(events, dtype=np.int64), np.empty(events, dtype=np.int64)
    first, active = np.empty(R, dtype=np.int64), np.empty(K, dtype=np.int64)
    for i in range(n):
        count = 0
        for r in range(R):
            # Lines that are largest somewhere, and where one follows another as c grows.
            used = 0
            for k in range(K):
                f = parts[0, r, k, i]
                while used > 0:
                    j = active[used - 1]
                    cross = (parts[0, r, j, i] - f) / (prices[k] - prices[j])
                    if used == 1:
                        if cross > 0.0:
                            break
                    elif cross > at[count + used - 2]:
                        break
                    used -= 1
                if used > 0:
                    j = active[used - 1]
                    at[count + used - 1] = (parts[0, r, j, i] - f) / (prices[k] - prices[j])
                active[used] = k
                used += 1
            # Only what happens between least and top counts.
            first[r] = active[0]
            kept = count
            for k in range(used - 1):
                c = at[count + k]
                if c <= least:
                    first[r] = active[k + 1]
                elif c < top:
                    at[kept], which[kept] = c, r
                    source[kept], target[kept] = active[k], active[k + 1]
                    kept += 1
            count = kept
        order = np.argsort(at[:count])
        for s in range(m):
            level, slope, a, b = 0.0, 0.0, 0.0, 0.0
            for r in range(R):
                w = weights[s, r]
                level += w * parts[0, r, first[r], i]
                slope += w * prices[first[r]]
                a += w * parts[1, r, first[r], i]
                b += w * parts[2, r, first[r], i]
            k = 0
            while k < J and targets[k] <= slope:
                out[0, s, k, i] = level + (slope - targets[k]) * least
                out[1, s, k, i], out[2, s, k, i] = a, b
                k += 1
            for e in order:
                c = at[e]
                if k == J:
                    break
                w = weights[s, which[e]]
                if w == 0.0:
                    continue
                r, j, h = which[e], source[e], target[e]
                steeper = w * (prices[h] - prices[j])
                more_a = w * (parts[1, r, h, i] - parts[1, r, j, i])
                more_b = w * (parts[2, r, h, i] - parts[2, r, j, i])
                while k < J and targets[k] <= slope + steeper:
                    share = max(targets[k] - slope, 0.0) / steeper
                    out[0, s, k, i] = level + (slope - targets[k]) * c
                    out[1, s, k, i] = a + share * more_a
                    out[2, s, k, i] = b + share * more_b
                    k += 1
                level += w * (parts[0, r, h, i] - parts[0, r, j, i])
                slope += steeper
                a += more_a
                b += more_b
            while k < J:
                out[0, s, k, i] = level + (slope - targets[k]) * top
                out[1, s, k, i], out[2, s, k, i] = a, b
                k += 1
