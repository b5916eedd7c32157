"""R's monotone spline, and the decomposition where it is known in closed form."""

from __future__ import annotations

import csv
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from pecan_executor.sensitivity import Effect, MonotoneSpline, Response, decompose, limited_slopes

SHARED_DATA = Path(os.environ.get("PECAN_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
SWITCHGRASS = SHARED_DATA / "ed2-switchgrass"


def array(*values: float) -> Any:
    return np.array(values, dtype=np.float64)


@pytest.mark.parametrize(
    ("x", "y", "slopes"),
    [
        # two points: the line
        ((1, 3), (2, 8), (3, 3)),
        # means of the neighbouring secants, nothing to limit
        ((0, 1, 2, 4), (0, 1, 3, 9), (1, 1.5, 2.5, 3)),
        # a flat interval makes both of its ends flat
        ((0, 1, 2, 3), (0, 1, 1, 2), (1, 0, 0, 1)),
        # secants 1, 10: at the first interval 1 and 5.5 are outside (2 + 5.5 - 3 = 4.5, 1 + 11 - 3 = 9,
        # 1 x 13.5 < 4.5^2), so both are times 3 / sqrt(1 + 5.5^2); the second interval is then left as it is
        ((0, 1, 2), (0, 1, 11), (3 / math.sqrt(31.25), 16.5 / math.sqrt(31.25), 10)),
        # 1 and 2.5 are not outside: 1 x (1.5 + 3) = 4.5 is not below 1.5^2
        ((0, 1, 2), (0, 1, 5), (1, 2.5, 4)),
        # up and down: the mean of 1 and -1
        ((0, 1, 2), (0, 1, 0), (1, 0, -1)),
    ],
)
def test_slopes_are_those_of_r(x: tuple[float, ...], y: tuple[float, ...], slopes: tuple[float, ...]) -> None:
    np.testing.assert_allclose(limited_slopes(array(*x), array(*y)), slopes, rtol=1e-12)


def test_values_and_derivatives_between_the_points_and_outside() -> None:
    spline = MonotoneSpline(array(0, 1, 2, 4), array(0, 1, 3, 9))
    # Hermite by hand: at the middle of [1, 2] (1 + 3) / 2 + (1.5 - 2.5) / 8, its slope 1.5 (3 - 1) - (1.5 + 2.5) / 4;
    # at the middle of [2, 4], twice as long, (3 + 9) / 2 + 2 (2.5 - 3) / 8 and 1.5 (9 - 3) / 2 - (2.5 + 3) / 4
    np.testing.assert_allclose(spline(array(1.5, 3, -2, 5)), [1.875, 5.875, -2, 12])
    np.testing.assert_allclose(spline.slope(array(1.5, 3, -2, 5, 1, 4)), [2, 3.125, 1, 3, 1.5, 3])


def test_points_need_no_order_and_doubles_are_averaged() -> None:
    given_so = MonotoneSpline(array(2, 0, 1, 1), array(3, 0, 0.5, 1.5))
    np.testing.assert_array_equal((given_so.x, given_so.y), ((0, 1, 2), (0, 1, 3)))
    with pytest.raises(ValueError, match="two different x"):
        MonotoneSpline(array(1, 1), array(2, 3))


rises = st.one_of(st.just(0.0), st.floats(1e-9, 100))
steps = st.lists(st.tuples(st.floats(0.01, 100), rises), min_size=1, max_size=8)


@limits(deadline=None)
@given(steps, st.floats(-100, 100), st.floats(-100, 100))
def test_the_spline_goes_through_its_points(given_steps: list[tuple[float, float]], x: float, y: float) -> None:
    xs, ys = np.cumsum([(x, y), *given_steps], axis=0).T
    spline = MonotoneSpline(xs, ys)
    np.testing.assert_allclose(spline(xs), ys, atol=1e-9)
    assert float(spline(xs[-1] + 1)) == pytest.approx(ys[-1] + spline.slopes[-1], abs=1e-9)


def slopes_within(spline: MonotoneSpline) -> Any:
    """A row of slopes for each interval."""
    return np.array([spline.slope(np.linspace(*ends, 40)[1:-1]) for ends in zip(spline.x, spline.x[1:], strict=False)])


def rounding(spline: MonotoneSpline) -> float:
    return 1e-9 * max(1.0, float(np.abs(spline.slopes).max()))


@limits(max_examples=150, deadline=None)
@given(steps, st.sampled_from([1, -1]))
def test_monotone_points_give_a_monotone_spline_where_they_grow_steeper(
    given_steps: list[tuple[float, float]], sign: int
) -> None:
    xs, ys = np.cumsum([(0, 0), *sorted(given_steps, key=lambda step: step[1] / step[0])], axis=0).T
    spline = MonotoneSpline(xs, sign * ys)
    assert (sign * slopes_within(spline) >= -rounding(spline)).all()


@limits(max_examples=150, deadline=None)
@given(st.lists(st.floats(1, 5), min_size=1, max_size=8), st.sampled_from([1, -1]))
def test_monotone_points_give_a_monotone_spline_where_secants_differ_fivefold_at_most(
    secants: list[float], sign: int
) -> None:
    spline = MonotoneSpline(np.arange(len(secants) + 1.0), sign * np.cumsum([0, *secants]))
    assert (sign * slopes_within(spline) >= -rounding(spline)).all()


@limits(max_examples=150, deadline=None)
@given(steps)
def test_other_monotone_points_bend_back_by_a_sixth_of_the_secant_at_most(
    given_steps: list[tuple[float, float]],
) -> None:
    xs, ys = np.cumsum([(0, 0), *given_steps], axis=0).T
    spline = MonotoneSpline(xs, ys)
    secants = np.diff(spline.y) / np.diff(spline.x)
    assert (slopes_within(spline) >= -secants[:, np.newaxis] / 6 - rounding(spline)).all()


def test_the_limit_of_rs_algorithm_is_kept_too() -> None:
    """Secants 7, 1, 1, 199: the slope between the last two is made small and the third of the points bends back."""
    spline = MonotoneSpline(array(0, 1, 2, 3, 4), array(0, 7, 8, 9, 208))
    assert -1 / 6 < float(np.min(spline.slope(np.linspace(1, 2, 1000)))) < 0


def normal_draws(mean: float, sd: float) -> Any:
    """Values with exactly this mean and median, and this standard deviation (n - 1)."""
    z = np.random.default_rng(5).normal(size=2000)
    z = np.concatenate((z, -z))
    return mean + sd * z / z.std(ddof=1)


def linear(trait: str, slope: float, mean: float, sd: float, pft: str = "grass", middle: float = 10.0) -> Response:
    values = mean + sd * array(-3, -2, -1, 0, 1, 2, 3)
    return Response(pft, trait, values, middle + slope * (values - mean), 3, normal_draws(mean, sd))


def test_linear_responses_have_known_elasticities_and_shares() -> None:
    first, second, third = decompose(
        [linear("a", 3.0, 2.0, 0.5), linear("b", -1.0, 4.0, 2.0), linear("c", 1.0, 1.0, 1.0, "tree")]
    )
    assert (first.cv, second.cv) == (pytest.approx(0.25), pytest.approx(0.5))
    assert (first.sensitivity, second.sensitivity) == (pytest.approx(3), pytest.approx(-1))
    assert (first.elasticity, second.elasticity) == (pytest.approx(0.6), pytest.approx(-0.4))
    # (slope x sd)^2
    assert (first.variance, second.variance) == (pytest.approx(2.25), pytest.approx(4))
    assert (first.partial_variance, second.partial_variance) == (pytest.approx(2.25 / 6.25), pytest.approx(4 / 6.25))
    assert third.partial_variance == 1, "each PFT by itself"


@limits(deadline=None)
@given(st.floats(0.001, 1000), st.floats(0.001, 1000))
def test_units_of_output_and_trait_do_not_matter(output: float, trait: float) -> None:
    def changed(effect: Response) -> Response:
        outputs, draws = output * effect.outputs, trait * effect.draws
        return Response(effect.pft, effect.trait, trait * effect.values, outputs, effect.median, draws)

    base = [linear("a", 3.0, 2.0, 0.5), linear("b", -1.0, 4.0, 2.0)]
    for before, after in zip(decompose(base), decompose([changed(one) for one in base]), strict=True):
        assert after.cv == pytest.approx(before.cv)
        assert after.elasticity == pytest.approx(before.elasticity)
        assert after.partial_variance == pytest.approx(before.partial_variance)


def without(response: Response, *places: int) -> Response:
    outputs = response.outputs.copy()
    outputs[list(places)] = np.nan
    return Response(response.pft, response.trait, response.values, outputs, response.median, response.draws)


def test_traits_that_cannot_be_analysed_are_named_and_the_rest_goes_on() -> None:
    whole = linear("whole", 3.0, 2.0, 0.5)
    gaps, no_median, alone = decompose(
        [without(whole, 0, 5), without(whole, 3), without(whole, 0, 1, 2, 4, 5, 6)],
    )
    assert gaps.elasticity == pytest.approx(0.6)
    assert gaps.partial_variance == 1
    assert (no_median.spline, no_median.reason) == (None, "the median run cannot be used")
    assert alone.reason.startswith("1 of 7 runs can be used, which is too few")
    assert math.isnan(alone.partial_variance)


@pytest.mark.parametrize("level", [3.235969, 0.1, 1e-9, 123456.789])
def test_traits_without_effect_have_no_share_of_the_rounding_of_others(level: float) -> None:
    without = [linear(f"t{number}", mean=2.0 + number, sd=0.3, slope=0.0, middle=level) for number in range(3)]
    effects = decompose([*without, linear("some", mean=2.0, sd=0.3, slope=1.0, middle=level)])
    assert [effect.variance for effect in effects[:3]] == [0, 0, 0]
    assert [effect.partial_variance for effect in effects] == [0, 0, 0, 1]
    assert all(math.isnan(effect.partial_variance) for effect in decompose(without)), "there is nothing to share"


def test_an_output_that_does_not_change_has_no_shares() -> None:
    (flat,) = decompose([linear("a", 0.0, 2.0, 0.5, middle=0.0)])
    assert (flat.variance, flat.sensitivity) == (0, 0)
    assert math.isnan(flat.partial_variance)
    assert math.isnan(flat.elasticity)


def rows_of(name: str) -> list[dict[str, float]]:
    with (SWITCHGRASS / name).open(newline="") as file:
        return [
            {key: float("nan" if value in ("", "NA") else value) for key, value in row.items()}
            for row in csv.DictReader(file)
        ]


@pytest.fixture
def switchgrass() -> dict[str, Effect]:
    """The sensitivity design of a real ED2 ensemble of switchgrass: 15 traits at 7 quantiles, and 500 draws."""
    samples, outputs = rows_of("sa_samples.csv"), rows_of("sa_output_yield_Mg_ha.csv")
    members = rows_of("ensemble.csv")
    responses = [
        Response(
            "switchgrass",
            trait,
            array(*(row[trait] for row in samples)),
            array(*(row[trait] for row in outputs)),
            [row["quantile"] for row in samples].index(50),
            array(*(member[trait] for member in members)),
        )
        for trait in samples[0]
        if trait != "quantile"
    ]
    return {effect.response.trait: effect for effect in decompose(responses)}


@pytest.mark.skipif(not SWITCHGRASS.is_dir(), reason="needs the shared ED2 ensemble (PECAN_SHARED_DATA)")
def test_of_a_real_ensemble_the_decomposition_is_shown(switchgrass: dict[str, Effect]) -> None:
    print(f"\n{'trait':<24}{'CV %':>8}{'elasticity':>12}{'variance':>10}{'share %':>9}")
    for trait, effect in sorted(switchgrass.items(), key=lambda item: -item[1].partial_variance):
        numbers = f"{100 * effect.cv:8.1f}{effect.elasticity:12.3f}{effect.variance:10.3f}"
        print(f"{trait:<24}{numbers}{100 * effect.partial_variance:9.2f}")
    assert len(switchgrass) == 15
    assert sum(effect.partial_variance for effect in switchgrass.values()) == pytest.approx(1)
    ranked = sorted(switchgrass, key=lambda trait: -switchgrass[trait].partial_variance)
    assert ranked[:4] == ["growth_resp_factor", "fineroot2leaf", "leaf_turnover_rate", "SLA"]
    assert switchgrass["growth_resp_factor"].elasticity < 0 < switchgrass["Vcmax"].elasticity
    assert switchgrass["leaf_width"].partial_variance < 1e-3
