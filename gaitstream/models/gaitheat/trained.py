"""GaitHeat for the export: graphs, manifest and cases of one checkpoint and its options."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from gaitstream.errors import ExportError
from gaitstream.kernels import onnx_op
from gaitstream.kernels.alignment import align
from gaitstream.kernels.contract import AlignmentOptions
from gaitstream.models.bundle import Role
from gaitstream.models.gaitheat import cases, graphs, nvinfer
from gaitstream.models.gaitheat.alignment import write_align
from gaitstream.models.gaitheat.module import GaitHeat
from gaitstream.models.gaitheat.spec import FAMILY, HEATMAP, GaitHeatOptions
from gaitstream.models.graphs.walkers import draw_crop
from gaitstream.models.graphs.weights import seed_module
from gaitstream.models.manifest import (
    AlignmentContract,
    EmbeddingContract,
    FeatureContract,
    InputContract,
    InputKind,
)
from gaitstream.models.pose import PoseModel, keypoints
from gaitstream.models.pose_outputs import CROP_HEIGHT, CROP_WIDTH, JOINTS
from gaitstream.models.trained import Array, Case, Description, GraphRunner, NvinferCase, TrainedModel

NVINFER_LIMITS = {"fp32": 1e-3}
"""Largest relative error of the features, whose outputs are rounded to half precision.

In half precision the graph runs the pose model in half precision too, and a joint that moves to the next
pixel moves the alignment with it: recorded only.
"""
POSES = 6


class TrainedGaitHeat(TrainedModel):
    """GaitHeat with what its checkpoint was trained with."""

    family = FAMILY.name
    module: GaitHeat

    def __init__(self, module: GaitHeat, options: GaitHeatOptions | None = None) -> None:
        self.module = module
        self.options = options or GaitHeatOptions()

    def describe(self) -> Description:
        """Aligned parts; the embedding is the fusion branch after the neck."""
        channels, height, width = graphs.feature_shape(self.module)
        parts, dim = graphs.embedding_shape(self.module)
        options = self.options
        return Description(
            input=InputContract(
                kind=InputKind.POSE,
                height=HEATMAP[0],
                width=HEATMAP[1],
                channels=1 + len(options.groups),
                crop_rule="pose",
            ),
            alignment=AlignmentContract(
                groups=options.groups,
                gamma_deg=options.gamma_deg,
                small_angle=options.small_angle,
                normalization=options.normalization,
                min_pose_score=options.min_pose_score,
            ),
            feature=FeatureContract(channels=channels, height=height, width=width),
            embedding=EmbeddingContract(
                parts=parts, dim=dim, tap="the fusion branch after the neck, every part of unit length"
            ),
        )

    def graphs(self, *, half: bool) -> dict[str, onnx.ModelProto]:
        """`frame` and `head`."""
        return {
            "frame": graphs.write_frame(self.module, len(self.options.groups), half=half),
            "head": graphs.write_head(self.module, half=half),
        }

    def fronts(self) -> dict[str, onnx.ModelProto]:
        """`align`, in float32: half coordinates move pixels."""
        options = self.options
        graph = write_align(
            options.groups,
            gamma_deg=options.gamma_deg,
            small_angle=options.small_angle,
            normalization=options.normalization,
        )
        return {"align": graph}

    def case(self) -> Case:
        """Twelve drawn poses."""
        return cases.make_case(self.module, self.options)

    def for_nvinfer(self, graphs: Mapping[str, onnx.ModelProto], *, half: bool) -> onnx.ModelProto:
        """Pose model, joints, alignment and frame graph as one.

        Raises:
            ExportError: there is no pose model, or heatmaps are normalised over a whole tracklet.
        """
        nvinfer.check_normalization(self.options.normalization)
        pose, contract = nvinfer.read_pose(self._pose())
        return nvinfer.write(pose, contract, graphs["align"], graphs["frame"], half=half)

    def for_nvinfer_plugin(
        self, graphs: Mapping[str, onnx.ModelProto], *, half: bool
    ) -> onnx.ModelProto | None:
        """The same with the PGHA operator in the place of the align graph."""
        operator = onnx_op.write_operator(
            AlignmentOptions(self.options.groups, self.options.gamma_deg, self.options.small_angle),
            channels=JOINTS,
        )
        return self.for_nvinfer({**graphs, "align": operator}, half=half)

    def nvinfer_case(self) -> NvinferCase:
        """Drawn people; the ordinary way leads through the pose model and the align graph."""
        crops = _walkers()
        pose = self._pose()

        def ordinary(runner: GraphRunner) -> dict[str, Array]:
            model = PoseModel.load(pose, runner.runtime, "fp32", cache=runner.cache)
            try:
                heatmaps = model.heatmaps(crops)
            finally:
                model.close()
            feeds = {"heatmaps": heatmaps, "keypoints": keypoints(heatmaps)}
            return {"parts": runner.run("align", feeds, precise=True)["parts"]}

        def by_plugin(runner: GraphRunner) -> Array:
            """The operator by the CPU build of the same CUDA source, what is around it by the runner."""
            role: Role = "deepstream_plugin"
            maps, joints = nvinfer.operator_inputs(runner.graph(role))
            found = runner.run_part(role, {nvinfer.INPUT: crops.astype(np.float32)}, [maps, joints])
            aligned = align(
                found[maps].astype(np.float32),
                found[joints],
                groups=self.options.groups,
                gamma_deg=self.options.gamma_deg,
                small_angle=self.options.small_angle,
            )
            return runner.run_part(role, {nvinfer.PARTS: aligned.parts}, [nvinfer.FEATURE])[nvinfer.FEATURE]

        return NvinferCase(crops.astype(np.float32), nvinfer.FEATURE, ordinary, NVINFER_LIMITS, by_plugin)

    def _pose(self) -> Path:
        if self.options.pose is None:
            raise ExportError("GaitHeat's graph for DeepStream holds a pose model: give it with --pose FILE")
        return self.options.pose


def make_random(seed: int) -> TrainedGaitHeat:
    """A model of the published size with random weights."""
    module = GaitHeat()
    seed_module(module, seed)
    return TrainedGaitHeat(module)


def _walkers() -> NDArray[np.uint8]:
    """Drawn people for the pose model, RGB `[n, 3, 256, 192]`."""
    rng = np.random.default_rng(7)
    crops = np.zeros((POSES, 3, CROP_HEIGHT, CROP_WIDTH), np.uint8)
    for index, crop in enumerate(crops):
        picture = draw_crop(index % 3, index * 1.1, 0.5, rng)
        left = (CROP_WIDTH - picture.shape[2]) // 2
        crop[:, :, left : left + picture.shape[2]] = picture
    return crops
