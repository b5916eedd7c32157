"""PEcAn's posterior files: the RData with which its TRAIT and META stages and its data assimilation describe a PFT.

`prior.distns` and `post.distns` are data frames of distributions with the traits as names of rows; `trait.mcmc` is a list by
trait of coda's mcmc.list, whose column beta.o is the value of the trait. What is read and what wins is as in
PEcAn.uncertainty's load.posteriors. The files are parsed, never evaluated: functions, promises and expressions in them are
not looked at.
"""

from __future__ import annotations

import bz2
import lzma
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pecan_executor.datafiles import data_folder
from pecan_executor.distributions import Samples
from pecan_executor.numerals import finite
from pecan_executor.tables import MOST_BYTES, open_table, prior_row, refusal, trait_name
from pecan_operator.core.pecanxml import Prior
from pecan_operator.errors import UserError

Objects = dict[str, Any]

_MAGIC = (b"RDX2\n", b"RDX3\n", b"RDA2\n", b"RDA3\n", b"RDB2\n", b"RDB3\n")
_XZ_BYTES = 2**28
_PACKED: dict[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(31),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\x00": lambda: lzma.LZMADecompressor(memlimit=_XZ_BYTES),
}
_VALUE = "beta.o"
_NAMES = ("prior.distns", "post.distns", "trait.mcmc")
UNREADABLE = "UnreadableRData"


@dataclass(frozen=True)
class _Chain:
    """coda's mcmc: a row an iteration."""

    columns: tuple[str, ...]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class _Chains:
    """coda's mcmc.list."""

    chains: tuple[Any, ...]


def read_posteriors(path: Path, data: Path) -> dict[str, Prior | Samples]:
    """By trait what the file, or the RData files of the folder, say: samples win over post.distns over prior.distns.

    Samples of traits belong together when they were fitted together, which PEcAn's data assimilation tells by its names:
    trait.mcmc.pda.*, and a file mcmc.pda.* in the same folder. Traits of a meta-analysis, which it leaves in the same
    file, have another number of iterations, and are a group of their own.
    Of a folder a file that cannot be read is passed over if its name is not that of what is looked for: R's history of a
    data assimilation holds more than data. Raises UserError naming file, object and what to do.
    """
    held = data_folder(path, data)
    folder, files = (path.parent, [path]) if held is None else (path, _files(path, held))
    objects = [(file, found) for file in files if (found := _objects_of(file, data, held is not None)) is not None]
    traits: dict[str, Prior | Samples] = {}
    for name in ("prior.distns", "post.distns"):
        for file, found in objects:
            if name in found:
                traits |= _priors(found[name], file, name)
                break
    sampled = {file.resolve(): (file, each) for file, found in objects if (each := _sampled(found))}
    if len(sampled) > 1:
        names = " and ".join(file.name for file, _ in sampled.values())
        raise refusal(path, f" has samples in {names}: name the file that counts")
    for file, each in sampled.values():
        traits |= _samples(each, file, any(map(_is_joint, (file.name, *(data_folder(folder, data) or ())))))
    if not traits:
        known = ", ".join(sorted({name[:80] for _, found in objects for name in found})[:10]) or "nothing"
        raise refusal(path, f" holds {known}, but no prior.distns, post.distns or trait.mcmc")
    return traits


def _files(path: Path, names: Iterable[str]) -> list[Path]:
    """Of several files with the same object the first counts, and post.distns.Rdata, PEcAn's link to the latest, is it."""
    files = [path / name for name in sorted(names) if name.lower().endswith(".rdata")]
    if not files:
        raise refusal(path, " has no file that ends in .Rdata: name PEcAn's folder of the PFT, or a file")
    return sorted(files, key=lambda file: file.name.lower() != "post.distns.rdata")


def _is_joint(name: str) -> bool:
    return name.lower().removeprefix("trait.").startswith("mcmc.pda.")


def _objects_of(path: Path, data: Path, may_be_other: bool) -> Objects | None:
    """What is in a file; None when that cannot be read and the file `may_be_other` than one of those looked for."""
    try:
        return _objects(path, data)
    except UserError as error:
        if may_be_other and error.reason == UNREADABLE and not path.name.lower().startswith(_NAMES):
            return None
        raise


def _objects(path: Path, data: Path) -> Objects:
    """The objects of an RData file that can be of use, by name."""
    import rdata

    raw = _unpacked(path, data)
    if not raw.startswith(_MAGIC):
        raise refusal(path, " is not an RData file: write it with R's save()")
    classes = {**rdata.conversion.DEFAULT_CLASS_MAP, "mcmc": _mcmc, "mcmc.list": _mcmc_list}
    objects: Objects = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            parsed = rdata.parser.parse_data(raw, extension=".rda", altrep_constructor_dict=_sequences())
            items = list(_items(parsed.object))
        except Exception as error:
            what = "it is damaged or holds more than data; save the data again with R's save()"
            raise UserError(UNREADABLE, f"{path} cannot be read as RData ({type(error).__name__}): {what}") from None
        for name, item in items:
            try:
                objects[name] = rdata.conversion.convert(
                    item, classes, default_encoding=parsed.extra.encoding or "utf-8"
                )
            except Exception as error:
                if name in _NAMES:
                    raise refusal(path, f": {name} cannot be understood ({type(error).__name__}: {error})") from None
    return objects


