"""The runs of a sensitivity analysis: one trait at a time at each quantile of its distribution, all others at their
medians, and one run, shared by all traits and PFTs, with all of them there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pecan_executor import distributions
from pecan_executor.distributions import Samples
from pecan_executor.sampling import draw_traits, seed_of
from pecan_executor.traits import Traits
from pecan_operator.core.pecanxml import Ensemble, SensitivityAnalysis, Settings
from pecan_operator.errors import UserError
from pecan_operator.records import MOST_RUNS

MEDIAN = "50"
FEWEST_DRAWS = 5000


@dataclass(frozen=True)
class Point:
    """One set of trait values by PFT and trait; `pft`, `trait` (None for the median run) and `quantile` say which value
    is not the median. All take the first file of each input tag."""

    pft: str | None
    trait: str | None
    quantile: str
    traits: dict[str, dict[str, float]]
    inputs: dict[str, str]


@dataclass(frozen=True)
class Design:
    """`values` of the varied traits by (PFT, trait), in the order of `probabilities`; `medians` of all traits."""

    probabilities: dict[str, float]
    values: dict[tuple[str, str], NDArray[np.float64]]
    medians: dict[str, dict[str, float]]
    inputs: dict[str, str]

    @property
    def size(self) -> int:
        """Runs at each site."""
        return 1 + len(self.values) * (len(self.probabilities) - 1)

    def points(self) -> Iterator[Point]:
        """All runs at a site: the median run first, then by PFT, trait and quantile."""
        yield Point(None, None, MEDIAN, self.medians, self.inputs)
        for (pft, trait), values in self.values.items():
            for name, value in zip(self.probabilities, values.tolist(), strict=True):
                if name != MEDIAN:
                    traits = {**self.medians, pft: {**self.medians[pft], trait: value}}
                    yield Point(pft, trait, name, traits, self.inputs)


def probabilities(analysis: SensitivityAnalysis) -> dict[str, float]:
    """Probabilities in increasing order by PEcAn's name: per cent with up to three digits, such as 15.866."""
    from scipy.special import ndtr

    given = sorted({0.5, *(float(ndtr(sigma)) for sigma in analysis.sigma), *analysis.quantile})
    named: dict[str, float] = {}
    for probability in given:
        named.setdefault(f"{round(100 * probability, 3):g}", probability)
    return {**named, MEDIAN: 0.5}


def design_of(settings: Settings, analysis: SensitivityAnalysis, traits: Traits) -> Design:
    """The design of a sensitivity analysis of what read_traits gives.

    Raises UserError when no trait is varied, a distribution gives a value that is not finite, or there are more runs
    than a workflow may have.
    """
    for pft in settings.pfts:
        if "/" in pft.name or pft.name in (".", ".."):
            raise UserError("BadSettings", f"pecan.xml: PFT {pft.name!r} cannot name a folder of results: rename it")
    named = probabilities(analysis)
    at = np.array(list(named.values()))
    values: dict[tuple[str, str], NDArray[np.float64]] = {}
    medians: dict[str, dict[str, float]] = {pft.name: {} for pft in settings.pfts}
    for pft_name, each in traits.items():
        for trait, given in each.items():
            with np.errstate(over="ignore"):
                quantiles = np.asarray(distributions.quantile(given, at), dtype=np.float64)
            if not np.isfinite(quantiles).all():
                raise UserError(
                    "BadSettings", f"pecan.xml: the prior of {trait} of PFT {pft_name} gives values that are not finite"
                )
            medians[pft_name][trait] = float(quantiles[list(named).index(MEDIAN)])
            values[pft_name, trait] = quantiles
    if not values:
        raise UserError(
            "NothingToVary",
            "sensitivity.analysis: no PFT has a trait with a distribution that is not constant: add one",
        )
    design = Design(named, values, medians, {tag: choice.paths[0] for tag, choice in settings.inputs.items()})
    _check_size(settings, design)
    return design


def _check_size(settings: Settings, design: Design) -> None:
    sites, members = len(settings.sites), settings.ensemble.size if settings.ensemble else 0
    runs = sites * (members + design.size)
    if runs > MOST_RUNS:
        raise UserError(
            "TooManyRuns",
            f"sensitivity.analysis: {len(design.values)} traits at {len(design.probabilities)} quantiles are {design.size} "
            f"runs at each site, {runs} with the ensemble's {members} members at {sites} site(s), but a workflow may have "
            f"{MOST_RUNS}: reduce quantiles, traits, ensemble.size or sites",
        )


def draws(settings: Settings, traits: Traits) -> dict[tuple[str, str], NDArray[np.float64]]:
    """Values drawn of each trait, by (PFT, trait): those of the ensemble's members, continued to FEWEST_DRAWS where they
    are fewer; of a trait that is given by samples, all of them.

    PEcAn too decomposes the variance over more draws than the ensemble has members. A sampling method that keeps
    members when the ensemble grows has them among the draws.
    Raises UserError when a distribution gives a value that is not finite.
    """
    ensemble = settings.ensemble or Ensemble(size=0, variables=())
    size = max(ensemble.size, FEWEST_DRAWS)
    columns = draw_traits(traits, ensemble.sampling_method, seed_of(settings), size)
    return {
        (pft, name): one.values if isinstance(one, Samples) else columns[pft][name]
        for pft, each in traits.items()
        for name, one in each.items()
    }
