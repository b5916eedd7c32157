"""PEcAn's posterior files: what they hold is read as PEcAn reads it, nothing in them is run, damage is named."""

from __future__ import annotations

import gzip
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rdata
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from pecan_executor import posteriors, tables
from pecan_executor.distributions import Samples
from pecan_executor.sampling import draw_traits
from pecan_executor.traits import read_traits
from pecan_operator.core.pecanxml import Pft, Prior, Settings
from pecan_operator.errors import UserError

from .outcomes import outcome
from .rfiles import Mcmc, McmcList, chains, distns, save, save_code

WRITTEN_BY_R = Path(__file__).resolve().parents[1] / "data/posteriors"
PRIORS = distns({"SLA": ("gamma", 25, 5, 40), "mort2": ("exp", 0.05, None, None), "Vcmax": ("lnorm", 3, 0.5, 7)})
POSTERIORS = distns({"SLA": ("norm", 20, 1, 40), "mort2": ("exp", 0.06, None, None)}, factor=True)
MCMC = {"SLA": chains([20.0, 21, 22], [19.0, 20]), "leaf_width": chains([5.0, 6])}


def read_posteriors(path: Path) -> dict[str, Prior | Samples]:
    return posteriors.read_posteriors(path, path.parent)


def values(traits: dict[str, Prior | Samples]) -> dict[str, Prior | list[float]]:
    return {name: each.values.tolist() if isinstance(each, Samples) else each for name, each in traits.items()}


@pytest.mark.parametrize("compression", ["gzip", "bzip2", "xz", None])
@pytest.mark.parametrize("form", ["xdr", "ascii"])
def test_prior_distns_in_every_form_that_r_saves(tmp_path: Path, compression: str | None, form: str) -> None:
    path = save(tmp_path / "prior.distns.Rdata", compression, form, prior__distns=PRIORS)
    assert values(read_posteriors(path)) == {
        "SLA": Prior("gamma", 25, 5),
        "mort2": Prior("exp", 0.05),
        "Vcmax": Prior("lnorm", 3, 0.5),
    }


def test_a_folder_as_r_itself_writes_it() -> None:
    traits = read_posteriors(WRITTEN_BY_R)
    assert values(traits) == {
        "SLA": [19.374, 20.184, 19.164, 21.595, 20.33, 19.18],
        "leaf_width": [4.5, 5.25],
        "Vcmax": Prior("norm", 20.25, 1.5),
        "leaf_turnover_rate": Prior("unif", 0.6, 1.4),
        "mort2": Prior("exp", 0.05),
    }
    assert {type(name) for name in traits} == {str}


def test_distributions_named_by_factors_as_before_r_4(tmp_path: Path) -> None:
    path = save(tmp_path / "post.distns.Rdata", post__distns=POSTERIORS)
    assert values(read_posteriors(path)) == {"SLA": Prior("norm", 20, 1), "mort2": Prior("exp", 0.06)}


def test_samples_of_all_chains_are_the_values_of_the_trait(tmp_path: Path) -> None:
    traits = read_posteriors(save(tmp_path / "trait.mcmc.Rdata", trait__mcmc=MCMC))
    assert values(traits) == {"SLA": [20, 21, 22, 19, 20], "leaf_width": [5, 6]}
    assert {each.joint for each in traits.values() if isinstance(each, Samples)} == {None}


def test_samples_are_known_by_their_class_as_in_pecan(tmp_path: Path) -> None:
    assert values(read_posteriors(save(tmp_path / "a.RData", anything=MCMC))).keys() == {"SLA", "leaf_width"}
    assert values(read_posteriors(save(tmp_path / "b.RData", SLA=chains([1.0, 2])))) == {"SLA": [1, 2]}


