"""Complete the options of the verbs in the reference, as `takes` does at run time.

Griffe reads the source, where a verb has `**options` and neither their defaults nor their
documentation. Its own extension `unpack_typeddict` adds neither of these, nor inherited keys.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from griffe import Class, Extension, Function, Module, Parameter, ParameterKind, dynamic_import


class CompletedVerbs(Extension):
    """Replace `**options` of every function and class that is decorated with `takes`."""

    def on_package(self, *, pkg: Module, **_: object) -> None:
        """Complete the functions of a package that has been read."""
        classes = pkg["measuring.options"].classes.values()
        kinds = [kind for kind in classes if kind.name.endswith("Options")]
        annotations = {
            name: option.annotation for kind in kinds for name, option in kind.attributes.items()
        }
        for owner, function in _completable(pkg):
            if any(str(made.value).startswith("takes(") for made in owner.decorators):
                verb = dynamic_import(owner.path)
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
                if owner.docstring:
                    owner.docstring.value = inspect.cleandoc(verb.__doc__)


def _completable(module: Module) -> Iterator[tuple[Function | Class, Function]]:
    """Yield what may be decorated, and the function that has its parameters."""
    yield from ((one, one) for one in module.functions.values() if not one.is_alias)
    for one in module.classes.values():
        if not one.is_alias and "__init__" in one.functions:
            yield one, one.functions["__init__"]
    for inner in module.modules.values():
        yield from _completable(inner)
