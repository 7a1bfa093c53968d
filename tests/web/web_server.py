"""A web application over a real ledger, and a loopback server."""

import json
import threading
from contextlib import contextmanager

import jsonschema
from jinja2 import BytecodeCache
from werkzeug.serving import make_server

from relay.ledger import Ledger
from relay.web.app import create_app
from relay.web.operations import Operations
from tests.ledgers import new_ledger
from tests.web.web_ledger import (
    Clock,
    FakeIntake,
    FakePlanner,
    FakeScanner,
    LedgerDriver,
    settings_for,
)


class TemplateCache(BytecodeCache):
    """Compiled templates, shared by all apps of this process."""

    def __init__(self):
        self.code = {}

    def load_bytecode(self, bucket):
        if code := self.code.get((bucket.key, bucket.checksum)):
            bucket.bytecode_from_string(code)

    def dump_bytecode(self, bucket):
        self.code[bucket.key, bucket.checksum] = bucket.bytecode_to_string()


TEMPLATE_CACHE = TemplateCache()


class Web:
    """The application with a client, a clock and a ledger driver."""

    def __init__(self, folder, **tables):
        self.settings = settings_for(folder, **tables)
        self.clock = Clock()
        if not (folder / "relay.db").exists():
            new_ledger(folder / "relay.db")
        self.ledger = Ledger.open(self.settings.database.url)
        self.intake = FakeIntake(self.settings, self.ledger, self.clock)
        self.operations = Operations(self.ledger, self.intake, FakeScanner(), FakePlanner())
        self.driver = LedgerDriver(self.intake)
        self.app = create_app(self.ledger, self.intake, self.operations)
        self.app.jinja_env.bytecode_cache = TEMPLATE_CACHE
        self.client = self.app.test_client()

    def get(self, path, **options):
        return self._checked("get", path, self.client.get(path, **options))

    def post(self, path, **options):
        return self._checked("post", path, self.client.post(path, **options))

    def _checked(self, method, path, response):
        """Check every response of the API against the OpenAPI document."""
        if path.startswith("/api/v1/") and not path.endswith("openapi.json"):
            check_response(self.document(), method, path.partition("?")[0], response)
        return response

    def document(self):
        with self.app.test_request_context():
            return json.loads(self.app.view_functions["api.openapi"]().get_data())


def check_response(document, method, path, response):
    operation = next(
        (
            operations[method]
            for template, operations in document["paths"].items()
            if method in operations and matches(template, path)
        ),
        None,
    )
    if operation is None:
        assert response.status_code in (404, 405)
        return
    documented = operation["responses"][str(response.status_code)]["content"]
    ((media_type, content),) = documented.items()
    assert response.mimetype == media_type
    schema = {**content["schema"], "components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(response.get_json())


def matches(template, path):
    pairs = list(zip(template.split("/"), path.split("/"), strict=False))
    return template.count("/") == path.count("/") and all(
        pattern == part or pattern.startswith("{") for pattern, part in pairs
    )


def _closing(app):
    """Close each response after reading it.

    The server of werkzeug does not close a response if the browser has disconnected.
    """

    def served(environ, start_response):
        response = app(environ, start_response)
        try:
            yield from response
        finally:
            getattr(response, "close", lambda: None)()

    return served


@contextmanager
def serving(app):
    """Serve the app on a loopback port; yields the URL."""
    server = make_server("127.0.0.1", 0, _closing(app), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