def test_in_a_folder_samples_win_over_post_distns_over_prior_distns(tmp_path: Path) -> None:
    save(tmp_path / "prior.distns.Rdata", prior__distns=PRIORS)
    save(tmp_path / "post.distns.MA.Rdata", post__distns=distns({"SLA": ("norm", 99, 1, 1)}))
    save(tmp_path / "post.distns.Rdata", post__distns=POSTERIORS)
    save(tmp_path / "trait.mcmc.Rdata", trait__mcmc={"SLA": chains([20.0, 21])})
    save(tmp_path / "jagged.data.Rdata", jagged__data={"SLA": PRIORS})
    (tmp_path / "prior.distns.csv").write_text("not looked at")
    assert values(read_posteriors(tmp_path)) == {
        "SLA": [20, 21],
        "mort2": Prior("exp", 0.06),
        "Vcmax": Prior("lnorm", 3, 0.5),
    }


def test_the_link_to_the_latest_posterior_counts(tmp_path: Path) -> None:
    save(tmp_path / "post.distns.MA.Rdata", post__distns=distns({"SLA": ("norm", 1, 1, 1)}))
    save(tmp_path / "post.distns.pda.7.Rdata", post__distns=distns({"SLA": ("norm", 2, 1, 1)}))
    (tmp_path / "post.distns.Rdata").symlink_to("post.distns.pda.7.Rdata")
    assert values(read_posteriors(tmp_path)) == {"SLA": Prior("norm", 2, 1)}


@pytest.mark.parametrize("names", [("trait.mcmc.pda.7.Rdata", None), ("trait.mcmc.Rdata", "mcmc.pda.7.Rdata")])
def test_samples_of_a_data_assimilation_belong_together(tmp_path: Path, names: tuple[str, str | None]) -> None:
    path = save(tmp_path / names[0], trait__mcmc={"SLA": chains([1.0, 2]), "age": chains([3.0, 4])})
    if names[1]:
        (tmp_path / names[1]).touch()
    assert joints(path) == {"SLA": "posteriorFiles", "age": "posteriorFiles"}


def joints(path: Path) -> dict[str, str | None]:
    return {name: each.joint for name, each in read_posteriors(path).items() if isinstance(each, Samples)}


def test_those_of_a_meta_analysis_in_the_same_file_are_a_group_of_their_own(tmp_path: Path, settings: Settings) -> None:
    of_both = {
        "SLA": chains([1.0, 2, 3]), "age": chains([10.0, 20, 30]), "mort2": chains([5.0], [6.0]), "q": chains([50.0, 60]),
    }  # fmt: skip
    path = save(tmp_path / "trait.mcmc.pda.7.Rdata", trait__mcmc=of_both)
    assimilated, analysed = "posteriorFiles, 3 iterations", "posteriorFiles, 2 iterations"
    assert joints(path) == {"SLA": assimilated, "age": assimilated, "mort2": analysed, "q": analysed}
    columns = draw_traits({"a": read_posteriors(path)}, "halton", 3, 40)["a"]
    assert (10 * columns["SLA"] == columns["age"]).all()
    assert (10 * columns["mort2"] == columns["q"]).all()
    assert len({(a, b) for a, b in zip(columns["SLA"], columns["mort2"], strict=True)}) == 6


def test_other_files_of_a_folder_need_not_be_readable(tmp_path: Path) -> None:
    save_code(tmp_path / "history.pda7.Rdata", "promise", "true", "x")
    save(tmp_path / "prior.distns.Rdata", prior__distns=PRIORS)
    assert "SLA" in read_posteriors(tmp_path)
    with pytest.raises(UserError, match=r"history\.pda7\.Rdata cannot be read as RData"):
        read_posteriors(tmp_path / "history.pda7.Rdata")
    save_code(tmp_path / "trait.mcmc.Rdata", "promise", "true", "x")
    with pytest.raises(UserError, match=r"trait\.mcmc\.Rdata cannot be read as RData"):
        read_posteriors(tmp_path)


def test_two_files_of_samples_are_not_chosen_between(tmp_path: Path) -> None:
    save(tmp_path / "trait.mcmc.Rdata", trait__mcmc=MCMC)
    (tmp_path / "link.Rdata").symlink_to("trait.mcmc.Rdata")
    assert "SLA" in read_posteriors(tmp_path)
    shutil.copy(tmp_path / "trait.mcmc.Rdata", tmp_path / "trait.mcmc.old.Rdata")
    with pytest.raises(UserError, match=r"has samples in .*trait.mcmc.*: name the file that counts"):
        read_posteriors(tmp_path)


