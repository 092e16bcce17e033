"""How a verb writes the options that an error names, and what it says of a command line that cannot be read."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from cyclopts import App, CycloptsError, MissingArgumentError, UnusedCliTokensError
from pydantic import BaseModel, ValidationError

from munjang.config.load import explain_validation
from munjang.config.recipe import DATA_PREFIX
from munjang.errors import ConfigError, MunjangError, Option, UsageError


class Verb:
    """A verb of the command line, as far as errors have to know it.

    Args:
        app: the whole command.
        arguments: as they were given, the verb first.
    """

    def __init__(self, app: App, arguments: Sequence[str]) -> None:
        self.chain, apps, _ = app.parse_commands(arguments)
        self.app = apps[-1]

    @property
    def reads_recipe(self) -> bool:
        """True for `munjang run`, whose options stand in a file, and where there is no verb."""
        return not self.chain or self.chain[0] == "run"

    @property
    def help(self) -> str:
        """What explains the verb."""
        return f"run: {' '.join(('munjang', *self.chain, '--help'))}"

    def spoken(self, error: MunjangError) -> MunjangError:
        """An error in the words of the verb: flags in place of a recipe's options, and where to read on."""
        said = error if self.reads_recipe else error.rewritten(self.write)
        if said.hint is None and isinstance(said, UsageError if self.reads_recipe else (UsageError, ConfigError)):
            said.hint = self.help
        return said

    def misread(self, error: CycloptsError) -> UsageError:
        """The error for a command line that cannot be read."""
        cause = error.__cause__ or error.__context__
        if isinstance(cause, ValidationError):
            text = self._wrong_values(cause, error.root_input_tokens or ())
        elif isinstance(error, MissingArgumentError):
            text = self._missing(error)
        elif isinstance(error, UnusedCliTokensError):
            text = f"more than this verb takes: {shlex.join(error.unused_tokens or [])}"
        else:
            text = " ".join(str(error).split())
        return UsageError(text, hint=self.help)

    def _wrong_values(self, error: ValidationError, tokens: Sequence[str]) -> str:
        """All values that are wrong as options of a stage, or what is missing of them."""
        if all(item["type"] == "missing" for item in error.errors()):
            return self._not_given([], tokens)
        return "; ".join(phrase.written(self.write) for phrase in explain_validation(error, BaseModel, ""))

    def write(self, option: Option) -> str:
        """An option as the verb takes it, such as `--scale 0 5`; one that it does not take as a recipe writes it."""
        taken = {name for argument in self._arguments() for name in argument.names}
        path = re.sub(r"\[\d+\]", "", option.name).replace("_", "-")
        while path:
            if f"--{path}" in taken:
                return _with_value(f"--{path}", option.value)
            if path.upper() in taken:  # it stands by itself, as the models of `munjang evaluate`
                return path.upper() if option.value is None else _word(option.value)
            path = path.rpartition(".")[0]
        return f"{Option(option.name, option.value).in_recipe()} (in a recipe)"

    def _arguments(self) -> list[Any]:
        """What the verb takes, as cyclopts describes it; nothing where the verb is not complete."""
        return list(self.app.assemble_argument_collection()) if self.app.default_command else []

    def _missing(self, error: MissingArgumentError) -> str:
        """What is missing: the value of a flag, or all that the verb requires and was not given."""
        assert error.argument is not None
        if error.keyword is not None:
            count = error.argument.token_count()[0]
            got = f" {count} values, got {len(error.tokens_so_far)}" if count > 1 else " a value"
            return f"{error.keyword} needs{got}"
        return self._not_given([error.argument.name], error.root_input_tokens or ())

    def _not_given(self, certain: Sequence[str], tokens: Sequence[str]) -> str:
        """All that is required and not given, and the flags that may have been meant for it.

        Args:
            certain: arguments that are known to be missing; of those without a flag the tokens do not say it.
            tokens: the command line.
        """
        arguments = self._arguments()
        given = [token.partition("=")[0] for token in tokens if token.startswith("--")]
        missing = [
            argument.name
            for argument in arguments
            if argument.name in certain
            or (argument.required and argument.name.startswith("-") and not set(given) & set(argument.names))
        ]
        unknown = set(given) - {name for argument in arguments for name in argument.names}
        meant = [f"{flag} for {near[0]}" for flag in sorted(unknown) if (near := get_close_matches(flag, missing, n=1))]
        return f"required and not given: {', '.join(missing)}" + (
            f" (did you write {', '.join(meant)}?)" if meant else ""
        )


def _with_value(flag: str, value: Any) -> str:
    """A flag and its value as they are typed; a table becomes a flag for each of its keys."""
    if value is None or value is True:
        return flag
    if value is False:
        return flag.replace("--", "--no-", 1)
    if isinstance(value, Mapping):
        return " ".join(_with_value(f"{flag}.{key}", item) for key, item in value.items())
    return " ".join((flag, *map(_word, _items(value))))


def _items(value: Any) -> Iterator[Any]:
    yield from value if isinstance(value, (list, tuple)) else (value,)


def _word(value: Any) -> str:
    """A value as one word of a shell; a file of the command line without the mark that a stage knows it by."""
    return shlex.quote(str(value).removeprefix(DATA_PREFIX))
