"""PEcAn's meteorological variables: units, what they may be, and how other units become theirs.

Names and units are those of PEcAn's standard meteorology, which are CF standard names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
DAY_SECONDS = 86400
ZERO_CELSIUS = 273.15


@dataclass(frozen=True)
class Conversion:
    """From other units: value * factor + offset, divided by the seconds of a step for amounts that add up in it."""

    factor: float
    offset: float = 0.0
    per_step: bool = False

    def apply(self, values: Array, step_seconds: float) -> Array:
        """Values in the quantity's own unit."""
        converted: Array = values * self.factor + self.offset
        return converted / step_seconds if self.per_step else converted


@dataclass(frozen=True)
class Quantity:
    """A variable: its unit in PEcAn and the range of what has been measured on land, with some room."""

    name: str
    units: str
    least: float
    most: float
    conversions: dict[str, Conversion]
    aliases: tuple[str, ...] = ()
    most_daily: float | None = None

    def limit(self, step_seconds: float) -> float:
        """The largest plausible value of a step of that length."""
        return self.most if self.most_daily is None or step_seconds < DAY_SECONDS else self.most_daily

    def conversion(self, units: str) -> Conversion | None:
        """How to get from these units to PEcAn's; None for units that are not known for this variable."""
        return self.conversions.get(normal_units(units))

    def is_read(self, units: str) -> bool:
        """Whether models read the variable in these units: PEcAn's own, or one of the few that model images convert."""
        return normal_units(units) in {self.units, *(_ALSO_READ & self.conversions.keys())}

    def plausible(self, values: Array, step_seconds: float) -> NDArray[np.bool_]:
        """Whether values, in PEcAn's unit, are in the range; what is not finite is not."""
        inside: NDArray[np.bool_] = (values >= self.least) & (values <= self.limit(step_seconds))
        return inside

    def fitting_units(self, values: Array, step_seconds: float) -> list[str]:
        """Units in which all these values, as they stand, would be plausible."""
        return [
            units
            for units, conversion in self.conversions.items()
            if self.plausible(conversion.apply(values, step_seconds), step_seconds).all()
        ]


# What the model images of this project take beside PEcAn's units.
_ALSO_READ = frozenset({"degC", "mm s-1", "1", "ppm", "umol mol-1"})
_WORDS = {
    "kelvin": "K",
    "degk": "K",
    "k": "K",
    "c": "degC",
    "°c": "degC",
    "degc": "degC",
    "deg_c": "degC",
    "celsius": "degC",
    "degree_celsius": "degC",
    "degrees_celsius": "degC",
    "f": "degF",
    "°f": "degF",
    "degf": "degF",
    "fahrenheit": "degF",
    "w": "W",
    "watt": "W",
    "j": "J",
    "kj": "kJ",
    "mj": "MJ",
    "pa": "Pa",
    "pascal": "Pa",
    "hpa": "hPa",
    "kpa": "kPa",
    "mb": "hPa",
    "mbar": "hPa",
    "percent": "%",
    "day": "d",
    "days": "d",
    "hour": "h",
    "hr": "h",
    "sec": "s",
    "second": "s",
    "mole": "mol",
    "umol": "umol",
    "µmol": "umol",
}
_WHOLE = {
    "mps": "m s-1",
    "kph": "km h-1",
    "wm-2": "W m-2",
    "wm2": "W m-2",
    "mjm-2": "MJ m-2",
    "mjm-2d-1": "MJ m-2 d-1",
    "1e-6": "ppm",
}


def normal_units(text: str) -> str:
    """Units in one way of writing: W/m^2, W m**-2 and W.m-2 become W m-2."""
    text = re.sub(r"\*\*|\^", "", text.strip())
    text = _WHOLE.get(text.lower().replace(" ", ""), text)
    words = []
    for at, part in enumerate(text.split("/")):
        for word in re.split(r"[\s.*·]+", part.strip()):
            found = re.fullmatch(r"([^\d-]+)(-?\d+)?", word)
            if found is None:
                words.append(word)
                continue
            unit = _WORDS.get(found[1].lower(), found[1])
            power = int(found[2] or 1) * (-1 if at else 1)
            words.append(unit if power == 1 else f"{unit}{power}")
    joined = " ".join(word for word in words if word)
    same = re.fullmatch(r"(kg|g|mol) \1-1", joined)
    return "1" if same else joined


