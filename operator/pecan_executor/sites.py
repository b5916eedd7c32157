"""The table of sites, and the settings with its sites in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from pecan_executor.tables import number_in, refusal, rows_of
from pecan_executor.usersettings import runs_of
from pecan_operator.api import workflow as api
from pecan_operator.core.pecanxml import Settings, Site, inputs_at
from pecan_operator.errors import UserError
from pecan_operator.records import MOST_RUNS

COLUMNS = ("id", "name", "lat", "lon")


def with_sites(settings: Settings, data: Path) -> Settings:
    """The settings with the sites of their table.

    Raises UserError when the table is wrong, naming the row, or has more sites than a workflow may have runs of.
    """
    assert settings.sites_csv is not None
    path = Path(settings.sites_csv)
    filled = replace(settings, sites=read_sites(path, data), sites_csv=None)
    if not any("met" in inputs_at(filled, site) for site in filled.sites):
        raise refusal(
            path, " has no path in a column met, and the workflow no inputs.met: name the weather in one of them"
        )
    runs = runs_of(filled)
    if runs > MOST_RUNS:
        raise UserError(
            "TooManyRuns",
            f"{path} has {len(filled.sites)} sites, {runs} runs in all, but a workflow may have {MOST_RUNS}: leave sites "
            "out, or reduce ensemble.size or the quantiles of the sensitivity analysis",
        )
    return filled


def read_sites(path: Path, data: Path) -> tuple[Site, ...]:
    """Sites from a CSV table with the columns id, name, lat (degrees north) and lon (degrees east); each further column is
    named like an input tag and has paths below /data, or nothing where a site has no path of its own.

    Raises UserError naming the row, where the header is row 1.
    """
    sites: list[Site] = []
    rows_by_id: dict[str, int] = {}
    with rows_of(path, data) as (header, rows):
        names = [name.strip() for name in header]
        missing = [name for name in COLUMNS if name not in names]
        if missing:
            raise refusal(path, f" has no column {', '.join(missing)}: a table of sites has {', '.join(COLUMNS)}")
        for name in names:
            if names.count(name) > 1:
                raise refusal(path, f" has the column {name[:80]!r} twice")
        for number, row in rows:
            place = f" row {number}"
            if len(sites) == MOST_RUNS:
                raise refusal(
                    path, f"{place}: there are more than {MOST_RUNS} sites, which is the most: leave rows out"
                )
            site = _site(dict(zip(names, map(str.strip, row), strict=True)), path, place)
            if site.id in rows_by_id:
                raise refusal(path, f"{place}: the id {site.id} is that of row {rows_by_id[site.id]} too")
            rows_by_id[site.id] = number
            sites.append(site)
    if not sites:
        raise refusal(path, " has no rows below its header")
    return tuple(sites)


def _site(cells: dict[str, str], path: Path, place: str) -> Site:
    lat, lon = (number_in(cells[name], path, f"{place}, {name}") for name in ("lat", "lon"))
    inputs = {tag: (cell,) for tag, cell in cells.items() if tag not in COLUMNS and cell}
    given = {"lat": lat, "lon": lon, "inputs": {tag: {"paths": paths} for tag, paths in inputs.items()}}
    try:
        site = api.Site.model_validate({"id": cells["id"], "name": cells["name"], **given})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        names = [part for part in first["loc"] if isinstance(part, str) and part not in ("inputs", "paths", "[key]")]
        what = f"{first['msg'][:1].lower()}{first['msg'][1:]}"
        shown = "" if first["input"] is None else f", not {str(first['input'])[:80]!r}"
        raise refusal(path, f"{place}, {'/'.join(names)}: {what}{shown}") from None
    return Site(site.id, site.name, site.lat, site.lon, inputs)
