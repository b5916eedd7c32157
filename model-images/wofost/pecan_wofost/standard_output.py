"""WOFOST's days as PEcAn's standard variables.

WOFOST counts dry matter in kg ha-1 and assimilates in kg CH2O ha-1 d-1. Carbon is CARBON_FRACTION of dry matter and
CARBON_IN_CH2O of assimilates; what of the assimilates becomes neither is respired:

- GPP is gross assimilation (GASS), NPP the growth in dry matter (DMI) before any loss, AutoResp the difference:
  maintenance and growth respiration;
- TotLivBiom changes by NPP less litter_carbon_flux, but on the day of emergence, when seed or seedlings (TDWI) become
  crop, and on the day of harvest, when all of it goes;
- CropYield is what is harvested in the calendar year, dry matter (not carbon): the largest weight that storage organs
  reach in each season that ends in it, on every day of it, so that the year's mean, which analyses use, is the yield. A
  crop that stands when the run ends counts for the last year.

WOFOST 7.2 has no soil carbon, so there is no HeteroResp and no NEE. Fluxes are means over the day, pools the state at
its end. Where no crop stands all of them are 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pecan_adapter.meteorology import Array
from pecan_adapter.standard_output import FLUX, POOL, Origin, Series
from pecan_wofost.parameters import CARBON_FRACTION, CARBON_IN_CH2O

ORIGIN = Origin(
    model="WOFOST",
    source="WOFOST 7.2 of pcse 6.0.13 (de Wit et al. 2019)",
    caveats="Crop, soil and calendar are those of pcse's demonstration data (Andalusia, 2000) where the run does not "
    "say otherwise; nothing is calibrated for the site.\n"
    "Carbon is taken as 0.45 of dry matter (Bolinder et al. 2007).\n"
    "SoilMoistFrac is of the rooted layer: where no crop stands, of a layer that differs, or 0; its means over a year mix "
    "them.",
)

UNRIPE = "CropYield has the storage organs of crops that were not ripe when their season or the run ended.\n"
"""The caveat of a run that has such crops."""
RIPE = 2.0
"""WOFOST's development stage (DVS) at maturity."""

CROP_STATES = ("DVS", "LAI", "WLV", "WST", "WRT", "WSO", "TWSO")
CROP_RATES = ("GASS", "DMI", "DRLV", "DRST", "DRRT", "DRSO", "TRA")
SOIL_STATES = ("SM",)
SOIL_RATES = ("EVS", "EVW")
OUTPUT_VARIABLES = (*CROP_STATES, *CROP_RATES, *SOIL_STATES, *SOIL_RATES)
"""What is needed of WOFOST on every day, by its names: states at the beginning of the day, rates over the day."""

CROP_YIELD = "CropYield"

Row = Mapping[str, float | None]
"""Values by name; None where there is no crop, or no such soil process."""

_PER_SQUARE_METRE = 1e-4  # ha m-2
_PER_SECOND = 1 / 86400
_DRY_FLUX = CARBON_FRACTION * _PER_SQUARE_METRE * _PER_SECOND
_CH2O_FLUX = CARBON_IN_CH2O * _PER_SQUARE_METRE * _PER_SECOND
_DRY_POOL = CARBON_FRACTION * _PER_SQUARE_METRE
_WATER_FLUX = 10 * _PER_SECOND  # cm d-1 to kg m-2 s-1
_WATER = "kg m-2 s-1"


@dataclass(frozen=True, slots=True)
class Day:
    """A day's rates and the state at its end; 0 where there is no crop."""

    rates: dict[str, float]
    end: dict[str, float]

    def litter(self) -> float:
        """All that dies, kg dry matter ha-1 d-1."""
        return sum(self.rates[name] for name in ("DRLV", "DRST", "DRRT", "DRSO"))

    def above_ground(self) -> float:
        """Living leaves, stems and storage organs, kg dry matter ha-1."""
        return self.end["WLV"] + self.end["WST"] + self.end["WSO"]


@dataclass(frozen=True, slots=True)
class StandardVariable:
    """One PEcAn variable and how it follows from a day."""

    name: str
    units: str
    long_name: str
    value: Callable[[Day], float]


def _variable(name: str, units: str, long_name: str, factor: float, value: Callable[[Day], float]) -> StandardVariable:
    return StandardVariable(name, units, long_name, lambda day: factor * value(day))


def _respiration(day: Day) -> float:
    return _CH2O_FLUX * day.rates["GASS"] - _DRY_FLUX * day.rates["DMI"]


