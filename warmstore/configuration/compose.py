"""Composing a configuration from YAML with Hydra, and knowing where each value came from."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError

COMMAND_LINE = "the command line"
_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Composed:
    """A composed configuration, and for each dotted key the file (or command line) that set it.

    `in_files` has the values without those that were typed.
    """

    name: str
    values: dict[str, Any]
    origins: Mapping[str, str]
    in_files: Mapping[str, Any]

    def origin(self, key: str) -> str:
        """Say what set a key, or what is in it; the nearest of its parents counts, else it is `default`."""
        inside = next(
            (self.origins[known] for known in self.origins if known.startswith(f"{key}.")), "default"
        )
        while key not in self.origins and key:
            key = key.rpartition(".")[0]
        return self.origins.get(key, inside)


def own_folder() -> Path:
    """Give the user's folder of configurations: WARMSTORE_CONFIGS, else `configs/` here, there or not.

    Raises ConfigError where WARMSTORE_CONFIGS leads nowhere.
    """
    given = os.environ.get("WARMSTORE_CONFIGS")
    own = Path(given or "configs").absolute()
    if given and not own.is_dir():
        raise ConfigError(
            f"WARMSTORE_CONFIGS={given} is no folder; set it to one of configurations, or unset it"
        )
    return own


def config_folders() -> tuple[Path, ...]:
    """Give the folders that runs are looked for in: the user's if it is there, then the one warmstore brings.

    Raises what `own_folder` raises.
    """
    own = own_folder()
    installed = _PACKAGE / "configs"  # in a wheel; in a clone they stand beside the package
    brought = installed if installed.is_dir() else _PACKAGE.with_name("configs")
    if not own.is_dir():
        return (brought,)
    return (own,) if own.samefile(brought) else (own, brought)


def compose(
    name: str, overrides: Sequence[str] = (), is_text: Callable[[str], bool] = lambda key: False
) -> Composed:
    """Compose the run `<name>.yaml`, or that of a file where `name` ends so, with `key=value` overrides.

    What the run builds on is looked for beside it first, then in the other folders of configurations.
    What follows `=` is read by Hydra's grammar (`canvas=[640,480]`), and as it was typed where a key
    `is_text` or where it does not fit: `data.root=Receipts (2019)`. Values are not validated here.
    Raises ConfigError in one sentence for a run that is not there, YAML that cannot be read, or an
    override that is none.
    """
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException
    from hydra.types import RunMode
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    file, folders = _find(name)
    home, run = file.parent, file.stem
    choices = [text for text in overrides if _is_choice(folders, text)]
    asked = [*choices, _search_path(folders[1:])]
    try:
        with initialize_config_dir(version_base=None, config_dir=str(home)):
            loader = GlobalHydra.instance().config_loader()
            listed = loader.compute_defaults_list(run, asked, RunMode.RUN)
        config, origins = _merged(folders, listed.defaults)
        parsed = OverridesParser.create().parse_overrides(choices)
        loader.validate_sweep_overrides_legal(parsed, RunMode.RUN, from_shell=False)
        loader._apply_overrides_to_config(listed.config_overrides, config)  # those with + or ~ in front
        config.pop("hydra", None)
        in_files: Any = OmegaConf.to_container(config)
        for key, value in (text.split("=", 1) for text in overrides if text not in choices):
            OmegaConf.update(config, key, _value(value, is_text(key)), merge=True, force_add=True)
        values = OmegaConf.to_container(config, resolve=True)
    except (HydraException, OmegaConfBaseException, YAMLError, OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"run {run} in {home} cannot be composed: {_one_line(error)}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{file} holds a {type(values).__name__} where keys belong")
    return Composed(
        run,
        {str(key): value for key, value in values.items()},
        _with_typed(origins, [text for text in overrides if text not in choices]),
        in_files,
    )


def run_names() -> list[str]:
    """Name all runs, the user's and those that come with warmstore."""
    return _names(config_folders())


