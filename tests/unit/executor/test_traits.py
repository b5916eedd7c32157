"""The example with its priors in files: what its Job writes is what the workflow reads and DALEC accepts."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from pecan_adapter.config import Pft as DalecPft
from pecan_adapter.traits import values_of
from pecan_dalec.traits import NAMES
from pecan_executor.sampling import draw_members
from pecan_executor.traits import read_traits
from pecan_operator.api.workflow import PecanWorkflow
from pecan_operator.core.pecanxml import Ensemble, Pft, Settings
from pecan_operator.errors import UserError

EXAMPLES = Path(__file__).parents[3] / "examples"


def test_the_example_with_priors_in_files(tmp_path: Path, settings: Settings) -> None:
    job = yaml.safe_load((EXAMPLES / "demo" / "priors.yaml").read_text())
    (container,) = job["spec"]["template"]["spec"]["containers"]
    for path, text in re.findall(r"cat > (\S+) <<'END'\n(.*?)END\n", container["command"][-1], re.DOTALL):
        (tmp_path / Path(path).name).write_text(text)
    obj = yaml.safe_load((EXAMPLES / "workflows" / "prior-table.yaml").read_text())
    obj["metadata"] |= {"namespace": "forest", "uid": "uid-1"}
    spec = PecanWorkflow.parse(obj).spec
    (given,) = spec.pfts
    csv, samples = (str(tmp_path / Path(path or "").name) for path in (given.priors.csv, given.priors.samples_csv))
    pft = Pft(given.name, {}, given.constants, priors_csv=csv, samples_csv=samples)
    ensemble = Ensemble(spec.ensemble.size, spec.ensemble.variables, None, None, spec.ensemble.sampling_method, 1)
    made = replace(settings, folder=str(tmp_path / "workflows" / "a"), pfts=(pft,), ensemble=ensemble)
    assert set(read_traits(made)[given.name]) == {
        "SLA",
        "autotrophic_respiration_fraction",
        "leaf_allocation_fraction",
        "litter_respiration_rate",
        "som_respiration_rate",
    }
    members = draw_members(made)
    assert len(members) == 8
    for member in members:
        values_of([DalecPft(given.name, member.traits[given.name], given.constants)], NAMES, "DALEC")


def table(path: Path, first: int, last: int) -> str:
    rows = "".join(f"t{number},norm,1,1\n" for number in range(first, last + 1))
    path.write_text(f"trait,distn,parama,paramb\n{rows}")
    return str(path)


def test_files_may_not_bring_more_traits_than_can_be_drawn(tmp_path: Path, settings: Settings) -> None:
    """Sequences have a dimension for each: sobol has 21,201 of them, halton would take hours."""
    pft = Pft("conifer", {}, {}, priors_csv=table(tmp_path / "priors.csv", 1, 1000))
    made = replace(settings, folder=str(tmp_path / "workflows" / "a"), pfts=(pft,))
    assert len(read_traits(made)["conifer"]) == 1000
    (tmp_path / "samples.csv").write_text("t1000,t1001\n1,2\n")
    many = replace(pft, samples_csv=str(tmp_path / "samples.csv"))
    says = "samples.csv makes 1001 traits of PFT conifer, 1000 is the most: take out those that the model does not read"
    with pytest.raises(UserError, match=says):
        read_traits(replace(made, pfts=(many,)))


def test_only_a_job_that_reads_rdata_loads_what_that_takes() -> None:
    code = "import sys, pecan_executor.prepare; print({'rdata', 'pandas', 'xarray', 'scipy.stats'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
