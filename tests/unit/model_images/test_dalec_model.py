"""The equations of DALEC: published annual sums, closed forms, conservation of carbon."""

from __future__ import annotations

import csv
import math
import os
from collections import defaultdict
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pecan_adapter.errors import BadData
from pecan_dalec.model import (
    MINIMUM_LAI,
    Day,
    Drivers,
    Parameters,
    State,
    acm_gpp,
    day_length,
    simulate,
    temperature_factor,
)

SHARED_DATA = Path(os.environ.get("PECAN_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
OREGON = SHARED_DATA / "dalec-oregon"

POOLS = ("leaf", "wood", "root", "litter", "som")

rates = st.builds(
    Parameters,
    litter_to_som=st.floats(1e-6, 0.01),
    respired_fraction=st.floats(0.2, 0.7),
    leaf_fraction=st.floats(0.01, 0.5),
    root_fraction=st.floats(0.01, 0.6),
    leaf_loss=st.floats(1e-4, 0.1),
    wood_loss=st.floats(2e-6, 0.02),
    root_loss=st.floats(1e-4, 0.01),
    litter_respiration=st.floats(5e-5, 0.05),
    som_respiration=st.floats(1e-6, 0.05),
    specific_leaf_area=st.floats(1e-3, 0.1),
)
states = st.builds(State, **{pool: st.floats(0, 20_000) for pool in POOLS})


@st.composite
def weather(draw: st.DrawFn) -> list[Drivers]:
    days = draw(st.integers(1, 20))
    drivers = []
    for n in range(days):
        tmin = draw(st.floats(-60, 40))
        drivers.append(
            Drivers(
                date(2000, 1, 1) + timedelta(days=draw(st.integers(0, 365)) + n),
                tmin + draw(st.floats(0, 20)),
                tmin,
                draw(st.floats(0, 40)),
                draw(st.floats(220, 2000)),
            )
        )
    return drivers


@pytest.mark.skipif(not OREGON.is_dir(), reason="needs the shared Oregon drivers (PECAN_SHARED_DATA)")
def test_oregon_gives_the_published_sums_and_the_independent_daily_values() -> None:
    drivers = []
    for n, line in enumerate((OREGON / "dalec_drivers.OREGON.no_obs.dat").read_text().splitlines()):
        day, _, tmax, tmin, shortwave, water_potential, co2, resistance, nitrogen = map(float, line.split())
        drivers.append(
            Drivers(
                date(2000, 1, 1) + timedelta(days=n), tmax, tmin, shortwave, co2, water_potential, resistance, nitrogen
            )
        )
        assert drivers[-1].day.timetuple().tm_yday == day
    days = list(simulate(replace(Parameters(), specific_leaf_area=0.009009009009), State(), 44.4, drivers))

    gpp, nee = defaultdict(float), defaultdict(float)
    for day_of_run in days:
        gpp[day_of_run.day.year] += day_of_run.gpp
        nee[day_of_run.day.year] += day_of_run.nee
    assert [round(v, 2) for v in gpp.values()] == [561.60, 685.26, 751.96]
    assert [round(v, 2) for v in nee.values()] == [-118.18, -165.12, -168.63]

    with (OREGON / "expected_daily.csv").open() as file:
        expected = list(csv.DictReader(file))
    columns = {
        "GPP": "gpp", "Ra": "autotrophic_respiration", "Af": "leaf_growth", "Aw": "wood_growth", "Ar": "root_growth",
        "Lf": "leaf_litter", "Lw": "wood_litter", "Lr": "root_litter", "Rh1": "litter_respiration",
        "Rh2": "som_respiration", "D": "litter_to_som", "NEE": "nee", "Cf": "leaf", "Cw": "wood", "Cr": "root",
        "Cl": "litter", "Cs": "som",
    }  # fmt: skip
    assert len(days) == len(expected) == 1096
    for day_of_run, row in zip(days, expected, strict=True):
        for column, field in columns.items():
            expected_value = pytest.approx(float(row[column]), rel=1e-6, abs=1e-7)
            assert getattr(day_of_run, field) == expected_value, (row["day"], column)


def test_acm_solves_its_own_quadratic() -> None:
    """The inner CO2 from demand and supply: uptake through the stomata equals what the leaf can fix at that CO2."""
    today = Drivers(date(2000, 7, 1), 25.0, 11.0, 22.0, 380.0, -1.2, 1.1, 2.7)
    leaf_area, daylight = 2.5, 15.5
    conductance = 1.2**0.0006 / (2.653 * 1.1 + 7.0)
    gpp = acm_gpp(leaf_area, today, daylight)
    light = 4.309 * 2.5**2 / (2.5**2 + 1.062) * 22.0
    # Invert the light and day length terms: 1/whole = 1/light + 1/uptake.
    whole = gpp / (0.0142 * daylight + 0.155)
    inner = 380.0 - 1 / (1 / whole - 1 / light) / conductance
    assert 0 < inner < 380.0
    capacity = 2.155 * 2.7 * leaf_area * math.exp(0.06 * 25.0)
    assert conductance * (380.0 - inner) == pytest.approx(capacity * (inner - 217.9) / (inner - 217.9 + 0.98), rel=1e-9)


def test_acm_is_zero_in_the_dark() -> None:
    assert acm_gpp(3.0, Drivers(date(2000, 1, 1), 5.0, 0.0, 0.0), 8.0) == 0


@given(st.floats(0.1, 10), st.floats(-40, 45), st.floats(0, 25), st.floats(0, 40), st.floats(0, 24))
def test_acm_grows_with_light_and_co2_and_never_exceeds_the_light_limit(
    leaf_area: float, tmax: float, span: float, shortwave: float, daylight: float
) -> None:
    today = Drivers(date(2000, 5, 1), tmax, tmax - span, shortwave)
    gpp = acm_gpp(leaf_area, today, daylight)
    assert 0 <= gpp <= 4.309 * shortwave * (0.0142 * daylight + 0.155) + 1e-12
    assert acm_gpp(leaf_area, today._replace(shortwave=shortwave + 1), daylight) >= gpp * (1 - 1e-12)
    assert acm_gpp(leaf_area, today._replace(co2=600.0), daylight) >= gpp * (1 - 1e-12)


def test_day_length() -> None:
    assert day_length(0, 80) == pytest.approx(12)
    assert day_length(80, 172) == 24
    assert day_length(80, 355) == 0
    assert day_length(52, 172) + day_length(-52, 172) == pytest.approx(24)
    assert 16 < day_length(52.17, 172) < 17


def test_temperature_factor_is_one_at_ten_degrees() -> None:
    assert temperature_factor(Drivers(date(2000, 1, 1), 14.0, 6.0, 1.0)) == pytest.approx(1, abs=2e-3)


@given(rates, states, st.floats(-90, 90), weather())
def test_carbon_is_conserved_and_pools_stay_positive(
    parameters: Parameters, state: State, latitude: float, drivers: list[Drivers]
) -> None:
    before = state
    for day in simulate(parameters, state, latitude, drivers):
        change = math.fsum(getattr(day, pool) - getattr(before, pool) for pool in POOLS)
        assert change == pytest.approx(-day.nee, abs=1e-9)
        assert day.nee == pytest.approx(
            day.autotrophic_respiration + day.litter_respiration + day.som_respiration - day.gpp, abs=1e-12
        )
        assert all(getattr(day, pool) >= 0 and math.isfinite(getattr(day, pool)) for pool in POOLS)
        before = State(*(getattr(day, pool) for pool in POOLS))


def test_dead_stand_only_decomposes_and_a_leafless_one_regrows() -> None:
    dark = [Drivers(date(2000, 1, 1) + timedelta(days=n), 10.0, 10.0, 0.0) for n in range(100)]
    days = list(simulate(Parameters(), State(leaf=0, wood=0, root=0, litter=100, som=0), 45, dark))
    assert days[-1].litter == pytest.approx(100 * (1 - (2.28e-2 + 4.41e-6) * temperature_factor(dark[0])) ** 100)
    assert all(day.gpp == 0 and day.nee > 0 for day in days)

    light = [driver._replace(shortwave=15.0) for driver in dark]
    first = next(simulate(Parameters(), State(leaf=0), 45, light))
    assert first.gpp == acm_gpp(MINIMUM_LAI, light[0], day_length(45, 1))
    assert first.leaf > 0


def test_leap_day_has_its_own_day_length() -> None:
    spring = [Drivers(date(2000, 2, 28) + timedelta(days=n), 10.0, 5.0, 10.0) for n in range(3)]
    days = list(simulate(Parameters(), State(), 50, spring))
    assert [day.day for day in days] == [date(2000, 2, 28), date(2000, 2, 29), date(2000, 3, 1)]
    assert day_length(50, 59) < day_length(50, 60) < day_length(50, 61)


@pytest.mark.parametrize(
    ("change", "pool", "trait"),
    [
        ({"litter_respiration": 0.5}, "litter", "litter_respiration_rate"),
        ({"litter_respiration": 0.2, "litter_to_som": 0.1}, "litter", "litter_decomposition_to_SOM"),
        ({"som_respiration": 0.5}, "soil", "som_respiration_rate"),
    ],
)
def test_a_pool_that_would_turn_negative_is_refused(change: dict[str, float], pool: str, trait: str) -> None:
    hot = [Drivers(date(2001, 7, 9), 15.0, 5.0, 20.0), Drivers(date(2001, 7, 10), 38.0, 26.0, 20.0)]
    run = simulate(replace(Parameters(), **change), State(), 40, hot)
    assert isinstance(next(run), Day)
    with pytest.raises(BadData, match=rf"2001-07-10: .*{trait}.*{pool} pool would turn negative: give a lower rate"):
        next(run)
