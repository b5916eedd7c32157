"""Lets pcse run WOFOST 7.2 over the days of a run: a crop each year, bare soil between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from pecan_adapter.errors import BadData
from pecan_wofost.parameters import CROPS, Parameters, checked_soil, scaled
from pecan_wofost.record import read_record
from pecan_wofost.seasons import campaigns, season_of
from pecan_wofost.standard_output import OUTPUT_VARIABLES, Row
from pecan_wofost.weather import WeatherDay

# Only now: pecan_wofost.record has told pcse where its home is.
from pcse.base import ParameterProvider, WeatherDataContainer, WeatherDataProvider  # isort: skip
from pcse.exceptions import PCSEError  # isort: skip
from pcse.models import Wofost72_PP, Wofost72_WLP_CWB  # isort: skip
from pcse.util import reference_ET  # isort: skip

ANGSTROM_A, ANGSTROM_B = 0.29, 0.49
"""Of the relation between radiation and sunshine, from which Penman's long-wave radiation follows; pcse's own values."""
SUMMARY = ("DOS", "DOE", "DOA", "DOM", "TWSO", "TAGP", "LAIMAX")


@dataclass(frozen=True, slots=True)
class Result:
    """The run's days and one more, so that the last one's end is known; the soil's SM0; a line a season, for the log."""

    rows: list[Row]
    saturated: float
    seasons: list[str]


def simulate(
    parameters: Parameters, weather: Any, start: date, end: date, variables: Sequence[str] = OUTPUT_VARIABLES
) -> Result:
    """Grow the crop each year of start to end (inclusive); `weather` is a weather provider of pcse.

    Raises BadData if no season begins in the run, or pcse cannot use what it is given.
    """
    record = read_record(CROPS[parameters.crop_name])
    crop = record.crop | parameters.crop
    crop |= {name: scaled(record.crop[name], largest) for name, largest in parameters.tables.items()}
    soil = checked_soil(record.soil | parameters.soil)
    calendar = campaigns(season_of(parameters, record.emergence, crop["TSUMEM"]), start, end)
    try:
        provided = ParameterProvider(sitedata=record.site | parameters.site, cropdata=crop, soildata=soil)
        model = (Wofost72_WLP_CWB if parameters.water_limited else Wofost72_PP)(
            provided,
            weather,
            calendar,
            output_vars=list(variables),
            summary_vars=list(SUMMARY),
        )
        model.run_till_terminate()
    except (PCSEError, AssertionError, ArithmeticError) as error:
        raise BadData(
            f"WOFOST cannot run with these parameters and this weather: {type(error).__name__}: {error}"
        ) from error
    return Result(model.get_output(), soil["SM0"], [_season(summary) for summary in model.get_summary_output()])


def weather_provider(weather: Sequence[WeatherDay], latitude: float, longitude: float, elevation: float) -> Any:
    """pcse's weather, with its reference evapotranspiration; the last day twice, as its end is the next one's begin."""
    provider = WeatherDataProvider()
    provider.latitude, provider.longitude, provider.elevation = latitude, longitude, elevation
    for given in (*weather, weather[-1]._replace(day=weather[-1].day + timedelta(days=1))):
        values: dict[str, Any] = {
            "DAY": given.day, "LAT": latitude, "LON": longitude, "ELEV": elevation,
            "IRRAD": given.irradiation, "TMIN": given.tmin, "TMAX": given.tmax,
            "VAP": given.vapour_pressure, "WIND": given.wind_speed, "RAIN": given.rain,
        }  # fmt: skip
        try:
            millimetres = reference_ET(ANGSTA=ANGSTROM_A, ANGSTB=ANGSTROM_B, **values)
            container = WeatherDataContainer(
                **values, **{name: et / 10 for name, et in zip(("E0", "ES0", "ET0"), millimetres, strict=True)}
            )
        except PCSEError as error:
            raise BadData(f"WOFOST cannot use the weather of {given.day}: {error}") from error
        provider.store[given.day, 0] = container
    return provider


def _season(summary: dict[str, Any]) -> str:
    words = {"DOS": "sown", "DOE": "emerged", "DOA": "flowering", "DOM": "mature"}
    days = [f"{word} {summary[name]}" for name, word in words.items() if summary[name] is not None]
    return (
        f"season: {', '.join(days)}; storage organs {summary['TWSO']:.0f}, above ground {summary['TAGP']:.0f} kg dry "
        f"matter ha-1, largest LAI {summary['LAIMAX']:.2f}"
    )
