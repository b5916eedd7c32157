import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pecan_operator.core.names import DNS_LABEL_MAX, SLUG_MAX, child, slug

LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


def as_subdomain(text: str) -> str:
    """What Kubernetes takes as the name of a custom resource: a DNS subdomain (RFC 1123) of at most 253 characters."""
    return ".".join(label for part in text.split(".") if (label := part.strip("-"))) or "a"


object_names = st.text("ab-.01", min_size=1, max_size=60).map(as_subdomain)
suffixes = st.text("ab01", min_size=1, max_size=22)
OUR_SUFFIXES = ("postgres", "rabbitmq", "bety", "ledger", "amqp", "data", "datacheck01234567", "database01234567",
                "worker", "settings", "prepare", "analyse", "cleanup9999000000001")  # fmt: skip


@pytest.mark.parametrize("name", ["pecan", "a", "dalec-ev", "x1", "a--b", "a" * SLUG_MAX])
def test_a_short_label_stays_as_it_is(name: str) -> None:
    assert slug(name) == name


@pytest.mark.parametrize(
    "name", ["1st", "a.b", "a---b", "a" * (SLUG_MAX + 1), "0" * 253, "a" + ".b" * 126, "9", "-".join("a" * 30)]
)
def test_any_other_is_marked_with_a_hash(name: str) -> None:
    assert re.fullmatch(r"[a-z].*---[0-9a-f]{16}", slug(name))


def test_names_do_not_change_between_releases() -> None:
    assert child("1st.run", "prepare") == "x1st-run---a37582f8a582726a-prepare"


@given(object_names)
def test_a_slug_is_a_dns_label(name: str) -> None:
    made = slug(name)
    assert LABEL.fullmatch(made)
    assert len(made) <= SLUG_MAX


@given(object_names, object_names)
def test_two_names_have_two_slugs(one: str, other: str) -> None:
    assert (slug(one) == slug(other)) == (one == other)


@given(object_names)
def test_a_name_that_looks_like_a_hashed_one_does_not_meet_it(name: str) -> None:
    assert slug(slug(f"{name}.x")) != slug(f"{name}.x")
    assert slug(slug(slug(f"{name}.x"))) not in {slug(f"{name}.x"), slug(slug(f"{name}.x"))}


@pytest.mark.parametrize("other", ["a-b", "a.b", "a--b", "a---b", "a-b.", "ab", "A-b"])
def test_names_that_read_alike_differ(other: str) -> None:
    made = {slug("a.b-c"), slug(f"{other}-c")}
    assert len(made) == (1 if other == "a.b" else 2)


@given(object_names, suffixes, object_names, suffixes)
def test_children_of_different_owners_never_meet(one: str, suffix: str, other: str, other_suffix: str) -> None:
    meet = child(one, suffix) == child(other, other_suffix)
    assert meet == ((one, suffix) == (other, other_suffix))


@given(suffixes, suffixes)
def test_an_owner_named_like_a_child_has_other_children(suffix: str, inner: str) -> None:
    assert child("a", suffix) != child(f"a-{suffix}", inner)
    assert child(f"a-{suffix}", inner) != child("a", inner)


@given(object_names, suffixes)
def test_a_child_is_a_dns_label(name: str, suffix: str) -> None:
    made = child(name, suffix)
    assert LABEL.fullmatch(made)
    assert len(made) <= DNS_LABEL_MAX


@given(object_names, st.sampled_from(OUR_SUFFIXES))
def test_pods_of_our_children_keep_their_whole_name(name: str, suffix: str) -> None:
    # A Job appends -xxxxx, a Deployment -<template hash of up to 10>-xxxxx, a StatefulSet's revision -<hash of 10>.
    added = len("-0123456789-xxxxx") if suffix == "worker" else len("-xxxxx")
    if suffix in ("postgres", "rabbitmq"):
        added = len("-0123456789")
    assert len(child(name, suffix)) + added <= DNS_LABEL_MAX


@pytest.mark.parametrize("suffix", ["", "a-b", "A", "a.b", "x" * 23, "ä"])
def test_a_suffix_of_several_words_is_a_mistake(suffix: str) -> None:
    with pytest.raises(ValueError, match="suffix"):
        child("a", suffix)
