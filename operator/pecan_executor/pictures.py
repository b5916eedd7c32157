"""The picture files of one variable: pages of a PDF, and a PNG of the last."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pecan_executor.collect import ALL_SITES
from pecan_executor.ensemble import Period, Statistics, summarise
from pecan_executor.files import replacing
from pecan_executor.panels import PANELS, Panel, panels_figure
from pecan_executor.plots import binned, bins_of, ensemble_figure
from pecan_executor.writers import PlaceResult, Subject

MOST_PAGES = 25
"""Sites with a page each: nobody turns through hundreds, and a page takes longer than reading a site."""

_PNG_DPI = 160


class Pages:
    """A PDF of figures and a PNG of the last; the files appear when the block ends, and not after an error or without a
    figure."""

    def __init__(self, pdf: Path, png: Path) -> None:
        self._paths = pdf, png
        self._last: Figure | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Pages:
        return self

    def __exit__(self, *error: Any) -> None:
        if self._last is not None and error[0] is None:
            self._last.savefig(self._png, dpi=_PNG_DPI)
        self._stack.__exit__(*error)

    def add(self, figure: Figure) -> None:
        """A further page."""
        if self._last is None:
            with ExitStack() as stack:
                pdf, self._png = (stack.enter_context(replacing(path)) for path in self._paths)
                self._pdf = stack.enter_context(PdfPages(pdf))
                self._stack = stack.pop_all()
        self._last = figure
        # TrueType keeps text as text, which journals ask for
        with mpl.rc_context({"pdf.fonttype": 42}):
            self._pdf.savefig(figure)


def drawn_statistics(period: Period, daily: NDArray[np.float32]) -> Statistics:
    """What is drawn of the members' daily values at one place."""
    bins = bins_of(period)
    return summarise(len(bins.slices), len(daily), lambda columns: binned(daily, bins, columns))


class Pictures:
    """Draws place by place: a page for each of a few sites, panels for many, and a page for all sites together. The PNG
    shows the last: all sites together, or the only one."""

    def __init__(self, subject: Subject, sites: int) -> None:
        self._subject = subject
        self._bins = bins_of(subject.period)
        self._sites, self._drawn = sites, 0
        self._waiting: list[Panel] = []
        self._pages = Pages(subject.path("analysis", ".pdf"), subject.path("analysis", ".png"))

    def __enter__(self) -> Pictures:
        self._pages.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is None:
            self._draw_panels()
        self._pages.__exit__(*error)

    def draw(self, result: PlaceResult, drawn: Statistics) -> None:
        """Draw one place; `drawn` is drawn_statistics of its days."""
        if self._sites > MOST_PAGES and result.place.id != ALL_SITES:
            self._waiting.append(Panel(result, drawn))
            if len(self._waiting) == PANELS:
                self._draw_panels()
        else:
            self._draw_panels()
            self._pages.add(ensemble_figure(self._subject, result, drawn, self._bins))

    def _draw_panels(self) -> None:
        if self._waiting:
            self._pages.add(panels_figure(self._subject, self._bins, self._waiting, self._drawn + 1, self._sites))
            self._drawn += len(self._waiting)
            self._waiting.clear()
