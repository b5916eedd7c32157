"""Members: nothing but seed, PFT, trait, member and method decides, and files give traits as pecan.xml does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pecan_executor.distributions import Samples, quantile
from pecan_executor.sampling import check_samples, draw_members
from pecan_executor.settings import parse
from pecan_operator.core.pecanxml import SAMPLING_METHODS, Input, Pft, Prior, Settings
from pecan_operator.errors import UserError

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


def sampled_by(method: str, given: Settings) -> Settings:
    return replace(given, ensemble=replace(given.ensemble, sampling_method=method))


@pytest.mark.parametrize("method", [method for method in SAMPLING_METHODS if method != "lhc"])
@given(size=st.integers(2, 40), seed=st.integers(0, 2**31 - 1))
def test_a_larger_ensemble_keeps_its_members(method: str, size: int, seed: int) -> None:
    prior = Prior("norm", 0, 1)
    small = draw_members(sampled_by(method, settings(size, seed, SLA=prior, age=prior)))
    large = draw_members(sampled_by(method, settings(size + 17, seed, SLA=prior, age=prior)))
    assert large[:size] == small


@pytest.mark.parametrize("method", SAMPLING_METHODS)
def test_members_do_not_depend_on_the_order_of_traits(method: str) -> None:
    prior = Prior("norm", 0, 1)
    assert draw_members(sampled_by(method, settings(SLA=prior, age=prior))) == draw_members(
        sampled_by(method, settings(age=prior, SLA=prior))
    )


@pytest.mark.parametrize("method", SAMPLING_METHODS)
def test_members_follow_the_distribution_by_every_method(method: str) -> None:
    members = draw_members(sampled_by(method, settings(400, age=Prior("exp", 2), SLA=Prior("norm", 10, 2))))
    drawn = np.array([[member.traits["a"]["SLA"], member.traits["a"]["age"]] for member in members])
    for values, prior in zip(drawn.T, (Prior("norm", 10, 2), Prior("exp", 2)), strict=True):
        for p in (0.1, 0.5, 0.9):
            assert np.mean(values < quantile(prior, p)) == pytest.approx(p, abs=0.05)


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


@pytest.mark.parametrize("method", ["sampling", "looping"])
def test_an_input_follows_its_parent(method: str) -> None:
    inputs = {
        "soil": Input(("/s1", "/s2", "/s3"), parent="met"),
        "met": Input(("/m1", "/m2", "/m3"), method),
        "ic": Input(("/i1", "/i2", "/i3")),
    }
    members = draw_members(replace(settings(60), inputs=inputs))
    pairs = [(member.inputs["met"][-1], member.inputs["soil"][-1], member.inputs["ic"][-1]) for member in members]
    assert all(met == soil for met, soil, _ in pairs)
    assert {met for met, *_ in pairs} == set("123")
    assert any(met != ic for met, _, ic in pairs)


ROWS = np.arange(30.0)


def joint(count: int = 30) -> dict[str, dict[str, Samples | Prior]]:
    return {
        "a": {
            "SLA": Samples(ROWS[:count], "samplesCsv"),
            "age": Samples(100 + ROWS[:count], "samplesCsv"),
            "leaf_width": Samples(ROWS[:count]),
            "mort2": Prior("norm", 0, 1),
        }
    }


@pytest.mark.parametrize("method", SAMPLING_METHODS)
def test_joint_samples_stay_together_and_others_do_not(method: str) -> None:
    members = draw_members(sampled_by(method, settings(30)), joint())
    rows = [member.traits["a"] for member in members]
    assert all(row["age"] == row["SLA"] + 100 for row in rows)
    assert {row["SLA"] for row in rows} <= set(ROWS.tolist())
    assert any(row["leaf_width"] != row["SLA"] for row in rows)
    if method in ("uniform", "lhc"):
        assert len({row["SLA"] for row in rows}) >= 25, "no row is taken much more often than others"


def test_uniform_takes_no_joint_sample_twice_and_keeps_members_when_the_ensemble_grows() -> None:
    small, large = draw_members(settings(12), joint()), draw_members(settings(30), joint())
    assert sorted(member.traits["a"]["SLA"] for member in large) == ROWS.tolist()
    assert large[:12] == small


def test_more_members_than_joint_samples_are_refused() -> None:
    with pytest.raises(UserError, match=r"PFT a: samplesCsv has 20 samples, the ensemble 21 members.*smaller"):
        check_samples(settings(21), joint(20))
    check_samples(settings(20), joint(20))
    check_samples(settings(1), {"a": {"SLA": Samples(ROWS[:0], "samplesCsv")}})


def test_draws_beyond_the_joint_samples_take_each_as_often() -> None:
    drawn = [member.traits["a"]["SLA"] for member in draw_members(settings(60), joint())]
    assert sorted(drawn[:30]) == sorted(drawn[30:]) == ROWS.tolist()


def test_a_single_member_takes_the_medians_of_samples_too() -> None:
    (member,) = draw_members(settings(1), joint())
    assert member.traits["a"] == {"SLA": 14.5, "age": 114.5, "leaf_width": 14.5, "mort2": 0.0}


def test_values_that_are_not_finite_are_refused_with_the_trait() -> None:
    with pytest.raises(UserError, match="prior of SLA of PFT a gives values that are not finite"):
        draw_members(settings(50, SLA=Prior("lnorm", 0, 1e6)))


def test_what_wins_where_several_sources_give_a_trait(tmp_path: Path) -> None:
    """Constants, pecan.xml, samples, priors; the posterior files in between are in test_posteriors.py."""
    priors, samples = tmp_path / "priors.csv", tmp_path / "samples.csv"
    priors.write_text("trait,distn,parama,paramb,n\n" + "".join(f"t{i},unif,{i},{i}.5,9\n" for i in range(1, 5)))
    samples.write_text("t1,t2,t3\n" + "".join(f"-{i},-{i},-{i}\n" for i in range(1, 61)))
    pft = Pft("a", {"t1": Prior("unif", 7, 8), "t2": Prior("unif", 7, 8)}, {"t1": 0.5}, str(priors), None, str(samples))
    members = draw_members(replace(settings(50), folder=str(tmp_path / "workflows" / "a"), pfts=(pft,)))
    for member in members:
        traits = member.traits["a"]
        assert list(traits) == ["t2", "t3", "t4"], "t1 is a constant and not drawn"
        assert (7 < traits["t2"] < 8, traits["t3"] < 0, 4 < traits["t4"] < 4.5) == (True, True, True)