def test_they_stand_between_samples_and_the_table_of_priors(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "priors.csv").write_text("trait,distn,parama,paramb\nSLA,norm,1,1\nage,norm,2,1\n")
    (tmp_path / "samples.csv").write_text("leaf_width\n9\n")
    path = save(tmp_path / "trait.mcmc.Rdata", trait__mcmc=MCMC)
    pft = Pft("a", {}, {}, str(tmp_path / "priors.csv"), str(path), str(tmp_path / "samples.csv"))
    traits = read_traits(replace(settings, folder=str(tmp_path / "workflows" / "a"), pfts=(pft,)))["a"]
    assert list(traits) == ["SLA", "age", "leaf_width"]
    assert values(traits) == {"SLA": [20, 21, 22, 19, 20], "age": Prior("norm", 2, 1), "leaf_width": [9]}


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("function", "prior.distns", "prior.distns cannot be understood"),
        ("expression", "prior.distns", "prior.distns has no column distn, parama, paramb; it must be a data frame"),
        ("promise", "prior.distns", "cannot be read as RData .*: it is damaged or holds more than data"),
        ("function", "x", "holds nothing, but no prior.distns"),
        ("expression", "x", "holds x, but no prior.distns"),
    ],
)
def test_code_in_a_file_is_not_run(tmp_path: Path, kind: str, name: str, message: str) -> None:
    mark = tmp_path / "owned"
    path = save_code(tmp_path / "a.Rdata", kind, f"touch {mark}", name)
    with pytest.raises(UserError, match=message):
        read_posteriors(path)
    if kind == "expression" and name == "x":
        save(tmp_path / "b.Rdata", prior__distns=PRIORS)
        assert "SLA" in read_posteriors(tmp_path)
    assert not mark.exists()


def mcmc(*columns: str) -> Mcmc:
    return Mcmc(np.ones((2, max(1, len(columns)))), columns)


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ({"x": np.ones(2)}, "holds x, but no prior.distns, post.distns or trait.mcmc"),
        (
            {"trait__mcmc": {"SLA": chains([1.0, np.nan])}},
            "trait.mcmc of SLA: iteration 2 of chain 1 is nan: leave it out",
        ),
        ({"trait__mcmc": {"SLA": chains([1.0], [2.0, np.inf])}}, "iteration 2 of chain 2 is inf"),
        ({"trait__mcmc": {"SLA": McmcList([mcmc("mu", "tau")])}}, "chain 1 has no column beta.o, but mu, tau"),
        ({"trait__mcmc": {"SLA": McmcList([mcmc()])}}, "chain 1 has no column beta.o, but none with a name"),
        ({"trait__mcmc": {"SLA": McmcList([np.ones(3)])}}, "chain 1 has no column beta.o"),
        ({"trait__mcmc": {"SLA": McmcList([])}}, "trait.mcmc of SLA: there are no iterations"),
        ({"trait__mcmc": {"leaf area": chains([1.0])}}, "trait.mcmc: 'leaf area' cannot be a trait"),
        ({"prior__distns": PRIORS.iloc[:0]}, "prior.distns has no rows"),
        ({"prior__distns": np.ones(2)}, "prior.distns has no column distn, parama, paramb; it must be a data frame"),
        ({"post__distns": PRIORS.drop(columns=["paramb"])}, "post.distns has no column paramb"),
        ({"post__distns": PRIORS.set_index(pd.RangeIndex(1, 4))}, "post.distns, row 1: '1' cannot be a trait"),
        (
            {"prior__distns": distns({"a": ("norm", 1, 1, 1), "b": ("hyper", 1, 1, 1)})},
            r"prior.distns, row 2 \(b\): distn hyper is",
        ),
        ({"prior__distns": distns({"a": ("norm", 1, None, 1)})}, r"row 1 \(a\): norm\(mean, sd\) needs paramb"),
        ({"prior__distns": distns({"a": ("norm", np.nan, 1, 1)})}, r"row 1 \(a\): parama is missing"),
        ({"prior__distns": distns({"a": ("norm", np.inf, 1, 1)})}, r"row 1 \(a\): mean of norm.* finite"),
        ({"prior__distns": PRIORS.assign(parama=["1", "x", "2"])}, r"row 2 \(mort2\): 'x' is not a number"),
        ({"prior__distns": PRIORS.assign(parama=["1", "1_0", "2"])}, r"row 2 \(mort2\): '1_0' is not a number"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, objects: dict[str, object], message: str) -> None:
    path = save(tmp_path / "a.Rdata", **objects)
    with pytest.raises(UserError) as refused:
        read_posteriors(path)
    assert refused.value.message.startswith(str(path))
    assert re.search(message, refused.value.message), refused.value.message