VARIABLES = (
    _variable("GPP", FLUX, "Gross Primary Productivity", _CH2O_FLUX, lambda d: d.rates["GASS"]),
    _variable("NPP", FLUX, "Net Primary Productivity", _DRY_FLUX, lambda d: d.rates["DMI"]),
    _variable("AutoResp", FLUX, "Autotrophic Respiration", 1.0, _respiration),
    _variable("litter_carbon_flux", FLUX, "Litter Carbon Flux", _DRY_FLUX, Day.litter),
    _variable("leaf_litter_carbon_flux", FLUX, "Leaf Litter Carbon Flux", _DRY_FLUX, lambda d: d.rates["DRLV"]),
    _variable("LAI", "m2 m-2", "Leaf Area Index", 1.0, lambda d: d.end["LAI"]),
    _variable("leaf_carbon_content", POOL, "Leaf Carbon Content", _DRY_POOL, lambda d: d.end["WLV"]),
    _variable("root_carbon_content", POOL, "Root Carbon Content", _DRY_POOL, lambda d: d.end["WRT"]),
    _variable("AGB", POOL, "Total aboveground biomass", _DRY_POOL, Day.above_ground),
    _variable("TotLivBiom", POOL, "Total living biomass", _DRY_POOL, lambda d: d.above_ground() + d.end["WRT"]),
    _variable(CROP_YIELD, "kg m-2", "CropYield", _PER_SQUARE_METRE, lambda d: d.end["TWSO"]),
    _variable("Transp", _WATER, "Total transpiration", _WATER_FLUX, lambda d: d.rates["TRA"]),
    _variable(
        "Evap",
        _WATER,
        "Total Evaporation",
        _WATER_FLUX,
        lambda d: d.rates["TRA"] + d.rates["EVS"] + d.rates["EVW"],
    ),
    _variable("SoilMoistFrac", "(-)", "Average Layer Fraction of Saturation", 1.0, lambda d: d.end["saturation"]),
)


def standard_series(rows: Sequence[Row], start: date, saturated: float) -> list[Series]:
    """Every standard variable over the run, which begins on `start`; `rows` are its days and one more, `saturated` the
    soil's SM0 (m3 m-3).
    """
    days = [_day(today, tomorrow, saturated) for today, tomorrow in pairwise(rows)]
    years = np.array([(start + timedelta(days=n)).year for n in range(len(days))])
    made = []
    for v in VARIABLES:
        values = np.array([v.value(day) for day in days])
        made.append(Series(v.name, v.units, v.long_name, _harvested(values, years) if v.name == CROP_YIELD else values))
    return made


def is_ripe(rows: Sequence[Row]) -> bool:
    """Whether every crop with storage organs was ripe when its season or the run ended; rows as in standard_series."""
    ends = [(row["DVS"] or 0.0, (row["TWSO"] or 0.0) if _stands(row) else 0.0) for row in rows]
    last = [before for before, after in pairwise([*ends, (0.0, 0.0)]) if before[1] > 0 and not after[1] > 0]
    return all(stage >= RIPE for stage, _ in last)


def _harvested(values: Array, years: NDArray[np.int64]) -> Array:
    """Of what grows in seasons and is 0 between them: the seasons' largest values, summed over those that end in a year,
    on each of the year's days. A season ends on the day after its last value, or with the run."""
    grows = np.pad(values > 0, 1)
    begins, ends = np.flatnonzero(~grows[:-1] & grows[1:]), np.flatnonzero(grows[:-1] & ~grows[1:])
    harvest = np.zeros_like(values)
    for begin, end in zip(begins, ends, strict=True):
        harvest += np.where(years == years[min(int(end), len(years) - 1)], values[begin:end].max(), 0.0)
    return harvest


def _stands(row: Row) -> bool:
    """Whether there is a crop that has emerged: WOFOST gives the sown seed leaves and biomass too."""
    return row["DVS"] is not None and row["DVS"] >= 0


def _day(today: Row, tomorrow: Row, saturated: float) -> Day:
    # A crop that is harvested today has rates, but WOFOST takes it away before they change anything.
    grows = _stands(today) and _stands(tomorrow)
    rates = {name: (today[name] or 0.0) if grows else 0.0 for name in CROP_RATES}
    rates |= {name: today[name] or 0.0 for name in SOIL_RATES}
    end = {name: (tomorrow[name] or 0.0) if _stands(tomorrow) else 0.0 for name in CROP_STATES}
    return Day(rates, end | {"saturation": (tomorrow["SM"] or 0.0) / saturated})
