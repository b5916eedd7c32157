"""Points of the unit cube: even where they say so, the same anywhere, and kept when the ensemble grows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pecan_executor.sequences import Axis, permutation, points, uniforms
from pecan_operator.core.pecanxml import SAMPLING_METHODS

AXES = [Axis("pft:a", name) for name in ("SLA", "age", "growth_resp_factor", "leaf_width")]
KEPT = [method for method in SAMPLING_METHODS if method != "lhc"]


def strata(row: np.ndarray, number: int) -> list[int]:
    """How many points each of so many equal parts of an axis holds."""
    return np.bincount((row * number).astype(int), minlength=number).tolist()


def test_uniforms_are_the_same_everywhere() -> None:
    # the documented construction in exact arithmetic, computed once by another program
    assert uniforms(1, "pft:a", "SLA", 3).tolist() == [0.9851094962561574, 0.5653421761565306, 0.4648790241766464]


def test_uniforms_look_uniform_and_unrelated() -> None:
    first, second = uniforms(1, "pft:a", "SLA", 20_000), uniforms(1, "pft:a", "age", 20_000)
    counts, _ = np.histogram(first, bins=20, range=(0, 1))
    # chi-squared with 19 degrees of freedom: 43.8 is exceeded once in 1,000
    assert ((counts - 1000) ** 2 / 1000).sum() < 43.8
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03
    assert 0 < first.min() < first.max() < 1


@pytest.mark.parametrize("method", SAMPLING_METHODS)
def test_every_method_gives_numbers_between_0_and_1_for_each_axis_and_member(method: str) -> None:
    for size in (1, 2, 3, 257):
        cube = points(method, 5, AXES, size)
        assert cube.shape == (4, size)
        assert 0 < cube.min() <= cube.max() < 1
    assert points(method, 5, [], 3).shape == (0, 3)


@pytest.mark.parametrize("method", KEPT)
@given(size=st.integers(1, 70), more=st.integers(1, 70), seed=st.integers(0, 2**31 - 1))
def test_a_larger_ensemble_keeps_its_members(method: str, size: int, more: int, seed: int) -> None:
    small, large = points(method, seed, AXES, size), points(method, seed, AXES, size + more)
    assert large[:, :size].tolist() == small.tolist()


def test_a_latin_hypercube_has_a_member_in_each_stratum_and_depends_on_the_size() -> None:
    cube = points("lhc", 5, AXES, 37)
    assert all(strata(row, 37) == [1] * 37 for row in cube)
    assert points("lhc", 5, AXES, 38)[:, :37].tolist() != cube.tolist()


def test_sobol_fills_every_dyadic_part_also_of_pairs_of_axes() -> None:
    cube = points("sobol", 5, AXES, 64)
    assert all(strata(row, 64) == [1] * 64 for row in cube)
    assert strata((np.floor(cube[0] * 8) + cube[1]) / 8, 64) == [1] * 64


def test_halton_fills_the_parts_of_its_bases() -> None:
    cube = points("halton", 5, AXES, 3**4 * 2)
    for row, base, power in zip(cube, (2, 3, 5, 7), (6, 4, 3, 2), strict=True):
        parts = base**power
        assert strata(row[:parts], parts) == [1] * parts, base


def test_halton_with_large_bases_and_few_members_is_not_on_a_line() -> None:
    axes = [Axis("pft:a", f"trait{number}") for number in range(30)]
    correlations = np.corrcoef(points("halton", 5, axes, 100)) - np.eye(30)
    assert np.abs(correlations).max() < 0.5, "unpermuted it is 1.00"


def test_torus_is_more_even_than_chance() -> None:
    for row in points("torus", 5, AXES, 1000):
        assert np.abs(np.sort(row) - (np.arange(1000) + 0.5) / 1000).max() < 0.01, "of chance it is 0.03"


@pytest.mark.parametrize("method", SAMPLING_METHODS)
def test_means_and_correlations_are_those_of_the_uniform_cube(method: str) -> None:
    cube = points(method, 5, AXES, 4096)
    assert np.abs(cube.mean(axis=1) - 0.5).max() < 0.02
    assert np.abs(cube.var(axis=1) - 1 / 12).max() < 0.005
    assert np.abs(np.corrcoef(cube) - np.eye(4)).max() < 0.05


@pytest.mark.parametrize("method", SAMPLING_METHODS)
def test_the_seed_matters_on_every_axis(method: str) -> None:
    first, second = points(method, 5, AXES, 10), points(method, 6, AXES, 10)
    assert (first != second).all()


@pytest.mark.parametrize("method", ["uniform", "lhc"])
def test_an_axis_does_not_depend_on_the_others(method: str) -> None:
    assert points(method, 5, AXES[2:], 9).tolist() == points(method, 5, AXES, 9)[2:].tolist()


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("lhc", [[0.6617031654187192, 0.8551140587188435], [0.2791451652800692, 0.9147390503505214]]),
        ("halton", [[0.69480943204426, 0.19480943204426004], [0.5789322739392327, 0.912265607272566]]),
        ("sobol", [[0.1933863070496019, 0.6933863070496019], [0.003655214758239933, 0.5036552147582399]]),
        ("torus", [[0.607599869422697, 0.021813431795792315], [0.735706022327117, 0.4677568298959942]]),
    ],
)
def test_the_points_are_the_same_in_every_release(method: str, expected: list[list[float]]) -> None:
    """Whoever changes them says so in CHANGELOG.md: ensembles of earlier releases cannot be repeated then."""
    assert points(method, 1, AXES[:2], 3)[:, :2] == pytest.approx(np.array(expected), abs=1e-14)


def test_a_permutation_has_every_number_once() -> None:
    assert sorted(permutation(1, "a", "b", 50).tolist()) == list(range(50))
    assert permutation(1, "a", "b", 50).tolist() != permutation(2, "a", "b", 50).tolist()
