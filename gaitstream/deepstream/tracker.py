"""The tracker's configuration, from the same section that the native tracker reads.

NvSORT with cascaded association is the nearest to ByteTrack: sure boxes first, then weak ones onto tracks
that were left over. NvDCF adds a correlation filter, which carries a track through frames without detection.
"""

from __future__ import annotations

from gaitstream.config.schema import Config
from gaitstream.deepstream.graph import enabled
from gaitstream.deepstream.nvinfer import MOST_PEOPLE, Sections, lowest_score
from gaitstream.deepstream.table import Value, check_tracker
from gaitstream.errors import ConfigError

_CASCADED = 1
_REGULAR_KF, _SIMPLE_KF = 2, 1
_DCF_VPI = 2
_STATE: dict[str, Value] = {
    "stateEstimatorType": _REGULAR_KF,
    "noiseWeightVar4Loc": 0.05,
    "noiseWeightVar4Vel": 0.00625,
    "useAspectRatio": 1,
}
_VISUAL_STATE: dict[str, Value] = {
    "stateEstimatorType": _SIMPLE_KF,
    "processNoiseVar4Loc": 6810.0,
    "processNoiseVar4Size": 1.3,
    "processNoiseVar4Vel": 1348.0,
    "measurementNoiseVar4Detector": 100.0,
    "measurementNoiseVar4Tracker": 293.0,
}
_CORRELATION_FILTER: dict[str, Value] = {
    "visualTrackerType": _DCF_VPI,
    "vpiBackend4DcfTracker": 1,
    "useColorNames": 1,
    "useHog": 1,
    "featureImgSizeLevel": 3,
    "featureFocusOffsetFactor_y": -0.1,
    "filterLr": 0.075,
    "filterChannelWeightsLr": 0.1,
    "gaussianSigma": 0.75,
}


def probation_frames(config: Config) -> int:
    """Frames at the start of a track that DeepStream shows nobody: the tracker is not sure of it yet."""
    return config.tracking.min_hits - 1


def shadow_frames(config: Config) -> int:
    """Frames for which a track without detection is kept."""
    fps = max(camera.fps or config.deepstream.source_fps for camera in enabled(config))
    return max(round(config.tracking.lost_s * fps), 1)


def tracker_sections(config: Config) -> Sections:
    """Sections and keys of the tracker's YAML file.

    Raises:
        ConfigError: a value is outside what the tracker accepts.
    """
    visual = config.deepstream.tracker == "nvdcf"
    tracking = config.tracking
    management: dict[str, Value] = {
        "enableBboxUnClipping": 0,
        "preserveStreamUpdateOrder": 1,
        "maxTargetsPerStream": MOST_PEOPLE,
        "minIouDiff4NewTarget": 0.6,
        "minTrackerConfidence": 0.4 if visual else 0.8,
        "probationAge": probation_frames(config),
        "maxShadowTrackingAge": shadow_frames(config),
        "earlyTerminationAge": 1,
    }
    association: dict[str, Value] = {
        "dataAssociatorType": 0,
        "associationMatcherType": _CASCADED,
        "checkClassMatch": 1,
        "minMatchingScore4Overall": 0.1,
        "minMatchingScore4SizeSimilarity": 0.3,
        "minMatchingScore4Iou": tracking.iou,
        "matchingScoreWeight4SizeSimilarity": 0.2,
        "matchingScoreWeight4Iou": 0.5,
        "tentativeDetectorConfidence": tracking.new_track_score,
        "minMatchingScore4TentativeIou": max(tracking.iou, 0.2),
        "usePrediction4Assoc": 1,
    }
    sections: Sections = {
        "BaseConfig": {"minDetectorConfidence": lowest_score(config)},
        "TargetManagement": management,
        # Ids are kept apart by camera and run in our own table; re-association would revive old ones.
        "TrajectoryManagement": {"useUniqueID": 0},
        "DataAssociator": association,
        "StateEstimator": _STATE,
    }
    if visual:
        association |= {"minMatchingScore4VisualSimilarity": 0.5, "matchingScoreWeight4VisualSimilarity": 0.3}
        sections |= {"StateEstimator": _VISUAL_STATE, "VisualTracker": _CORRELATION_FILTER}
    if problems := check_tracker(sections):
        raise ConfigError("this configuration does not fit the tracker:\n" + "\n".join(problems))
    return sections


def to_yaml(sections: Sections) -> str:
    """The text of the file; OpenCV's reader wants the version line."""
    blocks = [
        "".join([f"{name}:\n", *(f"  {k}: {v}\n" for k, v in keys.items())])
        for name, keys in sections.items()
    ]
    return "%YAML:1.0\n# Written by `gaitstream deepstream render`.\n\n" + "\n".join(blocks)
