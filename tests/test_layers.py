"""The import rules of the packages: a table, no cycles, no hidden imports."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

LAYERS = {
    "relay": "",
    "relay.intents": "",
    "relay.model": "intents",
    "relay.errors": "model",
    "relay.config": "intents model errors",
    "relay.archive": "intents model errors config",
    "relay.outbound": "intents model errors config",
    "relay.ledger": "intents model errors config",
    "relay.sources": "intents model errors config outbound",
    "relay.targets": "intents model errors config outbound archive",
    "relay.channels": "intents model errors config outbound",
    "relay.handlers": "intents model errors config outbound sources",
    "relay.plugins": "intents model errors config outbound sources targets channels",
    "relay.intake": "intents model errors config ledger sources",
    "relay.delivery": "intents model errors config archive ledger sources targets channels plugins",
    "relay.web": "intents model errors config channels delivery intake ledger sources",
    "relay.app": "intents model errors config outbound archive ledger sources targets channels"
    " plugins intake delivery web",
    "relay.testing": "intents model errors config outbound archive sources targets channels",
    "relay.cli": "intents model errors config outbound archive ledger sources targets channels"
    " plugins intake delivery web app testing",
    "relay.__main__": "cli",
}
"""The packages that each package may import; every package may import `relay`."""

BASE = {"intents", "model", "errors"}
"""The modules that every package may import."""

LATE = ("relay.cli.*",)
"""Modules that import ours inside functions, so that `relay --help` is fast."""

SDK_USERS = ("relay.handlers.*", "relay.targets.*.*", "relay.channels.*.*")
"""Plug-ins: they may import their SDK at first use."""

SHARED_KINDS = {("relay.channels.lark.channel", "relay.channels.feishu.channel")}
"""Plug-ins that extend another kind: Lark is Feishu at another host."""


@dataclass(frozen=True)
class Import:
    module: str
    imported: str
    late: bool


def modules() -> dict[str, Path]:
    """Every module of ours by its dotted name."""
    found = {}
    for top, prefix in (("relay", ()), ("handlers", ("relay",))):
        for path in (ROOT / top).rglob("*.py"):
            parts = (*prefix, *path.relative_to(ROOT).with_suffix("").parts)
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
            assert not child.level, f"{module} imports relatively: write the absolute name"
            base = child.module or ""
            for alias in child.names:
                full = f"{base}.{alias.name}"
                yield Import(module, full if full in MODULES else base, late)
        inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from _walk(module, child, late=late or inside)


ALL = [item for name, path in MODULES.items() for item in read_imports(name, path.read_text())]
OURS = [item for item in ALL if item.imported.split(".")[0] == "relay"]


def package_of(module: str) -> str:
    """`relay.ledger.queue` -> `relay.ledger`"""
    return ".".join(module.split(".")[:2])


def is_upward(item: Import) -> bool:
    """Whether the table does not allow the import."""
    own, other = package_of(item.module), package_of(item.imported)
    if other in (own, "relay"):
        return False
    return other.removeprefix("relay.") not in LAYERS.get(own, "").split()


def is_of_a_plug_in(item: Import) -> bool:
    """Whether a module imports a plug-in that it is not a part of."""
    plug_in = plug_in_of(item.imported)
    allowed = (item.module, item.imported) in SHARED_KINDS
    return plug_in is not None and plug_in_of(item.module) != plug_in and not allowed


def plug_in_of(module: str) -> str | None:
    """The kind that a module belongs to; None for shared modules."""
    parts = module.split(".")
    group = parts[1] if len(parts) > 2 else ""
    kind = ".".join(parts[:3])
    is_folder = MODULES.get(kind, Path()).name == "__init__.py"
    if group == "handlers" or (group in ("targets", "channels") and is_folder):
        return kind
    return None


def cycles(imports: list[Import]) -> list[list[str]]:
    """Every set of modules that reach each other."""
    graph: dict[str, set[str]] = {}
    for item in imports:
        if item.module != item.imported:
            graph.setdefault(item.module, set()).add(item.imported)
    reach = {name: reached_from(name, graph) for name in graph}
    components = {
        tuple(sorted(other for other in reach[name] if name in reach.get(other, ())))
        for name in graph
        if name in reach[name]
    }
    return [list(component) for component in sorted(components)]


def reached_from(name: str, graph: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    ahead = list(graph[name])
    while ahead:
        module = ahead.pop()
        if module not in reached:
            reached.add(module)
            ahead += graph.get(module, ())
    return reached


def test_the_table_names_every_package():
    assert {package_of(name) for name in MODULES} == set(LAYERS)


def documented_imports() -> dict[str, set[str]]:
    """The table of relay/README.md: package -> what it may import, beside `BASE`."""
    names = {name.removeprefix("relay.") for name in LAYERS} - {"relay", "__main__"}
    table = {}
    text = (ROOT / "relay/README.md").read_text()
    for packages, cell in re.findall(r"(?m)^\| (`.*?) \| .* \| (.*) \|$", text):
        if cell.startswith("all but "):
            allowed = names - set(re.findall(r"`(\w+)`", cell))
        else:
            allowed = set() if cell == "nothing" else set(cell.split(", "))
        for package in re.findall(r"`(\w+)(?:/|\.py)`", packages):
            table[package] = allowed - BASE - {package}
    return table


def test_the_readme_has_the_same_table():
    layers = {name.removeprefix("relay."): set(allowed.split()) for name, allowed in LAYERS.items()}
    del layers["relay"], layers["__main__"]
    assert documented_imports() == {name: allowed - BASE for name, allowed in layers.items()}
    assert all(allowed >= BASE for name, allowed in layers.items() if name not in BASE)


def test_imports_follow_the_table():
    wrong = [f"{item.module} imports {item.imported}" for item in OURS if is_upward(item)]
    assert not wrong, "LAYERS does not allow:\n" + "\n".join(wrong)


def test_plug_ins_are_not_imported():
    wrong = [f"{item.module} imports {item.imported}" for item in OURS if is_of_a_plug_in(item)]
    assert not wrong, "plug-ins are found by relay.plugins, not imported:\n" + "\n".join(wrong)


def test_there_are_no_cycles():
    assert cycles(OURS) == []


def test_there_are_no_cycles_between_packages():
    between = [
        Import(package_of(item.module), package_of(item.imported), item.late) for item in OURS
    ]
    assert cycles([item for item in between if item.imported != "relay"]) == []


def test_own_modules_are_imported_at_the_top():
    late = [
        f"{item.module} imports {item.imported}"
        for item in OURS
        if item.late and not any(fnmatchcase(item.module, pattern) for pattern in LATE)
    ]
    assert not late, "a late import hides a cycle:\n" + "\n".join(late)


def test_only_plug_ins_and_commands_import_libraries_late():
    late = {item.module for item in ALL if item.late and item not in OURS}
    allowed = (*LATE, *SDK_USERS, "relay.ledger.upgrade")
    wrong = [name for name in late if not any(fnmatchcase(name, pattern) for pattern in allowed)]
    assert not wrong, f"{sorted(wrong)} import inside functions; only SDKs in plug-ins may"


def test_only_the_plug_in_loader_and_the_command_line_import_by_name():
    """`importlib` would evade all of the above."""
    by_name = {item.module for item in ALL if item.imported.split(".")[0] == "importlib"}
    assert by_name <= {"relay.plugins", "relay.cli.main"}


def test_relay_stays_small_at_the_top():
    entries = [path for path in (ROOT / "relay").iterdir() if path.name != "__pycache__"]
    assert len(entries) <= 22
    assert sum(path.suffix == ".py" for path in entries) <= 6


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("relay.model", "from relay.config.load import load"),
        ("relay.config.routing", "from relay import ledger"),
        ("relay.ledger.queue", "import relay.plugins"),
        ("relay.plugins", "def load():\n    from relay.delivery.worker import Worker"),
        ("relay.handlers.s3", "from relay.plugins import find"),
        ("relay.handlers.s3", "from relay.ledger import Ledger"),
        ("relay.testing.handler_suite", "from relay.delivery.worker import Worker"),
        ("relay.nowhere", "import relay.model"),
    ],
)
def test_an_import_that_points_up_is_found(module, source):
    (found,) = read_imports(module, source)
    assert is_upward(found)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("relay.plugins", "import relay.handlers.s3"),
        ("relay.handlers.local.handler", "from relay.handlers.s3 import Handler"),
        ("relay.channels.card", "from relay.channels.slack.card import blocks"),
        ("relay.targets.other", "from relay.targets.functiongraph.auth import Auth"),
    ],
)
def test_an_import_of_a_plug_in_is_found(module, source):
    (found,) = read_imports(module, source)
    assert is_of_a_plug_in(found)


def test_a_cycle_is_found_and_imports_for_types_are_not():
    source = "if TYPE_CHECKING:\n    import relay.ledger\nfrom relay import model"
    assert list(read_imports("relay.config.units", source)) == [
        Import("relay.config.units", "relay.model", late=False)
    ]
    ring = [Import("a", "b", late=False), Import("b", "c", late=True), Import("c", "a", late=False)]
    assert cycles(ring) == [["a", "b", "c"]]
    assert cycles(ring[:2]) == []
