"""Configs: dataclasses whose fields are the options of a command and the keys of a TOML file.

A field is written once, by `option`, with its default, its help and what it may be. The command line, the file and the
errors are made from that.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import json
import os
import tomllib
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import typer

DATA, MODEL, TRAINING, RUN = "Data", "Model", "Training", "Run"  # the groups of options, as --help shows them
GROUPS = (DATA, MODEL, TRAINING, RUN)
C = TypeVar("C")


def option(
    default: Any,
    help: str,
    *,
    panel: str = MODEL,
    least: float | None = None,
    most: float | None = None,
    choices: tuple[str, ...] = (),
    free: bool = False,
) -> Any:
    """A field of a config.

    Args:
        default: None where nothing may be given.
        help: what it is.
        panel: the group that it is shown in.
        least, most: of a number, both included.
        choices: the texts that it may be.
        free: whether a run that goes on may have another value than it began with.
    """
    about = {"help": help, "panel": panel, "least": least, "most": most, "choices": choices, "free": free}
    return dataclasses.field(default=default, metadata=about)


def check(field: dataclasses.Field[Any], kind: type, value: Any) -> Any:
    """A value of a field, as its type; a ValueError says what it may be."""
    about = field.metadata
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}[kind]
        raise ValueError(f"expected {words}, got {value!r:.80}")
    if about["choices"] and value not in about["choices"]:
        raise ValueError(f"expected {_or(about['choices'])}, got {value!r:.80}")
    least, most = about["least"], about["most"]
    if (least is not None and not value >= least) or (most is not None and not value <= most):
        between = f"from {least} to {most}" if most is not None else f"of at least {least}"
        raise ValueError(f"expected {'a number' if kind is float else 'a whole number'} {between}, got {value}")
    return value


def kinds(config: type) -> dict[str, type]:
    """The type of each field, without None."""
    found = {}
    for name, hint in get_type_hints(config).items():
        if get_origin(hint) in (Union, types.UnionType):
            (hint,) = (each for each in get_args(hint) if each is not type(None))
        found[name] = hint
    return found


def ordered(config: Any) -> list[dataclasses.Field[Any]]:
    """The fields of a config, group by group."""
    return sorted(dataclasses.fields(config), key=lambda field: GROUPS.index(field.metadata["panel"]))


# -- TOML


def read_toml(path: str | os.PathLike[str], kind: str, config: type) -> dict[str, Any]:
    """The values that a TOML file gives to a config, checked.

    Args:
        kind: what is trained; a file that says `kind = …` must say the same.
    Raises:
        OSError: there is no such file. ValueError: with the file, for what is no TOML, another kind, an unknown key or
            a value that the key cannot have.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"expected a TOML file, but {file} is {'a folder' if file.is_dir() else 'not there'}")
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # bytes that are not UTF-8 are one too
        raise ValueError(f"{file}: expected TOML, as in `hidden = 256`: {error}") from error
    theirs = values.pop("kind", kind)
    if theirs != kind:
        raise ValueError(f"{file}: kind is {theirs!r}, but this command trains {kind!r}: tinygrad-seq train {theirs}")
    fields, types = {field.name: field for field in dataclasses.fields(config)}, kinds(config)
    for name, value in values.items():
        if name not in fields:
            near = difflib.get_close_matches(name.replace("-", "_"), fields, 1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(fields)}"
            raise ValueError(f"{file}: unknown key {name!r}; {hint}")
        try:
            values[name] = check(fields[name], types[name], value)
        except ValueError as error:
            raise ValueError(f"{file}: {name}: {error}") from error
    return values


def to_toml(kind: str, config: Any) -> str:
    """A config as TOML, whole: every key with its value, in the groups of --help. What is None is left out."""
    lines = [f"kind = {json.dumps(kind)}"]
    panel = ""
    for field in ordered(config):
        if field.metadata["panel"] != panel:
            panel = field.metadata["panel"]
            lines += ["", f"# {panel}"]
        value = getattr(config, field.name)
        if value is not None:
            shown = json.dumps(value, ensure_ascii=False) if isinstance(value, bool | str) else repr(value)
            lines.append(f"{field.name} = {shown}".replace("\x7f", "\\u007f"))
    return "\n".join(lines) + "\n"


# -- the command line


def command(config: type, run: Callable[..., None], *first: inspect.Parameter) -> Callable[..., None]:
    """A function for typer with an option for each field, beside the parameters `first`.

    Args:
        run: is called with the parameters `first`, and a dict of the options that were given.
    """
    types = kinds(config)

    def called(**arguments: Any) -> None:
        own = {p.name: arguments.pop(p.name) for p in first}
        given = {name: value for name, value in arguments.items() if value is not None}
        for field in dataclasses.fields(config):
            if field.name in given:
                try:
                    check(field, types[field.name], given[field.name])
                except ValueError as error:
                    raise typer.BadParameter(str(error), param_hint=flag(field.name)) from error
        run(**own, given=given)

    parameters = [*first, *(_parameter(field, types[field.name]) for field in ordered(config))]
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {p.name: p.annotation for p in parameters}
    return called


def parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    """A parameter of a command."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _parameter(field: dataclasses.Field[Any], kind: type) -> inspect.Parameter:
    about, name = field.metadata, field.name.replace("_", "-")
    value = ("yes" if field.default else "no") if kind is bool else field.default
    default = "" if value is None else f" Default: {value}."
    shown = "|".join(about["choices"]) or {int: "INTEGER", float: "NUMBER", str: "TEXT"}.get(kind)
    flags = f"--{name}/--no-{name}" if kind is bool else f"--{name}"
    help = about["help"] + default
    info = typer.Option(flags, help=help, rich_help_panel=about["panel"], show_default=False, metavar=shown)
    return parameter(field.name, Annotated[kind | None, info], None)


def flag(name: str) -> str:
    """The option of a field."""
    return "--" + name.replace("_", "-")


def differing(before: Any, now: Any) -> list[str]:
    """The names of the fields that a run must keep, and that two configs of one kind do not share."""
    return [
        field.name
        for field in ordered(now)
        if not field.metadata["free"] and getattr(before, field.name) != getattr(now, field.name)
    ]


def build(config: type[C], *layers: Mapping[str, Any]) -> C:
    """A config: its defaults, and over them each layer of values."""
    values: dict[str, Any] = {}
    for layer in layers:
        values |= layer
    return config(**values)


def _or(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]
