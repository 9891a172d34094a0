"""Train GaitJoints on walks learned from people, on the formula's, and on what pose models find.

    python training/train_joints.py --mocap walks.npz --found runs/joints --held runs/held-joints \
        --minutes 60 --out runs/gaitjoints

Three quarters of a batch are drawn, a sixteenth are recorded people who are not left out, the rest are joints
that pose models found on rendered people; see `joints.py`.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from head import identity_loss
from joints import FRAMES, Crowd, Errors, Found, Recorded, disturb, film
from schedule import follow_clock
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from train_gait import score, seen_before
from walks import KINDS

from gaitstream.cli.script import run_script
from gaitstream.models.gaitjoints.module import GaitJoints


class Trained(nn.Module):
    """The model with a cosine classifier over the training people."""

    def __init__(self, model: GaitJoints, people: int) -> None:
        super().__init__()
        self.model = model
        self.people = nn.Parameter(torch.randn(people, model.neck.num_features) * 0.1)

    def forward(self, keypoints: Tensor) -> Tensor:
        """Cosines to the people, `[n, people]`."""
        return self.model(keypoints)[:, 0].float() @ F.normalize(self.people, dim=1).T


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mocap", type=Path, help="recorded walks; those of people left out are not used")
    parser.add_argument("--found", type=Path, nargs="+", default=[], help="written by render_joints.py")
    parser.add_argument("--held", type=Path, help="people not trained on, written by render_joints.py")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--people", type=int, default=6000)
    parser.add_argument("--walks", type=int, default=4, help="of every person")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--channels", type=int, default=256)
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--resume",
        type=Path,
        help="gaitjoints.pt of an earlier run with as many people, or without those",
    )
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    train(args)


def train(args: argparse.Namespace) -> None:
    """The loop; the learning rate follows the clock, so that a run fits its time."""
    recorded = Recorded(args.mocap) if args.mocap else None
    found = Found(args.found) if args.found else None
    held = Found([args.held]) if args.held else None
    if found and int(found.people.max()) >= args.people:
        raise SystemExit(
            f"--people {args.people}: --found shows person {int(found.people.max())}; take at least "
            f"{int(found.people.max()) + 1}, of whom those are"
        )
    state = torch.load(args.resume, weights_only=True) if args.resume else {}
    crowd = Crowd(args.people, args.walks)  # takes minutes: what may be missing was read before
    net = Trained(GaitJoints(args.channels, args.blocks), len(crowd) + (recorded.count if recorded else 0))
    if "training" in state:
        net.load_state_dict(state["training"])
    elif state:
        net.model.load_state_dict(state["model"])
    average = torch.optim.swa_utils.AveragedModel(
        net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998), use_buffers=True
    )
    decayed = [p for p in net.model.parameters() if p.ndim > 1]
    rest = [net.people, *(p for p in net.model.parameters() if p.ndim <= 1)]
    optimizer = torch.optim.AdamW(
        [{"params": decayed}, {"params": rest, "weight_decay": 0.0}], lr=args.rate, weight_decay=2e-2
    )
    rng = torch.Generator().manual_seed(args.seed)
    start, step, losses, saved = time.monotonic(), 0, 0.0, 0.0
    while (elapsed := (time.monotonic() - start) / (60 * args.minutes)) < 1:
        follow_clock(optimizer, args.rate, step, elapsed, warm=200, floor=0.005)
        errors = Errors(grown=1.0 if args.resume else min(1.0, 0.2 + 2.5 * elapsed))
        keypoints, people = batch(args.batch, (crowd, recorded, found), errors, rng)
        with torch.autocast("cpu", torch.bfloat16):
            cosines = net(keypoints)
        loss = identity_loss(cosines.float(), people)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        average.update_parameters(net)
        step, minutes, losses = step + 1, elapsed * args.minutes, losses + loss.item()
        if step % 100 == 0:
            print(f"{minutes:.1f} min step {step} loss {losses / 100:.3f}", flush=True)
            losses = 0.0
        if minutes - saved > 10:
            saved = minutes
            write(args, average.module, held, step)
    write(args, average.module, held, step)


def batch(
    count: int,
    sources: tuple[Crowd, Recorded | None, Found | None],
    errors: Errors,
    rng: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Joints `[count, frames, 17, 3]` and identities: drawn, a sixteenth recorded, a quarter found."""
    crowd, recorded, found = sources
    few = count // 16 if recorded else 0
    some = count // 4 if found else 0
    people, body = crowd.draw(count - few - some, rng)
    if recorded:
        whose, walked = recorded.draw(few, rng)
        people, body = torch.cat([people, whose + len(crowd)]), torch.cat([body, walked])
    keypoints = disturb(film(body, rng), rng, errors)
    length = int(torch.randint(16, FRAMES + 1, (), generator=rng))
    if found:
        whose, seen = found.draw(some, rng)
        length = min(length, seen.shape[1])
        people = torch.cat([people, whose])
        keypoints = torch.cat([keypoints[:, :length], seen[:, :length]])
    return keypoints[:, :length], people


def write(args: argparse.Namespace, net: Trained, held: Found | None, step: int) -> None:
    """The checkpoint, the model's state and the whole for `--resume`, and how good it is."""
    state = {"model": net.model.state_dict(), "training": net.state_dict()}
    torch.save(state, args.out / "gaitjoints.pt")
    result = {"minutes": args.minutes, "steps": step, **(figures(net.model, held) if held else {})}
    print(result, flush=True)
    (args.out / "training.json").write_text(json.dumps(result, indent=2))


@torch.no_grad()
def figures(model: GaitJoints, held: Found) -> dict[str, dict[str, float]]:
    """How well people are told apart by what each pose model found, each kind of walk among its own."""
    model.eval()
    result = {}
    for number, joints in enumerate(held.joints):
        rows = torch.cat([model(some) for some in joints.split(64)]).numpy()
        for index, kind in enumerate(KINDS):
            own = held.people.numpy() % len(KINDS) == index
            people = held.people.numpy()[own]
            found = score(rows[own], people, seen_before(people))
            result[f"pose model {number}, {kind}"] = {
                name: round(float(found[name]), 2) for name in ("rank1", "eer")
            }
    return result


if __name__ == "__main__":
    run_script(main)
