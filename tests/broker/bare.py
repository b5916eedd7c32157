"""What runs cost without a broker: python bare.py FOLDER... runs job.sh in each of them and leaves a worker's files.

Prints when each job had ended, in seconds, as a JSON list.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time


def write(folder: str, name: str, content: str) -> None:
    with open(f"{folder}/{name}", "w") as file:
        file.write(content)


def run(folder: str) -> float:
    write(folder, ".pecan-claim", json.dumps({"worker": "bare", "attempt": 1, "counter": 0}))
    write(folder, ".started", "[]")
    with open(f"{folder}/job.log", "wb") as log:
        code = subprocess.Popen(
            ["/bin/sh", "-c", "exec ./job.sh"],
            cwd=folder,
            env=dict(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ).wait()
    ended = time.time()
    with open(f"{folder}/job.log", "rb") as log:
        output = log.read()
    write(folder, ".pecan-result.json", json.dumps({"attempt": 1, "state": "succeeded", "exit_code": code}))
    write(folder, "rabbitmq.out", f"{output!r}\nOK\n")
    os.unlink(f"{folder}/.pecan-claim")
    return ended


print(json.dumps([run(folder) for folder in sys.argv[1:]]))
