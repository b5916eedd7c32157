"""The runs of a sensitivity analysis: quantiles by PEcAn's names, one trait at a time, one shared median run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pecan_executor.design import FEWEST_DRAWS, design_of, draws, probabilities
from pecan_executor.distributions import Samples
from pecan_executor.sampling import draw_members
from pecan_executor.traits import Traits, read_traits
from pecan_operator.core.pecanxml import LEAST_QUANTILE, MOST_SIGMA, Pft, Prior, SensitivityAnalysis, Settings
from pecan_operator.errors import UserError

ANALYSIS = SensitivityAnalysis(("GPP",))
PFTS = (
    Pft("grass", {"SLA": Prior("norm", 10.0, 2.0), "height": Prior("unif", 0.0, 1.0)}, {"leaf_width": 3.0}),
    Pft("tree", {"SLA": Prior("norm", 5.0, 1.0), "density": Prior("exp", 1.0)}, {"density": 0.5}),
)


@pytest.fixture
def two_pfts(settings: Settings) -> Settings:
    return replace(settings, pfts=PFTS, sensitivity_analysis=ANALYSIS)


def test_sigmas_become_quantiles_with_pecans_names() -> None:
    names = probabilities(ANALYSIS)
    assert list(names) == ["0.135", "2.275", "15.866", "50", "84.134", "97.725", "99.865"]
    assert names["0.135"] == pytest.approx(0.0013498980316301)


def test_the_median_is_always_there_and_nothing_twice() -> None:
    analysis = SensitivityAnalysis(("GPP",), sigma=(1.0,), quantile=(0.05, 0.841344746, 0.5000001))
    assert probabilities(analysis) == {"5": 0.05, "50": 0.5, "84.134": pytest.approx(0.8413447)}


@given(
    st.lists(st.floats(-MOST_SIGMA, MOST_SIGMA), max_size=20),
    st.lists(st.floats(LEAST_QUANTILE, 1 - LEAST_QUANTILE), max_size=20),
)
def test_probabilities_increase_and_lie_within(sigma: list[float], quantile: list[float]) -> None:
    named = probabilities(SensitivityAnalysis((), tuple(sigma), tuple(quantile)))
    assert (np.diff(list(named.values())) > 0).all()
    assert all(0 < float(name) < 100 for name in named)
    assert named["50"] == 0.5


def test_one_trait_at_a_time_the_others_at_their_medians(two_pfts: Settings) -> None:
    design = design_of(two_pfts, ANALYSIS, read_traits(two_pfts))
    median, *others = design.points()
    middle = {"grass": {"SLA": 10.0, "height": 0.5}, "tree": {"SLA": 5.0}}
    assert (median.pft, median.trait, median.quantile, median.traits) == (None, None, "50", middle)
    assert len(others) + 1 == design.size == 1 + 3 * 6
    assert [(point.pft, point.trait) for point in others[::6]] == [
        ("grass", "SLA"),
        ("grass", "height"),
        ("tree", "SLA"),
    ], "density is a constant"
    assert [point.traits["grass"]["SLA"] for point in others[:6]] == pytest.approx([4, 6, 8, 12, 14, 16])
    for point in others:
        assert point.pft is not None
        assert point.trait is not None
        back = {**point.traits, point.pft: {**point.traits[point.pft], point.trait: middle[point.pft][point.trait]}}
        assert back == middle
    assert {point.inputs["met"] for point in (median, *others)} == {two_pfts.inputs["met"].paths[0]}


def test_draws_are_the_ensembles_continued(two_pfts: Settings) -> None:
    drawn = draws(two_pfts, read_traits(two_pfts))
    assert {len(values) for values in drawn.values()} == {FEWEST_DRAWS}
    assert drawn["grass", "SLA"][:4].tolist() == [member.traits["grass"]["SLA"] for member in draw_members(two_pfts)]
    alone = draws(replace(two_pfts, ensemble=None), read_traits(two_pfts))
    assert np.median(alone["tree", "SLA"]) == pytest.approx(5, abs=0.1)


@pytest.mark.parametrize("method", ["uniform", "lhc", "halton", "sobol", "torus"])
def test_every_sampling_method_gives_draws_of_the_distribution(two_pfts: Settings, method: str) -> None:
    assert two_pfts.ensemble
    settings = replace(two_pfts, ensemble=replace(two_pfts.ensemble, sampling_method=method))
    values = draws(settings, read_traits(settings))["grass", "SLA"]
    assert (np.median(values), np.std(values)) == (pytest.approx(10, abs=0.15), pytest.approx(2, abs=0.1))


def test_of_samples_all_are_draws_and_quantiles_are_theirs(two_pfts: Settings) -> None:
    samples = Samples(np.arange(101.0), "samples.csv")
    traits: Traits = {"grass": {"SLA": samples, "height": Prior("unif", 0.0, 1.0)}, "tree": {}}
    design = design_of(two_pfts, SensitivityAnalysis(("GPP",), (), (0.1, 0.9)), traits)
    assert design.values["grass", "SLA"].tolist() == pytest.approx([10, 50, 90])
    drawn = draws(two_pfts, traits)
    assert drawn["grass", "SLA"].tolist() == samples.values.tolist()
    assert len(drawn["grass", "height"]) == FEWEST_DRAWS


@pytest.mark.parametrize("method", ["uniform", "halton", "sobol", "torus"])
@pytest.mark.parametrize("joint", [None, "samples.csv"])
def test_draws_beside_samples_are_the_ensembles_too(two_pfts: Settings, method: str, joint: str | None) -> None:
    assert two_pfts.ensemble
    settings = replace(two_pfts, ensemble=replace(two_pfts.ensemble, sampling_method=method))
    traits: Traits = {
        "grass": {"SLA": Samples(np.arange(101.0), joint), "height": Prior("unif", 0.0, 1.0)},
        "tree": {"SLA": Prior("norm", 5.0, 1.0)},
    }
    members, drawn = draw_members(settings, traits), draws(settings, traits)
    for pft, trait in (("grass", "height"), ("tree", "SLA")):
        assert drawn[pft, trait][:4].tolist() == [member.traits[pft][trait] for member in members]
    assert len(drawn["grass", "SLA"]) == 101


@pytest.mark.parametrize(
    ("pfts", "reason", "message"),
    [
        ((Pft("grass", {}, {"SLA": 1.0}),), "NothingToVary", "no PFT has a trait with a distribution"),
        ((Pft("a/b", {"SLA": Prior("exp", 1.0)}),), "BadSettings", "PFT 'a/b' cannot name a folder"),
        ((Pft("..", {"SLA": Prior("exp", 1.0)}),), "BadSettings", "PFT '\\.\\.' cannot name a folder"),
        ((Pft("grass", {"SLA": Prior("lnorm", 1.0, 1e6)}),), "BadSettings", "SLA of PFT grass .* not finite"),
    ],
)
def test_what_cannot_be_varied_is_refused(two_pfts: Settings, pfts: tuple[Pft, ...], reason: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        design_of(replace(two_pfts, pfts=pfts), ANALYSIS, read_traits(replace(two_pfts, pfts=pfts)))
    assert refused.value.reason == reason


def test_more_runs_than_a_workflow_may_have_are_refused(two_pfts: Settings) -> None:
    assert two_pfts.ensemble
    most = replace(two_pfts, ensemble=replace(two_pfts.ensemble, size=100_000 - 19))
    traits = read_traits(most)
    assert design_of(most, ANALYSIS, traits).size == 19
    with pytest.raises(UserError, match="3 traits at 7 quantiles are 19 runs at each site, 100001 with") as refused:
        design_of(replace(most, ensemble=replace(two_pfts.ensemble, size=100_000 - 18)), ANALYSIS, traits)
    assert refused.value.reason == "TooManyRuns"
