"""Quantiles are R's: against closed forms and against sums in exact arithmetic, never against the library they come from."""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import accumulate, count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pecan_executor.distributions import DISTRIBUTIONS, REFUSED, Samples, problem, quantile
from pecan_executor.tables import read_priors
from pecan_operator.core.pecanxml import Prior

SHARED_DATA = Path(os.environ.get("PECAN_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
SWITCHGRASS = SHARED_DATA / "ed2-switchgrass"

# qnorm(c(0.5, 0.75, 0.9, 0.975, 0.99)), to the last digit of a double (Abramowitz and Stegun, table 26.5)
Z = {0.5: 0.0, 0.75: 0.6744897501960817, 0.9: 1.2815515655446004, 0.975: 1.959963984540054, 0.99: 2.3263478740408408}
STUDENT_4 = 2.7764451051977987  # qt(0.975, 4)

CLOSED_FORMS = [
    *((Prior("unif", 2, 6), p, 2 + 4 * p) for p in (0.001, 0.25, 0.999)),
    *((Prior("norm", 10, 2), p, 10 + 2 * z) for p, z in Z.items()),
    *((Prior("lnorm", 1, 0.5), p, math.exp(1 + 0.5 * z)) for p, z in Z.items()),
    # shape 1 is exponential; of shape 2 the median solves (1 + x) exp(-x) = 1/2; shape 1/2 is a normal squared
    *((Prior("gamma", 1, 4), p, -math.log1p(-p) / 4) for p in (0.01, 0.5, 0.99)),
    (Prior("gamma", 2, 4), 0.5, 1.6783469900166608 / 4),
    (Prior("gamma", 0.5, 0.5), 0.95, Z[0.975] ** 2),
    # beta(1, b) and beta(a, 1) are powers, beta(1/2, 1/2) is the arcsine law, beta(2, 2) a cubic
    *((Prior("beta", 1, 5), p, 1 - (1 - p) ** 0.2) for p in (0.1, 0.5, 0.9)),
    *((Prior("beta", 5, 1), p, p**0.2) for p in (0.1, 0.5, 0.9)),
    *((Prior("beta", 0.5, 0.5), p, math.sin(math.pi * p / 2) ** 2) for p in (0.1, 0.5, 0.9)),
    (Prior("beta", 2, 2), 0.25, 0.5 - math.sin(math.pi / 18)),
    *((Prior("weibull", 2, 3), p, 3 * math.sqrt(-math.log1p(-p))) for p in (0.1, 0.5, 0.9)),
    *((Prior("exp", 4), p, -math.log1p(-p) / 4) for p in (0.1, 0.5, 0.9)),
    *((Prior("logis", 1, 2), p, 1 + 2 * math.log(p / (1 - p))) for p in (0.1, 0.5, 0.75)),
    *((Prior("cauchy", 1, 3), p, 1 - 3 / math.tan(math.pi * p)) for p in (0.1, 0.25, 0.75)),
    *((Prior("chisq", 2), p, -2 * math.log1p(-p)) for p in (0.1, 0.5, 0.9)),
    (Prior("chisq", 1), 0.95, Z[0.975] ** 2),
    *((Prior("t", 1), p, -1 / math.tan(math.pi * p)) for p in (0.1, 0.25, 0.9)),
    *((Prior("t", 2), p, (2 * p - 1) / math.sqrt(2 * p * (1 - p))) for p in (0.1, 0.75, 0.975)),
    (Prior("t", 4), 0.975, STUDENT_4),
]


@pytest.mark.parametrize(("prior", "p", "expected"), CLOSED_FORMS, ids=lambda value: str(value)[:40])
def test_quantiles_are_those_of_closed_forms(prior: Prior, p: float, expected: float) -> None:
    assert quantile(prior, p) == pytest.approx(expected, rel=1e-12, abs=1e-14)


def binomial(size: int, prob: Fraction) -> Iterator[Fraction]:
    return (math.comb(size, k) * prob**k * (1 - prob) ** (size - k) for k in range(size + 1))


def negative_binomial(size: Fraction, prob: Fraction) -> Iterator[Fraction]:
    """Up to the factor prob^size, which is rational for a whole size only."""
    term = Fraction(1)
    for k in count():
        yield term
        term *= (size + k) * (1 - prob) / (k + 1)


def poisson(mean: Fraction) -> Iterator[Fraction]:
    """Up to the factor exp(-mean)."""
    term = Fraction(1)
    for k in count(1):
        yield term
        term *= mean / k


# the probabilities of 0, 1, 2, ... in exact arithmetic, and the factor that is left out of them
SUMS: list[tuple[Prior, Callable[[], Iterator[Fraction]], Fraction]] = [
    (Prior("binom", 10, 0.375), lambda: binomial(10, Fraction(3, 8)), Fraction(1)),
    (Prior("binom", 1, 0.25), lambda: binomial(1, Fraction(1, 4)), Fraction(1)),
    (Prior("binom", 300, 0.5), lambda: binomial(300, Fraction(1, 2)), Fraction(1)),
    (Prior("nbinom", 3, 0.25), lambda: negative_binomial(Fraction(3), Fraction(1, 4)), Fraction(1, 64)),
    (Prior("nbinom", 2.5, 0.25), lambda: negative_binomial(Fraction(5, 2), Fraction(1, 4)), Fraction(1, 32)),
    (Prior("geom", 0.125), lambda: negative_binomial(Fraction(1), Fraction(1, 8)), Fraction(1, 8)),
    (Prior("pois", 4), lambda: poisson(Fraction(4)), Fraction(math.exp(-4))),
    (Prior("pois", 0.25), lambda: poisson(Fraction(1, 4)), Fraction(math.exp(-0.25))),
]


@pytest.mark.parametrize(("prior", "terms", "factor"), SUMS, ids=[str(prior) for prior, *_ in SUMS])
def test_discrete_quantiles_are_those_of_exact_sums(
    prior: Prior, terms: Callable[[], Iterator[Fraction]], factor: Fraction
) -> None:
    for p in [*np.linspace(0.003, 0.997, 143).tolist(), 1e-9, 1 - 1e-9]:
        reached = (total * factor >= Fraction(p) for total in accumulate(terms()))
        assert quantile(prior, p) == next(k for k, enough in enumerate(reached) if enough), p


def test_a_discrete_quantile_at_a_step_is_the_number_before_it() -> None:
    assert quantile(Prior("binom", 2, 0.5), np.array([0.25, 0.75, 0.25 + 1e-9, 0.75 + 1e-9])).tolist() == [0, 1, 1, 2]
    assert quantile(Prior("geom", 0.5), np.array([0.5, 0.75, 0.875])).tolist() == [0, 1, 2]


def test_discrete_quantiles_of_large_numbers() -> None:
    # the median of pois(m) lies between m - log(2) and m + 1/3 (Choi 1994), that of binom at n p when this is whole
    assert quantile(Prior("pois", 1e6), 0.5) == 1e6
    assert quantile(Prior("binom", 1e6, 0.5), 0.5) == 5e5
    assert quantile(Prior("geom", 1e-6), 0.5) == math.ceil(math.log(0.5) / math.log1p(-1e-6)) - 1
    assert quantile(Prior("binom", 5, 1), 0.5) == 5
    assert quantile(Prior("geom", 1), 0.5) == 0
    assert quantile(Prior("geom", 1e-300), 0.5) == math.inf, "which is refused when members are drawn"


def test_every_distribution_has_a_known_quantile() -> None:
    known = {prior.distn for prior, *_ in CLOSED_FORMS} | {prior.distn for prior, *_ in SUMS}
    assert known == set(DISTRIBUTIONS)


@given(
    st.sampled_from([*{prior: 0 for prior, *_ in CLOSED_FORMS}, *{prior: 0 for prior, *_ in SUMS}]),
    st.floats(1e-9, 1 - 1e-9),
    st.floats(1e-9, 1 - 1e-9),
)
def test_quantiles_rise_with_p(prior: Prior, p: float, q: float) -> None:
    low, high = sorted((p, q))
    assert quantile(prior, low) <= quantile(prior, high)


PRIORS_ALONE = ["mort2", "growth_resp_factor", "leaf_turnover_rate", "nonlocal_dispersal", "seedling_mortality"]
PRIORS_ALONE += ["r_fract", "Vm_low_temp", "quantum_efficiency"]


@pytest.mark.skipif(not SWITCHGRASS.is_dir(), reason="needs the shared switchgrass ensemble (PECAN_SHARED_DATA)")
@pytest.mark.parametrize("trait", PRIORS_ALONE)
def test_quantiles_are_those_that_pecan_found_in_its_20000_draws_of_real_priors(trait: str) -> None:
    """PEcAn's own sensitivity analysis of ED2; the traits for which it had no data, so that it drew from the prior."""
    prior = read_priors(SWITCHGRASS / "prior_distributions.csv", SWITCHGRASS)[trait]
    with (SWITCHGRASS / "sa_samples.csv").open(newline="") as file:
        found = {float(row["quantile"]) / 100: float(row[trait]) for row in csv.DictReader(file)}
    assert len(found) == 7
    for p, value in found.items():
        error = 4 * math.sqrt(p * (1 - p) / 20_000)
        low, high = quantile(prior, np.clip([p - error, p + error], 1e-9, 1 - 1e-9))
        assert low < value < high, p


def test_samples_have_the_quantiles_of_their_sorted_values() -> None:
    # R: quantile(c(4, 1, 3, 2), c(0.25, 0.5, 0.9))
    assert quantile(Samples(np.array([4.0, 1, 3, 2])), np.array([0.25, 0.5, 0.9])).tolist() == [1.75, 2.5, 3.7]


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        (Prior("norm", 0, 0), "sd of norm.* greater than 0"),
        (Prior("gamma", 1), "needs paramb"),
        (Prior("norm", float("inf"), 1), "finite"),
        (Prior("normal", 0, 1), "'normal' is not known"),
        (Prior("binom", 2.5, 0.5), r"size of binom\(size, prob\) must be a whole number"),
        (Prior("binom", 1e12, 0.5), "up to 1000000, not 1e\\+12"),
        (Prior("nbinom", 2.5, 1.5), "prob of nbinom.* must not be greater than 1"),
        (Prior("geom", 2), "prob of geom.* must not be greater than 1"),
        (Prior("pois", 0), "lambda of pois.* greater than 0"),
        (Prior("t", 3, 1), r"t\(df\) has no paramb: the non-central"),
        (Prior("chisq", 3, 0.5), "non-central"),
    ],
)
def test_says_what_is_wrong_with_a_prior(prior: Prior, message: str) -> None:
    assert re.search(message, problem(prior) or "no problem")


@pytest.mark.parametrize("name", REFUSED)
def test_what_bety_allows_and_we_do_not_is_refused_by_name(name: str) -> None:
    assert (problem(Prior(name, 2, 2)) or "").startswith(f"distn {name} is not supported; use one of unif, norm")


@pytest.mark.parametrize("prior", [Prior("exp", 2, 7), Prior("pois", 2, 0), Prior("geom", 0.5, 3), Prior("t", 3, 0)])
def test_a_paramb_that_pecan_does_not_use_is_not_looked_at(prior: Prior) -> None:
    assert problem(prior) is None
    assert quantile(prior, 0.5) == quantile(Prior(prior.distn, prior.parama), 0.5)
