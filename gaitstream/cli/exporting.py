"""The command `export`: a checkpoint becomes a bundle with its proof."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaitstream.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from gaitstream.export.parity import Report

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

PRECISIONS = ("fp32", "fp16")
JOINTS = 17


def add(commands: Commands) -> None:
    """Add `export biggait` and `export gaitheat`."""
    parser = commands.add_parser(
        "export",
        help="turn a trained checkpoint into a bundle, and prove it",
        description="Turn a trained checkpoint into a bundle of ONNX graphs. The bundle is written only when "
        "its graphs compute what the checkpoint's PyTorch module does.",
    )
    models = parser.add_subparsers(dest="model", required=True, metavar="MODEL")
    biggait = models.add_parser("biggait", help="a BigGait checkpoint of OpenGait (ViT-S or ViT-L)")
    biggait.add_argument(
        "--dinov2",
        type=Path,
        metavar="FILE",
        help="DINOv2's own file, where the checkpoint lacks the backbone",
    )
    gaitheat = models.add_parser("gaitheat", help="a GaitHeat checkpoint of FastPoseGait")
    _add_heat(gaitheat)
    for model in (biggait, gaitheat):
        _add_shared(model)
        model.set_defaults(handler=run)


def parse_groups(text: str) -> tuple[tuple[int, ...], ...]:
    """Read part groups such as `0-10,11-16` or `0+5+6,11-16`.

    Raises:
        ConfigError: the text is not of this form, or a joint is not one of COCO's.
    """
    groups = []
    for part in text.split(","):
        group: list[int] = []
        for piece in part.split("+"):
            match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", piece)
            if match is None:
                raise ConfigError(
                    f"cannot read {piece!r} in the groups {text!r}: write 0-10,11-16 or 0+5+6,11-16"
                )
            group.extend(range(int(match[1]), int(match[2] or match[1]) + 1))
        if not group or max(group) >= JOINTS:
            raise ConfigError(
                f"the group {part!r} must name joints 0 to {JOINTS - 1} in rising order, as 0-10"
            )
        groups.append(tuple(group))
    return tuple(groups)


def parse_precisions(text: str) -> tuple[Any, ...]:
    """Read precisions of graphs to store, such as `fp32,fp16`.

    Raises:
        ConfigError: one is unknown.
    """
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name == "bf16":
            raise ConfigError("bf16 has no graphs of its own: it is a mode of running the fp32 graphs")
        if name not in PRECISIONS:
            raise ConfigError(f"there are no {name!r} graphs: use {', '.join(PRECISIONS)}, or both")
    return names


def run(args: argparse.Namespace) -> int:
    """Export, and print the proof."""
    heat = _heat_options(args) if args.model == "gaitheat" else {}
    precisions = parse_precisions(args.precision)
    try:
        from gaitstream.export.api import Options, export_bundle
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "torch", "export", "Exporting a checkpoint") from error
    note = {"licence": args.licence} if args.licence else {}
    options = Options(
        precisions=precisions,
        window=args.window,
        version=args.version,
        calibration=args.calibration,
        overwrite=args.overwrite,
        deepstream=args.target == "deepstream",
        pose=getattr(args, "pose", None),
        **note,
        **heat,
    )
    dinov2 = args.dinov2 if args.model == "biggait" else None
    exported = export_bundle(args.model, args.checkpoint, args.out, dinov2=dinov2, options=options, say=_say)
    print_report(exported.report)
    print(f"{args.out}: {args.model}, fingerprint {exported.bundle.fingerprint[:12]}")
    return 0


def print_report(report: Report) -> None:
    """Print the proof as a table and sentences."""
    from rich.console import Console
    from rich.table import Table

    from gaitstream.export.report import COLUMNS, cells, conclusions

    table = Table(box=None, padding=(0, 1, 0, 0), title=f"{report.model} against {report.reference}")
    for column in COLUMNS:
        table.add_column(column, no_wrap=True)
    for row in cells(report):
        table.add_row(*row, style={"fail": "red"}.get(row[-1]))
    console = Console()
    console.print(table)
    for line in conclusions(report):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _add_shared(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint", type=Path, required=True, metavar="FILE", help=".pt, .pth or .safetensors"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the bundle goes")
    parser.add_argument(
        "--precision", default="fp32,fp16", metavar="LIST", help="graphs to store (default: fp32,fp16)"
    )
    parser.add_argument(
        "--calibration", type=Path, metavar="FILE", help="labelled inputs (.npz) to judge fp16 and bf16 by"
    )
    parser.add_argument(
        "--window", type=int, default=30, metavar="N", help="frames of a tracklet (default: 30)"
    )
    parser.add_argument("--version", default="", help="name of this version (default: from the file's hash)")
    parser.add_argument("--licence", default="", help="licence note kept in the manifest")
    parser.add_argument(
        "--target",
        choices=("native", "deepstream"),
        default="native",
        help="deepstream: also write the frame graphs for DeepStream's nvinfer, beside the others",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the bundle that lies at --out")


def _add_heat(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--groups",
        default="0-10,11-16",
        metavar="LIST",
        help="joints (COCO) merged into each part (default: 0-10,11-16, upper and lower body)",
    )
    parser.add_argument(
        "--gamma", type=float, default=5.0, metavar="DEG",
        help="tilt of the spine up to which a frame stays as it is (default: 5; CCPG: 20)",
    )  # fmt: skip
    parser.add_argument(
        "--small-angle",
        choices=("identity", "align"),
        default="identity",
        help="up to that tilt: leave the frame alone, or align it all the same (default: identity)",
    )
    parser.add_argument(
        "--normalization",
        choices=("fixed", "tracklet"),
        default="fixed",
        help="clamp heatmaps to 0..1, frame by frame (default), or stretch each tracklet as released",
    )
    parser.add_argument(
        "--min-pose-score", type=float, default=0.4, metavar="S", help="drop frames below it (default: 0.4)"
    )
    parser.add_argument(
        "--pose", type=Path, metavar="FILE", help="pose model (ONNX or its manifest) for --target deepstream"
    )


def _heat_options(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "groups": parse_groups(args.groups),
        "gamma_deg": args.gamma,
        "small_angle": args.small_angle,
        "normalization": args.normalization,
        "min_pose_score": args.min_pose_score,
    }
