"""What a script does with huey: the hook enqueues, a task reads, encodes and posts.

    python peer.py web PORT     the hook, under gunicorn's threads as Relay's
    python peer.py work SEATS   huey's own consumer

PEER in the environment is JSON: `queue` (huey's SQLite file, synchronous as Relay's), `store` and
`import` (addresses), `token`. huey takes a task out of the queue before it runs it.
"""

from __future__ import annotations

import base64
import json
import os
import sys

import flask
import requests
from huey import SqliteHuey

told = json.loads(os.environ["PEER"])
huey = SqliteHuey(filename=told["queue"], fsync=True)
app = flask.Flask(__name__)
session = requests.Session()


@huey.task(retries=3, retry_delay=10)
def bring(key):
    answer = session.get(f"{told['store']}/exports/{key}", timeout=60)
    answer.raise_for_status()
    body = {
        "func_name": key.partition("/")[0],
        "file_name": "hello.zip",
        "file_type": "zip",
        "file_code": base64.b64encode(answer.content).decode(),
    }
    headers = {"X-Auth-Token": told["token"]}
    session.post(told["import"], json=body, headers=headers, timeout=60).raise_for_status()


@app.post("/hooks/exports")
def take():
    for record in flask.request.get_json()["Records"]:
        bring(record["s3"]["object"]["key"])
    return {"ok": True}


def main(what, number):
    if what == "work":
        consumer = huey.create_consumer(workers=int(number), max_delay=0.1, initial_delay=0.01)
        consumer.run()
        return
    from gunicorn.app.wsgiapp import WSGIApplication

    sys.argv = ["peer", "--bind", f"127.0.0.1:{number}", "--threads", "32", "peer:app"]
    WSGIApplication("%(prog)s [OPTIONS]", prog="peer").run()


if __name__ == "__main__":
    # One name for the module, whoever imports it: huey finds its tasks by it.
    import peer

    peer.main(*sys.argv[1:])
