"""How the houses of many feeders lie in memory: 64 to a block, one row a quantity.

Feeders come in groups of G (16 or 1): the cases of one block of the power flow. House h of
feeder i of a group is number ``n = h * G + i`` of its group, in lane ``n % 64`` of block
``n // 64``. All numbers of a block lie in one piece of constant shape (ROWS, 64): a loop over
its lanes turns into vector instructions. What a step takes is mostly the time to fetch them,
so what is not each house's own is not among them; it lies on the desk, one for all blocks.
"""

from __future__ import annotations

from flexgym.envs.compiled import inlined
from flexgym.envs.grid.lanes import LANES as GROUP
from flexgym.envs.household.dynamics import (
    CURTAILED_KW,
    EXPORT_EUR,
    HOUSE_COLUMNS,
    IMPORT_EUR,
    MISSED_EUR,
    MISSED_KWH,
    OUTCOME_NAMES,
    TERMINAL_EUR,
    UNSERVED_EUR,
    UNSERVED_KW,
    VISIT_ROWS,
    WEAR_EUR,
)

LANES = 64

HOUSE = 0
"""First of the rows in the order of `flexgym.envs.household.dynamics.house_row`."""
VISIT = HOUSE + HOUSE_COLUMNS
"""First of the rows of the car's visit that runs or comes next."""
(
    SOC,
    CAR,
    TERMINAL,
    LOAD_KWH,
    TAN_PHI,
    HYBRID,
    PV_KVA,
    BATTERY_KVA,
    PV_TAN_PHI,
    P_KW,
    Q_KVAR,
    COST,
    V_PU,
    GRID_EUR,
    SESSION,
    PER_KWH,
    CAR_PERIODS,
) = range(VISIT + VISIT_ROWS, VISIT + VISIT_ROWS + 17)
"""Energies stored (kWh); pay for energy left; consumption of a year (kWh); reactive per active
power of the consumption; whether the inverter is a hybrid, ratings (kVA), reactive per PV power
that the grid code allows; power at the meter (kW, kvar), cost (EUR), voltage at the house and
its share of the grid's cost; number of the car's visit today; and, to observe without dividing,
the share of the battery that a kWh fills and the periods the car charges for a kWh."""
ROWS = CAR_PERIODS + 1
OUTCOMES = len(OUTCOME_NAMES)

(
    PV_YIELD,
    BUY,
    SELL,
    EVEN,
    LOAD,
    PV,
    BATTERY_ACTION,
    CAR_ACTION,
    PV_ACTION,
    REACTIVE_ACTION,
    BATTERY_POWER,
    CAR_POWER,
    SUMS,
) = range(13)
"""Rows of the desk. Of the group, by lane: PV of a roof of 1 kWp (kW), prices (EUR/kWh) and the
import price at which storing for later breaks even. Of the block at work: measured load and PV
(kW), actions, powers played (kW). From `SUMS` on: sums over the group's blocks of `SUMMED`."""
SUMMED = (
    "curtailed_kw", "unserved_kw", "missed_kwh", "import_eur", "export_eur", "wear_eur",
    "unserved_eur", "missed_eur", "terminal_eur",
)  # fmt: skip
"""Outcomes of which the accounts of a feeder need the sum over its houses."""
DESK_ROWS = SUMS + len(SUMMED)


def group_size(n: int) -> int:
    """Feeders to a group in a batch of n: one where most of the lanes would be empty."""
    return GROUP if n >= GROUP // 2 else 1


@inlined
def size_of(block):
    """Feeders to a group by a block of its power flow: known when compiling."""
    return GROUP if block.ndim == 3 else 1


@inlined
def position(k):
    """An index that the compiler knows to be none from the end, which loops would have to tell.

    Nothing has 2**40 numbers.
    """
    return k & 0xFFFFFFFFFF


@inlined
def place(h, size):
    """Where house h of a group's first feeder lies in the flat numbers; the others follow."""
    n = position(h * size)
    return n // LANES * ROWS * LANES + n % LANES


@inlined
def house_at(w, at):
    """Numbers of the house in a lane as a tuple; ``at`` is the block's begin plus the lane."""
    return (
        w[at], w[at + 64], w[at + 128], w[at + 192], w[at + 256], w[at + 320], w[at + 384],
        w[at + 448], w[at + 512], w[at + 576], w[at + 640], w[at + 704], w[at + 768],
        w[at + 832], w[at + 896], w[at + 960], w[at + 1024], w[at + 1088],
    )  # fmt: skip


@inlined
def visit_at(w, at):
    """Numbers of the car's visit in a lane as a tuple."""
    at += VISIT * LANES
    return w[at], w[at + 64], w[at + 128], w[at + 192], w[at + 256]


@inlined
def add(desk, at, happened):
    """Add a lane's `SUMMED` outcomes up, one by one: a loop would keep them from the registers."""
    at += SUMS * LANES
    desk[at] += happened[CURTAILED_KW]
    desk[at + 64] += happened[UNSERVED_KW]
    desk[at + 128] += happened[MISSED_KWH]
    desk[at + 192] += happened[IMPORT_EUR]
    desk[at + 256] += happened[EXPORT_EUR]
    desk[at + 320] += happened[WEAR_EUR]
    desk[at + 384] += happened[UNSERVED_EUR]
    desk[at + 448] += happened[MISSED_EUR]
    desk[at + 512] += happened[TERMINAL_EUR]


@inlined
def write(out, at, happened):
    """Write the outcomes of a lane, likewise."""
    out[at + 0] = happened[0]
    out[at + 64] = happened[1]
    out[at + 128] = happened[2]
    out[at + 192] = happened[3]
    out[at + 256] = happened[4]
    out[at + 320] = happened[5]
    out[at + 384] = happened[6]
    out[at + 448] = happened[7]
    out[at + 512] = happened[8]
    out[at + 576] = happened[9]
    out[at + 640] = happened[10]
    out[at + 704] = happened[11]
    out[at + 768] = happened[12]
    out[at + 832] = happened[13]
    out[at + 896] = happened[14]
    out[at + 960] = happened[15]
    out[at + 1024] = happened[16]
