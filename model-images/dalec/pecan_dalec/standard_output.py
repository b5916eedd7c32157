"""DALEC's days as PEcAn's standard variables.

The selection is that of PEcAn's model2netcdf.DALEC, and LAI. Where this differs from that function, on purpose:

- NEE is positive to the atmosphere, as PEcAn's table says (PEcAn's DALEC stores NEP under that name);
- time is the start of the step in days since 1 January, so it begins at 0 (there: at 1) and leap years are whole;
- `time_bounds` gives both ends of the step.

Fluxes are means over the day, pools the state at its end. WoodyLitter is a deprecated name, kept since PEcAn uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pecan_adapter.standard_output import FLUX, POOL, Origin, Series
from pecan_dalec.model import Day

ORIGIN = Origin(
    model="DALEC",
    source="DALEC evergreen (Williams et al. 2005) with ACM photosynthesis (Williams et al. 1997)",
    caveats="DALEC is not calibrated here and not spun up: its parameters and first pools are as given, or published "
    "defaults.",
)

_PER_SECOND = 1e-3 / 86400  # g per day to kg per second
_KILOGRAM = 1e-3


@dataclass(frozen=True, slots=True)
class StandardVariable:
    """One PEcAn variable and how it follows from a day (and the specific leaf area, m2 g-1 C)."""

    name: str
    units: str
    long_name: str
    value: Callable[[Day, float], float]


def _flux(name: str, long_name: str, grams_a_day: Callable[[Day], float]) -> StandardVariable:
    return StandardVariable(name, FLUX, long_name, lambda day, _: grams_a_day(day) * _PER_SECOND)


def _pool(name: str, long_name: str, grams: Callable[[Day], float]) -> StandardVariable:
    return StandardVariable(name, POOL, long_name, lambda day, _: grams(day) * _KILOGRAM)


def _heterotrophic(day: Day) -> float:
    return day.litter_respiration + day.som_respiration


VARIABLES = (
    _flux("AutoResp", "Autotrophic Respiration", lambda d: d.autotrophic_respiration),
    _flux("HeteroResp", "Heterotrophic Respiration", _heterotrophic),
    _flux("GPP", "Gross Primary Productivity", lambda d: d.gpp),
    _flux("NEE", "Net Ecosystem Exchange", lambda d: d.nee),
    _flux("NPP", "Net Primary Productivity", lambda d: d.leaf_growth + d.wood_growth + d.root_growth),
    _flux("leaf_litter_carbon_flux", "Leaf Litter Carbon Flux", lambda d: d.leaf_litter),
    _flux("WoodyLitter", "Wood Litter Carbon Flux", lambda d: d.wood_litter),
    _flux("subsurface_litter_carbon_flux", "Subsurface Litter Carbon Flux", lambda d: d.root_litter),
    _pool("leaf_carbon_content", "Leaf Carbon Content", lambda d: d.leaf),
    _pool("wood_carbon_content", "Wood Carbon Content", lambda d: d.wood),
    _pool("root_carbon_content", "Root Carbon Content", lambda d: d.root),
    _pool("litter_carbon_content", "Litter Carbon Content", lambda d: d.litter),
    _pool("soil_carbon_content", "Soil Carbon Content by Layer", lambda d: d.som),
    _flux("TotalResp", "Total Respiration", lambda d: d.autotrophic_respiration + _heterotrophic(d)),
    _pool("TotLivBiom", "Total living biomass", lambda d: d.leaf + d.wood + d.root),
    _pool("TotSoilCarb", "Total Soil Carbon", lambda d: d.litter + d.som),
    StandardVariable("LAI", "m2 m-2", "Leaf Area Index", lambda day, leaf_area: day.leaf * leaf_area),
)


def standard_series(days: Sequence[Day], specific_leaf_area: float) -> list[Series]:
    """Every standard variable over the run; specific leaf area in m2 g-1 C."""
    return [
        Series(v.name, v.units, v.long_name, np.array([v.value(day, specific_leaf_area) for day in days]))
        for v in VARIABLES
    ]
