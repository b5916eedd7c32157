"""Quantiles of what a trait is given by: PEcAn's priors, by R's names with R's arguments in R's order, or samples.

Written with scipy.special, whose import takes a quarter of the time of scipy.stats.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pecan_operator.core.pecanxml import Prior

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Quantile = Callable[[Any, float, float], Any]

MOST_TRIALS = 1_000_000


@dataclass(frozen=True, eq=False)
class Samples:
    """Values of a trait from a file, in the order of its rows; those of one `joint` source belong together row by row."""

    values: NDArray[np.float64]
    joint: str | None = None


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


def _binomial(p: Any, size: float, prob: float) -> Any:
    from scipy.special import betaincc

    # F(k) = I_(1-prob)(size - k, k + 1); at k = size, where the incomplete beta function has no value, it is 1
    return _smallest(p, lambda k: betaincc(k + 1, size - k, prob), size)


def _negative_binomial(p: Any, size: float, prob: float) -> Any:
    from scipy.special import betainc

    return _smallest(p, lambda k: betainc(size, k + 1, prob), math.inf)


def _geometric(p: Any, prob: float, _: float) -> Any:
    return _negative_binomial(p, 1, prob)


def _poisson(p: Any, mean: float, _: float) -> Any:
    from scipy.special import gammaincc

    return _smallest(p, lambda k: gammaincc(k + 1, mean), math.inf)


def _smallest(p: Any, cumulative: Callable[[Any], Any], last: float) -> Any:
    """The smallest whole number k from 0 to `last` with F(k) >= p.

    p is made smaller by 64 units in its last place, as R's discrete quantiles do, so that rounding in F does not give the
    number after the right one. Beyond 2^52, where whole numbers have no neighbours in a double, it is infinite.
    """
    import numpy as np

    target = np.asarray(p, dtype=float) * (1 - 64 * np.finfo(float).eps)
    below = np.full(target.shape, -1.0)
    reached = np.zeros(target.shape)
    while (short := (reached < min(last, 2.0**52)) & (cumulative(np.minimum(reached, last - 1)) < target)).any():
        below = np.where(short, reached, below)
        reached = np.where(short, np.minimum(2 * reached + 1, last), reached)
    while (wide := reached - below > 1).any():
        middle = np.where(wide, np.floor((below + reached) / 2), below)
        low = cumulative(middle) < target
        below, reached = np.where(wide & low, middle, below), np.where(wide & ~low, middle, reached)
    return np.where(reached < 2.0**52, reached, np.inf)


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
    "binom": Distribution(("size", "prob"), ("size", "prob"), _binomial),
    "nbinom": Distribution(("size", "prob"), ("size", "prob"), _negative_binomial),
    "geom": Distribution(("prob",), ("prob",), _geometric),
    "pois": Distribution(("lambda",), ("lambda",), _poisson),
}
"""The names BETY's table priors allows, but for REFUSED."""

REFUSED = ("f", "hyper", "wilcox")
"""Names that BETY allows and no trait of PEcAn's is given by: a ratio of variances, draws from an urn, a rank sum."""


def problem(prior: Prior) -> str | None:
    """What is wrong with a prior, in one sentence; None when it is a distribution.

    A paramb that the distribution does not have is not looked at, as in PEcAn; that of chisq and t would be R's ncp.
    """
    if prior.distn in REFUSED:
        return f"distn {prior.distn} is not supported; use one of {', '.join(DISTRIBUTIONS)}"
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
        if name == "prob" and value > 1:
            return f"prob of {call} must not be greater than 1, not {value:g}"
    if prior.distn == "unif" and given[1] <= given[0]:
        return f"max of {call} must be greater than min, not {given[1]:g} <= {given[0]:g}"
    if prior.distn == "binom" and (given[0] != round(given[0]) or given[0] > MOST_TRIALS):
        return f"size of {call} must be a whole number up to {MOST_TRIALS}, not {given[0]:g}"
    if prior.distn in ("chisq", "t") and prior.paramb:
        return f"{call} has no paramb: the non-central distribution is not supported"
    return None


def quantile(trait: Prior | Samples, p: Any) -> Any:
    """The values below which the fraction `p` (0 < p < 1; number or array) of a trait's distribution lies.

    Of samples it is R's type 7.
    """
    if isinstance(trait, Samples):
        import numpy as np

        return np.quantile(trait.values, p)
    return DISTRIBUTIONS[trait.distn].quantile(p, trait.parama, math.nan if trait.paramb is None else trait.paramb)
