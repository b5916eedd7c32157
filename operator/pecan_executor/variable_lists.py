"""`<year>.nc.var` beside each year's output: what PEcAn's web pages and API know a run's variables from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from netCDF4 import Dataset

from pecan_executor.files import write_text
from pecan_executor.plan import RunStatus
from pecan_operator.records import RunPlan, RunState

_COORDINATES = ("time", "time_bounds", "lat", "lon")


def list_variables(plans: Sequence[RunPlan], states: Mapping[str, RunStatus]) -> None:
    """Write the list of each year's variables where the model left none; runs that did not succeed have none."""
    for plan in plans:
        status = states.get(plan.run_id)
        if status is None or status.state is not RunState.SUCCEEDED:
            continue
        for name in plan.expect:
            path = Path(plan.outdir) / name
            beside = path.with_name(f"{name}.var")
            if path.suffix == ".nc" and not beside.exists():
                # output that is gone or cannot be read is named by the analysis
                with suppress(OSError):
                    write_text(beside, variable_list(path))


def variable_list(path: Path) -> str:
    """A line for each variable of a netCDF file: its name, a blank, its long name or, without one, its name.

    Coordinates are left out. Raises OSError when the file cannot be read.
    """
    with Dataset(path) as dataset:
        return "".join(
            f"{name} {' '.join(str(getattr(variable, 'long_name', name)).split())}\n"
            for name, variable in dataset.variables.items()
            if name not in _COORDINATES and variable.dimensions
        )
