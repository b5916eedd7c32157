"""The stages TRAIT, META and CONFIG: what the first pass leaves of PFTs, runs and rows.

Source: PEcAn, modules/uncertainty/R/{ensemble,sensitivity}.R, base/workflow/R/run.write.configs.R.
"""

from __future__ import annotations

import json
import random
import shlex
import shutil
import statistics
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from r_standin.bety import Bety, Prior
from r_standin.checks import day
from r_standin.logger import info, severe, stop
from r_standin.rdata import save
from r_standin.settings import Settings, leaf, paths_of, put

ENSEMBLE, SENSITIVITY, PDA = "ensemble", "sensitivity analysis", "pda.emulator"
DEFAULT_SIGMA = (-3, -2, -1, 0, 1, 2, 3)
PRIORS = ("prior.distns.csv", "prior.distns.Rdata", "trait.data.csv", "trait.data.Rdata", "species.csv")
POSTERIORS = ("trait.mcmc.Rdata", "post.distns.MA.Rdata", "meta-analysis.log")

JOB = """\
#!/bin/bash -l

# redirect output
exec 3>&1
exec &> {outdir}/logfile.txt

# host specific setup

mkdir -p {outdir}
cd {rundir}

{binary} {rundir}
STATUS=$?
if [ $STATUS -ne 0 ]; then
  echo -e "ERROR IN MODEL RUN\\nLogfile is located at {outdir}/logfile.txt" >&3
  exit $STATUS
fi
for file in {outdir}/*.nc; do printf 'GPP Gross Primary Productivity\\nNEE Net Ecosystem Exchange\\n' > $file.var; done

cp {rundir}/README.txt {outdir}/README.txt
echo "MODEL FINISHED" >&3
"""


@dataclass(frozen=True)
class RunPlan:
    """A run that is to be: what its row says (parameter_list), what its README says, and its trait values by PFT."""

    parameters: str
    readme: Mapping[str, str]
    traits: Mapping[str, Mapping[str, float]]
    member: int = 0


def trait(settings: Settings, bety: Bety, machine_id: int) -> None:
    """get.trait.data: priors by PFT into its folder, a row of `posteriors`; nothing without a meta-analysis."""
    if not settings.has("meta.analysis"):
        return
    for pft in settings.pfts:
        folder, priors = Path(leaf(pft, "outdir")), priors_of(settings, pft, bety)
        rows = "".join(f'"{name}","{distn}",{a},{b},NA\n' for name, (distn, a, b) in priors.items())
        (folder / PRIORS[0]).write_text('"","distn","parama","paramb","n"\n' + rows)
        save(folder / PRIORS[1], prior__distns={name: str(prior) for name, prior in priors.items()})
        for name in PRIORS[2:]:
            (folder / name).touch()
        if not leaf(pft, "posteriorid"):
            pft_id = bety.pft(leaf(pft, "name"), settings.get("model/type"))
            assert pft_id is not None
            put(pft, "posteriorid", str(bety.add_posterior(pft_id)))
        keep_files(settings, pft, PRIORS, bety, machine_id)


def meta(settings: Settings, bety: Bety, machine_id: int) -> None:
    """run.meta.analysis: posteriors by PFT, the last of them behind a symbolic link."""
    for pft in settings.pfts:
        folder = Path(leaf(pft, "outdir"))
        save(folder / POSTERIORS[0], trait__mcmc={"none": 0.0})
        save(folder / POSTERIORS[1], post__distns={"none": 0.0})
        (folder / POSTERIORS[2]).touch()
        link = folder / "post.distns.Rdata"
        link.unlink(missing_ok=True)
        link.symlink_to(folder / POSTERIORS[1])
        keep_files(settings, pft, POSTERIORS, bety, machine_id)


def keep_files(settings: Settings, pft: ET.Element, names: tuple[str, ...], bety: Bety, machine_id: int) -> None:
    """Copy files of a PFT to dbfiles/posterior/<id>, with a row for each; not with `write` FALSE."""
    if not settings.write_rows:
        return
    posterior_id = leaf(pft, "posteriorid")
    kept = Path(settings.get("database/dbfiles")) / "posterior" / posterior_id
    kept.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copyfile(Path(leaf(pft, "outdir")) / name, kept / name)
        bety.add_file("Posterior", int(posterior_id), machine_id, str(kept), name)