def test_files_that_are_no_rdata(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a.Rdata does not exist: put it on the data volume"):
        read_posteriors(tmp_path / "a.Rdata")
    with pytest.raises(UserError, match=r"has no file that ends in .Rdata"):
        read_posteriors(tmp_path)
    text = tmp_path / "text.Rdata"
    text.write_text("trait,distn\n")
    with pytest.raises(UserError, match=r"is not an RData file: write it with R's save\(\)"):
        read_posteriors(text)
    text.write_bytes(gzip.compress(b"trait,distn\n"))
    with pytest.raises(UserError, match="is not an RData file"):
        read_posteriors(text)
    rdata.write_rds(tmp_path / "a.rds", {"a": 1})
    with pytest.raises(UserError, match="is not an RData file"):
        read_posteriors(tmp_path / "a.rds")


def test_a_file_that_ends_too_early(tmp_path: Path) -> None:
    whole = save(tmp_path / "a.Rdata", trait__mcmc=MCMC).read_bytes()
    (tmp_path / "a.Rdata").write_bytes(whole[:-20])
    with pytest.raises(UserError, match=r"a.Rdata ends too early: copy it again"):
        read_posteriors(tmp_path / "a.Rdata")
    (tmp_path / "a.Rdata").write_bytes(gzip.compress(gzip.decompress(whole)[:-20]))
    with pytest.raises(UserError, match=r"a.Rdata cannot be read as RData .*: it is damaged"):
        read_posteriors(tmp_path / "a.Rdata")


@pytest.mark.parametrize("compression", ["gzip", "bzip2", "xz"])
def test_a_small_file_that_unpacks_to_a_huge_one_is_refused(
    tmp_path: Path, compression: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "a.Rdata", compression, x=np.zeros(300_000))
    assert path.stat().st_size < 20_000
    for module in (tables, posteriors):
        monkeypatch.setattr(module, "MOST_BYTES", 1_000_000)
    with pytest.raises(UserError, match="has more than the 1000000 bytes unpacked"):
        read_posteriors(path)


def test_a_sequence_of_any_length_is_not_made(tmp_path: Path) -> None:
    """R writes 1:n as (n, 1, 1); a damaged n would fill the memory."""
    path = save(tmp_path / "a.Rdata", None, x=pd.RangeIndex(1, 1000))
    raw = path.read_bytes()
    assert raw.count(np.array([999.0], ">f8").tobytes()) == 1
    path.write_bytes(raw.replace(np.array([999.0], ">f8").tobytes(), np.array([1e15], ">f8").tobytes()))
    with pytest.raises(UserError, match=r"cannot be read as RData .*: it is damaged"):
        read_posteriors(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "a.Rdata"
    return save(path, None, prior__distns=PRIORS, trait__mcmc=MCMC).read_bytes()


@limits(max_examples=800, deadline=None)
@given(data=st.data())
def test_any_damage_is_named_or_does_no_harm(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes, data: st.DataObject
) -> None:
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(5, len(whole) - 1))
        damaged[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    path = tmp_path_factory.getbasetemp() / "damaged.Rdata"
    path.write_bytes(damaged)
    assert outcome(read_posteriors, path) == "read" or outcome(read_posteriors, path).startswith(str(path))
