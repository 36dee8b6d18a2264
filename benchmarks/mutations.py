"""Small faults to put into a module: what `mutants.py` samples from.

A mutant is one change: a comparison, an operator of arithmetic or logic, a constant, a returned value, the order of two
arguments, a dropped `not`, `~` or sign.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import NamedTuple

SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
COMMUTATIVE = {"min", "max", "minimum", "maximum"}
# Keywords that forbid mistakes or save time, and change no number.
WITHOUT_EFFECT = {"strict", "frozen", "fused", "eq", "kw_only"}
LONGEST = 160  # characters of a node's text


@dataclass(frozen=True)
class Mutant:
    """One change to a module.

    Attributes
    ----------
    module : str
        Its path in the library, without `.py`.
    place : int
        The node's turn in `ast.walk` of the module.
    turn : int
        The change's turn among the node's.
    """

    module: str
    place: int
    turn: int


class Description(NamedTuple):
    """A change in words, the same wherever its line moves to."""

    module: str
    function: str  # empty at module level
    text: str  # the line
    operator: str
    before: str
    after: str


class Mutated(NamedTuple):
    """A module with its change."""

    source: str
    description: Description
    line: int
    shown_by: range  # the lines that show whether the change is run


class Change(NamedTuple):
    """What a node is changed to."""

    operator: str
    node: ast.AST


def changes(node: ast.AST) -> Iterator[Change]:
    """Yield what a node may be changed to."""
    new = deepcopy(node)
    if isinstance(new, ast.Compare):
        for number, operator in enumerate(new.ops):
            compared = deepcopy(new)
            compared.ops[number] = SWAPPED[type(operator)]()
            yield Change("comparison", compared)
    elif isinstance(new, ast.BinOp | ast.AugAssign | ast.BoolOp) and type(new.op) in SWAPPED:
        new.op = SWAPPED[type(new.op)]()
        yield Change("logic" if isinstance(new, ast.BoolOp) else "arithmetic", new)
    elif isinstance(new, ast.UnaryOp):
        yield Change("dropped sign", new.operand)
    elif isinstance(new, ast.Constant) and isinstance(new.value, bool | int | float):
        new.value = not new.value if isinstance(new.value, bool) else new.value + 1
        yield Change("constant", new)
    elif isinstance(new, ast.Return) and new.value and ast.unparse(new.value) != "None":
        new.value = ast.Constant(None)
        yield Change("returned value", new)
    elif isinstance(new, ast.Call) and _has_two_arguments(new):
        new.args[:2] = new.args[1::-1]
        if ast.dump(new) != ast.dump(node):
            yield Change("arguments", new)


def _has_two_arguments(call: ast.Call) -> bool:
    starred = any(isinstance(argument, ast.Starred) for argument in call.args[:2])
    return len(call.args) > 1 and not starred


def all_mutants(sources: Mapping[str, str]) -> list[Mutant]:
    """List every mutant of modules, by their sources, in a fixed order."""
    mutants = []
    for module, source in sources.items():
        tree = ast.parse(source)
        silent = _nodes_without_effect(tree)
        for place, node in enumerate(ast.walk(tree)):
            if node not in silent:
                turns = range(len(list(changes(node))))
                mutants += [Mutant(module, place, turn) for turn in turns]
    return mutants


def _nodes_without_effect(tree: ast.Module) -> set[ast.AST]:
    """The nodes that no run can tell from others: annotations and what stands under `if TYPE_CHECKING`."""
    outer: list[ast.AST | None] = []
    for node in ast.walk(tree):
        outer += [getattr(node, "annotation", None), getattr(node, "returns", None)]
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            outer += node.body
    return {inner for node in outer if node for inner in ast.walk(node)}


def is_equivalent(mutant: Mutant, source: str) -> bool:
    """Say whether a mutant does as the library does, whatever is tested."""
    nodes = list(ast.walk(ast.parse(source)))
    changed = nodes[mutant.place]
    for node in nodes:
        if isinstance(node, ast.keyword) and node.value is changed and node.arg in WITHOUT_EFFECT:
            return True
    if not isinstance(changed, ast.Call) or len(changed.args) != 2:
        return False
    return ast.unparse(changed.func).rpartition(".")[2] in COMMUTATIVE


def sample(sources: Mapping[str, str], n: int, seed: int) -> list[Mutant]:
    """Sample `n` mutants without replacement, equivalent ones left out."""
    mutants = all_mutants(sources)
    enough = min(n + n // 4, len(mutants))  # as some are equivalent
    sampled = random.Random(seed).sample(mutants, enough)  # noqa: S311  not for secrets
    told_apart = [one for one in sampled if not is_equivalent(one, sources[one.module])]
    return told_apart[:n]


def mutate(mutant: Mutant, source: str) -> Mutated:
    """Put a change into a module's source."""
    tree = ast.parse(source)
    old = list(ast.walk(tree))[mutant.place]
    operator, new = list(changes(old))[mutant.turn]
    around = [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]
    around = [node for node in around if old in ast.walk(node)]
    functions = [node for node in around if isinstance(node, ast.FunctionDef)]
    statement = around[-1]  # `ast.walk` goes from outside to inside
    lines = source.splitlines()
    description = Description(
        module=mutant.module,
        function=functions[-1].name if functions else "",
        text=lines[getattr(old, "lineno", statement.lineno) - 1].strip(),
        operator=operator,
        before=_short(old),
        after=_short(new),
    )
    if not functions or isinstance(statement, ast.ClassDef):
        shown_by = range(1, len(lines) + 1)
    else:
        shown_by = _lines_that_show(statement)

    class Replace(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST:
            return new if node is old else self.generic_visit(node)

    mutated = ast.unparse(ast.fix_missing_locations(Replace().visit(tree)))
    return Mutated(mutated, description, statement.lineno, shown_by)


def _lines_that_show(statement: ast.stmt) -> range:
    """The lines of which one is run where a statement is."""
    first, last = statement.lineno, statement.end_lineno or statement.lineno
    body = getattr(statement, "body", None)
    if isinstance(statement, ast.FunctionDef):  # a default: seen by who calls the function
        first = statement.body[0].lineno
    elif body:
        last = body[0].lineno - 1
    return range(first, max(first, last) + 1)


def _short(node: ast.AST) -> str:
    """A node's text in one line."""
    return " ".join(ast.unparse(node).split())[:LONGEST]
