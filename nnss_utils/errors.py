"""The one error a user meets: what was wrong, where, and what to do, in one line."""


class InputError(ValueError):
    """Bad input from outside (a file, a parameter, a name); its message is one line for the user."""

    def _render_traceback_(self) -> list[str]:
        """Show one line instead of a traceback in a notebook (IPython's hook)."""
        return [f"{type(self).__name__}: {self}"]


def check_number(name: str, value: object, low: float, high: float, *, integer: bool = False) -> None:
    """Raise `InputError` unless `value` is a real number (an int if `integer`) in [low, high]."""
    kinds = (int,) if integer else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
        kind = "a whole number" if integer else "a number"
        raise InputError(f"{name}={value!r} is {type(value).__name__}; give {kind} from {low:g} to {high:g}")
    if not low <= value <= high:
        raise InputError(f"{name}={value!r} is out of range; give a value from {low:g} to {high:g}")


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise `InputError` unless `value` is one of `choices`."""
    if value not in choices:
        raise InputError(f"{name}={value!r} is unknown; choose one of {', '.join(choices)}")


def check_flag(name: str, value: object) -> None:
    """Raise `InputError` unless `value` is a bool (papermill passes `-p fast false` as a true string)."""
    if not isinstance(value, bool):
        raise InputError(f"{name}={value!r} is {type(value).__name__}; write True or False")
