"""WOFOST's days as PEcAn's standard variables: carbon, units, bare soil, emergence and harvest."""

from __future__ import annotations

import csv
import os
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pecan_wofost.standard_output import OUTPUT_VARIABLES, VARIABLES, is_ripe, standard_series

SHARED_DATA = Path(os.environ.get("PECAN_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
STANDARD = SHARED_DATA / "pecan-standards" / "standard_vars.csv"

BARE: dict[str, float | None] = dict.fromkeys(OUTPUT_VARIABLES) | {"SM": 0.2, "EVS": 0.1, "EVW": 0.0}


def crop(**values: float) -> dict[str, float | None]:
    row: dict[str, float | None] = dict.fromkeys(OUTPUT_VARIABLES, 0.0)
    return row | {"DVS": 0.5, "SM": 0.3} | values


def series(*rows: dict[str, float | None], start: date = date(2000, 6, 1)) -> dict[str, list[float]]:
    return {one.name: one.values.tolist() for one in standard_series(rows, start, saturated=0.4)}


def test_a_growing_day_in_carbon() -> None:
    today = crop(WLV=900, GASS=300, DMI=150, DRLV=10, DRST=2, DRRT=3, DRSO=1, TRA=0.3, EVS=0.1, EVW=0.05)
    tomorrow = crop(LAI=2.5, WLV=1000, WST=500, WRT=250, WSO=100, TWSO=110, SM=0.1)
    v = series(today, tomorrow)
    seconds, hectare = 86400, 1e4
    assert v["GPP"] == [pytest.approx(300 * 12.011 / 30.026 / hectare / seconds)]
    assert v["NPP"] == [pytest.approx(150 * 0.45 / hectare / seconds)]
    assert v["AutoResp"] == [pytest.approx(v["GPP"][0] - v["NPP"][0])]
    assert v["litter_carbon_flux"] == [pytest.approx(16 * 0.45 / hectare / seconds)]
    assert v["leaf_litter_carbon_flux"] == [pytest.approx(10 * 0.45 / hectare / seconds)]
    assert v["LAI"] == [2.5]
    assert v["leaf_carbon_content"] == [pytest.approx(0.045)]
    assert v["root_carbon_content"] == [pytest.approx(0.01125)]
    assert v["AGB"] == [pytest.approx(1600 * 0.45e-4)]
    assert v["TotLivBiom"] == [pytest.approx(1850 * 0.45e-4)]
    assert v["CropYield"] == [pytest.approx(0.011)]  # kg dry matter m-2
    assert v["Transp"] == [pytest.approx(3.0 / seconds)]  # 0.3 cm is 3 kg m-2
    assert v["Evap"] == [pytest.approx(4.5 / seconds)]
    assert v["SoilMoistFrac"] == [pytest.approx(0.25)]


def test_bare_soil_has_water_and_no_carbon() -> None:
    v = series(BARE, BARE)
    water = {"Evap": pytest.approx(1.0 / 86400), "SoilMoistFrac": pytest.approx(0.5)}
    assert {name: values[0] for name, values in v.items()} == dict.fromkeys(v, 0.0) | water


def test_soil_without_a_water_balance_evaporates_what_it_says() -> None:
    assert series(BARE | {"EVW": None}, BARE)["Evap"] == [pytest.approx(1.0 / 86400)]


def test_what_is_sown_counts_from_its_emergence() -> None:
    sown = crop(DVS=-0.1, LAI=0.1, WLV=50, GASS=9.0)
    v = series(sown, sown, crop(DVS=0.0, LAI=0.1, WLV=50), crop(LAI=0.2, WLV=60))
    assert v["LAI"] == [0.0, 0.1, 0.2]
    assert v["GPP"] == [0.0, 0.0, 0.0]
    assert v["TotLivBiom"] == pytest.approx([0.0, 50 * 0.45e-4, 60 * 0.45e-4])


def test_the_last_growth_is_that_of_the_day_before_the_harvest() -> None:
    # On the day of maturity WOFOST computes rates, then takes the crop away.
    grown = crop(WSO=800, TWSO=800, GASS=100, DMI=50, TRA=0.2)
    v = series(crop(WSO=750, TWSO=750, GASS=110, DMI=60), grown | {"DVS": 2.0}, BARE)
    assert v["AGB"] == pytest.approx([800 * 0.45e-4, 0.0])
    assert v["GPP"][0] > 0
    assert v["GPP"][1] == v["NPP"][1] == v["Transp"][1] == v["TotLivBiom"][1] == 0.0


def test_the_yield_is_that_of_the_year_on_each_of_its_days() -> None:
    rows = [crop(TWSO=weight) for weight in (100, 300, 700)]
    v = series(*rows, BARE, crop(TWSO=10), crop(TWSO=40), start=date(1999, 12, 29))
    # The states at the end of 29, 30 and 31 December, and of 1 and 2 January.
    assert v["CropYield"] == pytest.approx([0.07, 0.07, 0.07, 0.004, 0.004])


def test_a_crop_that_stands_at_new_year_counts_where_it_is_harvested() -> None:
    growing = [crop(TWSO=weight) for weight in (100, 300, 500, 700)]
    v = series(*growing, BARE, start=date(1999, 12, 29))
    # The states at the end of 29 to 31 December; harvested on 1 January.
    assert v["CropYield"] == pytest.approx([0.0, 0.0, 0.0, 0.07])
    v = series(*growing, start=date(1999, 12, 30))
    assert v["CropYield"] == pytest.approx([0.0, 0.0, 0.07])


def test_harvests_of_a_year_add_up() -> None:
    season = [crop(TWSO=200), crop(TWSO=300), BARE]
    assert series(BARE, *season, *season, BARE)["CropYield"] == pytest.approx([0.06] * 7)


RIPENING = [crop(TWSO=200, DVS=1.9), crop(TWSO=300, DVS=2.0)]


@pytest.mark.parametrize(
    ("rows", "ripe"),
    [
        ([BARE, BARE], True),
        ([BARE, crop(DVS=0.3), BARE], True),
        ([*RIPENING, BARE, *RIPENING], True),
        ([*RIPENING, BARE, RIPENING[0]], False),
        ([RIPENING[0], BARE, *RIPENING, BARE], False),
    ],
)
def test_an_unripe_crop_is_known(rows: list[dict[str, float | None]], ripe: bool) -> None:
    assert is_ripe(rows) is ripe


@pytest.mark.skipif(not STANDARD.is_file(), reason="needs PEcAn's table of variables (PECAN_SHARED_DATA)")
def test_names_units_and_long_names_are_pecans() -> None:
    with STANDARD.open(newline="") as file:
        rows: dict[str, Any] = {row["Variable.Name"]: row for row in csv.DictReader(file)}
    assert {v.name: (v.units, v.long_name) for v in VARIABLES} == {
        v.name: (rows[v.name]["Units"], rows[v.name]["Long.name"]) for v in VARIABLES
    }
    assert not [v.name for v in VARIABLES if rows[v.name]["Category"] == "Deprecated"]
