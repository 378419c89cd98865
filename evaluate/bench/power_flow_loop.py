"""Power flows one at a time inside compiled code, as an environment would call them."""

from __future__ import annotations

from flexgym.envs.compiled import compiled
from flexgym.envs.grid.batch import solve_single


@compiled
def one_by_one(
    parent, branch, element_node, element, bus_node, line_element, trafo_element,
    turn_degree, block, out, totals, slack_pu, tolerance_pu, max_iterations,
    p_kw, q_kvar, v_pu, line, trafo, angle,
):  # fmt: skip
    """Solve the rows of ``p_kw`` and ``q_kvar``; arguments as of `solve_single`."""
    for case in range(p_kw.shape[0]):
        solve_single(
            parent, branch, element_node, element, bus_node, line_element, trafo_element,
            turn_degree, block, out, totals, slack_pu, tolerance_pu, max_iterations,
            p_kw[case], q_kvar[case], v_pu[case], line[case], trafo[case], angle,
        )  # fmt: skip
