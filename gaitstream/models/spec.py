"""What the house knows of a family of gait models: its name, its options, whose a checkpoint is.

A family is a folder of this package with a `spec.py` that holds `FAMILY`, or an entry point of the group
`gaitstream.models` in another package. Its name is used in commands, configurations and manifests, and in no
code outside its folder. `spec.py` is light; what needs PyTorch lies beside it and is imported by an export.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import gaitstream.models
from gaitstream.errors import ConfigError, MissingExtraError
from gaitstream.registry import Registry

if TYPE_CHECKING:
    # All import NumPy, which no help text should wait for.
    import onnx

    from gaitstream.models.bundle import Bundle
    from gaitstream.models.manifest import Manifest
    from gaitstream.models.trained import TrainedModel

T = TypeVar("T")
Shapes = Mapping[str, tuple[int, ...]]
"""Shapes of a checkpoint's tensors, by key."""
GROUP = "gaitstream.models"


@dataclass(frozen=True, kw_only=True)
class Flag:
    """How one option of a family is given on the command line.

    Attributes:
        help: one sentence; the default is named in it.
        name: of the flag, without dashes; the field's name where empty.
        metavar: what stands for the value in the help text.
        choices: all values there are, where they can be listed.
        parse: makes the value of the text; raises `ConfigError`.
    """

    help: str
    name: str = ""
    metavar: str | None = None
    choices: tuple[str, ...] | None = None
    parse: Callable[[str], Any] = str


def flag(default: T, **about: Any) -> T:
    """A field of a family's options that is also a flag of `gaitstream export`; see `Flag`."""
    return field(default=default, metadata={"flag": Flag(**about)})


@dataclass(frozen=True)
class NoOptions:
    """Options of a family that has none of its own."""


@dataclass(frozen=True, kw_only=True)
class ModelFamily:
    """A family of gait models.

    Attributes:
        name: in commands, configurations and manifests.
        title: in messages.
        summary: the family's line in the help text.
        recognises: whether a checkpoint is one of this family's, judged by its tensors' keys and shapes.
        loader: `module:function`; the function takes the checkpoint's path and the options, and returns the
            `TrainedModel`. Its module may import PyTorch.
        options: dataclass of what a checkpoint does not hold, its fields made with `flag`.
        randomizer: `module:function`; the function takes a seed and returns a `TrainedModel` of the published
            size with random weights, to measure speed without a checkpoint. Empty: there is none.
        variants: the published sizes, where there are several; the randomizer then takes one of these names
            after the seed. The first is the usual one.
        restate: the family's own flags that a bundle was exported with, by their names, as far as its
            manifest tells: with them an export makes the same model again.
        joiner: `module:function`; the function takes what `join` takes and returns what it returns, without
            PyTorch. Empty: only an export writes graphs for nvinfer.
        gflop: of the published size's frame graph, per person and frame, for plans; 0 where it is not known.
    """

    name: str
    title: str
    summary: str
    recognises: Callable[[Shapes], bool]
    loader: str
    options: type[Any] = NoOptions
    randomizer: str = ""
    variants: tuple[str, ...] = ()
    restate: Callable[[Manifest], dict[str, str]] = lambda _manifest: {}
    joiner: str = ""
    gflop: float = 0.0

    def load(self, checkpoint: str | Path, **options: Any) -> TrainedModel:
        """Read a checkpoint.

        Args:
            checkpoint: see `graphs.checkpoint.read_state`.
            options: by the fields' names.

        Raises:
            ConfigError: an option is unknown or wrong.
            CheckpointError: the file cannot be read or does not fit.
        """
        found: TrainedModel = _imported(self.loader)(Path(checkpoint), self.settle(**options))
        return found

    def random(self, seed: int, variant: str = "") -> TrainedModel:
        """A model of a published size with random weights.

        Args:
            seed: of the weights.
            variant: one of `variants`; empty is the usual one.

        Raises:
            ConfigError: the family makes none, or has no such variant.
        """
        self.check_random(variant)
        named = (variant or self.variants[0],) if self.variants else ()
        found: TrainedModel = _imported(self.randomizer)(seed, *named)
        return found

    def check_random(self, variant: str = "") -> None:
        """Raise what `random` would, without making anything."""
        if not self.randomizer:
            raise ConfigError(f"{self.title} makes no random weights: export a checkpoint")
        if variant and variant not in self.variants:
            known = ", ".join(self.variants) or "only one"
            raise ConfigError(f"{self.title} has no variant {variant!r}: there is {known}")

    def join(self, bundle: Bundle, pose: Path, *, half: bool, operator: bool) -> onnx.ModelProto | None:
        """The graph for nvinfer out of a bundle's own graphs and a pose model; None where that cannot be.

        Args:
            bundle: of this family.
            pose: an ONNX file or its manifest.
            half: of the bundle's graphs in half precision.
            operator: with the operator of our TensorRT plugin.

        Raises:
            BundleError: the bundle lacks a graph for it.
            ExportError: the model needs what DeepStream does not give.
            MissingExtraError: onnx is not installed.
        """
        if not self.joiner:
            return None
        if importlib.util.find_spec("onnx") is None:
            raise MissingExtraError("onnx", "cuda", "Joining a pose model and a recognizer for DeepStream")
        found: onnx.ModelProto = _imported(self.joiner)(bundle, pose, half=half, operator=operator)
        return found

    def settle(self, **given: Any) -> Any:
        """The family's options with what was given and the defaults for the rest.

        Raises:
            ConfigError: the family has no such option, or a value is wrong.
        """
        known = [one.name for one in dataclasses.fields(self.options)]
        for name in given:
            if name not in known:
                close = difflib.get_close_matches(name, known, 1)
                near = f" (nearest: {close[0]})" if close else ""
                all_of_them = ", ".join(known) or "none of its own"
                raise ConfigError(f"{self.title} has no option {name!r}{near}; it has {all_of_them}")
        return self.options(**given)

    def read(self, texts: Mapping[str, str]) -> dict[str, Any]:
        """Values of options that were given as text, by the options' field names.

        Args:
            texts: by the names of their flags.

        Raises:
            ConfigError: the family has no such flag, or a value is wrong.
        """
        flags = {flag.name: (field, flag) for field, flag in self.flags().items()}
        found = {}
        for name, text in texts.items():
            if name not in flags:
                known = ", ".join(f"--{flag}" for flag in flags) or "none of its own"
                raise ConfigError(f"{self.title} has no option --{name}; it has {known}")
            field_name, flag = flags[name]
            if flag.choices is not None and text not in flag.choices:
                raise ConfigError(f"--{name} {text!r} of {self.title}: choose from {', '.join(flag.choices)}")
            found[field_name] = flag.parse(text)
        return found

    def flags(self) -> dict[str, Flag]:
        """The options that can be given on the command line, by field name; every flag has its name."""
        found = {one.name: one.metadata["flag"] for one in dataclasses.fields(self.options) if one.metadata}
        return {
            name: dataclasses.replace(flag, name=flag.name or name.replace("_", "-"))
            for name, flag in found.items()
        }


