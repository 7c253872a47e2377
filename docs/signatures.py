"""Complete the options of the verbs in the reference, as `takes` does at run time.

Griffe reads the source, where a verb has `**options` and neither their defaults nor their
documentation. Its own extension `unpack_typeddict` adds neither of these, nor inherited keys.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from griffe import Extension, Function, Module, Parameter, ParameterKind, dynamic_import


class CompletedVerbs(Extension):
    """Replace `**options` of every function that is decorated with `takes`."""

    def on_package(self, *, pkg: Module, **_: object) -> None:
        """Complete the functions of a package that has been read."""
        kinds = pkg["measuring.options"].classes.values()
        annotations = {
            name: option.annotation for kind in kinds for name, option in kind.attributes.items()
        }
        for function in _functions(pkg):
            if any(str(made.value).startswith("takes(") for made in function.decorators):
                verb = dynamic_import(function.path)
                del function.parameters["options"]
                for name, option in inspect.signature(verb).parameters.items():
                    if name not in function.parameters:
                        function.parameters.add(
                            Parameter(
                                name,
                                annotation=annotations[name],
                                kind=ParameterKind.keyword_only,
                                default=repr(option.default),
                            )
                        )
                if function.docstring:
                    function.docstring.value = inspect.cleandoc(verb.__doc__)


def _functions(module: Module) -> Iterator[Function]:
    yield from (function for function in module.functions.values() if not function.is_alias)
    for inner in module.modules.values():
        yield from _functions(inner)
