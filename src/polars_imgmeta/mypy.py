"""Type the accessors `imgmeta` for mypy: `plugins = ["polars_imgmeta.mypy"]` in its configuration.

mypy does not see what Polars attaches at run time. This plugin declares `imgmeta` on frames,
series and expressions, and gives it the type of its namespace wherever it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from mypy.nodes import MDEF, SymbolTableNode, TypeInfo, Var
from mypy.plugin import AttributeContext, ClassDefContext, Plugin
from mypy.types import AnyType, Instance, Type, TypeOfAny

_NAMESPACES = {
    "polars.dataframe.frame.DataFrame": "DataFrameNamespace",
    "polars.lazyframe.frame.LazyFrame": "LazyFrameNamespace",
    "polars.expr.expr.Expr": "ExprNamespace",
    "polars.series.series.Series": "SeriesNamespace",
}


class AccessorPlugin(Plugin):
    """Declare the accessors on the classes of Polars."""

    def get_customize_class_mro_hook(
        self, fullname: str
    ) -> Callable[[ClassDefContext], None] | None:
        """Return the hook that declares an accessor on a class of Polars."""
        return _declare if fullname in _NAMESPACES else None

    def get_attribute_hook(self, fullname: str) -> Callable[[AttributeContext], Type] | None:
        """Return the hook that gives an accessor its type."""
        owner, _, name = fullname.rpartition(".")
        if name == "imgmeta" and owner in _NAMESPACES:
            return partial(_typed, _NAMESPACES[owner])
        return None


def _declare(context: ClassDefContext) -> None:
    accessor = Var("imgmeta", AnyType(TypeOfAny.special_form))
    accessor.info = context.cls.info
    accessor.is_property = True  # not to be assigned
    context.cls.info.names["imgmeta"] = SymbolTableNode(MDEF, accessor, plugin_generated=True)


def _typed(namespace: str, context: AttributeContext) -> Type:
    # Looked up here: as a dependency of Polars, the namespaces would be part of an import cycle.
    module = context.api.modules.get("polars_imgmeta.namespaces")  # type: ignore[attr-defined]
    if module is None:
        context.api.fail("`imgmeta` needs `import polars_imgmeta`", context.context)
        return context.default_attr_type
    found: TypeInfo = module.names[namespace].node
    return Instance(found, [])


def plugin(_: str) -> type[Plugin]:
    """Return the plugin, as mypy asks for it."""
    return AccessorPlugin
