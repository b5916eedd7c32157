"""What a test orders in the node `standin` of pecan.xml, which PEcAn's R does not know:

    hold        a stage that waits at its end until <workflow id>.<stage>.open is beside the journal of the test model
    severe      a stage that fails by logger.severe until that file is there
    stop        a stage that fails by an error of R itself, which no logger sees, until then

A stage is named as in STATUS; CONVERSIONS is what R does before TRAIT. With `assim.batch`, `n.knot` runs are made and
published in the stage PDA, as PEcAn's own parameter data assimilation does.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from r_standin.logger import info, severe, stop
from r_standin.settings import Settings

GATES = Path(os.environ.get("R_STANDIN_GATES", "/data/journal"))
HELD_AT_MOST_SECONDS = 600
LOOK_SECONDS = 0.1


def fail_if_told(settings: Settings, stage: str) -> None:
    """At the beginning of a stage. Raises Severe."""
    if _gate(settings, stage).exists():
        return
    if stage in settings.all("standin/severe"):
        raise severe(
            f"standin.{stage}", f"The stage {stage} was told to fail, with more words than fit on one line of R"
        )
    if stage in settings.all("standin/stop"):
        raise stop(f"standin.{stage}", "subscript out of bounds")


def hold_if_told(settings: Settings, stage: str) -> None:
    """At the end of a stage, when all its work is done and only STATUS does not say so yet."""
    if stage not in settings.all("standin/hold"):
        return
    gate = _gate(settings, stage)
    info("standin", f"waiting for {gate}")
    until = time.monotonic() + HELD_AT_MOST_SECONDS
    while not gate.exists():
        if time.monotonic() > until:
            raise severe("standin", f"nobody opened {gate}")
        time.sleep(LOOK_SECONDS)


def _gate(settings: Settings, stage: str) -> Path:
    return GATES / f"{settings.outdir.name.removeprefix('PEcAn_')}.{stage}.open"
