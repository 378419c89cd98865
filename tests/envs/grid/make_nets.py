"""Write the SimBench networks of this folder: ``python tests/envs/grid/make_nets.py``."""

import warnings
from pathlib import Path

import pandapower
import simbench

FOLDER = Path(__file__).parent / "nets"
NAMES = ("rural1", "rural2", "rural3", "semiurb5", "urban6")
TABLES = ("bus", "line", "trafo", "load", "sgen", "storage", "ext_grid", "switch")
UNUSED = ("subnet", "substation", "voltLvl", "std_type", "zone", "profile", "type", "max_p_mw",
          "min_p_mw", "max_q_mvar", "min_q_mvar", "sR", "geo", "max_vm_pu", "min_vm_pu",
          "max_loading_percent", "controllable", "vector_group", "phys_type",
          "autoTap", "autoTapSide", "oltc")  # fmt: skip


def main() -> None:
    for name in NAMES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            source = simbench.get_simbench_net(f"1-LV-{name}--0-no_sw")
        net = pandapower.create_empty_network(name=source.name, add_stdtypes=False)
        for table in TABLES:
            kept = sorted(set(source[table].columns) - set(UNUSED))
            net[table] = source[table][kept]
        pandapower.to_json(net, str(FOLDER / f"{name}.json"))


if __name__ == "__main__":
    main()
