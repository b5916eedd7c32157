"""Tables of priors and samples: PEcAn's own are read, wrong ones are refused with file and row."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from pecan_executor import tables
from pecan_executor.distributions import Samples
from pecan_operator.core.pecanxml import Prior
from pecan_operator.errors import UserError

from .outcomes import outcome

PRIORS = "trait,distn,parama,paramb,n\nSLA,gamma,25,5,40\nmort2,exp,0.05,NA,0\n"
SHARED_DATA = Path(os.environ.get("PECAN_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
SWITCHGRASS = SHARED_DATA / "ed2-switchgrass" / "prior_distributions.csv"
SAMPLES = '"","SLA","growth_resp_factor"\n"1",12.5,0.3\n"2",1e1,0.25\n'


def read_priors(path: Path) -> dict[str, Prior]:
    return tables.read_priors(path, path.parent)


def read_samples(path: Path) -> dict[str, Samples]:
    return tables.read_samples(path, path.parent)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "table.csv"


def test_priors_with_a_column_of_traits(table: Path) -> None:
    table.write_text(PRIORS)
    assert read_priors(table) == {"SLA": Prior("gamma", 25, 5), "mort2": Prior("exp", 0.05)}


def test_priors_as_r_writes_them_with_names_of_rows(table: Path) -> None:
    # write.csv(prior.distns, "prior.distns.csv")
    table.write_text('"","distn","parama","paramb","n"\r\n"SLA","norm",10,2,NA\r\n"Vcmax","weibull",1.5,30,7\r\n')
    assert read_priors(table) == {"SLA": Prior("norm", 10, 2), "Vcmax": Prior("weibull", 1.5, 30)}


def test_priors_as_a_spreadsheet_saves_them(table: Path) -> None:
    text = "\ufeffn, paramb ,parama,distn,trait,notes\r\n 3 , 5, 25 ,gamma, SLA ,of leaves\r\n,,,,,\r\n"
    table.write_text(text, encoding="utf-8", newline="")
    assert read_priors(table) == {"SLA": Prior("gamma", 25, 5)}


@pytest.mark.skipif(not SWITCHGRASS.is_file(), reason="needs the shared switchgrass priors (PECAN_SHARED_DATA)")
def test_the_real_switchgrass_priors() -> None:
    priors = read_priors(SWITCHGRASS)
    assert len(priors) == 15
    assert priors["mort2"] == Prior("gamma", 1.47, 0.0578)


def test_samples_are_columns_of_traits_whose_rows_belong_together(table: Path) -> None:
    table.write_text(SAMPLES)
    samples = read_samples(table)
    assert {name: each.values.tolist() for name, each in samples.items()} == {
        "SLA": [12.5, 10.0],
        "growth_resp_factor": [0.3, 0.25],
    }
    assert {each.joint for each in samples.values()} == {"samplesCsv"}


WRONG_PRIORS = [
    ("", "is empty: its first line names the columns"),
    ("trait,distn,parama\n", "has no column paramb, but trait, distn, parama: a table of priors has"),
    ("distn,parama,paramb\nnorm,1,2\n", "has no column trait"),
    ("distn,,parama,paramb\nnorm,1,1,2\n", "has no column trait"),
    ("trait,distn,parama,paramb,distn\n", "has the column distn twice"),
    ("trait;distn;parama;paramb\nSLA;norm;1,5;2\n", "not separated by commas"),
    ("trait,distn,parama,paramb\n", "has no rows below its header"),
    (PRIORS + "SLA,norm,1,2,3\n", r"row 4: SLA is given twice"),
    (PRIORS + "age,f,1,2,3\n", r"row 4 \(age\): distn f is not supported; use one of"),
    (PRIORS + "age,uniform,1,2,3\n", r"row 4 \(age\): distn 'uniform' is not known"),
    (PRIORS + "\nage,norm,1,NA,3\n", r"row 5 \(age\): norm\(mean, sd\) needs paramb"),
    (PRIORS + "age,norm,,2,3\n", r"row 4 \(age\): parama is missing"),
    (PRIORS + "age,norm,NaN,2,3\n", r"row 4 \(age\), parama: 'NaN' is not a finite number"),
    (PRIORS + "age,norm,1,Inf,3\n", r"row 4 \(age\), paramb: 'Inf' is not a finite number"),
    (PRIORS + 'age,norm,"1,5",2,3\n', r"row 4 \(age\), parama: '1,5' is not a finite number"),
    (PRIORS + "age,norm,1_0,2,3\n", "'1_0' is not a finite number"),
    (PRIORS + "age,norm,１０,2,3\n", "'１０' is not a finite number"),
    (PRIORS + "age,norm,1,2\n", "row 4 has 4 values, the header 5"),
    (PRIORS + "leaf area,norm,1,2,3\n", "row 4: 'leaf area' cannot be a trait"),
    (PRIORS + ",norm,1,2,3\n", "row 4: '' cannot be a trait"),
    (PRIORS + 'age,norm,"1,2,3\n', "row 4 is not CSV: unexpected end of data"),
    (PRIORS + 'age,norm,"1"2,2,3\n', "row 4 is not CSV"),
]
WRONG_SAMPLES = [
    ("member\n1\n", "has no column that names a trait"),
    ("SLA,age\n", "has no rows below its header"),
    ("SLA,SLA\n1,2\n", "has the column SLA twice"),
    ("SLA,leaf area\n1,2\n", "column 2: 'leaf area' cannot be a trait"),
    ("SLA,age\n1,2\n3,NA\n", "row 3, age: there is no value; leave the row out"),
    ("SLA,age\n1,2\nthree,4\n", "row 3, SLA: 'three' is not a finite number"),
    ("SLA,age\n1,inf\n", "row 2, age: 'inf' is not a finite number"),
    ("SLA,age\n1\n", "row 2 has 1 values, the header 2"),
    ("SLA\tage\n1\t2\n", "not separated by commas"),
]


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [(read_priors, *case) for case in WRONG_PRIORS] + [(read_samples, *case) for case in WRONG_SAMPLES],
)
def test_a_wrong_table_is_refused_with_file_and_row(table: Path, read: object, text: str, message: str) -> None:
    table.write_text(text)
    with pytest.raises(UserError) as refused:
        read(table)  # type: ignore[operator]
    assert refused.value.message.startswith(str(table))
    assert re.search(message, refused.value.message), refused.value.message
    assert "\n" not in refused.value.message


@pytest.mark.parametrize("read", [read_priors, read_samples])
def test_files_that_are_no_tables(table: Path, read: object) -> None:
    with pytest.raises(UserError, match=r"table.csv does not exist: put it on the data volume"):
        read(table)  # type: ignore[operator]
    table.write_bytes(b"trait,distn,parama,paramb\n\xe9t\xe9,norm,1,2\n")
    with pytest.raises(UserError, match="not text in UTF-8"):
        read(table)  # type: ignore[operator]
    with pytest.raises(UserError, match="is not a file"):
        read(table.parent)  # type: ignore[operator]
    with pytest.raises(UserError, match="does not exist"):
        read(table / "inside")  # type: ignore[operator]


def test_a_huge_table_is_refused_before_it_is_read(table: Path) -> None:
    with table.open("wb") as file:
        file.truncate(2**29)
    with pytest.raises(UserError, match="has 536870912 bytes, more than the"):
        read_samples(table)


pieces = st.one_of(
    st.sampled_from(["trait", "distn", "parama", "paramb", "SLA", "norm", "gamma", "1", "2.5", "NaN", "NA", "-1e400"]),
    st.sampled_from(
        [",", ";", "\n", "\r", '"', "\x00", " ", "\ufeff", "é", "trait,distn,parama,paramb\n", "SLA,norm,1,2\n"]
    ),
)


@limits(max_examples=600, deadline=None)
@given(text=st.one_of(st.lists(pieces, max_size=40).map("".join).map(str.encode), st.binary(max_size=60)))
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: bytes) -> None:
    table = tmp_path_factory.getbasetemp() / "any.csv"
    table.write_bytes(text)
    for read in (read_priors, read_samples):
        assert outcome(read, table) == "read" or outcome(read, table).startswith(str(table))
