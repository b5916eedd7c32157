"""What a test orders in the node `standin` of pecan.xml, which PEcAn's R does not know:

    hold        a stage that waits, once begun, until <workflow id>.<stage>.open is beside the journal of the test model
    severe      a stage that fails by logger.severe
    stop        a stage that fails by an error of R itself, which no logger sees

A stage is named as in STATUS; CONVERSIONS is what R does before TRAIT. With `assim.batch`, `n.knot` runs are made and
published in the stage PDA, as PEcAn's own parameter data assimilation does.
"""

from __future__ import annotations

import time
from pathlib import Path

from r_standin.logger import info, severe, stop
from r_standin.settings import Settings

GATES = Path("/data/journal")
HELD_AT_MOST_SECONDS = 600
LOOK_SECONDS = 0.1


def obey(settings: Settings, stage: str) -> None:
    """Do in a stage what is ordered for it."""
    told = {tag: [(node.text or "").strip() for node in settings.root.findall(f"standin/{tag}")] for tag in _TAGS}
    if stage in told["hold"]:
        _wait(GATES / f"{settings.get('workflow/id')}.{stage}.open")
    if stage in told["severe"]:
        raise severe(
            f"standin.{stage}", f"The stage {stage} was told to fail, with more words than fit on one line of R"
        )
    if stage in told["stop"]:
        raise stop(f"standin.{stage}", "subscript out of bounds")


_TAGS = ("hold", "severe", "stop")


def _wait(gate: Path) -> None:
    info("standin", f"waiting for {gate}")
    until = time.monotonic() + HELD_AT_MOST_SECONDS
    while not gate.exists():
        if time.monotonic() > until:
            raise severe("standin", f"nobody opened {gate}")
        time.sleep(LOOK_SECONDS)
