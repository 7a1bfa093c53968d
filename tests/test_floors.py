"""The house stands: imports point down only, none goes round, none hides (relay/README.md)."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("relay", "handlers")

FLOORS = {
    0: "relay relay.model relay.errors relay.ids",
    1: "relay.settings relay.settings_* relay.units relay.globs relay.routes relay.report"
    " relay.card relay.card_* relay.lanes relay.words relay.quiet relay.backoff relay.archive"
    " relay.preview relay.preview_*"
    " relay.zip_* relay.export relay.export_words"
    " relay.strict_yaml relay.addresses relay.storage_words relay.ranged relay.renewed"
    " relay.passage relay.resuming relay.body relay.signing relay.wire"
    " relay.records relay.own_records relay.s3_records relay.folder relay.whole relay.envelope"
    " relay.envelopes relay.envelopes.* relay.metrics relay.logs relay.links",
    2: "relay.handler relay.target relay.channel relay.setup relay.setup_* relay.store"
    " relay.store.* relay.outbound"
    " relay.fetch relay.posting relay.aws relay.s3 relay.s3_listing relay.s3_places relay.sqs"
    " relay.watch"
    " relay.robot relay.robot_* relay.bearer relay.http_api relay.http_storage relay.bucket_pages",
    3: "handlers handlers.* relay.targets relay.targets.* relay.channels relay.channels.*",
    4: "relay.loader",
    5: "relay.intake relay.housekeeping relay.pull relay.scan relay.worker relay.runs relay.bell"
    " relay.leases relay.clock relay.presence relay.deliver"
    " relay.announced relay.heard relay.near relay.conflict relay.plan relay.desk",
    6: "relay.cli relay.__main__ relay.commands relay.commands.* relay.app relay.views"
    " relay.views.* relay.house relay.server relay.threads relay.wsgi relay.demo relay.story",
}
"""Patterns of module names by floor; `*` also matches dots."""

BESIDE = {"relay.sandbox": {0, 1}, "relay.testing": {0, 1, 2}}
"""Packages beside the house, and the floors that they may import."""

LATE = ("relay.cli", "relay.commands.*", "relay.store.migrate")
"""Who may import ours inside functions: `relay --help` stays fast, and a start without Alembic."""


@dataclass(frozen=True)
class Import:
    module: str
    imported: str
    late: bool


def modules() -> dict[str, Path]:
    """Every module of ours by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def read_imports(module: str, source: str) -> Iterator[Import]:
    """Every import of the source except those for types only; `from relay import x` is x's."""
    yield from _walk(module, ast.parse(source), late=False)


