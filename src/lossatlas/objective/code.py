"""Is this the same function? Its source tells, if it can be read, and so do the values it takes from elsewhere."""

from __future__ import annotations

import ast
import dis
import functools
import hashlib
import inspect
import sys
import sysconfig
import textwrap
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from lossatlas.objective.hashing import fingerprint, is_array

__all__ = ["code_of", "codes_of", "of_library", "read_by", "unchanged"]

_DEEPEST = 8


def code_of(function: Any) -> dict[str, str]:
    """What a function does, as far as that can be read: a hash of its source, and of each value that it reads.

    For a user's function: its syntax tree, so that comments and line breaks do not count, its defaults, the values of
    its closure, and the constants, arrays and functions that it reads from its module. For one of an installed library:
    its name. For a callable object: its class and what it holds. Without source, the byte code counts.

    Args:
        function: any callable.

    Returns:
        Hashes by the names of what is read; ``source`` is that of the function itself.

    Example:
        >>> users = {"__name__": "train"}  # a module of the user's
        >>> exec("def scaled(by): return lambda outputs, targets: by * outputs", users)
        >>> scaled = users["scaled"]
        >>> one, two = code_of(scaled(1)), code_of(scaled(2))
        >>> one == code_of(scaled(1)), [name for name in one if one[name] != two[name]]
        (True, ['by'])
    """
    function = _unwrapped(function)
    if not isinstance(function, types.FunctionType) or of_library(function):
        return {"source": _hash(_parts(function, frozenset(), 0))}
    read = {name: _hash(_parts(value, frozenset(), 0)) for name, value in _read(function)}
    return {"source": _hash(iter([_source(function)])), **read}


def unchanged(before: Mapping[str, Mapping[str, str]], after: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """What was the same before and after some calls: what a call changes (say, a log of calls) is no identity."""
    return {
        name: {part: told for part, told in found.items() if after.get(name, {}).get(part) == told}
        for name, found in before.items()
    }


def _unwrapped(part: Any) -> Any:
    """The function from which an object was made, such as ``jax.jit(loss)``; otherwise the object itself."""
    wrapped = None if isinstance(part, (types.FunctionType, nn.Module, type)) else getattr(part, "__wrapped__", None)
    return inspect.unwrap(part) if isinstance(wrapped, types.FunctionType) else part


def _hash(parts: Iterator[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def _parts(part: Any, above: frozenset[int], depth: int) -> Iterator[bytes]:
    """What a function, or a value that it reads, consists of."""
    if id(part) in above or depth > _DEEPEST:
        yield b"again"
        return
    above, part = above | {id(part)}, _unwrapped(part)
    if isinstance(part, functools.partial):
        yield b"partial"
        for inner in (part.func, *part.args, *(value for _, value in sorted(part.keywords.items()))):
            yield from _parts(inner, above, depth + 1)
        yield repr(sorted(part.keywords)).encode()
    elif isinstance(part, types.MethodType):
        yield from _parts(part.__func__, above, depth + 1)
        yield from _parts(part.__self__, above, depth + 1)
    elif isinstance(part, types.FunctionType):
        yield from _function(part, above, depth)
    elif isinstance(part, nn.Module):
        yield repr(part).encode()
        yield fingerprint(dict(part.state_dict()))
        if not of_library(type(part)):
            yield _source(type(part))
    elif isinstance(part, (type, types.ModuleType, types.BuiltinFunctionType)) or of_library(part):
        yield f"{getattr(part, '__module__', '')}.{getattr(part, '__qualname__', type(part).__qualname__)}".encode()
    elif callable(part):
        yield _source(type(part))
        yield fingerprint(vars(part) if hasattr(part, "__dict__") else repr(type(part)))
    else:
        yield fingerprint(part)


def _function(function: types.FunctionType, above: frozenset[int], depth: int) -> Iterator[bytes]:
    if of_library(function):
        yield f"{function.__module__}.{function.__qualname__}".encode()
        return
    yield _source(function)
    for name, value in _read(function):
        yield name.encode()
        yield from _parts(value, above, depth + 1)


def _read(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """What a function reads besides its arguments: defaults, closure, constants and functions of its module."""
    for number, value in enumerate(function.__defaults__ or ()):
        yield f"default {number + 1}", value
    yield from sorted((function.__kwdefaults__ or {}).items())
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        if _filled(cell):
            yield name, cell.cell_contents
    yield from ((name, value) for name, value in _module_values(function) if _constant(value))


def read_by(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """Whatever a function reads from its closure and its module, besides its arguments."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        if _filled(cell):
            yield name, cell.cell_contents
    yield from _module_values(function)


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - an empty cell raises
    except ValueError:
        return False
    return True


def _constant(value: Any) -> bool:
    """Whether it is a constant, an array or a function."""
    return isinstance(value, (int, float, complex, str, bytes, tuple, types.FunctionType)) or is_array(value)


def _module_values(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """What a function reads from its module, in the order of the names."""
    names = {name for code in codes_of(function.__code__) for name in code.co_names}
    for name in sorted(names & function.__globals__.keys()):
        yield name, _unwrapped(function.__globals__[name])


def codes_of(code: types.CodeType) -> Iterator[types.CodeType]:
    """The code of a function, and of those that are made within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes_of(constant)


def _source(part: Any) -> bytes:
    """The syntax tree of a function or class as text; byte code where there is no source."""
    try:
        tree: ast.AST = ast.parse(textwrap.dedent(inspect.getsource(part)))
    except (OSError, TypeError, SyntaxError, ValueError, RecursionError):
        return _byte_code(part)
    if getattr(part, "__name__", "") == "<lambda>":
        found = [node for node in ast.walk(tree) if isinstance(node, ast.Lambda)]
        if len(found) != 1:  # two on one line: their byte code tells which this is
            return _byte_code(part)
        tree = found[0]
    return ast.dump(tree, include_attributes=False).encode()


def _byte_code(part: Any) -> bytes:
    if not isinstance(part, types.FunctionType):
        return f"{part.__module__}.{part.__qualname__}".encode()
    told = [f"python {sys.version_info[:2]}"]
    for code in codes_of(part.__code__):
        told += [f"{step.opname} {step.argrepr if '<code object' not in step.argrepr else ''}" for step in _steps(code)]
    return "\n".join(told).encode()


def _steps(code: types.CodeType) -> Iterator[dis.Instruction]:
    return dis.get_instructions(code)


@functools.cache
def _library_folders() -> tuple[Path, ...]:
    return tuple({Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")})


def of_library(part: Any) -> bool:
    """Whether something belongs to an installed library, whose name says enough."""
    module = sys.modules.get(getattr(part, "__module__", None) or "")
    file = getattr(module, "__file__", None)
    if module is None or (getattr(part, "__module__", "") or "").partition(".")[0] in ("lossatlas", "builtins"):
        return module is not None
    return file is not None and any(folder in Path(file).resolve().parents for folder in _library_folders())
