"""Vertices of a convex cost of active and reactive power, from points that span it.

Everything here is symmetric in reactive power q and does not fall with abs(q), so points
with q >= 0 stand for themselves and their mirror images. The function is the lower hull of
sums of a point (p, q, cost) of one list and one (p, q) of another, whose cost is zero: the
devices behind one inverter and the roof behind another, or one list and the origin.

A point is a vertex if some prices of p and of q >= 0 make it the only best one: a linear
program in two prices, solved one constraint after the other (Seidel, Discrete Comput. Geom.
6, 1991). On a line p = const vertices are found by asking for the best point at a price.
"""

from __future__ import annotations

import numpy as np

from flexgym.envs.compiled import compiled

_MARGIN = 1e-9
"""A vertex must be best by this per kW away from it, EUR/kW."""
_SAME_KW = 1e-10
SAME_KW = 1e-9
"""Powers closer than this are the same where a chart is cut."""
_LARGEST_PRICE = 1e5
_STEEP = 1e3
"""Dearest reactive power told from the end of the region, EUR/kvar."""
_SAME_EUR = 1e-12


@compiled
def _separable(a, b, c, order, count):
    """Whether prices (x, y), y >= 0, have ``a*x + b*y <= c`` throughout; reorders ``order``."""
    x, y = _LARGEST_PRICE, 0.0
    for n in range(count):
        i = order[n]
        if a[i] * x + b[i] * y <= c[i] + 1e-12 * (1.0 + abs(c[i])):
            continue
        # The best point lies on this constraint: from base along (-b, a).
        size = a[i] * a[i] + b[i] * b[i]
        base_x, base_y = a[i] * c[i] / size, b[i] * c[i] / size
        norm = np.sqrt(size)
        step_x, step_y = -b[i] / norm, a[i] / norm
        low, high = -1e9, 1e9
        for k in range(n + 4):
            if k < n:
                j = order[k]
                ka, kb, kc = a[j], b[j], c[j]
            elif k == n:
                ka, kb, kc = 1.0, 0.0, _LARGEST_PRICE
            elif k == n + 1:
                ka, kb, kc = -1.0, 0.0, _LARGEST_PRICE
            elif k == n + 2:
                ka, kb, kc = 0.0, 1.0, _LARGEST_PRICE
            else:
                ka, kb, kc = 0.0, -1.0, 0.0
            slope = ka * step_x + kb * step_y
            room = kc - ka * base_x - kb * base_y
            if abs(slope) <= 1e-14 * (abs(ka) + abs(kb)):
                if room < -1e-12 * (1.0 + abs(kc)):
                    low, high = 1.0, 0.0
            elif slope > 0.0:
                high = min(high, room / slope)
            else:
                low = max(low, room / slope)
            if low > high:
                break
        # The constraint that was hit is asked first from now on.
        for k in range(n, 0, -1):
            order[k] = order[k - 1]
        order[0] = i
        if low > high + 1e-12 * (1.0 + abs(low)):
            return False
        # Largest x, as at the start.
        at = high if step_x > 0.0 else low
        x, y = base_x + at * step_x, base_y + at * step_y
    return True


@compiled
def is_vertex(points, roof):
    """Which sums of a point and one of the roof are vertices, shape (n, m).

    Args:
        points: (p, q, cost), q >= 0, shape (n, 3).
        roof: (p, q), q >= 0, shape (m, 2).
    """
    n, m = len(points), len(roof)
    used = np.zeros((n, m), dtype=np.bool_)
    own = np.empty(n, dtype=np.bool_)
    a, b, c = np.empty(n + m), np.empty(n + m), np.empty(n + m)
    order, count = np.arange(n + m), 0
    # Only vertices of each list can make vertices of the sum.
    for k in range(n):
        own[k] = True
        count = 0
        for i in range(n):
            x, y = points[i, 0] - points[k, 0], points[i, 1] - points[k, 1]
            rise = points[i, 2] - points[k, 2]
            far = abs(x) + abs(y)
            if far <= _SAME_KW:
                if rise < 0.0 or (rise == 0.0 and i < k):
                    own[k] = False
                    break
                continue
            a[i], b[i], c[i] = x, y, rise - _MARGIN * far
            if y >= 0.0 and abs(x) <= _SAME_KW and c[i] < 0.0:
                own[k] = False
                break
        if not own[k]:
            continue
        for j in range(n):
            i = order[j]
            if i >= n:
                continue
            far = abs(points[i, 0] - points[k, 0]) + abs(points[i, 1] - points[k, 1])
            if far > _SAME_KW:
                order[j], order[count] = order[count], order[j]
                count += 1
        own[k] = _separable(a, b, c, order, count)
    if m == 1:
        for k in range(n):
            used[k, 0] = own[k]
        return used
    mine = np.flatnonzero(own)
    order = np.empty(len(mine) + m, dtype=np.int64)
    for k in mine:
        for h in range(m):
            count = 0
            for i in mine:
                if i != k:
                    x, y = points[i, 0] - points[k, 0], points[i, 1] - points[k, 1]
                    a[count], b[count] = x, y
                    c[count] = points[i, 2] - points[k, 2] - _MARGIN * (abs(x) + abs(y))
                    count += 1
            for j in range(m):
                if j != h:
                    x, y = roof[j, 0] - roof[h, 0], roof[j, 1] - roof[h, 1]
                    a[count], b[count] = x, y
                    c[count] = -_MARGIN * (abs(x) + abs(y))
                    count += 1
            for j in range(count):
                order[j] = j
            used[k, h] = _separable(a, b, c, order, count)
    return used