def _imported(target: str) -> Callable[..., Any]:
    module, _, function = target.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


def _own() -> dict[str, str]:
    """The families of this package: its folders with a `spec.py`."""
    (root,) = gaitstream.models.__path__
    folders = (found.name for found in pkgutil.iter_modules([root]) if found.ispkg)
    return {
        name: f"{gaitstream.models.__name__}.{name}.spec:FAMILY"
        for name in folders
        if Path(root, name, "spec.py").is_file()
    }


FAMILIES: Registry[ModelFamily] = Registry("model family", GROUP, _own(), is_a=ModelFamily)


def find_family(name: str) -> ModelFamily:
    """The family of this name.

    Raises:
        ConfigError: there is none, it cannot be imported, or it calls itself otherwise.
    """
    family = FAMILIES.get(name)
    if family.name != name:
        raise ConfigError(
            f"the {FAMILIES.kind} {name!r} calls itself {family.name!r}: register it under its own name"
        )
    return family


def families() -> list[ModelFamily]:
    """All families that are installed and can be loaded, in the order of the help text."""
    found = []
    for name in FAMILIES.names():
        try:
            found.append(find_family(name))
        except ConfigError as error:  # one broken package must not hide the others
            FAMILIES.tell(str(error))
    return found


def recognise(shapes: Shapes) -> list[ModelFamily]:
    """The families that take a checkpoint with these tensors for their own; one, if all is well."""
    return [family for family in families() if _recognises(family, shapes)]


def _recognises(family: ModelFamily, shapes: Shapes) -> bool:
    """What a family says; one that fails over another's tensors says no."""
    try:
        return bool(family.recognises(shapes))
    except Exception as error:  # noqa: BLE001 - it is another package's code
        said = f"{type(error).__name__}: {error}"
        FAMILIES.tell(f"{family.title} cannot tell whether a checkpoint is its own ({said})")
        return False
