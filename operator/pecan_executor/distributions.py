"""Quantiles of the distributions in PEcAn's priors, by R's names with R's arguments in R's order.

Written with scipy.special, whose import takes a quarter of the time of scipy.stats.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pecan_operator.core.pecanxml import Prior

Quantile = Callable[[Any, float, float], Any]


@dataclass(frozen=True)
class Distribution:
    """`names` of the arguments as in R (one or two), those that must be `positive`, and the quantile function."""

    names: tuple[str, ...]
    positive: tuple[str, ...]
    quantile: Quantile


def _normal(p: Any, mean: float, sd: float) -> Any:
    from scipy.special import ndtri

    return mean + sd * ndtri(p)


def _lognormal(p: Any, meanlog: float, sdlog: float) -> Any:
    import numpy as np

    return np.exp(_normal(p, meanlog, sdlog))


def _gamma(p: Any, shape: float, rate: float) -> Any:
    from scipy.special import gammaincinv

    return gammaincinv(shape, p) / rate


def _beta(p: Any, shape1: float, shape2: float) -> Any:
    from scipy.special import betaincinv

    return betaincinv(shape1, shape2, p)


def _weibull(p: Any, shape: float, scale: float) -> Any:
    import numpy as np

    return scale * (-np.log1p(-p)) ** (1 / shape)


def _exponential(p: Any, rate: float, _: float) -> Any:
    import numpy as np

    return -np.log1p(-p) / rate


def _uniform(p: Any, minimum: float, maximum: float) -> Any:
    return minimum + (maximum - minimum) * p


def _logistic(p: Any, location: float, scale: float) -> Any:
    from scipy.special import logit

    return location + scale * logit(p)


def _cauchy(p: Any, location: float, scale: float) -> Any:
    import numpy as np

    return location + scale * np.tan(np.pi * (p - 0.5))


def _chi_squared(p: Any, df: float, _: float) -> Any:
    return _gamma(p, df / 2, 0.5)


def _student(p: Any, df: float, _: float) -> Any:
    from scipy.special import stdtrit

    return stdtrit(df, p)


def _fisher(p: Any, df1: float, df2: float) -> Any:
    from scipy.special import fdtri

    return fdtri(df1, df2, p)


DISTRIBUTIONS = {
    "unif": Distribution(("min", "max"), (), _uniform),
    "norm": Distribution(("mean", "sd"), ("sd",), _normal),
    "lnorm": Distribution(("meanlog", "sdlog"), ("sdlog",), _lognormal),
    "gamma": Distribution(("shape", "rate"), ("shape", "rate"), _gamma),
    "beta": Distribution(("shape1", "shape2"), ("shape1", "shape2"), _beta),
    "weibull": Distribution(("shape", "scale"), ("shape", "scale"), _weibull),
    "exp": Distribution(("rate",), ("rate",), _exponential),
    "logis": Distribution(("location", "scale"), ("scale",), _logistic),
    "cauchy": Distribution(("location", "scale"), ("scale",), _cauchy),
    "chisq": Distribution(("df",), ("df",), _chi_squared),
    "t": Distribution(("df",), ("df",), _student),
    "f": Distribution(("df1", "df2"), ("df1", "df2"), _fisher),
}
"""The continuous ones among the names BETY's table priors allows."""


def problem(prior: Prior) -> str | None:
    """What is wrong with a prior, in one sentence; None when it is a distribution."""
    distribution = DISTRIBUTIONS.get(prior.distn)
    if distribution is None:
        return f"distn {prior.distn!r} is not known; use one of {', '.join(DISTRIBUTIONS)}"
    given = [prior.parama] if prior.paramb is None else [prior.parama, prior.paramb]
    call = f"{prior.distn}({', '.join(distribution.names)})"
    if len(given) < len(distribution.names):
        return f"{call} needs paramb"
    for name, value in zip(distribution.names, given, strict=False):
        if not math.isfinite(value):
            return f"{name} of {call} must be a finite number, not {value}"
        if name in distribution.positive and value <= 0:
            return f"{name} of {call} must be greater than 0, not {value:g}"
    if prior.distn == "unif" and given[1] <= given[0]:
        return f"max of {call} must be greater than min, not {given[1]:g} <= {given[0]:g}"
    return None


def quantile(prior: Prior, p: Any) -> Any:
    """The values below which the fraction `p` (0 < p < 1; number or array) of a prior lies."""
    return DISTRIBUTIONS[prior.distn].quantile(p, prior.parama, math.nan if prior.paramb is None else prior.paramb)
