"""The recognizers whose frames never leave the device, behind one pose model."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Self

import numpy as np

from gaitstream.data import Floats, Image
from gaitstream.errors import EngineError, KernelError, MissingExtraError
from gaitstream.kernels.contract import AlignmentOptions
from gaitstream.models.device_path import PEOPLE, DeviceBatch, DeviceFeature, DevicePath, DeviceRows, Stage
from gaitstream.models.device_pool import DevicePool
from gaitstream.models.manifest import AlignmentContract, InputKind
from gaitstream.models.pose import PoseModel
from gaitstream.models.recognizer import Recognizer

log = logging.getLogger(__name__)

People = Iterable[tuple[Image, Floats]]
"""Pictures, and the boxes `[n, 4]` of those in them who are asked for."""


class DeviceEncoder:
    """Joints and pooled features of people, by way of one device.

    Args:
        pose: the pose model.
        recognizers: those that work on poses, by the name in the configuration.
        people: in a batch at most.

    Raises:
        EngineError: they do not lie on one device, or cannot work without the host; see `serves`.
    """

    def __init__(
        self, pose: PoseModel, recognizers: Mapping[str, Recognizer], *, people: int = PEOPLE
    ) -> None:
        unfit = [name for name, recognizer in recognizers.items() if not serves(recognizer)]
        if unfit:
            raise EngineError(f"{unfit[0]} needs heatmaps or features on the host")
        self._pose = pose
        stages = {name: _stage(recognizer) for name, recognizer in recognizers.items()}
        self._path = DevicePath(pose.engine, stages, people=people)
        self._pools = {name: DevicePool(self._path, name) for name in stages}

    @classmethod
    def where_possible(cls, pose: PoseModel | None, recognizers: Mapping[str, Recognizer]) -> Self | None:
        """One, when all that work on poses can be on the device; None, and why in the log, when not."""
        on_poses = {name: one for name, one in recognizers.items() if InputKind.POSE in one.manifest.needs}
        if pose is None or not on_poses or pose.engine.on_device is None:
            return None
        try:
            return cls(pose, on_poses)
        except (EngineError, KernelError, MissingExtraError) as error:
            log.warning("people are encoded by way of the host, not on %s: %s", pose.engine.device, error)
            return None

    def __contains__(self, name: str) -> bool:
        """Whether a recognizer is among them."""
        return name in self._pools

    @property
    def people(self) -> int:
        """In a batch at most."""
        return self._path.people

    def find_poses(self, people: People) -> tuple[DeviceRows, Floats]:
        """Cut people out and queue all that follows; wait for the joints alone.

        While one batch's crops are cut the batches before are under way.

        Args:
            people: picture by picture.

        Returns:
            Where the people are, and their joints `[n, 17, 3]` in heatmap pixels, both in order.

        Raises:
            EngineError: the runtime refuses, or the device failed.
        """
        batches: list[DeviceBatch] = []
        pieces = list(people)
        left = sum(len(boxes) for _, boxes in pieces)
        filling = iter(self._path.lots(left))
        batch, filled = None, 0
        for image, boxes in pieces:
            done = 0
            while done < len(boxes):
                if batch is None:
                    batch, filled = self._path.begin(next(filling)), 0
                few = min(len(boxes) - done, batch.count - filled)
                self._pose.crop_into(image, boxes[done : done + few], batch.crops[filled : filled + few])
                done, filled = done + few, filled + few
                if filled == batch.count:
                    batch.start()
                    batches.append(batch)
                    batch = None
        joints = [one.joints() for one in batches]
        return DeviceRows.of(batches), _joined(joints)

    def features(self, name: str, rows: DeviceRows) -> Iterator[DeviceFeature]:
        """Features of a recognizer, per person."""
        pool = self._pools[name]
        for feature in rows.features(name):
            yield feature._replace(pool=pool)

    def close(self) -> None:
        """Wait for what runs and free the memory; the engines are their owners'."""
        self._path.close()
        for pool in self._pools.values():
            pool.close()


def serves(recognizer: Recognizer) -> bool:
    """Whether a recognizer can be all on the device: frames alone, heatmaps alone, maxima alone."""
    manifest, frames = recognizer.manifest, recognizer.frames
    if manifest.keeps != "maximum" or frames is None or list(frames.engine.outputs) != ["features"]:
        return False
    contract = manifest.alignment
    return (
        [one.kind for one in manifest.inputs] == [InputKind.POSE]
        and list(frames.engine.inputs) == ["parts"]
        and contract is not None
        and contract.normalization != "tracklet"
    )


def _stage(recognizer: Recognizer) -> Stage:
    frames, contract = recognizer.frames, recognizer.manifest.alignment
    assert frames is not None and isinstance(contract, AlignmentContract)  # noqa: S101, PT018 - `serves`
    options = AlignmentOptions(
        tuple(tuple(group) for group in contract.groups),
        contract.gamma_deg,
        contract.small_angle,
        (contract.target_xy[0], contract.target_xy[1]),
        contract.normalization,
    )
    return Stage(frames.engine, options)


def _joined(joints: list[Floats]) -> Floats:
    if not joints:
        return np.empty((0, 17, 3), np.float32)
    return joints[0] if len(joints) == 1 else np.concatenate(joints)