def _walk(module: str, node: ast.AST, *, late: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.Import):
            yield from (Import(module, alias.name, late) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert not child.level, f"{module} imports relatively: write the whole name"
            base = child.module or ""
            for alias in child.names:
                whole = f"{base}.{alias.name}"
                yield Import(module, whole if whole in MODULES else base, late)
        inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from _walk(module, child, late=late or inside)


ALL = [one for name, path in MODULES.items() for one in read_imports(name, path.read_text())]
OURS = [one for one in ALL if one.imported.split(".")[0] in PACKAGES]


def floor_of(module: str) -> int | None:
    """The floor of a module; None for what stands beside the house, or nowhere."""
    for floor, patterns in FLOORS.items():
        if any(fnmatchcase(module, pattern) for pattern in patterns.split()):
            return floor
    return None


def beside(module: str) -> str | None:
    return next((name for name in BESIDE if f"{module}.".startswith(f"{name}.")), None)


def is_upward(one: Import) -> bool:
    """Whether the import breaks the order of the floors."""
    own, other = beside(one.module), beside(one.imported)
    floor, below = floor_of(one.module), floor_of(one.imported)
    if own:
        sideways = other == own or (own == "relay.testing" and other == "relay.sandbox")
        return not (sideways or below in BESIDE[own])
    if other:
        return not (other == "relay.sandbox" and floor == 6)
    return floor is None or below is None or below > floor


def is_of_a_plug_in(one: Import) -> bool:
    """Whether somebody imports a plug-in who is not the plug-in itself."""
    if floor_of(one.imported) != 3:
        return False
    package, _, name = one.imported.rpartition(".")
    kind = one.module.rpartition(".")[2]
    # `functiongraph` and its private modules `_functiongraph_*` are one plug-in.
    same = one.module.startswith(f"{package}.") and name.startswith("_")
    return not (same and kind.strip("_").split("_")[0] == name.strip("_").split("_")[0])


def circles(imports: list[Import]) -> list[list[str]]:
    """Every knot of modules that reach each other."""
    graph: dict[str, set[str]] = {}
    for one in imports:
        if one.module != one.imported:
            graph.setdefault(one.module, set()).add(one.imported)
    reach = {name: reached_from(name, graph) for name in graph}
    knots = {
        tuple(sorted(other for other in reach[name] if name in reach.get(other, ())))
        for name in graph
        if name in reach[name]
    }
    return [list(knot) for knot in sorted(knots)]


def reached_from(name: str, graph: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    ahead = list(graph[name])
    while ahead:
        one = ahead.pop()
        if one not in reached:
            reached.add(one)
            ahead += graph.get(one, ())
    return reached


def test_every_module_stands_on_a_floor():
    nowhere = [name for name in MODULES if floor_of(name) is None and not beside(name)]
    assert not nowhere, (
        f"{nowhere} are on no floor: write them into FLOORS in {Path(__file__).name} and into "
        "relay/README.md, on the floor of those who do such things"
    )


def test_imports_point_down_only():
    wrong = [f"{one.module} imports {one.imported}" for one in OURS if is_upward(one)]
    assert not wrong, "these point up or aside:\n" + "\n".join(wrong)


def test_nobody_imports_a_plug_in():
    wrong = [f"{one.module} imports {one.imported}" for one in OURS if is_of_a_plug_in(one)]
    assert not wrong, "plug-ins are found by relay.loader, not imported:\n" + "\n".join(wrong)


def test_there_are_no_circles():
    assert circles(OURS) == []


def test_ours_are_imported_at_the_top():
    late = [
        f"{one.module} imports {one.imported}"
        for one in OURS
        if one.late and not any(fnmatchcase(one.module, pattern) for pattern in LATE)
    ]
    assert not late, "a late import hides a circle:\n" + "\n".join(late)


def test_only_plug_ins_and_commands_import_libraries_late():
    late = {one.module for one in ALL if one.late and one not in OURS}
    wrong = {
        name
        for name in late
        if floor_of(name) != 3 and not any(fnmatchcase(name, pattern) for pattern in LATE)
    }
    assert not wrong, f"{sorted(wrong)} import inside functions; only SDKs in plug-ins may"


def test_only_the_loader_and_the_command_line_import_by_name():
    """`importlib` would lead around all of the above."""
    by_name = {one.module for one in ALL if one.imported.split(".")[0] == "importlib"}
    assert by_name <= {"relay.loader", "relay.cli"}


@pytest.mark.parametrize("floor", FLOORS)
def test_no_pattern_is_left_over(floor):
    unused = [
        pattern
        for pattern in FLOORS[floor].split()
        if not any(fnmatchcase(module, pattern) for module in MODULES)
    ]
    assert not unused, f"floor {floor} names what is not there: {unused}"


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("relay.model", "from relay.settings import Settings"),
        ("relay.routes", "from relay import store"),
        ("relay.store.claims", "import relay.loader"),
        ("relay.loader", "def load():\n    from relay.worker import Worker"),
        ("handlers.s3", "from relay.loader import find"),
        ("relay.worker", "from relay.sandbox.functiongraph import SandboxServer"),
        ("relay.sandbox.api", "from relay.outbound import Outbound"),
        ("relay.testing.handler", "from relay.worker import Worker"),
        ("relay.nowhere", "import relay.model"),
    ],
)
def test_an_import_that_points_up_is_found(module, source):
    (found,) = read_imports(module, source)
    assert is_upward(found)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("relay.loader", "import handlers.s3"),
        ("handlers.local", "from handlers.s3 import Handler"),
        ("relay.targets.other", "from relay.targets._functiongraph_auth import Credentials"),
    ],
)
def test_an_import_of_a_plug_in_is_found(module, source):
    (found,) = read_imports(module, source)
    assert is_of_a_plug_in(found)


def test_a_circle_is_found_and_imports_for_types_are_not():
    source = "if TYPE_CHECKING:\n    import relay.store\nfrom relay import model"
    assert list(read_imports("relay.units", source)) == [
        Import("relay.units", "relay.model", late=False)
    ]
    ring = [Import("a", "b", late=False), Import("b", "c", late=True), Import("c", "a", late=False)]
    assert circles(ring) == [["a", "b", "c"]]
    assert circles(ring[:2]) == []
