"""The table of nodes: what it says, and that the documentation says the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pecan_operator.core.nodes import NODES, Node, Verdict, find, has_rows_below, segment, verdict_by_r

PAGE = Path(__file__).resolve().parents[3] / "docs" / "pecan-xml.md"


@pytest.mark.parametrize(
    ("path", "verdict"),
    [
        ("outdir", Verdict.SET),
        ("host/name", Verdict.SET),
        ("host/prerun", Verdict.CODE),
        ("host/qsub", Verdict.DROPPED),
        ("info", Verdict.DROPPED),
        ("meta.analysis", Verdict.REFUSED),
        ("state.data.assimilation", Verdict.REFUSED),
        ("assim.batch", Verdict.REFUSED),
        ("ensemble/samplingspace/met/method", Verdict.HONOURED),
        ("ensemble/samplingspace/met/parent", Verdict.HONOURED),
        ("run/inputs/soil/path", Verdict.HONOURED),
        ("pfts/pft/constants/SLA", Verdict.HONOURED),
    ],
)
def test_the_first_row_that_fits_holds(path: str, verdict: Verdict) -> None:
    row = find(tuple(path.split("/")))
    assert row is not None
    assert row.verdict is verdict


def test_a_node_without_a_row_may_have_rows_below() -> None:
    assert find(("run", "inputs", "met")) is None
    assert has_rows_below(("run", "inputs", "met"))
    assert not has_rows_below(("benchmark",))


def test_one_site_among_several_counts_as_the_run() -> None:
    assert segment(("run",), "settings.12") == segment(("run",), "site.NL-Loo") == ("run",)
    assert segment(("run",), "site") == ("run", "site")
    assert segment((), "settings.info") == ("settings.info",)


def test_no_row_is_hidden_by_one_before_it() -> None:
    assert [node.path for node in NODES if find(tuple(node.path.split("/"))) is not node] == []


def fits(row: Node, place: tuple[str, ...]) -> bool:
    return all(wanted in ("*", tag) for wanted, tag in zip(row.path.split("/"), place, strict=False))


tags = st.sampled_from(sorted({tag for node in NODES for tag in node.path.split("/")} | {"soil", "met", "x"}))


@given(st.lists(tags, min_size=1, max_size=5).map(tuple) | st.sampled_from([tuple(n.path.split("/")) for n in NODES]))
def test_every_place_has_the_row_that_the_table_says(place: tuple[str, ...]) -> None:
    depths = {node.path: len(node.path.split("/")) for node in NODES}
    rows = [node for node in NODES if fits(node, place)]
    assert find(place) == next((node for node in rows if depths[node.path] == len(place)), None)
    assert has_rows_below(place) == any(depths[node.path] > len(place) for node in rows)


def test_a_node_is_not_compared_with_every_row() -> None:
    """A pecan.xml may have 50,000 nodes, which the operator's handler looks up one after the other."""

    class Tag(str):
        compared = 0
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            Tag.compared += 1
            return str.__eq__(self, other)

    for place in (("unknown",), ("run", "unknown"), ("pfts", "pft", "priors", "unknown")):
        find(tuple(map(Tag, place)))
        has_rows_below(tuple(map(Tag, place)))
    assert Tag.compared < len(NODES)


def test_every_refusal_says_what_to_do() -> None:
    assert [node.path for node in NODES if node.verdict is Verdict.REFUSED and not node.why] == []


def test_the_page_has_the_table() -> None:
    rows = [f"| `{node.path}` | {node.verdict.name.lower()} | {node.why} |" for node in NODES]
    text = PAGE.read_text()
    assert "\n".join(rows) in text, "write into docs/pecan-xml.md:\n" + "\n".join(rows)
    assert all(f"`{verdict.name.lower()}`" in text for verdict in Verdict)


def test_the_documentation_has_the_nodes_of_which_r_makes_something_else() -> None:
    rows = [f"| `{node.path}` | {node.by_r.name.lower()} |" for node in NODES if node.by_r]
    text = PAGE.with_name("r-framework.md").read_text()
    assert [line for line in text.splitlines() if line.startswith("| `")] == rows


@pytest.mark.parametrize(
    ("path", "verdict"),
    [
        ("meta.analysis", Verdict.HONOURED),
        ("assim.batch", Verdict.HONOURED),
        ("run/inputs/met/source", Verdict.HONOURED),
        ("of/ones/own", Verdict.HONOURED),
        ("outdir", Verdict.SET),
        ("database", Verdict.SET),
        ("settings.info", Verdict.DROPPED),
        ("host/qsub", Verdict.DROPPED),
        ("model/job.sh", Verdict.REFUSED),
        ("model/prerun", Verdict.CODE),
        ("host/postrun", Verdict.CODE),
        ("pfts/pft/priors/csv", Verdict.REFUSED),
    ],
)
def test_r_is_given_what_is_neither_ours_nor_code(path: str, verdict: Verdict) -> None:
    assert verdict_by_r(find(tuple(path.split("/")))) is verdict
