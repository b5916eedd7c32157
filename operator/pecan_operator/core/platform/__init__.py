"""The shared services, one file each; in the order in which they start."""

from pecan_operator.core.platform.base import Kept, Manifest, Platform, Service
from pecan_operator.core.platform.data import DATA, data_claim_name
from pecan_operator.core.platform.database import DATABASE
from pecan_operator.core.platform.postgres import POSTGRES
from pecan_operator.core.platform.rabbitmq import RABBITMQ

SERVICES = (DATA, POSTGRES, RABBITMQ, DATABASE)

__all__ = ["DATA", "SERVICES", "Kept", "Manifest", "Platform", "Service", "data_claim_name"]
