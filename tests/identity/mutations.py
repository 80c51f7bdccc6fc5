"""Edits of real modules: some change what the code does, some do not.

An edit gives the whole new text of a module, and the names of the top-level definitions that must (or must
not) get another digest: the edited one, and those that reach it by name.
"""

from __future__ import annotations

import ast
import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True)
class Edit:
    """One edit: its kind, the new text, and whose digests are looked at."""

    kind: str
    owner: str
    where: str
    text: str
    observers: tuple[str, ...]


def definitions(tree: ast.Module) -> dict[str, ast.stmt]:
    """Top-level definitions that are bound once, so that the name means this text."""
    found: dict[str, ast.stmt] = {}
    twice: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            twice.add(node.id)
    for statement in tree.body:
        if isinstance(statement, DEFINITIONS):
            if statement.name in found:
                twice.add(statement.name)
            found[statement.name] = statement
    return {name: node for name, node in found.items() if name not in twice and name != "__getattr__"}


def _is_docstring(parent: ast.AST, statement: ast.stmt) -> bool:
    body = getattr(parent, "body", None)
    return (
        isinstance(body, list)
        and bool(body)
        and body[0] is statement
        and isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


_SKIPPED_FIELDS = {"annotation", "returns", "type_comment", "type_params"}


def _code_nodes(node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Every node with its parent, less docstrings, hints, and definitions that are replaced (overloads)."""
    for field, value in ast.iter_fields(node):
        if field in _SKIPPED_FIELDS:
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST):
                continue
            if isinstance(child, ast.stmt) and (_is_docstring(node, child) or _is_overload(child)):
                continue
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                continue
            if _name_bound(child) in _LEFT_OUT.get() or getattr(child, _REPLACED, False):
                continue
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            yield child, node
            yield from _code_nodes(child)


_REPLACED = "is_replaced"


def _mark_replaced(tree: ast.Module) -> None:
    """Mark the methods in whose place the module puts something else once their class is made (``C.f = g``).

    Their code is gone when the module is loaded, so an edit of it is no edit of what is loaded.
    """
    replaced = {
        (target.value.id, target.attr)
        for statement in tree.body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name)
    }
    for statement in tree.body:
        for member in statement.body if isinstance(statement, ast.ClassDef) else ():
            if (statement.name, _name_bound(member)) in replaced:  # type: ignore[attr-defined]
                setattr(member, _REPLACED, True)


IGNORE = "__fingerprint_ignore__"
_LEFT_OUT: ContextVar[frozenset[str]] = ContextVar("left_out", default=frozenset({IGNORE}))


def declared_ignored(source: str) -> frozenset[str]:
    """The names that classes in a text say do not count."""
    return frozenset(
        constant.value
        for statement in ast.walk(ast.parse(source))
        if _name_bound(statement) == IGNORE
        for constant in ast.walk(statement)
        if isinstance(constant, ast.Constant) and isinstance(constant.value, str)
    )


@contextmanager
def leaving_out(names: frozenset[str]) -> Iterator[None]:
    """Within the block, no behaviour-changing edit is made in definitions of these names."""
    token = _LEFT_OUT.set(names | {IGNORE})
    try:
        yield
    finally:
        _LEFT_OUT.reset(token)


def _name_bound(statement: ast.AST) -> str | None:
    if isinstance(statement, DEFINITIONS):
        return statement.name
    targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
    return getattr(targets[0], "id", None) if isinstance(statement, (ast.Assign, ast.AnnAssign)) else None


def _is_overload(statement: ast.stmt) -> bool:
    return isinstance(statement, DEFINITIONS) and any(
        "overload" in ast.dump(decorator) for decorator in statement.decorator_list
    )


def _names_used(node: ast.stmt) -> set[str]:
    """Global names that the code of a definition looks up (its parameters and locals left out)."""
    loaded: set[str] = set()
    local: set[str] = set()
    for child, _ in _code_nodes(node):
        if isinstance(child, ast.Name):
            (loaded if isinstance(child.ctx, ast.Load) else local).add(child.id)
        elif isinstance(child, ast.arg):
            local.add(child.arg)
        elif isinstance(child, (*DEFINITIONS, ast.ExceptHandler)) and child.name:
            local.add(child.name)
        elif isinstance(child, ast.alias):
            local.add((child.asname or child.name).partition(".")[0])
    for decorator in getattr(node, "decorator_list", []):
        loaded -= {name.id for name in ast.walk(decorator) if isinstance(name, ast.Name)}
    return loaded - local


_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}


def _other_constant(value: object) -> object | None:
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, (str, bytes)):
        return value + (b"x" if isinstance(value, bytes) else "x")
    return None


def _change(child: ast.AST, parent: ast.AST, in_default: bool) -> str | None:
    """Change a node in place so that the code does something else; gives the kind of the edit."""
    if isinstance(child, ast.Constant) and not isinstance(parent, (ast.JoinedStr, ast.MatchValue)):
        other = _other_constant(child.value)
        if other is not None:
            child.value = other  # type: ignore[assignment]
            return "default" if in_default else "constant"
    elif isinstance(child, ast.Compare):
        child.ops[0] = _COMPARISONS[type(child.ops[0])]()
        return "comparison"
    elif isinstance(child, ast.BinOp) and type(child.op) in _OPERATORS:
        if not (isinstance(child.left, ast.Constant) and isinstance(child.left.value, str)):
            child.op = _OPERATORS[type(child.op)]()
            return "operator"
    elif isinstance(child, ast.BoolOp):
        child.op = ast.And() if isinstance(child.op, ast.Or) else ast.Or()
        return "and/or"
    elif isinstance(child, (ast.If, ast.While, ast.IfExp)):
        if not isinstance(child.test, ast.Constant):
            child.test = ast.UnaryOp(ast.Not(), child.test)
            return "negated condition"
    elif isinstance(child, ast.Return):
        if child.value is not None and not isinstance(child.value, ast.Constant):
            child.value = ast.Constant(None)
            return "returned value"
    elif isinstance(child, ast.Call) and len(child.args) > 1:
        first, second = child.args[:2]
        starred = isinstance(first, ast.Starred) or isinstance(second, ast.Starred)
        if not starred and ast.dump(first) != ast.dump(second):
            child.args[:2] = [second, first]
            return "swapped arguments"
    return None


def _delete(child: ast.AST, parent: ast.AST) -> str | None:
    body = getattr(parent, "body", None)
    if (
        not isinstance(body, list)
        or child not in body
        or not isinstance(parent, (*DEFINITIONS, ast.For, ast.If))
    ):
        return None
    simple = (ast.Assign, ast.AugAssign, ast.Raise, ast.For, ast.If, ast.With, ast.Assert)
    if isinstance(child, simple) or (
        isinstance(child, ast.Expr) and not isinstance(child.value, ast.Constant)
    ):
        body[body.index(child)] = ast.Pass()
        return "deleted statement"
    return None


def _undecorate(child: ast.AST) -> str | None:
    if isinstance(child, DEFINITIONS) and child.decorator_list:
        del child.decorator_list[0]
        return "removed decorator"
    return None


def behaviour_edits(source: str, seed: int, limit: int) -> list[Edit]:
    """Edits that change what a module's definitions do, drawn at random with a seed."""
    tree = ast.parse(source)
    _mark_replaced(tree)
    named = definitions(tree)
    uses = {name: _names_used(node) for name, node in named.items()}
    candidates: list[tuple[int, int, str]] = []
    for position, statement in enumerate(tree.body):
        name = getattr(statement, "name", None)
        if name in named and named[name] is statement:
            nodes = list(_code_nodes(statement))
            candidates += [
                (position, index, how) for index in range(len(nodes)) for how in ("change", "delete")
            ]
            candidates.append((position, -1, "undecorate"))
        elif _constant_assignment(statement) is not None:
            candidates.append((position, 0, "global"))
    random.Random(seed).shuffle(candidates)
    texts = [ast.unparse(statement) for statement in tree.body]
    edits: list[Edit] = []
    for position, index, how in candidates:
        if len(edits) >= limit:
            break
        edit = _apply(tree.body, texts, position, index, how, uses)
        if edit is not None:
            edits.append(edit)
    return edits


def _constant_assignment(statement: ast.stmt) -> str | None:
    if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant):
        target = statement.targets[0]
        if isinstance(target, ast.Name) and not target.id.startswith("__"):
            return target.id
    return None


def _apply(
    body: list[ast.stmt], texts: list[str], position: int, index: int, how: str, uses: dict[str, set[str]]
) -> Edit | None:
    """The text with one statement of a module's body edited, if that can be; ``texts``: of each as it is."""
    statement = copy.deepcopy(body[position])
    line = getattr(statement, "lineno", 0)
    if how == "global":
        owner = _constant_assignment(statement)
        if owner is None or _change(statement.value, statement, False) is None:  # type: ignore[attr-defined]
            return None
        observers = tuple([name for name, used in uses.items() if owner in used][:3])
        kind: str | None = "global constant"
    else:
        owner = statement.name  # type: ignore[attr-defined]
        if how == "undecorate":
            kind = _undecorate(statement)
        else:
            nodes = list(_code_nodes(statement))
            child, parent = nodes[index]
            line = getattr(child, "lineno", line)
            if how == "delete":
                kind = _delete(child, parent)
            else:
                inside = isinstance(parent, ast.arguments)
                kind = _change(child, parent, inside)
        callers = [name for name, used in uses.items() if owner in used and name != owner]
        observers = (str(owner), *callers[:2])
    if kind is None or not observers:
        return None
    edited = ast.unparse(ast.fix_missing_locations(statement))
    text = "\n".join([*texts[:position], edited, *texts[position + 1 :]])
    return Edit(kind, str(owner), f"line {line}", text, observers)


def neutral_edits(source: str, seed: int, limit: int) -> list[Edit]:
    """Edits that change nothing that the code does."""
    tree = ast.parse(source)
    names = sorted(definitions(tree))
    chance = random.Random(seed)
    makers = (_commented, _blank_lines, _reformatted, _docstring, _moved)
    edits: list[Edit] = []
    for turn in range(limit * 3):
        if len(edits) >= limit or not names:
            break
        owner = names[turn % len(names)]
        maker = makers[(turn // len(names) + turn + seed) % len(makers)]
        text = maker(source, owner, chance)
        if text is not None and text != source:
            edits.append(Edit(maker.__name__.strip("_").replace("_", " "), owner, "", text, (owner,)))
    return edits


def _statement_lines(source: str) -> list[int]:
    tree = ast.parse(source)
    inside: set[int] = set()
    starts: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt):
            starts.add(node.lineno)
        if isinstance(node, ast.Constant) and node.end_lineno != node.lineno:
            inside.update(range(node.lineno + 1, (node.end_lineno or 0) + 1))
    return sorted(starts - inside)


def _inserted(source: str, chance: random.Random, text: str) -> str:
    lines = source.split("\n")
    for at in sorted(chance.sample(_statement_lines(source), 1), reverse=True):
        indent = lines[at - 1][: len(lines[at - 1]) - len(lines[at - 1].lstrip())]
        lines.insert(at - 1, indent + text if text else "")
    return "\n".join(["# moved down by one line", *lines])


def _commented(source: str, owner: str, chance: random.Random) -> str | None:
    return _inserted(source, chance, f"# a comment {chance.random()}")


def _blank_lines(source: str, owner: str, chance: random.Random) -> str | None:
    return _inserted(source, chance, "")


def _reformatted(source: str, owner: str, chance: random.Random) -> str | None:
    return ast.unparse(ast.parse(source)) + f"\n# {chance.random()}"


def _docstring(source: str, owner: str, chance: random.Random) -> str | None:
    tree = ast.parse(source)
    node = definitions(tree)[owner]
    inner = [child for child in ast.walk(node) if isinstance(child, DEFINITIONS)]
    for child in chance.sample(inner, max(1, len(inner) // 2)):
        if child.body and _is_docstring(child, child.body[0]):
            if chance.random() < 0.5 and len(child.body) > 1:
                del child.body[0]
            else:
                child.body[0].value.value += " More."  # type: ignore[attr-defined]
        else:
            child.body.insert(0, ast.Expr(ast.Constant("Says what it does.")))
    return ast.unparse(ast.fix_missing_locations(tree))


def _moved(source: str, owner: str, chance: random.Random) -> str | None:
    """Move a plain function to the end of its module, where nothing needs it sooner."""
    tree = ast.parse(source)
    node = definitions(tree)[owner]
    if not isinstance(node, ast.FunctionDef) or node.decorator_list:
        return None
    for statement in tree.body:
        if statement is node:
            continue
        now = [statement] if not isinstance(statement, DEFINITIONS) else statement.decorator_list
        if isinstance(statement, ast.ClassDef):
            now = [statement]
        if any(isinstance(n, ast.Name) and n.id == owner for part in now for n in ast.walk(part)):
            return None
    tree.body.remove(node)
    tree.body.append(node)
    return ast.unparse(tree)
