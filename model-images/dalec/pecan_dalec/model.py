"""DALEC evergreen with the ACM photosynthesis model: equations only, no files, no units of others.

DALEC: Williams et al. 2005, Global Change Biology 11:89-105. ACM: Williams et al. 1997, Ecological Applications
7:882-894. One step is one day; carbon is in g m-2, fluxes in g C m-2 d-1, temperature in degrees Celsius.
The parameter numbers t1..t9 are those of Williams et al. and of PEcAn's DALEC.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from pecan_adapter.errors import BadData

MINIMUM_LAI = 0.1
"""Leaf area (m2 m-2) that photosynthesis always has, so that a canopy can grow back from nothing."""

CO2_RANGE = (220.0, 2000.0)
"""Ambient CO2 (ppm) for which ACM holds: below its a3 = 217.9 the inner CO2 would exceed the outer."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """Rates and fractions; rates are per day at 10 degrees Celsius (t1, t8, t9) or per day (t5, t6, t7)."""

    litter_to_som: float = 4.41e-6  # t1
    respired_fraction: float = 0.473267  # t2, autotrophic respiration / GPP
    leaf_fraction: float = 0.314951  # t3, of NPP
    root_fraction: float = 0.434401  # t4, of NPP left after the leaves
    leaf_loss: float = 2.66518e-3  # t5
    wood_loss: float = 2.06e-6  # t6
    root_loss: float = 2.48e-3  # t7
    litter_respiration: float = 2.28e-2  # t8
    som_respiration: float = 2.65e-6  # t9
    specific_leaf_area: float = 1 / 111  # m2 leaf per g C


@dataclass(frozen=True, slots=True)
class State:
    """The five carbon pools, g C m-2. The defaults are the young ponderosa pine of Williams et al. 2005."""

    leaf: float = 57.7049
    wood: float = 769.863
    root: float = 101.955
    litter: float = 40.4494
    som: float = 9896.7  # soil organic matter and woody debris


class Drivers(NamedTuple):
    """One day's weather, with the values PEcAn fills in for what weather files do not carry."""

    day: date
    tmax: float  # degrees Celsius
    tmin: float
    shortwave: float  # MJ m-2 d-1
    co2: float = 400.0  # ppm
    water_potential: float = -0.8  # maximum soil-to-leaf difference, MPa
    hydraulic_resistance: float = 1.0  # MPa m2 s mmol-1
    leaf_nitrogen: float = 2.5  # g N m-2 leaf


class Day(NamedTuple):
    """One day's fluxes (g C m-2 d-1) and the pools at its end (g C m-2)."""

    day: date
    gpp: float
    autotrophic_respiration: float
    leaf_growth: float
    wood_growth: float
    root_growth: float
    leaf_litter: float
    wood_litter: float
    root_litter: float
    litter_respiration: float
    som_respiration: float
    litter_to_som: float
    nee: float  # to the atmosphere > 0
    leaf: float
    wood: float
    root: float
    litter: float
    som: float


def day_length(latitude: float, day_of_year: int) -> float:
    """Hours of daylight at a latitude (degrees north), from 0 in polar night to 24 in polar day."""
    declination = -23.4 * math.pi / 180 * math.cos(2 * math.pi * (day_of_year + 10) / 365)
    x = math.tan(math.radians(latitude)) * math.tan(declination)
    if x >= 1:
        return 24.0
    if x <= -1:
        return 0.0
    return 24 * math.acos(-x) / math.pi


def acm_gpp(leaf_area: float, drivers: Drivers, daylight: float) -> float:
    """Gross primary production of one day, g C m-2 d-1, for a leaf area index and hours of daylight."""
    conductance = math.pow(abs(drivers.water_potential), 0.0006) / (
        2.653 * drivers.hydraulic_resistance + 0.5 * (drivers.tmax - drivers.tmin)
    )
    p = 2.155 * drivers.leaf_nitrogen * leaf_area * math.exp(0.060 * drivers.tmax) / conductance
    q = 217.9 - 0.980
    half = drivers.co2 + q - p
    inner_co2 = 0.5 * (half + math.sqrt(half * half - 4 * (drivers.co2 * q - p * 217.9)))
    uptake = conductance * (drivers.co2 - inner_co2)
    light = 4.309 * leaf_area * leaf_area / (leaf_area * leaf_area + 1.062) * drivers.shortwave
    return light * uptake / (light + uptake) * (0.0142 * daylight + 0.155)


def temperature_factor(drivers: Drivers) -> float:
    """Rate of decomposition at the day's mean temperature, relative to the rate at 10 degrees Celsius."""
    return 0.5 * math.exp(0.0692 * 0.5 * (drivers.tmax + drivers.tmin))


def simulate(parameters: Parameters, state: State, latitude: float, drivers: Iterable[Drivers]) -> Iterator[Day]:
    """Run day by day from `state`; every flux of a day follows from the pools at its start.

    Raises BadData on the day on which litter or soil would lose more than it holds.
    """
    p = parameters
    leaf, wood, root, litter, som = state.leaf, state.wood, state.root, state.litter, state.som
    for today in drivers:
        leaf_area = max(MINIMUM_LAI, p.specific_leaf_area * leaf)
        gpp = acm_gpp(leaf_area, today, day_length(latitude, today.day.timetuple().tm_yday))
        autotrophic_respiration = p.respired_fraction * gpp
        npp = gpp - autotrophic_respiration
        leaf_growth = p.leaf_fraction * npp
        root_growth = p.root_fraction * (npp - leaf_growth)
        wood_growth = npp - leaf_growth - root_growth
        leaf_litter = p.leaf_loss * leaf
        wood_litter = p.wood_loss * wood
        root_litter = p.root_loss * root

        warmth = temperature_factor(today)
        _check_decomposition(p, warmth, today)
        litter_respiration = p.litter_respiration * warmth * litter
        som_respiration = p.som_respiration * warmth * som
        litter_to_som = p.litter_to_som * warmth * litter

        leaf += leaf_growth - leaf_litter
        wood += wood_growth - wood_litter
        root += root_growth - root_litter
        litter += leaf_litter + root_litter - litter_respiration - litter_to_som
        som += litter_to_som + wood_litter - som_respiration
        yield Day(
            today.day,
            gpp,
            autotrophic_respiration,
            leaf_growth,
            wood_growth,
            root_growth,
            leaf_litter,
            wood_litter,
            root_litter,
            litter_respiration,
            som_respiration,
            litter_to_som,
            autotrophic_respiration + litter_respiration + som_respiration - gpp,
            leaf,
            wood,
            root,
            litter,
            som,
        )


def _check_decomposition(p: Parameters, warmth: float, today: Drivers) -> None:
    # The explicit daily step takes rate * warmth of the pool: more than 1 would leave less than nothing.
    for pool, rate, traits in (
        ("litter", p.litter_respiration + p.litter_to_som, "litter_respiration_rate + litter_decomposition_to_SOM"),
        ("soil", p.som_respiration, "som_respiration_rate"),
    ):
        if rate * warmth > 1:
            raise BadData(
                f"{today.day}: {traits} = {rate:.4g} d-1 at 10 degC becomes {rate * warmth:.3g} d-1 at that day's "
                f"{(today.tmax + today.tmin) / 2:.1f} degC, so the {pool} pool would turn negative: "
                f"give a lower rate (at most {1 / warmth:.3g} d-1 for this day)"
            )