def _find(name: str) -> tuple[Path, tuple[Path, ...]]:
    """Give the file of a run, and the folders that it builds on, its own first."""
    folders = config_folders()
    by_path = name.endswith(".yaml")
    files = [Path(name).absolute()] if by_path else [folder / f"{name}.yaml" for folder in folders]
    file = next((file for file in files if file.is_file()), None)
    if file is None and by_path:
        raise ConfigError(f"there is no file {name}; give the path of a run's YAML, or a run's name")
    if file is None:
        runs = ", ".join(_names(folders)) or "none"
        near = f"; for the file here write --config {name}.yaml" if Path(f"{name}.yaml").is_file() else ""
        raise ConfigError(f"there is no run {name} in {_either(folders)}; there are: {runs}{near}")
    return file, (file.parent, *(folder for folder in folders if folder != file.parent))


def _names(folders: Sequence[Path], group: str = "") -> list[str]:
    """Give the names of all runs, or of all choices in a group."""
    return sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})


def _either(folders: Sequence[Path]) -> str:
    return " or ".join(map(str, folders))


def _search_path(folders: Sequence[Path]) -> str:
    """Write Hydra's override for further folders, quoted as its grammar wants it."""
    quoted = ("'file://{}/'".format(str(folder).replace("'", r"\'")) for folder in folders)
    return f"hydra.searchpath=[{','.join(quoted)}]"


def _is_choice(folders: Sequence[Path], text: str) -> bool:
    """Tell a choice for Hydra, such as `cache=ram`, from a value. Raises ConfigError for what is neither."""
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise ConfigError(f"{text} is no override; write key=value, for instance canvas=1024")
    if not value:
        raise ConfigError(f"{text} has no value; write {key}=VALUE, or {key}=null for none")
    if not any((folder / key).is_dir() for folder in folders) or value.startswith("{"):
        return key[0] in "+~"
    if value not in (choices := _names(folders, key)):
        raise ConfigError(f"{text}: there is no {key} named {value}; there are: {', '.join(choices)}")
    return True


def _value(typed: str, is_text: bool) -> Any:
    """Read the value of an override; a text in quotes is what stands between them."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    quoted = len(typed) > 1 and typed[0] == typed[-1] and typed[0] in "'\""
    if is_text and not quoted:
        return typed
    try:
        parsed = OverridesParser.create().parse_override(f"key={typed}")
        return typed if parsed.is_sweep_override() else parsed.value()
    except HydraException:
        return typed


def _merged(folders: Sequence[Path], listed: Sequence[Any]) -> tuple[Any, dict[str, str]]:
    """Merge the files that Hydra lists, in its order; gives also for each key the last of them that sets it.

    Hydra's own are left out, which say how it runs programs.
    """
    from omegaconf import DictConfig, OmegaConf

    config, origins = OmegaConf.create(), dict[str, str]()
    for entry in listed:
        paths = (folder / f"{entry.config_path}.yaml" for folder in folders)
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            continue
        loaded = OmegaConf.load(path)
        if not isinstance(loaded, DictConfig):
            raise ConfigError(f"{path} holds a list where keys belong")
        loaded.pop("defaults", None)
        prefix = entry.package if entry.package not in (None, "", "_global_") else ""
        if prefix:
            OmegaConf.update(config, prefix, loaded)
        else:
            config.merge_with(loaded)
        origins |= dict.fromkeys(_leaves(OmegaConf.to_container(loaded), prefix), str(path))
    return config, origins


def _with_typed(origins: Mapping[str, str], typed: Sequence[str]) -> dict[str, str]:
    """Give the origins of keys after overrides were typed: of what they set, and of all that is below."""
    found = dict(origins)
    for text in typed:
        key = text.partition("=")[0]
        found |= {known: COMMAND_LINE for known in (key, *found) if f"{known}.".startswith(f"{key}.")}
    return found


def _leaves(values: Any, prefix: str = "") -> Iterator[str]:
    if not isinstance(values, dict) or not values:
        yield from [prefix] if prefix else []
        return
    for key, value in values.items():
        yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key))


def _one_line(error: BaseException) -> str:
    """Say what a library says, on one line and without its hints on its own grammar."""
    return " ".join(str(error).split("\nSet the env variable")[0].split())