def priors_of(settings: Settings, pft: ET.Element, bety: Bety) -> Mapping[str, Prior]:
    """BETY's priors of a PFT; none without a meta-analysis, when R takes them from files."""
    if not settings.has("meta.analysis"):
        return {}
    pft_id = bety.pft(leaf(pft, "name"), settings.get("model/type"))
    assert pft_id is not None
    return bety.priors(pft_id)


def config(settings: Settings, bety: Bety) -> None:
    """run.write.configs: sensitivity analysis, then ensemble, at each site; run/runs.txt is begun anew."""
    priors = {leaf(pft, "name"): priors_of(settings, pft, bety) for pft in settings.pfts}
    analyses = (
        [(SENSITIVITY, list(_sensitivity_runs(settings, priors)))] if settings.has("sensitivity.analysis") else []
    )
    if settings.has("ensemble"):
        analyses.append((ENSEMBLE, list(_ensemble_runs(settings, priors))))
    _begin_runs(settings)
    for run in settings.runs():
        for runtype, plans in analyses:
            ensemble_id, ids = write_runs(settings, run, runtype, plans, bety)
            node = "ensemble" if runtype == ENSEMBLE else "sensitivity.analysis"
            settings.put(f"{node}/ensemble.id", ensemble_id)
            save(settings.outdir / f"{node.partition('.')[0]}.samples.{ensemble_id}.Rdata", run__ids=ids)
    save(settings.outdir / "samples.Rdata", ensemble__samples={"none": 0.0})
    info("run.write.configs", "###### Finished writing model run config files #####")


def _begin_runs(settings: Settings) -> None:
    for name in ("run", "out"):
        (settings.outdir / name).mkdir(exist_ok=True)
    (settings.outdir / "run" / "runs.txt").write_text("")


def write_runs(
    settings: Settings, run: ET.Element, runtype: str, plans: list[RunPlan], bety: Bety
) -> tuple[str, list[str]]:
    """An ensemble with its runs: rows, folders, lines of runs.txt. Returns the ids; without rows R makes names instead."""
    site_id = leaf(run, "site/id")
    ensemble_id = "NA"
    if settings.write_rows:
        posterior_ids = [leaf(pft, "posteriorid") for pft in settings.pfts]
        ensemble_id = str(bety.add_ensemble(runtype, int(settings.get("workflow/id")), posterior_ids))
    days = (day(leaf(run, "start.date")).isoformat(), day(leaf(run, "end.date")).isoformat())
    ids = []
    for number, plan in enumerate(plans, 1):
        if settings.write_rows:
            key = (int(settings.get("model/id")), int(site_id), days, int(ensemble_id), plan.parameters)
            run_id = str(bety.add_run(*key))
        else:
            run_id = f"{'ENS' if runtype == ENSEMBLE else 'SA'}-{number:05}-{site_id}"
        _write_run(settings, run, runtype, ensemble_id, run_id, plan)
        ids.append(run_id)
    return ensemble_id, ids


def _write_run(settings: Settings, run: ET.Element, runtype: str, ensemble_id: str, run_id: str, plan: RunPlan) -> None:
    rundir, outdir = settings.outdir / "run" / run_id, settings.outdir / "out" / run_id
    for folder in (rundir, outdir):
        folder.mkdir()
    binary = settings.get("model/binary")
    if not binary:
        raise stop("gsub", "invalid 'replacement' argument")
    (rundir / "README.txt").write_text(_readme(settings, run, runtype, ensemble_id, run_id, plan))
    (rundir / "config.json").write_text(json.dumps(_model_config(settings, run, ensemble_id, run_id, plan), indent=1))
    quoted = {"rundir": shlex.quote(str(rundir)), "outdir": shlex.quote(str(outdir)), "binary": shlex.quote(binary)}
    (rundir / "job.sh").write_text(JOB.format(**quoted))
    (rundir / "job.sh").chmod(0o755)
    with (settings.outdir / "run" / "runs.txt").open("a") as file:
        file.write(f"{run_id}\n")


