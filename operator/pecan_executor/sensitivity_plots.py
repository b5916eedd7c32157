"""The figures of a sensitivity analysis of one variable at one place: the response to each trait, and how each trait's
uncertainty (CV) and the sensitivity to it (elasticity) make its share in the variance."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pecan_executor.collect import Place
from pecan_executor.plots import GREY, LIGHT_BLUE, MIDDLE_BLUE, STYLE, SUPERSCRIPT, direction, pretty, titled_figure
from pecan_executor.sensitivity import Effect, MonotoneSpline
from pecan_executor.writers import Subject

MOST_PANELS = 24
MOST_ROWS = 40
_MOST_NAMED = 8
_LABEL_WIDTH = 30
_TITLE_INCHES = 0.22
_BLUE = "#0072B2"
_ROUND = (1, 2, 2.5, 5, 10)


def curves_figure(subject: Subject, place: Place, effects: Sequence[Effect]) -> Figure:
    """A panel for each analysed trait of one PFT, the one with the largest share of the variance first; at least one
    trait must have been analysed."""
    shown, notes = _ranked(subject, effects, MOST_PANELS)
    columns = min(len(shown), 4)
    rows = math.ceil(len(shown) / columns)
    with mpl.rc_context(STYLE):
        figure = titled_figure(subject, place, 1.2 + 2.1 * rows, pft=effects[0].response.pft, notes=notes)
        panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for number, (axes, (effect, spline)) in enumerate(zip(panels.flat, shown, strict=False)):
            _draw_curve(axes, effect, spline)
            axes.set_title(f"{_per_cent(effect.partial_variance)} of the variance", color=GREY)
            axes.set_xlabel("\n".join(textwrap.wrap(_label(effect) + _scaled(axes, spline), _LABEL_WIDTH)))
            if number % columns == 0:
                axes.set_ylabel(
                    f"{subject.variable.name}\n({pretty(subject.shown.yearly_units)}){direction(subject.variable.name)}"
                )
        for axes in panels.flat[len(shown) :]:
            axes.remove()
        _add_legend(figure, panels.flat[0])
    return figure


def _add_legend(figure: Figure, axes: Axes) -> None:
    """A line of its own below the title, which constrained layout leaves free as it is part of the title."""
    handles, labels = axes.get_legend_handles_labels()
    below = 1 - _TITLE_INCHES / figure.get_figheight()
    figure.suptitle(f"{figure.get_suptitle()}\n", x=0.01, ha="left", fontsize=11, weight="bold")
    figure.legend(handles, labels, loc="upper left", bbox_to_anchor=(0, below), ncols=len(labels))


def decomposition_figure(subject: Subject, place: Place, effects: Sequence[Effect]) -> Figure:
    """CV, elasticity and share of the variance of the analysed traits of one PFT, the largest share on top; at least one
    trait must have been analysed."""
    shown, notes = _ranked(subject, effects, MOST_ROWS)
    rows = [effect for effect, _ in shown]
    at = np.arange(len(rows))[::-1]
    with mpl.rc_context(STYLE):
        figure = titled_figure(subject, place, 1.5 + 0.27 * len(rows), pft=effects[0].response.pft, notes=notes)
        left, middle, right = figure.subplots(1, 3, sharey=True)
        _draw_lollipops(left, at, [100 * abs(effect.cv) for effect in rows])
        _draw_lollipops(middle, at, [effect.elasticity for effect in rows])
        _draw_lollipops(right, at, [100 * effect.partial_variance for effect in rows])
        left.set_xlabel("coefficient of variation (%)")
        middle.set_xlabel("elasticity")
        right.set_xlabel("partial variance (%)")
        left.set_title("Uncertainty of the trait", color=GREY)
        middle.set_title(f"Sensitivity of {subject.variable.name} to it", color=GREY)
        right.set_title(f"Its share in the variance of {subject.variable.name}", color=GREY)
        left.set_yticks(at, [_label(effect) for effect in rows])
        left.set_ylim(-0.6, len(rows) - 0.4)
        for axes in (left, middle, right):
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
    return figure


def _ranked(
    subject: Subject, effects: Sequence[Effect], most: int
) -> tuple[list[tuple[Effect, MonotoneSpline]], list[str]]:
    """Analysed traits by their share, at most so many, and what to say of the others."""
    analysed = [(effect, effect.spline) for effect in effects if effect.spline is not None]
    analysed.sort(key=lambda item: -np.nan_to_num(item[0].partial_variance))
    first, last = subject.period.years[0], subject.period.years[-1]
    years = f"{first}" if first == last else f"average of {first}–{last}"
    way = "sum" if subject.shown.summed else "mean"
    notes = [
        f"{subject.model}: yearly {way}, {years}; each trait varied alone, the others at their medians; "
        "traits in PEcAn's units"
    ]
    if len(analysed) > most:
        notes.append(f"the {len(analysed) - most} traits with the smallest shares are in the tables only")
    missing = [f"{_label(effect)} ({effect.reason})" for effect in effects if effect.spline is None]
    if missing:
        more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
        notes.append(f"left out: {'; '.join(missing[:_MOST_NAMED])}{more}")
    return analysed[:most], notes


def _draw_curve(axes: Axes, effect: Effect, spline: MonotoneSpline) -> None:
    response = effect.response
    low, lower, upper, high = np.quantile(response.draws, (0.025, 0.25, 0.75, 0.975))
    axes.axvspan(low, high, color=LIGHT_BLUE, linewidth=0, label="95 % of the trait's draws")
    axes.axvspan(lower, upper, color=MIDDLE_BLUE, linewidth=0, label="50 % of them")
    x = np.linspace(spline.x[0], spline.x[-1], 400)
    axes.plot(x, spline(x), color="black", linewidth=1.1)
    axes.plot(response.values, response.outputs, "o", color="black", markersize=3.5, label="runs")
    middle = response.median
    axes.plot(
        response.values[middle], response.outputs[middle], "o", color="white", markeredgecolor="black", label="median"
    )
    axes.xaxis.set_major_locator(MaxNLocator(3, steps=_ROUND))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=_ROUND))


def _scaled(axes: Axes, spline: MonotoneSpline) -> str:
    """Writes very small or large values along x without their power of ten, which is what to add to the label."""
    largest = float(np.abs(spline.x).max())
    exponent = math.floor(math.log10(largest)) if largest > 0 else 0
    if -3 < exponent < 5:
        return ""
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 10**exponent:.4g}".replace("-", "−"))
    return f" (× 10{str(exponent).translate(SUPERSCRIPT)})"


def _draw_lollipops(axes: Axes, at: NDArray[np.int_], values: Sequence[float]) -> None:
    axes.hlines(at, 0, values, color=MIDDLE_BLUE, linewidth=1.6)
    axes.plot(values, at, "o", color=_BLUE, markersize=4.5)
    axes.axvline(0, color=GREY, linewidth=0.7)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=_ROUND))


def _label(effect: Effect) -> str:
    return effect.response.trait.replace("_", " ")


def _per_cent(share: float) -> str:
    if math.isnan(share):
        return "none"
    return "< 1 %" if 0 < share < 0.01 else f"{100 * share:.0f} %"
