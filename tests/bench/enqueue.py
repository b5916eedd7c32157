"""10,000 messages in one call of the operator's own broker client, to a quorum queue and to one that does not exist."""

from __future__ import annotations

import json

from place import Place
from report import Figure

VHOST = "bench"
_SCRIPT = """
import json, os, sys, time
from pecan_operator.clients.amqp import Broker
from pecan_operator.records import RunKey, RunMessage

def messages(queue):
    return [RunMessage(RunKey(1, str(n)), 1, queue, f"/data/run/{n}", f"/data/out/{n}", ("1998.nc",)) for n in range(10000)]

broker = Broker(os.environ["RABBITMQ_URI"].rpartition("/")[0] + "/" + sys.argv[1])
broker.start()
while not broker.connected:
    time.sleep(0.01)
samples = {"confirmed": [], "returned": []}
for queue, name in [("there", "confirmed"), ("nowhere", "returned")] * int(sys.argv[2]):
    if queue == "there":
        broker.declare_queues([queue])
    begin = time.monotonic()
    result = broker.publish(messages(queue), timeout=120)
    samples[name].append([len(getattr(result, name)), time.monotonic() - begin])
    broker.delete_queue(queue)
broker.stop()
print(json.dumps(samples))
"""


def measure(place: Place, long: bool) -> list[Figure]:
    # A virtual host of its own: the client would take events that are the operator's.
    vhosts = place.site.broker("list_vhosts", "name", "--no-table-headers").split()
    if VHOST not in vhosts:
        place.site.broker("add_vhost", VHOST, "--default-queue-type", "quorum")
        place.site.broker("set_permissions", "-p", VHOST, "pecan-operator", ".*", ".*", ".*")
    samples = json.loads(place.python(_SCRIPT, VHOST, "20" if long else "5"))
    return [
        Figure("10,000 confirmed", "s", [seconds for _, seconds in samples["confirmed"]]),
        Figure("of these confirmed", "messages", [count for count, _ in samples["confirmed"]]),
        Figure("10,000 returned", "s", [seconds for _, seconds in samples["returned"]]),
        Figure("of these returned", "messages", [count for count, _ in samples["returned"]]),
    ]
