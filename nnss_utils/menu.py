"""A menu of the networks that a piano can be played by, and of their normalization powers (notebook 10_play)."""

import contextlib
from collections.abc import Callable, Mapping

import ipywidgets

from nnss_utils.config import Settings
from nnss_utils.errors import InputError
from nnss_utils.modelfile import find_model, model_names, read_metadata


def playable_models() -> dict[str, Settings]:
    """Return the settings of all models that make one voice at a time, by their names: those that keys can play."""
    found = {}
    for name in model_names():
        with contextlib.suppress(InputError, KeyError, TypeError):  # a file that can't be read is no choice
            found[name] = Settings.from_dict(read_metadata(find_model(name))["settings"])
    return {name: settings for name, settings in found.items() if settings.network.per_voice}


def power_name(power: float | str) -> str:
    """Return a normalization power as people write it: "1/8", "0.3", "log"."""
    if isinstance(power, str):
        return power
    return f"1/{1 / power:g}" if power < 1 and (1 / power).is_integer() else f"{power:g}"


def power_variants(models: Mapping[str, Settings], name: str) -> dict[str, str]:
    """Return the names of models with the network and the codification of `name`, by their powers, the highest first.

    Of several with one power the first by its name stands for all, and `name` itself before others.
    """
    this = models[name]
    alike = [
        each
        for each, settings in models.items()
        if (settings.network, settings.codification.kind) == (this.network, this.codification.kind)
    ]
    powers: dict[float | str, str] = {}
    for each in sorted(alike, key=lambda each: (each != name, each)):
        powers.setdefault(models[each].training.power, each)
    numbers = sorted((power for power in powers if not isinstance(power, str)), reverse=True)
    words = [power for power in powers if isinstance(power, str)]
    return {power_name(power): powers[power] for power in [*numbers, *words]}


class NetworkMenu(ipywidgets.VBox):
    """Two menus, of networks and of powers: choosing one of either calls `use` with the network's name."""

    def __init__(self, models: Mapping[str, Settings], name: str, use: Callable[[str], None]) -> None:
        """Offer `models` by their names, `name` first chosen; an `InputError` of `use` is said under the menus."""
        self.models, self.use = models, use
        names = {f"{each}: {s.network.architecture}, power {power_name(s.training.power)}": each
                 for each, s in models.items()}  # fmt: skip
        self.network = ipywidgets.Dropdown(options=names, value=name, description="network", layout={"width": "26em"})
        self.power = ipywidgets.Dropdown(description="power", layout={"width": "12em"})
        self.said = ipywidgets.Label()
        self.power.observe(self._choose_power, names="value")
        super().__init__([ipywidgets.HBox([self.network, self.power]), self.said])
        self._show_powers(name)
        self.network.observe(self._choose, names="value")

    def _show_powers(self, name: str) -> None:
        variants = power_variants(self.models, name)
        self.power.unobserve(self._choose_power, names="value")  # new options choose one that nobody has asked for
        self.power.options, self.power.value = variants, name
        self.power.observe(self._choose_power, names="value")
        alone = "; 05_train with -p power 0.125 trains another" if len(variants) == 1 else ""
        self.said.value = f"normalization powers of this network: {', '.join(variants)}{alone}"

    def _choose_power(self, change: dict) -> None:
        self.network.value = change["new"]

    def _choose(self, change: dict) -> None:
        self.said.value = f"loading {change['new']} ..."
        try:
            self.use(change["new"])
        except InputError as error:
            self.said.value = str(error)
        else:
            self._show_powers(change["new"])
