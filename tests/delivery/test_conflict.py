"""The conflict policy, and "did it happen?", over a target that keeps what it is told."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from relay.archive.inspect import ArchiveReport
from relay.config.load import TargetSettings
from relay.delivery.conflict import ImportRequest, bring, forecast, renamed
from relay.errors import NameTaken, OutcomeUnknown, PermanentFailure, TemporaryFailure
from relay.model import Skipped, Succeeded
from relay.targets.contract import ExistingFunction, FunctionName, ImportResult, Target

CREATED = datetime(2026, 11, 24, 3, 4, 5, tzinfo=UTC)
ORDER = FunctionName("hello", "default")


@dataclass
class Code:
    """An archive whose code is one byte string."""

    body: bytes
    name: str = "hello.zip"
    size: int = 10
    report: ArchiveReport = field(default_factory=lambda: ArchiveReport(10, (), (), None))

    @property
    def code_size(self) -> int:
        return len(self.body)

    def chunks(self) -> Iterator[bytes]:
        yield self.body

    def code(self) -> Iterator[bytes]:
        yield self.body

    def code_digest(self) -> str:
        return hashlib.sha512(self.body).hexdigest()

    @property
    def known_digest(self) -> str:
        return self.code_digest()


class Shelf(Target):
    """Keeps functions in a dict; `lose` makes a call act and then lose its answer."""

    def __init__(self) -> None:
        super().__init__("shelf", TargetSettings(kind="shelf"), outbound=None)
        self.functions: dict[str, bytes] = {}
        self.created: list[str] = []
        self.replaced: list[str] = []
        self.lose = False
        self.lose_before = False
        self.hidden = False
        self.sizes = False
        self.names: dict[str, str] = {}

    def check(self, order, report):
        pass

    def held(self, order):
        if order.func_name not in self.functions or self.hidden:
            return None
        digest = hashlib.sha512(self.functions[order.func_name]).hexdigest()
        shown = self.names.get(digest, digest)
        size = len(self.functions[order.func_name]) if self.sizes else None
        return ExistingFunction(f"urn:{order.func_name}", order.func_name, "default", shown, size)

    def create(self, order, archive, progress):
        if self.lose_before:
            raise OutcomeUnknown("lost", "the answer was lost")
        if order.func_name in self.functions:
            raise NameTaken("FSS.1061", "exists")
        self.functions[order.func_name] = b"".join(archive.code())
        self.created.append(order.func_name)
        if self.lose:
            raise OutcomeUnknown("lost", "the answer was lost")
        return ImportResult(f"urn:{order.func_name}", order.func_name, "default")

    def replace(self, held, archive, progress):
        self.functions[held.func_name] = b"".join(archive.code())
        self.replaced.append(held.func_name)
        return ImportResult(held.urn, held.func_name, "default")


def wish(policy: str = "skip", *, earlier: bool = False) -> ImportRequest:
    return ImportRequest(ORDER, policy, CREATED, earlier)


def go(shelf, policy="skip", *, body=b"new", earlier=False):
    return bring(shelf, wish(policy, earlier=earlier), Code(body), lambda _: None)


def test_a_free_name_is_created():
    shelf = Shelf()
    outcome = go(shelf)
    assert outcome.result["how"] == "created"
    assert outcome.result["func_urn"] == "urn:hello"
    assert shelf.functions == {"hello": b"new"}


def test_a_lost_answer_of_an_import_that_happened_is_a_success():
    shelf = Shelf()
    shelf.lose = True
    assert isinstance(go(shelf), Succeeded)


def test_a_lost_answer_of_an_import_that_did_not_happen_is_tried_again():
    shelf = Shelf()
    shelf.lose_before = True
    with pytest.raises(TemporaryFailure):
        go(shelf)
    assert shelf.functions == {}


def test_after_an_earlier_attempt_equal_code_is_our_success_without_another_call():
    shelf = Shelf()
    shelf.functions["hello"] = b"new"
    outcome = go(shelf, earlier=True)
    assert outcome.result["how"] == "already there"
    assert shelf.created == []


def test_without_an_earlier_attempt_equal_code_is_unchanged():
    shelf = Shelf()
    shelf.functions["hello"] = b"new"
    assert go(shelf) == Skipped("unchanged", go(shelf).result)


def test_skip_fails_on_other_code_and_says_what_to_do():
    shelf = Shelf()
    shelf.functions["hello"] = b"old"
    with pytest.raises(PermanentFailure) as caught:
        go(shelf)
    assert caught.value.code == "conflict.other_content"
    assert "update" in caught.value.hint.en
    assert "update" in caught.value.hint.zh
    assert shelf.functions == {"hello": b"old"}


@pytest.mark.parametrize("body", [b"old", b"new"])
def test_fail_fails_on_any_taken_name(body):
    shelf = Shelf()
    shelf.functions["hello"] = body
    with pytest.raises(PermanentFailure) as caught:
        go(shelf, "fail")
    assert caught.value.code == "conflict.taken"


def test_update_replaces():
    shelf = Shelf()
    shelf.functions["hello"] = b"old"
    assert go(shelf, "update").result["how"] == "updated"
    assert shelf.functions == {"hello": b"new"}


def test_update_after_an_earlier_attempt_replaces_again_since_only_half_may_have_happened():
    shelf = Shelf()
    shelf.functions["hello"] = b"new"
    go(shelf, "update", earlier=True)
    assert shelf.replaced == ["hello"]
    assert shelf.created == []


def test_rename_keeps_both_and_is_the_same_name_at_every_attempt():
    shelf = Shelf()
    shelf.functions["hello"] = b"old"
    assert go(shelf, "rename").result["func_name"] == "hello-20261124-030405"
    again = go(shelf, "rename", earlier=True)
    assert again.result["how"] == "already there"
    assert sorted(shelf.functions) == ["hello", "hello-20261124-030405"]


def test_a_renamed_import_whose_answer_was_lost_is_asked_about():
    shelf = Shelf()
    shelf.functions["hello"] = b"old"
    shelf.lose = True
    assert go(shelf, "rename").result["func_name"] == "hello-20261124-030405"


def test_a_long_name_is_renamed_within_sixty_characters():
    assert len(renamed(FunctionName("f" * 60, "default"), CREATED).func_name) == 60


def test_a_name_that_is_taken_but_not_shown_is_asked_about_later():
    shelf = Shelf()
    shelf.functions["hello"] = b"old"
    shelf.hidden = True
    with pytest.raises(TemporaryFailure) as caught:
        go(shelf)
    assert caught.value.code == "conflict.unclear"


@pytest.mark.parametrize(
    ("policy", "same", "action"),
    [
        ("skip", True, "skip"),
        ("skip", False, "fail"),
        ("fail", True, "fail"),
        ("update", False, "update"),
        ("rename", False, "create"),
    ],
)
def test_the_forecast_says_what_the_policy_does(policy, same, action):
    held = ExistingFunction("urn:hello", "hello", "default", "00")
    assert forecast(held, ORDER, policy, CREATED, same)["action"] == action
    assert forecast(None, ORDER, policy, CREATED, same) == {
        "action": "create",
        "func_name": "hello",
    }


def test_a_target_that_names_code_otherwise_is_understood_once_it_was_learned():
    shelf = Shelf()
    shelf.functions["hello"] = b"new"
    ours = hashlib.sha512(b"new").hexdigest()
    shelf.names = {ours: "f00d"}
    unknown = wish("skip", earlier=True)
    with pytest.raises(PermanentFailure):
        bring(shelf, unknown, Code(b"new"), lambda _: None)
    known = ImportRequest(ORDER, "skip", CREATED, earlier=True, learned={ours: "f00d"}.get)
    assert bring(shelf, known, Code(b"new"), lambda _: None).result["how"] == "already there"


class Counting(Shelf):
    """Counts what is sent, and may refuse to show what it holds."""

    def __init__(self):
        super().__init__()
        self.sent = 0
        self.refuses = False

    def held(self, order):
        if self.refuses:
            raise PermanentFailure("FSS.0403", "you may not look")
        return super().held(order)

    def create(self, order, archive, progress):
        self.sent += 1
        return super().create(order, archive, progress)


def test_a_name_that_is_taken_costs_no_upload():
    shelf = Counting()
    shelf.functions["hello"] = b"old"
    with pytest.raises(PermanentFailure):
        go(shelf)
    assert shelf.sent == 0


def test_a_key_that_may_not_look_may_still_import():
    shelf = Counting()
    shelf.refuses = True
    assert go(shelf).result["how"] == "created"


def test_after_an_earlier_attempt_a_refusal_to_look_decides_nothing():
    shelf = Counting()
    shelf.functions["hello"] = b"new"
    shelf.refuses = True
    with pytest.raises(TemporaryFailure) as caught:
        go(shelf, earlier=True)
    assert caught.value.code == "conflict.cannot_ask"


def test_a_name_taken_in_the_same_moment_is_resolved_by_the_policy():
    class Race(Counting):
        def create(self, order, archive, progress):
            self.functions.setdefault("hello", b"theirs")
            return super().create(order, archive, progress)

    with pytest.raises(PermanentFailure) as caught:
        go(Race())
    assert caught.value.code == "conflict.other_content"


def test_a_free_name_that_is_there_after_a_lost_answer_is_ours_whatever_its_digest():
    shelf = Shelf()
    shelf.names = {hashlib.sha512(b"new").hexdigest(): "f00d"}
    shelf.lose = True
    shelf.sizes = True
    assert go(shelf).result["how"] == "already there"
