"""`pecan-executor <step>`: one step of a workflow, as the operator's Jobs call it.

Environment: PECAN_FOLDER (the workflow's folder), PECAN_WORKFLOW_ID, PECAN_WORKFLOW_UID, PECAN_PROVENANCE (what the
operator knows of images and versions, as JSON), and libpq's PGHOST, PGPORT,
PGUSER, PGPASSWORD, PGDATABASE for the steps that write to the database. Where PEcAn's R is the framework, folder and resume
are given what R reads in pecan.xml too: the same for role bety as BETY_PGHOST and so on, and RABBITMQ_URI.

Exit codes are those of sysexits.h: 65 bad input (repeating it is useless), 75 a service does not answer, 74 a file
cannot be read or written, 70 anything unexpected. The last line on stderr says what is wrong.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pecan_executor.files import WorkflowFolder
from pecan_executor.stages import Stages
from pecan_operator.errors import Unavailable, UserError

if TYPE_CHECKING:
    from pecan_operator.clients.database import Database
    from pecan_operator.core.rsettings import Services
    from pecan_operator.records import RunPlan

EX_OK, EX_DATAERR, EX_SOFTWARE, EX_IOERR, EX_TEMPFAIL = 0, 65, 70, 74, 75
SETTINGS = Path("/etc/pecan/pecan.xml")
OURS = Path("/etc/pecan/ours.json")
_LIBPQ = ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE")
_MOST_NAMED = 20


@dataclass(frozen=True)
class Call:
    """What a step is called with."""

    folder: WorkflowFolder
    settings: Path
    pecan_xml: Path | None
    ours: Path
    framework: str

    @property
    def for_r(self) -> bool:
        return self.framework == "pecan"

    @property
    def workflow_id(self) -> int:
        value = _variable("PECAN_WORKFLOW_ID")
        if not value.isdecimal():
            raise UserError("BadEnvironment", f"PECAN_WORKFLOW_ID must be a number, not {value!r}")
        return int(value)

    @property
    def workflow_uid(self) -> str:
        return _variable("PECAN_WORKFLOW_UID")


def _folder(call: Call) -> str:
    if call.for_r:
        return _folder_for_r(call)
    from pecan_executor.folder import adopt_pecan_xml, make_folder

    if call.pecan_xml is None:
        make_folder(call.folder, call.settings, call.workflow_id, call.workflow_uid)
    else:
        adopt_pecan_xml(call.folder, call.pecan_xml, call.ours, call.workflow_id, call.workflow_uid)
    _write_provenance(call)
    return f"{call.folder.path} is ready"


def _folder_for_r(call: Call) -> str:
    from pecan_executor.rframework import folder
    from pecan_operator.clients.bety import Bety
    from pecan_operator.clients.ledger import Ledger

    ignored: tuple[str, ...] | None = None
    if call.pecan_xml is None:
        text = folder.fields_xml(call.settings, call.folder.data)
    else:
        text, ignored = folder.user_xml(call.pecan_xml, call.ours, call.folder.data)
    with _database() as database, _database("BETY_") as bety:
        made = folder.make_folder(
            call.folder,
            text,
            ignored,
            call.workflow_id,
            call.workflow_uid,
            _services(),
            Ledger(database),
            Bety(bety),
        )
    if not made:
        return f"{call.folder.path} is prepared already"
    _write_provenance(call)
    return f"{call.folder.path} is ready for PEcAn's R"


def _services() -> Services:
    from pecan_operator.core.rsettings import Services

    return Services({name: _variable(f"BETY_{name}") for name in _LIBPQ}, _variable("RABBITMQ_URI"))


def _write_provenance(call: Call) -> None:
    # by hand, and in a Job of before, there is nobody to tell
    if told := os.environ.get("PECAN_PROVENANCE"):
        from pecan_executor.provenance import write_provenance

        write_provenance(call.folder, call.workflow_id, call.workflow_uid, told, for_r=call.for_r)


def _prepare(call: Call) -> str:
    from pecan_executor import settings as pecan_settings
    from pecan_executor.configs import RUN_TYPES
    from pecan_executor.folder import check_settings
    from pecan_executor.prepare import prepare
    from pecan_operator.clients.bety import Bety

    settings = pecan_settings.read(call.folder.settings)
    check_settings(settings.workflow_id, settings.folder, call.folder, call.workflow_id)
    with _database() as database:
        plans = prepare(settings, call.folder, Bety(database))
    kinds = Counter(RUN_TYPES[plan.run_type] for plan in plans)
    parts = " and ".join(f"{runs} of the {kind}" for kind, runs in kinds.items())
    return f"{len(plans)} runs are prepared at {len(settings.sites)} site(s): {parts}"


def _register(call: Call) -> str:
    from pecan_executor.register import register
    from pecan_executor.rframework.register import register as register_for_r
    from pecan_operator.clients.bety import Bety
    from pecan_operator.clients.ledger import Ledger

    with _database() as database:
        if call.for_r:
            runs = register_for_r(call.workflow_id, call.folder, Ledger(database), Bety(database))
            return f"{runs} runs that PEcAn's R wrote are registered"
        return f"{register(call.workflow_id, call.folder, Ledger(database))} runs are registered"


def _resume(call: Call) -> str:
    from pecan_executor.resume import resume
    from pecan_executor.rframework.resume import resume as resume_for_r
    from pecan_operator.clients.ledger import Ledger

    _write_provenance(call)
    with _database() as database:
        if call.for_r:
            succeeded = resume_for_r(call.workflow_id, call.folder, Ledger(database), _services())
            return f"{succeeded} runs succeeded: PEcAn's R may go on"
        return f"{resume(call.workflow_id, call.folder, Ledger(database))} runs succeeded"


def _analyse(call: Call) -> str:
    from pecan_executor import settings as pecan_settings
    from pecan_executor.analyse import analyse

    results, left_out = analyse(pecan_settings.read(call.folder.settings), call.folder)
    lines = [
        f"left out: run {item.plan.run_id} ({_what(item.plan)}, site {item.plan.site_id}): {item.reason}"
        for item in left_out
    ]
    if len(lines) > _MOST_NAMED:
        lines[_MOST_NAMED:] = [
            f"... and {len(lines) - _MOST_NAMED} more, see ensemble.members.*.csv and sensitivity.output.*.csv"
        ]
    return "\n".join([*lines, f"{results['used']} of {results['runs']} runs are analysed"])


def _what(plan: RunPlan) -> str:
    if plan.member:
        return f"member {plan.member}"
    return f"{plan.pft} {plan.trait} at {plan.quantile} %" if plan.trait else "median run"


def _report(call: Call) -> str:
    from pecan_executor.report import report, summary
    from pecan_executor.rframework.report import report as report_for_r
    from pecan_operator.clients.ledger import Ledger

    with _database() as database:
        if call.for_r:
            results = report_for_r(call.workflow_id, call.folder, Ledger(database))
            return f"PEcAn's R finished, with {len(results['files']) + results['omitted']} files of results"
        return summary(report(call.workflow_id, call.folder, Ledger(database)))


def _stages(call: Call) -> str:
    from pecan_executor.rframework.stage import report_stages
    from pecan_operator.clients.ledger import Ledger

    is_over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: is_over.set())
    with _database() as database:
        report_stages(call.workflow_id, call.folder, Ledger(database), is_over.wait)
    return "PEcAn's R has ended"


def _cleanup(call: Call) -> str:
    from pecan_executor.cleanup import cleanup

    cleanup(call.folder, call.workflow_id, call.workflow_uid)
    return f"{call.folder.path} is gone"


def _table(call: Call) -> str:
    from pecan_executor.report import tables

    return tables(call.folder.path)


STEPS: dict[str, tuple[str, Callable[[Call], str]]] = {
    "folder": ("make the workflow's folder and put pecan.xml in it", _folder),
    "prepare": ("write the run folders and register sites, ensemble and runs in BETY", _prepare),
    "register": ("put the run list into the ledger", _register),
    "resume": ("write the runs' states for the analysis and set output of failed runs aside", _resume),
    "analyse": ("verify outputs; write statistics, sensitivities and figures", _analyse),
    "report": ("put the headline numbers into the ledger", _report),
    "stages": ("tell the ledger which stage PEcAn's R is in, until SIGTERM", _stages),
    "cleanup": ("remove the folder of a workflow that is gone", _cleanup),
    "table": ("print the yearly statistics and the sensitivities of an analysed folder", _table),
}


STAGED = frozenset({"prepare", "register", "resume", "analyse", "report"})
"""Steps that are part of a stage in STATUS: in the others the folder may be another workflow's."""


