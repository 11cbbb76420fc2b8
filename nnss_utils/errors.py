"""Messages to the user: errors in one line, progress bars of long work, no output of libraries."""

import ast
import contextlib
import difflib
import inspect
import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NoReturn, TextIO

import tqdm
import tqdm.auto

INJECTED = "# Parameters"  # begins papermill's cell
GIVEN = (int, float, str, bool, list, dict)  # types of parameters that papermill passes


class InputError(ValueError):
    """Bad input from outside (a file, a parameter, a name); its message is one line for the user."""

    def _render_traceback_(self) -> list[str]:
        """Show one line instead of a traceback in a notebook (IPython's hook)."""
        return [f"{type(self).__name__}: {self}"]


class WriteError(InputError, OSError):
    """A file or folder can't be written: no room, no rights, no such disk. `strerror` is the system's reason."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.strerror = reason


class UnavailableError(InputError):
    """An instrument is not here and can't be fetched now."""


def check_number(name: str, value: object, low: float, high: float, *, integer: bool = False) -> None:
    """Raise `InputError` unless `value` is a real number (an int if `integer`) in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, int if integer else (int, float)):
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


def given_parameters(function: Callable, scope: Mapping[str, object]) -> dict[str, object]:
    """Return the parameters of `function` in `scope`, a notebook's globals(), including -p parameters that the notebook
    does not list. Objects of other types that share a name are left out."""
    names = inspect.signature(function).parameters
    return {name: scope[name] for name in names if isinstance(scope.get(name), GIVEN)}


def check_parameters(scope: Mapping[str, object], *functions: Callable) -> None:
    """Raise `InputError` for a -p parameter of papermill that neither the notebook nor one of `functions` has. scope:
    the notebook's globals(), whose `In` has its cells; papermill's own begins with "# Parameters"."""
    cells = [cell for cell in scope.get("In", ()) if cell.strip()]
    given = {name for cell in cells if cell.startswith(INJECTED) for name in _assigned(cell)}
    own = {name for cell in cells if not cell.startswith(INJECTED) for name in _assigned(cell)}
    known = sorted(own.union(*(inspect.signature(function).parameters for function in functions)))
    for name in sorted(given - set(known)):
        near = difflib.get_close_matches(name, known, 1, 0.5)
        choices = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
        raise InputError(f"-p {name}: this notebook has no such parameter; {choices}")


def _assigned(cell: str) -> set[str]:
    """Return the names to which a cell of plain assignments gives values; none for any other cell."""
    try:
        statements = ast.parse(cell).body
    except SyntaxError:  # a magic
        return set()
    if not all(isinstance(statement, ast.Assign) for statement in statements):
        return set()
    return {target.id for statement in statements for target in statement.targets if isinstance(target, ast.Name)}


def exit_with(main: Callable[[list[str]], int | None]) -> NoReturn:
    """Run a command with the shell's arguments and exit; `InputError` prints one line, Ctrl-C gives 130."""
    try:
        sys.exit(main(sys.argv[1:]))
    except InputError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hide what the process writes to its stderr, C++ libraries included, unless the block raises an error."""
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            yield
        except BaseException:
            hidden.seek(0)
            os.write(original, hidden.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)


def in_page() -> bool:
    """Return whether a page (JupyterLab, Voila, VS Code) started this kernel, not papermill or a shell."""
    return any(name in os.environ for name in ("JPY_SESSION_NAME", "VSCODE_PID"))


def papermill_terminal() -> TextIO | None:
    """Return the terminal that started papermill, or None. A kernel's output goes into the notebook, which shows it
    only at the end; ipykernel's `fileno` is the first stderr."""
    if type(sys.stderr).__module__.startswith("ipykernel") and not in_page():
        with contextlib.suppress(io.UnsupportedOperation, OSError):
            return open(sys.stderr.fileno(), "w", closefd=False)
    return None


def progress_bar(iterable: Iterable | None = None, **options: object) -> tqdm.tqdm:
    """Return a tqdm bar in the page or in the terminal; options are tqdm's."""
    terminal = papermill_terminal()
    if terminal is None:
        return tqdm.auto.tqdm(iterable, **options)
    return tqdm.tqdm(iterable, file=terminal, mininterval=0.5 if terminal.isatty() else 10.0, **options)


def tell(text: str) -> None:
    """Print a line, also in the terminal that started papermill."""
    for place in (sys.stdout, papermill_terminal()):
        if place is not None:
            print(text, file=place, flush=True)
