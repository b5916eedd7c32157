"""PEcAn's published image of SIPNET, by its example: what can be said of it where no image registry is reached."""

from __future__ import annotations

from support import example, wait
from workflow_support.site import Site


def test_a_model_is_registered_without_pulling_its_image(site: Site) -> None:
    site.apply(example("models/sipnet.yaml"))
    try:
        wait(
            lambda: site.condition("sipnet", "Ready", "PecanModel")["status"] == "True",
            60,
            lambda: site.status("sipnet", "PecanModel"),
        )
        status = site.status("sipnet", "PecanModel")
        assert status["queue"] == "SIPNET_git"
        assert not status.get("readyReplicas")
    finally:
        site.delete("PecanModel", "sipnet")
