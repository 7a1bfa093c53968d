"""The conflict policy and lost responses, against a target that keeps functions in memory."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from relay.archive.inspect import ArchiveReport
from relay.config.load import TargetSettings
from relay.delivery.changes import CodeComparison, ImportChanges
from relay.delivery.conflict import Action, ImportRequest, decide, predict, renamed
from relay.delivery.import_archive import import_archive
from relay.errors import NameTaken, OutcomeUnknown, PermanentFailure, TemporaryFailure
from relay.intents import ChangeCall, Intent, IntentState, NewIntent
from relay.model import Skipped, Succeeded
from relay.targets.contract import ExistingFunction, FunctionName, ImportResult, Target

CREATED = datetime(2026, 11, 24, 3, 4, 5, tzinfo=UTC)
FUNCTION = FunctionName("hello", "default")
COPY = renamed(FUNCTION, CREATED, "upload 1")


@dataclass
class FakeArchive:
    """An archive whose code is a byte string."""

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
        return sha512(self.body)

    @property
    def known_digest(self) -> str:
        return self.code_digest()


class FakeTarget(Target):
    """Keeps functions in a dict.

    `lose_response`: a call takes effect, and the response is lost. `lose_request`: a call has no
    effect, and the response is lost. `hides_functions`: lookups find nothing. `reports_sizes`:
    lookups return the code size. `digests`: what the target reports instead of a SHA-512.
    `creates_as`: the name under which it creates a function; `answers_with`: that in the response.
    """

    def __init__(self) -> None:
        super().__init__("fake", TargetSettings(kind="fake"), outbound=None)
        self.functions: dict[str, bytes] = {}
        self.created: list[str] = []
        self.replaced: list[str] = []
        self.lose_response = False
        self.creates_as = self.answers_with = ""
        self.lose_request = False
        self.hides_functions = False
        self.reports_sizes = False
        self.modified = None
        self.digests: dict[str, str] = {}

    def check(self, function, report):
        pass

    def held(self, function):
        name = function.func_name
        if name not in self.functions or self.hides_functions:
            return None
        code = self.functions[name]
        digest = self.digests.get(sha512(code), sha512(code))
        size = len(code) if self.reports_sizes else None
        return ExistingFunction(f"urn:{name}", name, "default", digest, size, self.modified)

    def create(self, function, archive, changes, progress):
        name = function.func_name
        change = send(changes, ChangeCall.CREATE, function, archive)
        if self.lose_request:
            raise OutcomeUnknown("lost", "the response was lost")
        if name in self.functions:
            change.refused()
            raise NameTaken("FSS.1061", "exists")
        name = self.creates_as or name
        self.functions[name] = b"".join(archive.code())
        self.created.append(name)
        if self.lose_response:
            raise OutcomeUnknown("lost", "the response was lost")
        return ImportResult(f"urn:{name}", self.answers_with or name, "default")

    def replace(self, existing, archive, changes, progress, options):
        function = FunctionName(existing.func_name, existing.package)
        send(changes, ChangeCall.UPDATE_CODE, function, archive)
        self.functions[existing.func_name] = b"".join(archive.code())
        self.replaced.append(existing.func_name)
        return ImportResult(existing.urn, existing.func_name, "default")


class CountingTarget(FakeTarget):
    """Counts uploads; with `denies_lookups`, looking a function up is not allowed."""

    def __init__(self):
        super().__init__()
        self.uploads = 0
        self.denies_lookups = False

    def held(self, function):
        if self.denies_lookups:
            raise PermanentFailure("FSS.0403", "you may not list functions")
        return super().held(function)

    def create(self, function, archive, changes, progress):
        self.uploads += 1
        return super().create(function, archive, changes, progress)


class RacingTarget(FakeTarget):
    """Another client takes the free name with other code just before our call, whose response is
    lost."""

    def create(self, function, archive, changes, progress):
        send(changes, ChangeCall.CREATE, function, archive)
        self.functions[function.func_name] = b"foreign, and longer"
        raise OutcomeUnknown("lost", "the response was lost")


def sha512(code: bytes) -> str:
    return hashlib.sha512(code).hexdigest()


def send(changes, call, function, archive):
    """Send the code by a call of the guard, like a target."""
    change = changes.change(
        call, function, Code(archive.code()), digest=archive.code_digest, size=archive.code_size
    )
    list(change)
    return change


class Code(list[bytes]):
    def __len__(self):
        return sum(map(len, self))


@dataclass
class Digests:
    """The known digests of a target."""

    known: dict[str, str] = field(default_factory=dict)
    only_sha512: bool = False

    def find(self, target, sha512):
        return self.known.get(sha512)

    def reports_sha512(self, target, code_type):
        return self.only_sha512


def request_of(policy="skip", digests=None, *, only_sha512=False):
    comparison = CodeComparison(Digests(digests or {}, only_sha512), "prod", "")
    return ImportRequest(FUNCTION, policy, COPY, comparison)


def an_intent(body=b"new", name="hello"):
    what = NewIntent(
        ChangeCall.CREATE, "hello", name, "default", sha512(body), len(body), name_was_free=True
    )
    return Intent("1", "d1", what, CREATED, CREATED, IntentState.OPEN)


def run_import(
    target, policy="skip", *, body=b"new", uncertain=False, digests=None, only_sha512=False
):
    """Import; `uncertain`: a call of an earlier attempt may have taken effect."""
    intents = [an_intent(body)] if uncertain else []
    changes = ImportChanges("hello", lambda: CREATED, intents=intents)
    request = request_of(policy, digests, only_sha512=only_sha512)
    return import_archive(target, request, FakeArchive(body), changes, lambda _: None)


@pytest.fixture
def target():
    return FakeTarget()


def test_a_free_name_is_created(target):
    outcome = run_import(target)
    assert outcome.result["how"] == "created"
    assert outcome.result["func_urn"] == "urn:hello"
    assert target.functions == {"hello": b"new"}


def test_a_lost_response_of_an_import_that_took_effect_is_a_success(target):
    target.lose_response = True
    assert isinstance(run_import(target), Succeeded)


def test_a_lost_response_of_an_import_without_effect_is_retried(target):
    target.lose_request = True
    with pytest.raises(TemporaryFailure):
        run_import(target)
    assert target.functions == {}


def test_after_an_earlier_attempt_equal_code_is_a_success_without_another_call(target):
    target.functions["hello"] = b"new"
    outcome = run_import(target, uncertain=True)
    assert outcome.result["how"] == "already there"
    assert target.created == []


def test_without_an_earlier_attempt_equal_code_is_unchanged(target):
    target.functions["hello"] = b"new"
    assert run_import(target) == Skipped("unchanged", run_import(target).result)


def test_skip_fails_on_other_code_and_names_the_choices(target):
    target.functions["hello"] = b"old"
    with pytest.raises(PermanentFailure) as caught:
        run_import(target)
    assert caught.value.code == "conflict.other_content"
    assert "update" in caught.value.hint.en
    assert "update" in caught.value.hint.zh
    assert target.functions == {"hello": b"old"}


@pytest.mark.parametrize("body", [b"old", b"new"])
def test_fail_fails_on_any_taken_name(target, body):
    target.functions["hello"] = body
    with pytest.raises(PermanentFailure) as caught:
        run_import(target, "fail")
    assert caught.value.code == "conflict.taken"


def test_update_replaces_the_function(target):
    target.functions["hello"] = b"old"
    assert run_import(target, "update").result["how"] == "updated"
    assert target.functions == {"hello": b"new"}


def test_update_replaces_again_after_an_earlier_attempt_that_may_be_half_done(target):
    target.functions["hello"] = b"new"
    run_import(target, "update", uncertain=True)
    assert target.replaced == ["hello"]
    assert target.created == []


def test_rename_keeps_both_and_uses_the_same_name_in_every_attempt(target):
    target.functions["hello"] = b"old"
    assert run_import(target, "rename").result["func_name"] == COPY.func_name
    second = run_import(target, "rename", uncertain=True)
    assert second.result["how"] == "already there"
    assert sorted(target.functions) == ["hello", COPY.func_name]


def test_a_renamed_import_whose_response_was_lost_is_looked_up(target):
    target.functions["hello"] = b"old"
    target.lose_response = True
    assert run_import(target, "rename").result["func_name"] == COPY.func_name


def test_a_long_name_is_renamed_within_sixty_characters():
    assert len(renamed(FunctionName("f" * 60, "default"), CREATED, "1").func_name) == 60


def test_copies_made_within_a_second_and_copies_of_names_that_are_cut_differ():
    uploads = [("f" * 60, "1"), ("f" * 60, "2"), ("f" * 59 + "g", "1"), ("f" * 58, "1")]
    names = {renamed(FunctionName(name, "p"), CREATED, upload) for name, upload in uploads}
    assert len(names) == len(uploads)


def test_a_taken_name_that_no_lookup_finds_is_retried(target):
    target.functions["hello"] = b"old"
    target.hides_functions = True
    with pytest.raises(TemporaryFailure) as caught:
        run_import(target)
    assert caught.value.code == "conflict.unclear"


EXISTING = ExistingFunction("urn:hello", "hello", "default", "00")


@pytest.mark.parametrize(
    ("policy", "same", "uncertain", "action"),
    [
        ("skip", True, False, Action.SKIP),
        ("skip", True, True, Action.CONFIRM),
        ("skip", False, False, Action.FAIL),
        ("skip", False, True, Action.FAIL),
        ("fail", True, False, Action.FAIL),
        ("fail", True, True, Action.CONFIRM),
        ("fail", False, True, Action.FAIL),
        ("update", True, True, Action.UPDATE),
        ("rename", True, True, Action.RENAME),
    ],
)
def test_the_policy_decides_about_a_taken_name(policy, same, uncertain, action):
    assert decide(EXISTING, policy, lambda: same, uncertain=uncertain) is action
    assert decide(None, policy, lambda: same, uncertain=uncertain) is Action.CREATE


@pytest.mark.parametrize("policy", ["update", "rename"])
def test_update_and_rename_compare_no_code(policy):
    action = decide(EXISTING, policy, lambda: pytest.fail("the archive was read"))
    assert action is Action(policy)


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
def test_the_prediction_names_what_the_policy_does(policy, same, action):
    request = request_of(policy)
    assert predict(EXISTING, request, is_same=same)["action"] == action
    assert predict(None, request, is_same=same) == {"action": "create", "func_name": "hello"}


def test_code_is_recognised_by_the_digest_that_the_target_is_known_to_report(target):
    target.functions["hello"] = b"new"
    target.digests = {sha512(b"new"): "f00d"}
    with pytest.raises(PermanentFailure):
        run_import(target, uncertain=True)
    outcome = run_import(target, uncertain=True, digests=target.digests)
    assert outcome.result["how"] == "already there"


def test_a_taken_name_costs_no_upload():
    target = CountingTarget()
    target.functions["hello"] = b"old"
    with pytest.raises(PermanentFailure):
        run_import(target)
    assert target.uploads == 0


def test_a_key_that_may_not_list_functions_can_import():
    target = CountingTarget()
    target.denies_lookups = True
    assert run_import(target).result["how"] == "created"


def test_after_an_earlier_attempt_a_denied_lookup_decides_nothing():
    target = CountingTarget()
    target.functions["hello"] = b"new"
    target.denies_lookups = True
    with pytest.raises(TemporaryFailure) as caught:
        run_import(target, uncertain=True)
    assert caught.value.code == "conflict.cannot_ask"


def test_a_name_taken_between_lookup_and_call_is_resolved_by_the_policy():
    class Race(CountingTarget):
        def create(self, function, archive, changes, progress):
            self.functions.setdefault("hello", b"foreign")
            return super().create(function, archive, changes, progress)

    with pytest.raises(PermanentFailure) as caught:
        run_import(Race())
    assert caught.value.code == "conflict.other_content"


def test_until_the_digests_of_a_target_are_known_the_size_of_a_free_name_decides(target):
    target.digests = {sha512(b"new"): "f00d"}
    target.lose_response = True
    target.reports_sizes = True
    result = run_import(target).result
    assert result["how"] == "already there"
    assert [warning["code"] for warning in result["warnings"]] == ["outcome.by_size"]


def test_once_a_target_reports_the_sha512_an_equal_size_is_not_enough(target):
    target.digests = {sha512(b"new"): "f00d"}
    target.lose_response = True
    target.reports_sizes = True
    with pytest.raises(OutcomeUnknown):
        run_import(target, only_sha512=True)


@pytest.mark.parametrize("policy", ["skip", "fail", "rename"])
def test_other_code_of_equal_size_is_not_ours(target, policy):
    class Race(FakeTarget):
        def create(self, function, archive, changes, progress):
            send(changes, ChangeCall.CREATE, function, archive)
            self.functions[function.func_name] = b"old"
            raise OutcomeUnknown("lost", "the response was lost")

    race = Race()
    race.reports_sizes = True
    with pytest.raises(OutcomeUnknown):
        run_import(race, policy, only_sha512=True)


def test_a_response_that_names_another_function_is_checked_at_the_target(target):
    target.answers_with = "test_v1_2"
    result = run_import(target).result
    assert (result["how"], result["func_name"]) == ("created", "hello")
    (warning,) = result["warnings"]
    assert "hello" in warning["message"]["en"]
    assert "test_v1_2" in warning["message"]["en"]


@pytest.mark.parametrize(
    "modified", ["2026-11-24T03:04:07Z", "2026-11-24T11:04:05", "2026-11-23T23:34:59"]
)
def test_a_response_that_names_another_function_which_holds_our_code_is_a_success(target, modified):
    """A time without a zone may be that of any zone."""
    target.answers_with = target.creates_as = "test_v1_2"
    target.modified = modified
    result = run_import(target).result
    assert (result["how"], result["func_name"]) == ("created", "test_v1_2")
    assert result["warnings"]


def test_a_response_about_another_function_is_a_lost_response_if_the_target_holds_neither(target):
    target.answers_with, target.creates_as = "other", "third"
    with pytest.raises(OutcomeUnknown) as lost:
        run_import(target)
    assert lost.value.code == "import.other_function"


@pytest.mark.parametrize("modified", ["2026-11-24T03:03:59Z", "2026-11-24T11:03:58", None])
def test_an_older_function_with_equal_code_is_not_ours_because_a_response_names_it(
    target, modified
):
    target.answers_with = target.creates_as = "older"
    target.modified = modified
    with pytest.raises(OutcomeUnknown) as lost:
        run_import(target)
    assert lost.value.code == "import.other_function"


@pytest.mark.parametrize("policy", ["skip", "fail", "update", "rename"])
@pytest.mark.parametrize("reports_sizes", [True, False])
def test_a_foreign_function_is_never_reported_as_our_success(policy, reports_sizes):
    target = RacingTarget()
    target.reports_sizes = reports_sizes
    with pytest.raises(OutcomeUnknown):
        run_import(target, policy)
