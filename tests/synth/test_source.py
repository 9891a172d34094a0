"""synth:// cameras: addresses, determinism, one world behind several cameras, ground truth."""

import dataclasses
import time
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from gaitstream.errors import ConfigError, SourceError
from gaitstream.synth import SyntheticCamera, open_synthetic
from gaitstream.synth.address import EPOCH_NS, Address, parse_address, to_url
from gaitstream.synth.appearance import sample_appearance
from gaitstream.synth.render import Renderer
from gaitstream.synth.studio import SCENERIES, sample_pass
from gaitstream.synth.truth import Truth, observe
from gaitstream.synth.world import SITES, Site, World, _corners, find_site

SMALL = "synth://plaza?camera=2&people=5&seed=4&width=320&height=180"


def next_shot(camera: SyntheticCamera) -> tuple[int, NDArray[np.uint8], Truth]:
    shot = camera.read()
    assert shot is not None
    return shot


def shots(url: str, count: int) -> list[tuple[int, NDArray[np.uint8], Truth]]:
    camera = open_synthetic(url)
    return [next_shot(camera) for _ in range(count)]


def test_an_address_says_everything() -> None:
    address = parse_address("synth://yard?camera=3&people=6&seed=9&fps=12.5&only=0,5&seconds=2&tilt=30")
    assert address == Address(
        site="yard", camera=3, people=6, seed=9, fps=12.5, only=(0, 5), seconds=2.0, tilt=30.0
    )


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("synth://plaza?camra=1", "did you mean 'camera'"),
        ("synth://plaza?people=many", "not a whole number"),
        ("synth://plaza?people=1.5", "not a whole number"),
        ("synth://plaza?fps=0", "out of range: 0.1 to 240"),
        ("synth://plaza?only=0,9", "numbers go from 0 to 7"),
        ("synth://plaza?only=a", "only=0,2,3"),
        ("synth://?camera=1", "synth://SITE"),
        ("synth://plaza/1", "synth://SITE"),
        ("rtsp://plaza", "synth://SITE"),
    ],
)
def test_wrong_addresses_say_what_is_allowed(url: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_address(url)
    assert said in str(error.value)


def test_an_unknown_site_names_the_nearest() -> None:
    with pytest.raises(SourceError, match="did you mean 'plaza'"):
        open_synthetic("synth://plazza")


def test_the_same_address_gives_the_same_pictures() -> None:
    for (time_a, image_a, truth_a), (time_b, image_b, truth_b) in zip(
        shots(SMALL, 6), shots(SMALL, 6), strict=True
    ):
        assert time_a == time_b
        assert np.array_equal(image_a, image_b)
        assert np.array_equal(truth_a.keypoints, truth_b.keypoints)
    other = shots(SMALL.replace("seed=4", "seed=5"), 1)[0]
    assert not np.array_equal(other[1], shots(SMALL, 1)[0][1])


def test_a_picture_does_not_depend_on_those_read_before() -> None:
    camera = open_synthetic(SMALL)
    late = [next_shot(camera) for _ in range(41)][-1]
    assert np.array_equal(open_synthetic(SMALL).image(40), late[1])


def test_a_camera_ends_after_its_seconds() -> None:
    camera = open_synthetic(SMALL + "&seconds=0.4&fps=10")
    times = []
    while (shot := camera.read()) is not None:
        times.append(shot[0])
    assert [time - EPOCH_NS for time in times] == [0, 100_000_000, 200_000_000, 300_000_000]
    assert camera.read() is None


@pytest.mark.parametrize("back_s", [10, 3600])
def test_a_live_camera_follows_a_clock_that_is_set_back(back_s: int) -> None:
    address = parse_address(SMALL + "&fps=10&live=1")
    now_ns = [EPOCH_NS + 10_000 * 10**9]
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        now_ns[0] += round(seconds * 1e9)

    camera = SyntheticCamera(address, clock=lambda: now_ns[0], sleep=sleep)
    before = next_shot(camera)[0]
    now_ns[0] -= back_s * 10**9
    times = [next_shot(camera)[0] for _ in range(5)]
    assert max(waits) < 0.2
    assert times[0] - before == pytest.approx(-back_s * 1e9, abs=2e8)
    assert np.diff(times).tolist() == [10**8] * 4


def test_a_live_camera_waits_and_leaves_out_what_is_late() -> None:
    now = EPOCH_NS + 50_000_000
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += round(seconds * 1e9)

    address = parse_address(SMALL + "&fps=10&live=1&seconds=1")
    camera = SyntheticCamera(address, clock=lambda: now, sleep=sleep)
    assert camera.live
    times = [next_shot(camera)[0], next_shot(camera)[0]]
    now += 450_000_000
    times.append(next_shot(camera)[0])
    assert [time - EPOCH_NS for time in times] == [100_000_000, 200_000_000, 700_000_000]
    assert slept == pytest.approx([0.05, 0.1, 0.05])
    now += 10_000_000_000
    assert camera.read() is None


@pytest.mark.parametrize(
    "address",
    [
        Address(site="yard"),
        Address(site="lobby", camera=3, only=(1, 4), fps=12.5, live=True, quality=0, seconds=9.5),
    ],
)
def test_addresses_survive_being_written(address: Address) -> None:
    assert parse_address(to_url(address)) == address


def test_a_later_start_shows_the_same_world() -> None:
    early = open_synthetic(SMALL + "&fps=10").truth(25)
    late = open_synthetic(SMALL + "&fps=10&start=2.5").truth(0)
    assert early.time_ns == late.time_ns
    assert early.keypoints == pytest.approx(late.keypoints, abs=1e-3)


def test_two_cameras_see_one_world() -> None:
    """Rays of the same joint from two cameras meet where the joint is."""
    url = "synth://plaza?camera={}&people=4&seed=4"
    cameras = [open_synthetic(url.format(number)) for number in (1, 2)]
    truths = [camera.truth(10) for camera in cameras]
    both = set(truths[0].people.tolist()) & set(truths[1].people.tolist())
    assert both
    for person in both:
        rays = []
        for camera, truth in zip(cameras, truths, strict=True):
            x, y, _ = truth.keypoints[truth.people.tolist().index(person), 5]
            pinhole = camera.camera
            local = np.array([(x - 319.5) / pinhole.focal_px, (y - 179.5) / pinhole.focal_px, 1.0])
            ray = pinhole.rotation.T @ local
            rays.append((np.asarray(pinhole.position), ray / np.linalg.norm(ray)))
        (p, u), (q, v) = rays
        normal = np.cross(u, v)
        assert abs((q - p) @ normal / np.linalg.norm(normal)) < 0.01


@pytest.mark.parametrize("site", SITES.values(), ids=lambda site: site.name)
def test_boxes_hold_the_keypoints_and_truth_is_sane(site: Site) -> None:
    people = max(8, round(site.width * site.depth / 12))
    camera = open_synthetic(f"synth://{site.name}?camera=2&people={people}&seed=2")
    seen = 0
    for index in range(0, 150, 10):
        truth = camera.truth(index)
        seen += len(truth.people)
        x, y = truth.keypoints[..., 0], truth.keypoints[..., 1]
        left, top, right, bottom = truth.boxes.T[..., None]
        assert ((x >= left) & (x <= right) & (y >= top) & (y <= bottom)).all()
        assert ((truth.visibility >= 0) & (truth.visibility <= 1)).all()
        assert (np.diff(truth.depth_m) <= 0).all()
        inside = (x >= 0) & (x <= 639) & (y >= 0) & (y <= 359)
        assert np.array_equal(truth.keypoints[..., 2] > 0, inside)
        assert truth.names == tuple(camera.world.names[person] for person in truth.people)
    assert seen > 30


def test_cameras_in_a_row_do_not_see_the_same_place() -> None:
    site = find_site("terminal")
    world = World(site, people=40, seed=2)
    cameras = [site.camera(number) for number in range(1, 17, 2)]
    for time_s in range(0, 60, 5):
        joints, standing = world.joints(np.array([float(time_s)]))
        seen = [set(world.truth(camera, joints[0], standing[0]).names) for camera in cameras]
        assert sum(map(len, seen)) == len(set().union(*seen))
        assert set().union(*seen)


def test_who_stands_behind_is_hidden() -> None:
    world = World(find_site("plaza"), people=2, seed=1)
    camera = find_site("plaza").camera(1)
    joints, standing = world.joints(np.zeros(1))
    spot = np.array([6.5, 4.5, 0.0])
    away = np.array([*(spot[:2] - np.asarray(camera.position)[:2]), 0.0])
    away /= np.linalg.norm(away)
    front = joints[0, 0] - joints[0, 0, 17:18] * [1, 1, 0] + spot
    both = np.stack([front, front + away * 0.5])  # the same body twice, so that size decides nothing
    size, girth = world.stature[[0, 0]], world.girth[[0, 0]]
    truth = observe(camera, both, size, girth, standing[0], world.names)
    by_person = dict(zip(truth.people.tolist(), truth.visibility.tolist(), strict=True))
    assert by_person[0] > 0.95
    assert by_person[1] < 0.5
    hidden = truth.keypoints[truth.people.tolist().index(1), :, 2] == 1
    assert hidden.sum() >= 5


def test_people_are_painted_where_the_truth_says() -> None:
    url = "synth://plaza?camera=1&people=6&seed=2&noise=0&quality=0"
    camera = open_synthetic(url)
    empty = open_synthetic(url.replace("people=6", "people=0")).image(0).astype(int)
    image, truth = camera.image(0).astype(int), camera.truth(0)
    changed = np.abs(image - empty).max(axis=2) > 12
    on_body = 0
    for keypoints in truth.keypoints:
        for x, y, flag in keypoints[5:]:
            if flag == 2 and 2 < x < 637 and 2 < y < 357:
                on_body += 1
                assert changed[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2].any()
    assert on_body > 20
    # Nothing but shadows outside the boxes: those only darken.
    outside = np.ones_like(changed)
    for left, top, right, bottom in truth.boxes.astype(int):
        outside[max(top - 8, 0) : bottom + 8, max(left - 8, 0) : right + 8] = False
    assert (image - empty)[outside].max() <= 3


def test_a_day_changes_clothes_and_not_people() -> None:
    monday, friday = (World(find_site("lobby"), 5, 3, day) for day in (0, 4))
    for one, other in zip(monday.walkers, friday.walkers, strict=True):
        assert one.identity == other.identity
        assert dataclasses.replace(one.appearance, pace=1.0) != dataclasses.replace(
            other.appearance, pace=1.0
        )
    assert sample_appearance(3, 0).skin == sample_appearance(3, 0, 4).skin


def test_clothes_tell_nothing_about_the_body() -> None:
    """Appearances are drawn without looking at identities: no correlation over many people."""
    world = [(World(find_site("plaza"), 0).site, sample_appearance(5, index)) for index in range(300)]
    looks = np.array([look.bulk for _, look in world])
    from gaitstream.synth import sample_identity

    stature = np.array([sample_identity(5, index).stature for index in range(300)])
    assert abs(np.corrcoef(looks, stature)[0, 1]) < 0.15


def test_only_some_people_keep_their_numbers() -> None:
    camera = open_synthetic("synth://plaza?people=8&only=2,6&seed=3")
    everybody = open_synthetic("synth://plaza?people=8&seed=3")
    for index in range(0, 60, 20):
        few, all_ = camera.truth(index), everybody.truth(index)
        for person, box in zip(few.people, few.boxes, strict=True):
            assert person in (2, 6)
            assert np.array_equal(box, all_.boxes[all_.people.tolist().index(person)])


def test_mount_tilt_and_size_are_obeyed() -> None:
    camera = open_synthetic("synth://yard?camera=7&mount=5.5&tilt=40&fov=80&width=960&height=540").camera
    assert camera.position[2] == 5.5
    assert (camera.tilt_deg, camera.fov_deg, camera.width, camera.height) == (40.0, 80.0, 960, 540)


def test_a_studio_pass_stays_in_the_picture() -> None:
    from gaitstream.synth import sample_identity

    rng = np.random.default_rng(5)
    for index in range(5):
        walk = sample_pass(sample_identity(1, index), sample_appearance(1, index), rng, frames=20)
        assert walk.keypoints.shape == (20, 17, 3)
        assert walk.boxes.shape == (20, 4)
        assert (walk.keypoints[..., 2] > 0).mean() > 0.95
    renderer = Renderer(walk.camera, SCENERIES[0], day=0)
    drawn = [walk.picture(index, renderer) for index in range(20)]
    assert len(drawn) == 20
    assert drawn[0].shape == (360, 640, 3)
    assert not np.array_equal(drawn[0], drawn[10])


@pytest.mark.parametrize("site", SITES.values(), ids=lambda site: site.name)
def test_every_seed_gives_a_route_soon(site: Site) -> None:
    for seed in range(40):
        draws = Counted(seed)
        corners = _corners(site, draws)  # type: ignore[arg-type]
        assert len(corners) >= 7
        assert draws.count < 2 * 61 * 70
        assert (corners > 0).all()
        assert (corners < [site.width, site.depth]).all()


class Counted:
    """A random generator that counts what is drawn."""

    def __init__(self, seed: int) -> None:
        self.count = 0
        self._rng = np.random.default_rng(seed)

    def uniform(self, low: float, high: float) -> float:
        self.count += 1
        return self._rng.uniform(low, high)


def test_a_floor_without_room_to_walk_is_an_error() -> None:
    with pytest.raises(SourceError, match=r"'cell' of 1\.5 x 1\.5 m leaves no room"):
        World(Site("cell", 1.5, 1.5, "tiles", "walls"), people=1)


def cpu_s(work: Callable[[], object]) -> float:
    """CPU time, the least of two."""
    times = []
    for _ in range(2):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def test_a_crowd_in_a_corridor_takes_no_time_to_think_of() -> None:
    """About as long as six million squares take, 0.2 s on a core of 2024, and no minutes."""
    assert cpu_s(lambda: World(SITES["corridor"], people=40)) < 12 * cpu_s(
        lambda: sum(number * number for number in range(10**6))
    )


def test_a_picture_of_five_people_takes_a_few_milliseconds_of_cpu() -> None:
    """About 5 ms on a core of 2024; the bound leaves room for slow machines."""
    camera = open_synthetic("synth://plaza?people=5")
    next_shot(camera)
    start = time.process_time()
    for _ in range(31):
        next_shot(camera)
    assert (time.process_time() - start) / 31 < 0.025


def test_a_world_without_people_has_pictures() -> None:
    _, image, truth = next_shot(open_synthetic("synth://plaza?people=0&seconds=0.2"))
    assert image.std() > 5
    assert len(truth.boxes) == 0
