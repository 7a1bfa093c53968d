"""A simple script on huey, for comparison: the hook enqueues, a task downloads and posts.

    python peer.py web PORT       the hook, under gunicorn with threads, like Relay
    python peer.py work WORKERS   the huey consumer

The environment variable PEER is JSON: `queue` (the SQLite file of huey, with fsync like Relay),
`store` and `import` (URLs), `token`. huey removes a task from the queue before it runs the task.
"""

from __future__ import annotations

import base64
import json
import os
import sys

import flask
import requests
from huey import SqliteHuey

settings = json.loads(os.environ["PEER"])
huey = SqliteHuey(filename=settings["queue"], fsync=True)
app = flask.Flask(__name__)
session = requests.Session()


@huey.task(retries=3, retry_delay=10)
def import_object(key):
    response = session.get(f"{settings['store']}/exports/{key}", timeout=60)
    response.raise_for_status()
    body = {
        "func_name": key.partition("/")[0],
        "file_name": "hello.zip",
        "file_type": "zip",
        "file_code": base64.b64encode(response.content).decode(),
    }
    headers = {"X-Auth-Token": settings["token"]}
    session.post(settings["import"], json=body, headers=headers, timeout=60).raise_for_status()


@app.post("/hooks/exports")
def receive():
    for record in flask.request.get_json()["Records"]:
        import_object(record["s3"]["object"]["key"])
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
    # huey identifies tasks by module name, so the module must not be called __main__.
    import peer

    peer.main(*sys.argv[1:])