def _readme(settings: Settings, run: ET.Element, runtype: str, ensemble_id: str, run_id: str, plan: RunPlan) -> str:
    """As R's cat() leaves it: a blank between all pieces, also behind a newline."""
    lines = {
        "runtype": runtype,
        "workflow id": settings.get("workflow/id"),
        "ensemble id": ensemble_id,
        **plan.readme,
        "run id": run_id,
        "model": settings.get("model/type"),
        "model id": settings.get("model/id"),
        "site": leaf(run, "site/name"),
        "site  id": leaf(run, "site/id"),
        "met data": next(iter(_inputs(run).values()), ""),
        "start date": leaf(run, "start.date"),
        "end date": leaf(run, "end.date"),
        "hostname": settings.get("host/name"),
        "rundir": str(settings.outdir / "run" / run_id),
        "outdir": str(settings.outdir / "out" / run_id),
    }
    return " ".join(f"{key:<12}:  {value} \n" for key, value in lines.items())


def _model_config(
    settings: Settings, run: ET.Element, ensemble_id: str, run_id: str, plan: RunPlan
) -> dict[str, object]:
    """What the test model reads: a model package's write.config writes what its model reads."""
    return {
        "workflow_id": settings.get("workflow/id"),
        "run_id": run_id,
        "ensemble_id": ensemble_id,
        "member": plan.member,
        "start_date": day(leaf(run, "start.date")).isoformat(),
        "end_date": day(leaf(run, "end.date")).isoformat(),
        "inputs": _inputs(run),
        "pfts": [
            {
                "name": leaf(pft, "name"),
                "traits": plan.traits.get(leaf(pft, "name"), {}),
                "constants": {each.tag: float(each.text or 0) for each in pft.findall("constants/*")},
            }
            for pft in settings.pfts
        ],
        "outdir": str(settings.outdir / "out" / run_id),
    }


def _inputs(run: ET.Element) -> dict[str, str]:
    """The first file of each input."""
    return {tag.tag: paths[0] for tag in run.findall("inputs/*") if (paths := paths_of(tag))}


def _ensemble_runs(settings: Settings, priors: Mapping[str, Mapping[str, Prior]]) -> Iterator[RunPlan]:
    size = int(settings.get("ensemble/size"))
    names = " ".join(priors)
    for member in range(1, size + 1):
        probability = 0.5 if size == 1 else None
        traits = {
            pft: {name: _quantile(prior, probability or random.random()) for name, prior in of_pft.items()}
            for pft, of_pft in priors.items()
        }
        yield RunPlan(f"ensemble={member}", {"run": f"{member} / {size}", "pft names": names}, traits, member)


def _sensitivity_runs(settings: Settings, priors: Mapping[str, Mapping[str, Prior]]) -> Iterator[RunPlan]:
    """The median run, which all share, then one for each trait and quantile."""
    sigma = [float(text) for text in settings.all("sensitivity.analysis/quantiles/sigma")]
    given = [float(text) for text in settings.all("sensitivity.analysis/quantiles/quantile")]
    normal = statistics.NormalDist()
    quantiles = {normal.cdf(each) for each in sigma or ([] if given else DEFAULT_SIGMA)} | set(given)
    medians = {pft: {name: _quantile(prior, 0.5) for name, prior in of_pft.items()} for pft, of_pft in priors.items()}
    readme = {"pft name": "ALL PFT", "quantile": "MEDIAN", "trait": "ALL TRAIT"}
    yield RunPlan(f"quantile=MEDIAN,trait=all,pft={','.join(priors)}", readme, medians)
    for pft, of_pft in priors.items():
        for name, prior in of_pft.items():
            for probability in sorted(quantiles - {0.5}):
                percent = f"{100 * probability:.5g}"
                traits = {**medians, pft: {**medians[pft], name: _quantile(prior, probability)}}
                readme = {"pft name": pft, "quantile": percent, "trait": name}
                yield RunPlan(f"quantile={percent},trait={name},pft={pft}", readme, traits)


def _quantile(prior: Prior, probability: float) -> float:
    """Of a norm or unif: the tests need no other."""
    distn, a, b = prior
    if distn == "norm":
        return statistics.NormalDist(a, b or 1.0).inv_cdf(probability)
    if distn == "unif":
        return a + ((b or 0.0) - a) * probability
    raise severe("get.parameter.samples", f"the stand-in of R knows norm and unif, not {distn}")