MEASURED = frozenset({"prepare", "analyse"})
"""Steps whose memory the number of runs could matter to."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one step; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="pecan-executor",
        description="One step of a PEcAn workflow.",
        epilog="steps:\n" + "".join(f"  {name:<9} {text}\n" for name, (text, _) in STEPS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("step", choices=STEPS, metavar="step")
    parser.add_argument("folder", nargs="?", help="the workflow's folder (default: PECAN_FOLDER)")
    parser.add_argument(
        "--settings", type=Path, default=SETTINGS, help=f"pecan.xml for the step folder (default: {SETTINGS})"
    )
    parser.add_argument(
        "--pecan-xml", type=Path, help="a user's pecan.xml for the step folder, to be completed instead of --settings"
    )
    parser.add_argument(
        "--framework", choices=("light", "pecan"), default="light", help="who prepares and analyses (default: light)"
    )
    parser.add_argument("--ours", type=Path, default=OURS, help=f"what completes it (default: {OURS})")
    options = parser.parse_args(arguments)
    os.umask(0o002)
    folder: WorkflowFolder | None = None
    try:
        folder = WorkflowFolder(Path(options.folder or _variable("PECAN_FOLDER")).absolute())
        call = Call(folder, options.settings, options.pecan_xml, options.ours, options.framework)
        text = STEPS[options.step][1](call)
    except UserError as error:
        return _fail(folder, options.step, EX_DATAERR, error.message)
    except Unavailable as error:
        return _fail(folder, options.step, EX_TEMPFAIL, error.message)
    except OSError as error:
        _keep_traceback(folder)
        return _fail(folder, options.step, EX_IOERR, f"{error.strerror or error}: {error.filename or 'no file named'}")
    except Exception as error:
        where = f"; details are in {folder.log}" if folder and _keep_traceback(folder) else ""
        return _fail(folder, options.step, EX_SOFTWARE, f"unexpected {type(error).__name__}: {error}{where}")
    sys.stdout.write(text.rstrip("\n") + "\n")
    if options.step in MEASURED:
        sys.stdout.write(_memory() + "\n")
    return EX_OK


def _memory() -> str:
    own, others = (
        resource.getrusage(who).ru_maxrss // 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return f"memory: at most {own} MiB" + (f", and {others} MiB in each of its other processes" if others else "")


def _fail(folder: WorkflowFolder | None, step: str, code: int, message: str) -> int:
    if folder is not None and step in STAGED:
        # why it failed is told even where the data volume takes nothing more
        with suppress(OSError):
            Stages(folder).failed()
    line = " ".join(message.split())
    sys.stderr.write(f"pecan-executor {step}: {line[:2000]}\n")
    return code


def _keep_traceback(folder: WorkflowFolder | None) -> bool:
    if folder is None:
        return False
    with suppress(OSError), folder.log.open("a") as file:
        file.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}\n{traceback.format_exc()}\n")
        return True
    return False


@contextmanager
def _database(prefix: str = "") -> Iterator[Database]:
    from pecan_operator.clients.database import Database

    host, port, user, password, dbname = (_variable(f"{prefix}{name}") for name in _LIBPQ)
    if not port.isdecimal():
        raise UserError("BadEnvironment", f"{prefix}PGPORT must be a number, not {port!r}")
    database = Database(
        host=host,
        port=int(port),
        user=user,
        password=password,
        dbname=dbname,
        max_connections=1,
        application_name="pecan-executor",
    )
    try:
        yield database
    finally:
        database.close()


def _variable(name: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise UserError("BadEnvironment", f"the environment variable {name} is not set")
    return value
