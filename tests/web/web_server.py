"""One relay's web floor with everything behind it, and a loopback server to put it on."""

import json
import threading
from contextlib import contextmanager

import jsonschema
from jinja2 import BytecodeCache
from web_ledger import Clock, Desk, Hand, settings_for
from werkzeug.serving import make_server

from relay.ledger import Ledger
from relay.web.app import create_app
from tests.ledgers import new_ledger


class Compiled(BytecodeCache):
    """The templates, compiled once for all apps of this process."""

    def __init__(self):
        self.code = {}

    def load_bytecode(self, bucket):
        if code := self.code.get((bucket.key, bucket.checksum)):
            bucket.bytecode_from_string(code)

    def dump_bytecode(self, bucket):
        self.code[bucket.key, bucket.checksum] = bucket.bytecode_to_string()


COMPILED = Compiled()


class Web:
    """One relay's web floor with everything behind it."""

    def __init__(self, folder, **tables):
        self.settings = settings_for(folder, **tables)
        self.clock = Clock()
        if not (folder / "relay.db").exists():
            new_ledger(folder / "relay.db")
        self.ledger = Ledger.open(self.settings.database.url)
        self.desk = Desk(self.settings, self.ledger, self.clock)
        self.hand = Hand(self.desk)
        self.app = create_app(self.settings, self.ledger, self.desk, clock=self.clock)
        self.app.jinja_env.bytecode_cache = COMPILED
        self.client = self.app.test_client()

    def get(self, path, **options):
        return self._checked("get", path, self.client.get(path, **options))

    def post(self, path, **options):
        return self._checked("post", path, self.client.post(path, **options))

    def _checked(self, method, path, answer):
        """Every answer of the API keeps what the OpenAPI document promises."""
        if path.startswith("/api/v1/") and not path.endswith("openapi.json"):
            keep_promise(self.document(), method, path.partition("?")[0], answer)
        return answer

    def document(self):
        for rule in self.app.url_map.iter_rules():
            if rule.endpoint == "api.openapi":
                with self.app.test_request_context():
                    return json.loads(self.app.view_functions[rule.endpoint]().get_data())
        raise AssertionError("no OpenAPI document")


def keep_promise(document, method, path, answer):
    described = next(
        (
            operations[method]
            for template, operations in document["paths"].items()
            if method in operations and same_address(template, path)
        ),
        None,
    )
    if described is None:
        assert answer.status_code in (404, 405)
        return
    promised = described["responses"][str(answer.status_code)]["content"]
    ((kind, content),) = promised.items()
    assert answer.mimetype == kind
    schema = {**content["schema"], "components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(answer.get_json())


def same_address(template, path):
    parts, asked = template.split("/"), path.split("/")
    return len(parts) == len(asked) and all(
        part == one or part.startswith("{") for part, one in zip(parts, asked, strict=True)
    )


def _closing(app):
    """The app, each of whose answers is closed once it is read: werkzeug's server does not close
    that of a browser which has gone away in between."""

    def served(environ, start_response):
        answer = app(environ, start_response)
        try:
            yield from answer
        finally:
            getattr(answer, "close", lambda: None)()

    return served


@contextmanager
def serving(app):
    """The app on a loopback port, as a server serves it."""
    server = make_server("127.0.0.1", 0, _closing(app), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