_KELVIN = {
    "K": Conversion(1.0),
    "degC": Conversion(1.0, ZERO_CELSIUS),
    "degF": Conversion(5 / 9, ZERO_CELSIUS - 32 * 5 / 9),
}
_PASCAL = {"Pa": Conversion(1.0), "hPa": Conversion(100.0), "kPa": Conversion(1000.0)}
_SPEED = {"m s-1": Conversion(1.0), "km h-1": Conversion(1 / 3.6)}
_FLUX = {
    "W m-2": Conversion(1.0),
    "J m-2 s-1": Conversion(1.0),
    "MJ m-2 d-1": Conversion(1e6 / DAY_SECONDS),
    "kJ m-2 d-1": Conversion(1e3 / DAY_SECONDS),
    "J m-2 d-1": Conversion(1 / DAY_SECONDS),
    "MJ m-2": Conversion(1e6, per_step=True),
    "kJ m-2": Conversion(1e3, per_step=True),
    "J m-2": Conversion(1.0, per_step=True),
}
_RAIN = {
    "kg m-2 s-1": Conversion(1.0),
    "mm s-1": Conversion(1.0),
    "mm h-1": Conversion(1 / 3600),
    "mm d-1": Conversion(1 / DAY_SECONDS),
    "cm d-1": Conversion(10 / DAY_SECONDS),
    "kg m-2 d-1": Conversion(1 / DAY_SECONDS),
    "mm": Conversion(1.0, per_step=True),
    "kg m-2": Conversion(1.0, per_step=True),
}
_SHARE = {"%": Conversion(1.0), "1": Conversion(100.0)}

TEMPERATURE = "air_temperature"
TEMPERATURE_MAX = "air_temperature_max"
TEMPERATURE_MIN = "air_temperature_min"
SHORTWAVE = "surface_downwelling_shortwave_flux_in_air"
RAIN = "precipitation_flux"
PRESSURE = "air_pressure"
SPECIFIC_HUMIDITY = "specific_humidity"
RELATIVE_HUMIDITY = "relative_humidity"
VAPOUR_PRESSURE = "water_vapor_partial_pressure_in_air"
DEFICIT = "water_vapor_saturation_deficit"
WIND = "wind_speed"
CO2 = "mole_fraction_of_carbon_dioxide_in_air"

QUANTITIES = {
    each.name: each
    for each in (
        Quantity(TEMPERATURE, "K", 183.15, 333.15, _KELVIN, ("tmean", "tavg", "temp", "temperature", "tair", "ta", "t")),
        Quantity(TEMPERATURE_MAX, "K", 183.15, 333.15, _KELVIN, ("tmax", "temp_max", "temperature_max", "tx")),
        Quantity(TEMPERATURE_MIN, "K", 183.15, 333.15, _KELVIN, ("tmin", "temp_min", "temperature_min", "tn")),
        Quantity(
            SHORTWAVE,
            "W m-2",
            0.0,
            1500.0,
            _FLUX,
            ("srad", "sw", "swdown", "sw_in", "rg", "radiation", "solar_radiation", "shortwave", "irradiation", "rsds"),
            most_daily=560.0,
        ),
        Quantity(
            "surface_downwelling_longwave_flux_in_air", "W m-2", 40.0, 700.0, _FLUX, ("lwdown", "lw_in", "longwave")
        ),
        Quantity(
            RAIN,
            "kg m-2 s-1",
            0.0,
            0.65,
            _RAIN,
            ("precip", "precipitation", "prcp", "rain", "rainfall", "ppt", "pr"),
            most_daily=0.0232,
        ),
        Quantity(PRESSURE, "Pa", 45_000.0, 110_000.0, _PASCAL, ("pressure", "press", "ps", "psurf", "pa")),
        Quantity(
            SPECIFIC_HUMIDITY, "1", 0.0, 0.05, {"1": Conversion(1.0), "g kg-1": Conversion(1e-3)}, ("qair", "huss", "q")
        ),
        Quantity(RELATIVE_HUMIDITY, "%", 0.0, 105.0, _SHARE, ("rh", "humidity", "hurs")),
        Quantity(VAPOUR_PRESSURE, "Pa", 0.0, 10_000.0, _PASCAL, ("vapour_pressure", "vapor_pressure", "vap", "ea")),
        Quantity(DEFICIT, "Pa", 0.0, 15_000.0, _PASCAL, ("vpd",)),
        Quantity(WIND, "m s-1", 0.0, 115.0, _SPEED, ("wind", "ws", "windspeed")),
        Quantity("eastward_wind", "m s-1", -115.0, 115.0, _SPEED),
        Quantity("northward_wind", "m s-1", -115.0, 115.0, _SPEED),
        Quantity(
            CO2, "1", 1.5e-4, 2e-3, {"1": Conversion(1.0), "ppm": Conversion(1e-6), "umol mol-1": Conversion(1e-6)},
            ("co2",)
        ),
        Quantity("soil_temperature", "K", 200.0, 350.0, _KELVIN),
    )
}  # fmt: skip


def saturation_vapour_pressure(kelvin: Array) -> Array:
    """Over water, Pa (Bolton 1980, Monthly Weather Review 108:1046-1053, as PEcAn's `get.es`)."""
    celsius = kelvin - ZERO_CELSIUS
    pressure: Array = 611.2 * np.exp(17.67 * celsius / (celsius + 243.5))
    return pressure


def specific_humidity(vapour_pressure: Array, air_pressure: Array) -> Array:
    """kg kg-1 from pressures in Pa, as PEcAn's `rh2qair`."""
    humidity: Array = 0.622 * vapour_pressure / (air_pressure - 0.378 * vapour_pressure)
    return humidity


def standard_pressure(elevation: float) -> float:
    """Pa at metres above the sea, up to 11,000 (International Standard Atmosphere, ISO 2533)."""
    return float(101_325.0 * (1 - 2.25577e-5 * elevation) ** 5.25588)
