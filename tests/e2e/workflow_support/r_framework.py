"""What workflows of PEcAn's R framework need: a model with interface pecan, rows of BETY, a pecan.xml with orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from support import wait

from workflow_support.manifests import MODEL, Manifest, built_image, journal_model, resource
from workflow_support.site import Site

PFT = "orders"
TRAITS = ("Amax", "SLA")


def bety_rows(model_type: str, pft: str) -> str:
    """Statements for what a restored BETY has of a PFT: priors, and a posterior. Run once, in a BETY of ours."""
    return f"""
SET ROLE bety;
CREATE TABLE IF NOT EXISTS pfts_priors (
  pft_id bigint NOT NULL REFERENCES pfts, prior_id bigint NOT NULL REFERENCES priors, UNIQUE (pft_id, prior_id));
INSERT INTO modeltypes (name) VALUES ('{model_type}') ON CONFLICT DO NOTHING;
INSERT INTO pfts (name, definition, modeltype_id)
  SELECT '{pft}', 'for tests', id FROM modeltypes WHERE name = '{model_type}';
INSERT INTO variables (name) SELECT name FROM unnest(ARRAY{list(TRAITS)}) AS name
  WHERE name NOT IN (SELECT name FROM variables);
INSERT INTO priors (variable_id, phylogeny, distn, parama, paramb)
  SELECT id, '{pft}', 'unif', 10, 20 FROM variables WHERE name IN {TRAITS};
INSERT INTO pfts_priors
  SELECT pfts.id, priors.id FROM pfts JOIN priors ON priors.phylogeny = pfts.name WHERE pfts.name = '{pft}';
INSERT INTO posteriors (pft_id) SELECT id FROM pfts WHERE name = '{pft}';
"""


def r_platform() -> Manifest:
    """Fields of a platform whose workflows are prepared and analysed by the stand-in of R."""
    resources = {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}
    return {"framework": "pecan", "executor": {"image": built_image("r-standin"), "resources": resources}}


def r_model(**scaling: int) -> Manifest:
    """The journal model as one whose job.sh R writes."""
    model = journal_model(**scaling)
    model["spec"].update(interface="pecan", binary="/usr/local/bin/journal")
    return model


def r_workflow(
    name: str,
    size: int,
    *,
    posterior_id: int | None = None,
    orders: Mapping[str, float] | None = None,
    standin: Sequence[tuple[str, str]] = (),
    more: str = "",
    **spec: Any,
) -> Manifest:
    """A workflow of R.

    Args:
        posterior_id: of BETY's posteriors; without, a meta-analysis makes one.
        orders: constants of the runs, explained in tests/e2e/model-image/run.
        standin: what R is told, such as ("hold", "TRAIT"): tests/e2e/r-image/r_standin/orders.py.
        more: further nodes of pecan.xml.
    """
    xml = pecan_xml(size, posterior_id, {"sleep_seconds": 0, **(orders or {})}, standin, more)
    return resource("PecanWorkflow", name, {"modelRef": {"name": MODEL}, "pecanXml": {"inline": xml}, **spec})


def stage_at_work(site: Site, folder: str) -> str | None:
    """The stage of the open line of STATUS; None when no line is open."""
    last = site.sh(f"tail -n 1 {folder}/STATUS 2>/dev/null || true")
    return None if last.endswith("\n") or not last else last.partition("\t")[0]


def wait_held(site: Site, workflow_id: int, stage: str, seconds: float = 60.0) -> None:
    """Until R holds in a stage it was told to hold in."""
    folder = f"/data/workflows/PEcAn_{workflow_id}"

    def is_held() -> bool:
        return bool(site.sh(f"grep -l '/{workflow_id}.{stage}.open' {folder}/workflow*.Rout 2>/dev/null || true"))

    wait(is_held, seconds, lambda: site.sh(f"tail -n 20 {folder}/STATUS {folder}/workflow*.Rout || true"))


def open_stage(site: Site, workflow_id: int, stage: str) -> None:
    """Let R go on that holds in a stage, or comes to it later."""
    site.sh(f"touch /data/journal/{workflow_id}.{stage}.open")


def pecan_xml(
    size: int,
    posterior_id: int | None,
    orders: Mapping[str, float],
    standin: Sequence[tuple[str, str]] = (),
    more: str = "",
) -> str:
    """A user's pecan.xml, with all that is PEcAn's own to fill in left out."""
    constants = "".join(f"<{key}>{value}</{key}>" for key, value in orders.items())
    told = "".join(f"<{key}>{stage}</{key}>" for key, stage in standin)
    meta_analysis = "<meta.analysis><iter>10</iter></meta.analysis>" if posterior_id is None else ""
    posterior = "" if posterior_id is None else f"<posteriorid>{posterior_id}</posteriorid>"
    return f"""<?xml version="1.0"?>
<pecan>
 <database><bety><write>TRUE</write></bety></database>
 <pfts><pft><name>{PFT}</name>{posterior}<constants>{constants}</constants></pft></pfts>
 {meta_analysis}
 <ensemble><size>{size}</size><variable>GPP</variable></ensemble>
 <run>
  <site><id>NL-Loo</id><name>Loobos</name><lat>52.17</lat><lon>5.74</lon></site>
  <inputs><met><path>/data/journal/met</path></met></inputs>
  <start.date>1998/01/01</start.date>
  <end.date>1998/12/31</end.date>
 </run>
 <standin>{told}</standin>
 {more}
</pecan>
"""
