import pytest

from relay.model import ObjectRef
from relay.plugins import find
from relay.testing import HandlerSuite


class TestNas(HandlerSuite):
    @pytest.fixture
    def settings(self, tmp_path):
        return {"kind": "nas:Handler", "folder": str(tmp_path)}

    @pytest.fixture
    def handler(self, settings):
        cls = find("handlers", "nas:Handler")  # as relay.toml finds it
        return cls("exports", cls.Settings(**settings))

    @pytest.fixture
    def put(self, tmp_path):
        def put(key, body):
            path = tmp_path / key.replace("/", "∕")
            new = tmp_path / "new"
            new.write_bytes(body)
            new.replace(path)
            return ObjectRef("exports", key)

        return put

    @pytest.fixture
    def record(self):
        return {
            "event": "created",
            "volume": "exports",
            "path": "a.zip",
            "etag": "1-2-3",
            "size": 2,
        }
