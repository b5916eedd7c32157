"""What workflows of PEcAn's R framework need: a model with interface pecan, rows of BETY, a pecan.xml with orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workflow_support.manifests import MODEL, Manifest, built_image, journal_model, resource

PFT = "orders"
TRAITS = ("Amax", "SLA")
BETY_ROWS = f"""
SET ROLE bety;
CREATE TABLE IF NOT EXISTS pfts_priors (
  pft_id bigint NOT NULL REFERENCES pfts, prior_id bigint NOT NULL REFERENCES priors, UNIQUE (pft_id, prior_id));
INSERT INTO modeltypes (name) VALUES ('JOURNAL') ON CONFLICT DO NOTHING;
INSERT INTO pfts (name, definition, modeltype_id)
  SELECT '{PFT}', 'for tests', id FROM modeltypes WHERE name = 'JOURNAL';
INSERT INTO variables (name) VALUES {", ".join(f"('{trait}')" for trait in TRAITS)};
INSERT INTO priors (variable_id, phylogeny, distn, parama, paramb)
  SELECT id, 'plants', 'unif', 10, 20 FROM variables WHERE name IN {TRAITS};
INSERT INTO pfts_priors SELECT pfts.id, priors.id FROM pfts, priors WHERE pfts.name = '{PFT}';
INSERT INTO posteriors (pft_id) SELECT id FROM pfts WHERE name = '{PFT}';
"""
"""What a restored BETY has of a PFT of the test model: priors, and a posterior. Run once, in an empty BETY of ours."""


def r_platform(name: str) -> Manifest:
    """A platform whose workflows are prepared and analysed by the stand-in of R."""
    spec = {"framework": "pecan", "executor": {"image": built_image("r-standin")}, "storage": {"data": {"size": "1Gi"}}}
    return resource("PecanPlatform", name, spec)


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
