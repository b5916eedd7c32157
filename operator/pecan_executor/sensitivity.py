"""One-at-a-time sensitivity analysis and variance decomposition, as in PEcAn (LeBauer et al. 2013, Ecological
Monographs 83:133, doi:10.1890/12-0137.1)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicHermiteSpline

Floats = NDArray[np.float64]

FEWEST_RUNS = 2


class MonotoneSpline:
    """R's `splinefun(x, y, method = "monoH.FC")`: a cubic Hermite spline after Fritsch and Carlson (1980), SIAM Journal
    on Numerical Analysis 17:238, linear outside the points.

    Slopes are means of the neighbouring secants, which SciPy's PCHIP has not. Points need no order; the values of
    points with the same x are averaged, as R does. Needs two different x.
    """

    def __init__(self, x: Floats, y: Floats) -> None:
        self.x, where = np.unique(np.asarray(x, dtype=np.float64), return_inverse=True)
        if len(self.x) < 2:
            raise ValueError("a spline needs points at two different x")
        self.y = np.bincount(where, np.asarray(y, dtype=np.float64)) / np.bincount(where)
        self.slopes = limited_slopes(self.x, self.y)
        self._inside = CubicHermiteSpline(self.x, self.y, self.slopes)
        self._inside_slope = self._inside.derivative()

    def __call__(self, x: Floats | float) -> Floats:
        """Values at x."""
        at = np.asarray(x, dtype=np.float64)
        nearest = np.clip(at, self.x[0], self.x[-1])
        result: Floats = self._inside(nearest) + (at - nearest) * self._outer_slope(at)
        return result

    def slope(self, x: Floats | float) -> Floats:
        """First derivatives at x."""
        at = np.asarray(x, dtype=np.float64)
        outside = (at < self.x[0]) | (at > self.x[-1])
        result: Floats = np.where(outside, self._outer_slope(at), self._inside_slope(at))
        return result

    def _outer_slope(self, at: Floats) -> Floats:
        slopes: Floats = np.where(at < self.x[0], self.slopes[0], self.slopes[-1])
        return slopes


def limited_slopes(x: Floats, y: Floats) -> Floats:
    """Slopes at increasing x: means of the neighbouring secants, made smaller, from left to right, at the ends of each
    interval in which the cubic would not be monotone.

    Like R's, this keeps the spline monotone where the data are, with one exception: a slope made smaller for one interval
    can bend the interval before it back, by a sixth of its secant at most. Never where neighbouring secants differ
    fivefold at most.
    """
    secants = np.diff(y) / np.diff(x)
    slopes = np.concatenate((secants[:1], (secants[1:] + secants[:-1]) / 2, secants[-1:]))
    for at, secant in enumerate(secants):
        if secant == 0:
            slopes[at : at + 2] = 0
            continue
        left, right = slopes[at : at + 2] / secant
        first, second = 2 * left + right - 3, left + 2 * right - 3
        if first > 0 and second > 0 and left * (first + second) < first**2:
            slopes[at : at + 2] *= 3 / np.hypot(left, right)
    return slopes


@dataclass(frozen=True)
class Response:
    """What a trait of a PFT does to an output, all others at their medians.

    `values` and `outputs` (NaN where the run cannot be used) are by quantile, in the same order; `median` is the place
    of the median run. `draws` are values of the trait drawn from its distribution.
    """

    pft: str
    trait: str
    values: Floats
    outputs: Floats
    median: int
    draws: Floats


@dataclass(frozen=True)
class Effect:
    """A trait's part in the variance of an output; f is the spline through its runs.

    `spline` is None for a trait that is left out, with the reason; all numbers are NaN then.

    cv: standard deviation (n - 1) of the draws / their median.
    sensitivity: slope of f at the median of the draws, in units of the output per unit of the trait.
    elasticity: sensitivity x median of the draws / median of f over the draws.
    variance: variance (n - 1) of f over the draws, in squared units of the output.
    partial_variance: share of the variance in the sum over the PFT's traits; NaN when that is 0.
    """

    response: Response
    spline: MonotoneSpline | None
    reason: str
    cv: float = math.nan
    sensitivity: float = math.nan
    elasticity: float = math.nan
    variance: float = math.nan
    partial_variance: float = math.nan


def decompose(responses: Sequence[Response]) -> list[Effect]:
    """The effects of all traits, in the order given; shares are within each PFT, as PEcAn decomposes each by itself."""
    effects = [_effect(response) for response in responses]
    totals: dict[str, float] = {}
    for effect in effects:
        if effect.spline is not None:
            totals[effect.response.pft] = totals.get(effect.response.pft, 0.0) + effect.variance
    return [_with_share(effect, totals) for effect in effects]


def _effect(response: Response) -> Effect:
    finite = np.isfinite(response.outputs)
    if not finite[response.median]:
        return Effect(response, None, "the median run cannot be used")
    if len(np.unique(response.values[finite])) < FEWEST_RUNS:
        runs = f"{int(finite.sum())} of {len(finite)} runs can be used"
        return Effect(response, None, f"{runs}, which is too few: {FEWEST_RUNS} at different values are needed")
    spline = MonotoneSpline(response.values[finite], response.outputs[finite])
    estimates = spline(response.draws)
    middle, output = float(np.median(response.draws)), float(np.median(estimates))
    sensitivity = float(spline.slope(middle))
    return Effect(
        response,
        spline,
        "",
        cv=_ratio(float(np.std(response.draws, ddof=1)), middle),
        sensitivity=sensitivity,
        elasticity=_ratio(sensitivity * middle, output),
        # of differences, so that rounding is no variance where f does not change
        variance=float(np.var(estimates - output, ddof=1)),
    )


def _with_share(effect: Effect, totals: Mapping[str, float]) -> Effect:
    if effect.spline is None:
        return effect
    share = _ratio(effect.variance, totals[effect.response.pft])
    return Effect(**{**vars(effect), "partial_variance": share})


def _ratio(above: float, below: float) -> float:
    return above / below if below != 0 else math.nan
