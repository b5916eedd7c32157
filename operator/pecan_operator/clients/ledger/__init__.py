"""The ledger: the schema `pecan_operator` in database bety, the only truth about workflows and runs.

Every method is one transaction and safe to repeat. Locks are always taken in one order, so that no two transactions
wait for each other: the epoch, workflow rows by id, run rows by (workflow, run id), BETY's rows, tally rows by workflow
(which a trigger changes at the end of a statement; so a transaction changes runs in one statement, or of one workflow
only).
"""

from pecan_operator.clients.database import Database
from pecan_operator.clients.ledger.queues import Queues
from pecan_operator.clients.ledger.runs import Runs
from pecan_operator.clients.ledger.workflows import Workflows
from pecan_operator.records import Epoch

__all__ = ["Ledger"]


class Ledger(Workflows, Runs, Queues):
    """All that is asked of the ledger; see the three parts.

    `epoch` is that of an operator, for which `Superseded` is raised by whatever writes once a later one has taken over.
    """

    def __init__(self, database: Database, epoch: Epoch | None = None) -> None:
        self._database = database
        self._epoch = epoch
