"""What holds for every family of gait models, whoever brings it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gaitstream.errors import ConfigError
from gaitstream.models.spec import FAMILIES, ModelFamily, families, find_family, recognise

BITS = [16413850065830050968, 8951885271380688528, 3497031820486156046]
WEIGHT = [1.0534973144531252, 0.7277679443359376, 0.6875305175781251]
LARGE = {"biggergait", "biggait"}
NAMES = [
    pytest.param(family.name, marks=pytest.mark.slow if family.name in LARGE else ())
    for family in families()
    if family.randomizer
]


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_is_of_one_family(name: str) -> None:
    state = find_family(name).random(1).module.state_dict()
    found = recognise({key: tuple(value.shape) for key, value in state.items()})
    assert [family.name for family in found] == [name]


@pytest.mark.parametrize("family", families(), ids=lambda family: family.name)
def test_a_family_says_what_it_is(family: ModelFamily) -> None:
    assert FAMILIES.get(family.name) is family
    assert family.title
    assert family.summary
    assert family.settle() == family.options()
    for field, flag in family.flags().items():
        assert hasattr(family.options(), field)
        assert flag.help
        assert flag.choices is None or getattr(family.options(), field) in flag.choices
    with pytest.raises(ConfigError, match="has no option 'gama_deg'"):
        family.settle(gama_deg=1)
    with pytest.raises(ConfigError, match="has no option --gama"):
        family.read({"gama": "1"})


def test_all_families_are_listed_without_a_heavy_import() -> None:
    code = (
        "import sys\n"
        "from gaitstream.models.spec import families\n"
        "assert len(families()) > 2\n"
        "heavy = {'torch', 'onnx', 'numpy', 'cv2', 'openvino'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_weights_of_a_seed_are_the_same_everywhere() -> None:
    """The first numbers of a stream, and a tensor of each kind."""
    from gaitstream.models.graphs.weights import bits, tensor

    assert bits(11, "a", 3).tolist() == BITS
    assert tensor(11, "layer.weight", (4, 3)).ravel()[:3] == pytest.approx(WEIGHT, abs=0)
    assert tensor(11, "ls1.gamma", (5,)).min() >= 0.5
    assert (tensor(11, "bn.running_var", (50,)) >= 1).all()
