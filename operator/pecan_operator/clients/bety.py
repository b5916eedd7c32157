"""BETY's tables as PEcAn's own parts write them: models by the operator, sites, ensembles and runs by the executor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from psycopg2.extras import execute_values

from pecan_operator.clients.database import Cursor, Database
from pecan_operator.errors import UserError
from pecan_operator.records import RunDescription

SAME_PLACE_DEGREES = 1e-6
NEAR_DEGREES = 0.1
"""How far the place that somebody gives for a site may be from where BETY has it."""

RunValues = tuple[int, str, str, str, str]
"""(site id, first day, last day, parameter list, output folder) of a row in `runs`; days as ISO 8601."""


class Bety:
    """Rows are looked for first and added when absent; those that are there are not changed, but for a workflow's site.

    BETY has no unique key on most of what is looked for, so each kind of row is written under an advisory lock.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def register_model(self, *, hostname: str, model_type: str, name: str, revision: str, binary: str) -> int:
        """Adds machine, model type, model and binary as PEcAn's monitor does, by the keys it selects by.

        Returns models.id. The dbfiles row is left out when another model has the same binary on this machine, since
        BETY allows one owner a path.
        """
        path = PurePosixPath(binary)
        if not path.is_absolute() or path.name in ("", ".."):
            raise UserError("BinaryInvalid", f"binary {binary!r} must be the absolute path of a file")
        with self._database.transaction() as cursor:
            _lock(cursor, "models")
            machine_id = _find_or_add(cursor, "machines", {"hostname": hostname})
            modeltype_id = _find_or_add(cursor, "modeltypes", {"name": model_type})
            model_id = _find_or_add(
                cursor, "models", {"model_name": name, "modeltype_id": modeltype_id, "revision": revision}
            )
            cursor.execute(
                "INSERT INTO public.dbfiles (container_type, container_id, file_name, file_path, machine_id)"
                " SELECT 'Model', %(model_id)s, %(file_name)s, %(file_path)s, %(machine_id)s WHERE NOT EXISTS"
                " (SELECT FROM public.dbfiles WHERE file_name = %(file_name)s AND file_path = %(file_path)s"
                "  AND machine_id = %(machine_id)s) ON CONFLICT DO NOTHING",
                {
                    "model_id": model_id,
                    "file_name": path.name,
                    "file_path": str(path.parent),
                    "machine_id": machine_id,
                },
            )
            return model_id

    def workflow_model(self, workflow_id: int) -> int:
        """models.id of a workflow; UserError when BETY has no such workflow."""
        with self._database.transaction() as cursor:
            cursor.execute("SELECT model_id FROM public.workflows WHERE id = %s", (workflow_id,))
            found = cursor.fetchone()
        if found is None:
            raise UserError("WorkflowUnknown", f"BETY knows no workflow {workflow_id}")
        return int(found[0])

    def site(self, *, name: str, lat: float, lon: float) -> int:
        """sites.id of the site of this name within 1e-6 degrees of this place, added when absent.

        `lat` and `lon` in degrees north and east.
        """
        values = {"name": name, "lat": lat, "lon": lon, "near": SAME_PLACE_DEGREES}
        with self._database.transaction() as cursor:
            _lock(cursor, "sites")
            cursor.execute(
                "SELECT id FROM public.sites WHERE sitename = %(name)s"
                " AND abs(ST_X(ST_Centroid(geometry)) - %(lon)s) < %(near)s"
                " AND abs(ST_Y(ST_Centroid(geometry)) - %(lat)s) < %(near)s ORDER BY id LIMIT 1",
                values,
            )
            found = cursor.fetchone()
            if found is None:
                # BETY's geometry column refuses points without Z.
                cursor.execute(
                    "INSERT INTO public.sites (sitename, geometry)"
                    " VALUES (%(name)s, ST_SetSRID(ST_MakePoint(%(lon)s, %(lat)s, 0), 4326)) RETURNING id",
                    values,
                )
                found = cursor.fetchone()
            return _only(found)

    def has_site(self, site_id: int, *, lat: float | None, lon: float | None) -> bool:
        """Whether there is a site of this id, and not more than 0.1 degrees from the place, of which None is not known.

        `lat` and `lon` in degrees north and east.
        """
        with self._database.transaction() as cursor:
            cursor.execute(
                "SELECT coalesce(abs(ST_Y(centre) - %(lat)s) < %(near)s, true)"
                " AND coalesce(abs(ST_X(centre) - %(lon)s) < %(near)s, true)"
                " FROM (SELECT ST_Centroid(geometry) AS centre FROM public.sites WHERE id = %(id)s) AS site",
                {"id": site_id, "lat": lat, "lon": lon, "near": NEAR_DEGREES},
            )
            found = cursor.fetchone()
        return found is not None and bool(found[0])

    def forget_runs(self, workflow_id: int) -> None:
        """Remove the ensembles and runs of a workflow, with what belongs to these."""
        of_workflow = "(SELECT id FROM public.ensembles WHERE workflow_id = %s)"
        of_runs = f"(SELECT id FROM public.runs WHERE ensemble_id IN {of_workflow})"
        with self._database.transaction() as cursor:
            for statement in (
                f"DELETE FROM public.likelihoods WHERE run_id IN {of_runs}",
                f"DELETE FROM public.inputs_runs WHERE run_id IN {of_runs}",
                f"DELETE FROM public.runs WHERE ensemble_id IN {of_workflow}",
                f"DELETE FROM public.posteriors_ensembles WHERE ensemble_id IN {of_workflow}",
                "DELETE FROM public.ensembles WHERE workflow_id = %s",
            ):
                cursor.execute(statement, (workflow_id,))

    def described_runs(self, workflow_id: int) -> list[RunDescription]:
        """The runs of a workflow as PEcAn registered them."""
        with self._database.transaction() as cursor:
            cursor.execute(
                "SELECT runs.id, ensembles.runtype, runs.parameter_list, runs.site_id, sites.sitename,"
                " extract(year FROM runs.start_time)::integer, extract(year FROM runs.finish_time)::integer"
                " FROM public.runs JOIN public.ensembles ON ensembles.id = runs.ensemble_id"
                " JOIN public.sites ON sites.id = runs.site_id WHERE ensembles.workflow_id = %s",
                (workflow_id,),
            )
            return [RunDescription(*row) for row in cursor]

    def place_workflow(self, workflow_id: int, site_id: int) -> None:
        """Say in `workflows` that it is about this one site, as PEcAn's web pages do."""
        with self._database.transaction() as cursor:
            cursor.execute(
                "UPDATE public.workflows SET site_id = %(site_id)s"
                " WHERE id = %(workflow_id)s AND site_id IS DISTINCT FROM %(site_id)s",
                {"workflow_id": workflow_id, "site_id": site_id},
            )

    def ensemble(self, *, workflow_id: int, runtype: str) -> int:
        """ensembles.id of this workflow and run type (`ensemble`, `sensitivity analysis`), added when absent."""
        with self._database.transaction() as cursor:
            _lock(cursor, f"ensembles {workflow_id}")
            return _find_or_add(cursor, "ensembles", {"workflow_id": workflow_id, "runtype": runtype})

    def runs(self, ensemble_id: int, model_id: int, rows: Sequence[RunValues]) -> list[int]:
        """runs.id of each row, in their order; a row that is there already keeps its id."""
        if not rows:
            return []
        template = f"({int(ensemble_id)}, {int(model_id)}, %s::bigint, %s::timestamp, %s::timestamp, %s, %s)"
        columns = "ensemble_id, model_id, site_id, start_time, finish_time, parameter_list, outdir"
        with self._database.transaction() as cursor:
            execute_values(
                cursor,
                f"INSERT INTO public.runs ({columns}) VALUES %s ON CONFLICT DO NOTHING",
                rows,
                template=template,
                page_size=2000,
            )
            found = execute_values(
                cursor,
                f"SELECT id FROM (VALUES %s) AS row ({columns}, position) JOIN public.runs"
                " USING (ensemble_id, model_id, site_id, start_time, finish_time, parameter_list) ORDER BY position",
                [(*row, position) for position, row in enumerate(rows)],
                template=template[:-1] + ", %s)",
                page_size=2000,
                fetch=True,
            )
        return [run_id for (run_id,) in found]


def _lock(cursor: Cursor, what: str) -> None:
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('bety ' || %s, 0))", (what,))


def _find_or_add(cursor: Cursor, table: str, columns: dict[str, Any]) -> int:
    names = ", ".join(columns)
    places = ", ".join(["%s"] * len(columns))
    values = tuple(columns.values())
    cursor.execute(f"SELECT id FROM public.{table} WHERE ({names}) = ({places}) ORDER BY id LIMIT 1", values)
    found = cursor.fetchone()
    if found is None:
        cursor.execute(f"INSERT INTO public.{table} ({names}) VALUES ({places}) RETURNING id", values)
        found = cursor.fetchone()
    return _only(found)


def _only(found: tuple[Any, ...] | None) -> int:
    assert found is not None
    return int(found[0])