@compiled
def _best(points, roof, x, y):
    """Sum (p, q, cost) of least cost at prices x of p and y of q, and that cost."""
    least, at = np.inf, 0
    for i in range(len(points)):
        value = points[i, 2] - x * points[i, 0] - y * points[i, 1]
        if value < least:
            least, at = value, i
    other, roof_at = np.inf, 0
    for j in range(len(roof)):
        value = -x * roof[j, 0] - y * roof[j, 1]
        if value < other:
            other, roof_at = value, j
    p = points[at, 0] + roof[roof_at, 0]
    q = points[at, 1] + roof[roof_at, 1]
    return p, q, points[at, 2], least + other


@compiled
def _least_on_line(points, roof, p, y):
    """The (q, cost) on the line of active power p that is best at a price y of q."""
    left_p, left_q, left_c, _ = _best(points, roof, -_LARGEST_PRICE, y)
    right_p, right_q, right_c, _ = _best(points, roof, _LARGEST_PRICE, y)
    for _ in range(1000):
        width = right_p - left_p
        if width <= _SAME_KW:
            break
        left, right = left_c - y * left_q, right_c - y * right_q
        x = (right - left) / width
        at, q, cost, value = _best(points, roof, x, y)
        if value >= left - x * left_p - _SAME_EUR * (1.0 + abs(left)):
            break
        if at <= p:
            if at < left_p:
                break
            left_p, left_q, left_c = at, q, cost
        else:
            right_p, right_q, right_c = at, q, cost
    share = (p - left_p) / (right_p - left_p) if right_p - left_p > _SAME_KW else 0.0
    share = min(max(share, 0.0), 1.0)
    return left_q + share * (right_q - left_q), left_c + share * (right_c - left_c)


@compiled
def on_line(points, roof, p):
    """Vertices (q, cost) of the function on the line of active power p, q ascending."""
    found = np.empty((64, 2))
    found[0] = _least_on_line(points, roof, p, 1e-9)
    found[1] = _least_on_line(points, roof, p, _STEEP)
    if found[1, 0] - found[0, 0] <= _SAME_KW:
        return found[:1]
    count, k = 2, 0
    while k < count - 1 and count < 64:
        width = found[k + 1, 0] - found[k, 0]
        y = (found[k + 1, 1] - found[k, 1]) / width
        q, cost = _least_on_line(points, roof, p, y)
        line = found[k, 1] + y * (q - found[k, 0])
        inside = found[k, 0] + _SAME_KW < q < found[k + 1, 0] - _SAME_KW
        if inside and cost < line - 1e-11 * (1.0 + abs(line)):
            for j in range(count, k + 1, -1):
                found[j] = found[j - 1]
            found[k + 1] = (q, cost)
            count += 1
        else:
            k += 1
    return found[:count]


@compiled
def half_vertices(points, roof, low, high, kink):
    """Vertices (p, q, cost), q >= 0, of the function between two active powers, shape (n, 3).

    Args:
        points: (p, q, cost), q >= 0, shape (n, 3).
        roof: (p, q), q >= 0, shape (m, 2).
        low: Least active power.
        high: Largest.
        kink: Active power at which a kink is added, where it lies between.
    """
    used = is_vertex(points, roof)
    cuts = np.empty(3)
    cuts[0], count = low, 1
    if high - low > SAME_KW:
        cuts[1], count = high, 2
    if low + SAME_KW < kink < high - SAME_KW:
        cuts[count] = kink
        count += 1
    own, beside = np.zeros(len(points), dtype=np.bool_), np.zeros(len(roof), dtype=np.bool_)
    total = 0
    for i in range(len(points)):
        for j in range(len(roof)):
            if used[i, j]:
                own[i] = beside[j] = True
                total += 1
    found = np.empty((total + 64 * count, 3))
    n = 0
    for i in range(len(points)):
        for j in range(len(roof)):
            p = points[i, 0] + roof[j, 0]
            inside = used[i, j] and low + SAME_KW < p < high - SAME_KW
            for k in range(count):
                inside = inside and abs(p - cuts[k]) > SAME_KW
            if inside:
                found[n, 0], found[n, 1] = p, points[i, 1] + roof[j, 1]
                found[n, 2] = points[i, 2]
                n += 1
    few, fewer = points[own], roof[beside]
    for k in range(count):
        line = on_line(few, fewer, cuts[k])
        for i in range(len(line)):
            found[n, 0], found[n, 1], found[n, 2] = cuts[k], line[i, 0], line[i, 1]
            n += 1
    return found[:n]