def _unpacked(path: Path, data: Path) -> bytes:
    with open_table(path, data) as file:
        packed = file.read()
    for magic, decompressor in _PACKED.items():
        if packed.startswith(magic):
            stream = decompressor()
            try:
                raw: bytes = stream.decompress(packed, MOST_BYTES + 1)
            except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
                raise refusal(path, f" is damaged ({error}): copy it again") from None
            if len(raw) > MOST_BYTES:
                raise refusal(path, f" has more than the {MOST_BYTES} bytes unpacked that are read: save fewer objects")
            if not stream.eof:
                raise refusal(path, " ends too early: copy it again")
            return raw
    return packed


def _sequences() -> Mapping[bytes, Any]:
    """rdata's expanders of R's compact vectors, which in a damaged file could be of any length."""
    from rdata.parser import DEFAULT_ALTREP_MAP

    def bounded(expand: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def checked(state: Any) -> Any:
            if state.value[0] * 8 > MOST_BYTES:
                raise ValueError("a sequence is too long")
            return expand(state)

        return checked

    return {
        name: bounded(expand) if name.startswith(b"compact_") else expand for name, expand in DEFAULT_ALTREP_MAP.items()
    }


def _items(node: Any) -> Iterator[tuple[str, Any]]:
    """Names and objects of an RData file, which is a pairlist."""
    from rdata.conversion import convert
    from rdata.parser import RObjectType

    while node.info.type is RObjectType.LIST:
        yield str(convert(node.tag)), node.value[0]
        node = node.value[1]


def _sampled(objects: Objects) -> dict[str, _Chains] | None:
    """The samples by trait: known by their class, not by their name, as in PEcAn."""
    for name, found in objects.items():
        if isinstance(found, _Chains):
            return {name: found}
        if isinstance(found, dict) and found and all(isinstance(each, _Chains) for each in found.values()):
            return found
    return None


def _samples(sampled: Mapping[str, _Chains], path: Path, is_joint: bool) -> dict[str, Samples]:
    traits: dict[str, Samples] = {}
    for given, chains in sampled.items():
        name = trait_name(str(given), path, ", trait.mcmc")
        place = f", trait.mcmc of {name}"
        parts = []
        for number, chain in enumerate(chains.chains, start=1):
            if not isinstance(chain, _Chain) or _VALUE not in chain.columns:
                columns = ", ".join(chain.columns) if isinstance(chain, _Chain) else ""
                raise refusal(
                    path, f"{place}: chain {number} has no column {_VALUE}, but {columns or 'none with a name'}"
                )
            values = chain.values[:, chain.columns.index(_VALUE)]
            wrong = np.flatnonzero(~np.isfinite(values))
            if wrong.size:
                raise refusal(
                    path, f"{place}: iteration {wrong[0] + 1} of chain {number} is {values[wrong[0]]}: leave it out"
                )
            parts.append(values)
        if not sum(map(len, parts)):
            raise refusal(path, f"{place}: there are no iterations")
        traits[name] = Samples(np.concatenate(parts))
    if not is_joint:
        return traits
    several = len({len(each.values) for each in traits.values()}) > 1
    return {
        name: replace(each, joint=f"posteriorFiles, {len(each.values)} iterations" if several else "posteriorFiles")
        for name, each in traits.items()
    }


def _priors(frame: Any, path: Path, name: str) -> dict[str, Prior]:
    import pandas as pd

    columns = list(frame.columns) if isinstance(frame, pd.DataFrame) else []
    missing = [column for column in ("distn", "parama", "paramb") if column not in columns]
    if missing:
        raise refusal(path, f": {name} has no column {', '.join(missing)}; it must be a data frame with them")
    priors: dict[str, Prior] = {}
    for trait, distn, parama, paramb in zip(frame.index, frame["distn"], frame["parama"], frame["paramb"], strict=True):
        place = f", {name}, row {len(priors) + 1}"
        trait = trait_name(str(trait), path, place)
        if trait in priors:
            raise refusal(path, f"{place}: {trait} is given twice")
        numbers = [_number(value, path, f"{place} ({trait})") for value in (parama, paramb)]
        priors[trait] = prior_row(trait, str(distn), numbers, path, place)
    if not priors:
        raise refusal(path, f": {name} has no rows")
    return priors


def _number(value: Any, path: Path, place: str) -> float | None:
    import pandas as pd

    try:
        if pd.isna(value):
            return None
        number = finite(value) if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        number = None
    if number is None:
        raise refusal(path, f"{place}: {str(value)[:80]!r} is not a number")
    return number


def _mcmc(values: Any, attributes: Mapping[str, Any]) -> _Chain:
    names = attributes.get("dimnames") or ()
    names = list(names.values()) if isinstance(names, Mapping) else list(names)
    columns = names[1] if len(names) > 1 and names[1] is not None else ()
    return _Chain(tuple(map(str, columns)), np.asarray(values, dtype=float))


def _mcmc_list(chains: Any, _: Mapping[str, Any]) -> _Chains:
    return _Chains(tuple(chains.values() if isinstance(chains, Mapping) else chains))
