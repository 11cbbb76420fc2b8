"""Parameters that papermill gives a notebook."""

from collections.abc import Callable, Mapping


def given(function: Callable, scope: Mapping[str, object]) -> dict[str, int | float | str | bool]:
    """Return the scalars in `scope` (a notebook's globals()) that are keyword parameters of `function`.

    So `papermill -p NAME VALUE` reaches every parameter of the function, also those that the notebook does not list.
    """
    names = function.__kwdefaults__
    return {name: scope[name] for name in names if isinstance(scope.get(name), int | float | str | bool)}
