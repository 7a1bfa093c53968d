import pytest

from relay.model import ObjectRef
from relay.plugins import find
from relay.testing import HandlerSuite


class TestShelf(HandlerSuite):
    @pytest.fixture
    def settings(self, tmp_path):
        return {"kind": "shelf:Handler", "folder": str(tmp_path)}

    @pytest.fixture
    def handler(self, settings):
        cls = find("handlers", "shelf:Handler")  # as relay.toml finds it
        return cls("attic", cls.Settings(**settings))

    @pytest.fixture
    def put(self, tmp_path):
        def put(key, body):
            path = tmp_path / key.replace("/", "∕")
            new = tmp_path / "new"
            new.write_bytes(body)
            new.replace(path)
            return ObjectRef("attic", key)

        return put

    @pytest.fixture
    def record(self):
        return {"event": "shelved", "shelf": "attic", "title": "a.zip", "etag": "1-2-3", "size": 2}
