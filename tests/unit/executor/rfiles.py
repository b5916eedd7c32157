"""Writes RData files with the objects of PEcAn's, as R's save() does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rdata
from rdata.conversion.to_r import DEFAULT_CLASS_MAP, ConverterFromPythonToR, build_r_object
from rdata.parser import RObject, RObjectType


@dataclass(frozen=True)
class Mcmc:
    """coda's mcmc: a row an iteration."""

    values: np.ndarray
    columns: Sequence[str] = ("beta.o", "thetaSite", "tau.Y")


@dataclass(frozen=True)
class McmcList:
    """coda's mcmc.list."""

    chains: Sequence[Any]


def _mcmc(data: Mcmc, converter: ConverterFromPythonToR) -> RObject:
    attributes: dict[str, Any] = {"dim": np.array(data.values.shape, dtype=np.int32)}
    if data.columns:
        attributes["dimnames"] = [None, np.array(data.columns)]
    attributes |= {"mcpar": np.array([1.0, len(data.values), 1.0]), "class": np.array(["mcmc"])}
    return build_r_object(
        RObjectType.REAL,
        value=np.ravel(data.values, order="F").astype(float),
        is_object=True,
        attributes=converter.convert_to_r_attributes(attributes),
    )


def _mcmc_list(data: McmcList, converter: ConverterFromPythonToR) -> RObject:
    return build_r_object(
        RObjectType.VEC,
        value=[converter.convert_to_r_object(chain) for chain in data.chains],
        is_object=True,
        attributes=converter.convert_to_r_attributes({"class": np.array(["mcmc.list"])}),
    )


CLASSES = {**DEFAULT_CLASS_MAP, Mcmc: _mcmc, McmcList: _mcmc_list}


def save(path: Path, compression: str | None = "gzip", form: str = "xdr", **objects: Any) -> Path:
    """save(..., file = path); points in names of objects are written as double underscores."""
    named = {name.replace("__", "."): each for name, each in objects.items()}
    rdata.write_rda(path, named, constructor_dict=CLASSES, compression=compression, file_format=form)  # type: ignore[arg-type]
    return path


def distns(rows: Mapping[str, tuple[str, float, float | None, int | None]], *, factor: bool = False) -> pd.DataFrame:
    """data.frame(distn, parama, paramb, n, row.names = traits)"""
    columns = list(zip(*rows.values(), strict=True))
    names = pd.Categorical(columns[0]) if factor else np.array(columns[0], dtype=object)
    frame = {"distn": names, "parama": np.array(columns[1], dtype=float), "paramb": np.array(columns[2], dtype=float)}
    n = pd.array(list(columns[3]), dtype="Int32")
    return pd.DataFrame({**frame, "n": n}, index=pd.Index(list(rows), dtype=object))


def chains(*values: Sequence[float]) -> McmcList:
    """An mcmc.list of one trait, whose beta.o has these values in each chain."""
    return McmcList(
        [Mcmc(np.stack([np.array(each), np.zeros(len(each)), np.ones(len(each))], axis=1)) for each in values]
    )


_CALL = "6\n1\n262153\n6\nsystem\n2\n16\n1\n262153\n{length}\n{command}\n254\n"


def save_code(path: Path, kind: str, command: str, name: str = "prior.distns") -> Path:
    """A file with system(command): as the body of a function, as an expression, or as a promise, which R runs when the
    object is looked at (CVE-2024-27322). By R's ascii format, since rdata writes no code."""
    call = _CALL.format(length=len(command), command=command.replace(" ", "\\040"))
    code = {"function": "1027\n253\n254\n" + call, "expression": call, "promise": "1029\n253\n252\n" + call}[kind]
    path.write_text(f"RDA2\nA\n2\n262657\n131840\n1026\n1\n262153\n{len(name)}\n{name}\n{code}254\n")
    return path
