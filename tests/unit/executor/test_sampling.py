"""Draws: R's quantiles, and nothing but (seed, PFT, trait, member) decides."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pecan_executor.distributions import DISTRIBUTIONS, problem, quantile
from pecan_executor.sampling import draw_members, uniforms
from pecan_executor.settings import parse
from pecan_operator.core.pecanxml import Input, Pft, Prior, Settings

XML = """
<pecan><outdir>/d</outdir><pfts><pft><name>a</name></pft></pfts>
<ensemble><size>50</size><variable>GPP</variable><seed>3</seed></ensemble>
<model><id>2</id><type>M</type><revision>1</revision><binary>/work/run</binary></model>
<run><site><id>1</id><name>s</name><lat>0</lat><lon>0</lon></site><inputs><met><path>/m</path></met></inputs>
<start.date>2000-01-01</start.date><end.date>2000-12-31</end.date></run>
<host><name>h</name><rabbitmq><queue>q</queue></rabbitmq></host><workflow><id>1</id></workflow></pecan>
"""


def settings(size: int = 50, seed: int | None = 3, **priors: Prior) -> Settings:
    base = parse(XML)
    return replace(base, ensemble=replace(base.ensemble, size=size, seed=seed), pfts=(Pft("a", priors),))


# what R prints for q<distn>(p, parama, paramb)
R_QUANTILES = [
    (Prior("unif", 2, 6), 0.25, 3.0),
    (Prior("norm", 10, 2), 0.975, 13.919927969080115),
    (Prior("lnorm", 1, 0.5), 0.5, 2.718281828459045),
    (Prior("gamma", 2, 4), 0.5, 0.41958674750416525),
    (Prior("beta", 2, 2), 0.25, 0.32635182233306964),
    (Prior("weibull", 2, 3), 0.5, 2.4976638334730993),
    (Prior("exp", 4), 0.5, 0.17328679513998632),
    (Prior("logis", 1, 2), 0.75, 3.1972245773362196),
    (Prior("cauchy", 0, 1), 0.75, 1.0),
    (Prior("chisq", 2), 0.5, 1.3862943611198906),
    (Prior("t", 2), 0.75, 0.816496580927726),
    (Prior("f", 2, 2), 0.75, 3.0),
]


@pytest.mark.parametrize(("prior", "p", "expected"), R_QUANTILES, ids=lambda value: str(value)[:40])
def test_quantiles_are_those_of_r(prior: Prior, p: float, expected: float) -> None:
    assert quantile(prior, p) == pytest.approx(expected, rel=1e-12)


def test_every_distribution_has_a_known_quantile() -> None:
    assert {prior.distn for prior, _, _ in R_QUANTILES} == set(DISTRIBUTIONS)


@given(st.sampled_from([prior for prior, _, _ in R_QUANTILES]), st.floats(1e-9, 1 - 1e-9), st.floats(1e-9, 1 - 1e-9))
def test_quantiles_rise_with_p(prior: Prior, p: float, q: float) -> None:
    low, high = sorted((p, q))
    assert quantile(prior, low) <= quantile(prior, high)


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        (Prior("norm", 0, 0), "sd of norm.* greater than 0"),
        (Prior("gamma", 1), "needs paramb"),
        (Prior("norm", float("inf"), 1), "finite"),
        (Prior("binom", 1, 1), "not known"),
    ],
)
def test_says_what_is_wrong_with_a_prior(prior: Prior, message: str) -> None:
    assert re.search(message, problem(prior) or "no problem")


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


@given(st.integers(2, 40), st.integers(0, 2**31 - 1))
def test_a_larger_ensemble_keeps_its_members(size: int, seed: int) -> None:
    prior = Prior("norm", 0, 1)
    small = draw_members(settings(size, seed, SLA=prior))
    large = draw_members(settings(size + 17, seed, SLA=prior))
    assert large[:size] == small


def test_another_trait_changes_no_draw() -> None:
    prior = Prior("norm", 0, 1)
    alone = [member.traits["a"]["SLA"] for member in draw_members(settings(SLA=prior))]
    beside = [member.traits["a"]["SLA"] for member in draw_members(settings(age=prior, SLA=prior))]
    assert alone == beside


def test_seed_and_trait_matter_and_the_workflow_id_is_the_default_seed() -> None:
    prior = Prior("norm", 0, 1)
    members = draw_members(settings(SLA=prior, age=prior))
    assert all(member.traits["a"]["SLA"] != member.traits["a"]["age"] for member in members)
    assert members != draw_members(settings(seed=4, SLA=prior, age=prior))
    assert draw_members(settings(seed=None, SLA=prior)) == draw_members(settings(seed=1, SLA=prior))


def test_a_single_member_takes_medians() -> None:
    (member,) = draw_members(settings(1, SLA=Prior("lnorm", 1, 0.5), age=Prior("unif", 2, 4)))
    assert member.traits["a"] == {"SLA": pytest.approx(np.e), "age": 3.0}


def test_looping_takes_files_in_turn_and_sampling_draws_them() -> None:
    paths = ("/a", "/b", "/c")
    looping = replace(settings(7), inputs={"met": Input(paths, "looping")})
    assert [member.inputs["met"] for member in draw_members(looping)] == ["/a", "/b", "/c", "/a", "/b", "/c", "/a"]
    drawn = [member.inputs["met"] for member in draw_members(replace(settings(300), inputs={"met": Input(paths)}))]
    assert {path: drawn.count(path) > 70 for path in paths} == dict.fromkeys(paths, True)
