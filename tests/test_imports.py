"""No module of ours imports itself by a detour, at run time or for the type checker."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("orchestrator", "objectives")
    for path in sorted((ROOT / package).rglob("*.py"))
}


def statements(body: list[ast.stmt], *, everywhere: bool) -> Iterator[ast.stmt]:
    """Yield the statements that run at import; with ``everywhere`` also those of functions and of TYPE_CHECKING."""
    for node in body:
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not everywhere:
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING") and not everywhere:
            yield from statements(node.orelse, everywhere=False)
            continue
        for name in ("body", "orelse", "finalbody"):
            yield from statements(getattr(node, name, []), everywhere=everywhere)
        for handler in getattr(node, "handlers", []):
            yield from statements(handler.body, everywhere=everywhere)


def imported(path: Path, *, everywhere: bool) -> set[str]:
    """Return our modules that a file imports; ``from a import b`` is ``a.b`` where that is a module."""
    found: set[str] = set()
    for node in statements(ast.parse(path.read_text()).body, everywhere=everywhere):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names & MODULES.keys() or {node.module}
    return found & MODULES.keys()


def cycles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the strongly connected components of more than one module (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    components: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            place = stack.index(name)
            component = stack[place:]
            del stack[place:]
            if len(component) > 1:
                components.append(sorted(component))

    for name in graph:
        if name not in index:
            visit(name)
    return components


@pytest.mark.parametrize("everywhere", [False, True], ids=["run time", "types and functions too"])
def test_modules_form_no_import_cycle(everywhere: bool) -> None:
    graph = {name: imported(path, everywhere=everywhere) - {name} for name, path in MODULES.items()}
    assert cycles(graph) == []


def test_cycle_search_finds_cycles() -> None:
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]
