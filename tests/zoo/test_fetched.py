"""Fetched models: sums, consent, archives, folders without internet, and what a configuration finds."""

from __future__ import annotations

import hashlib
import random
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from gaitstream import zoo
from gaitstream.cli import main
from gaitstream.cli.commands import fetching
from gaitstream.errors import ConfigError, ZooError
from gaitstream.models.detector_layouts import DetectorContract
from gaitstream.models.pose import PoseContract
from gaitstream.models.resolve import find_network
from gaitstream.models.segmenter import SegmenterContract
from gaitstream.zoo import fetched, registry
from gaitstream.zoo.catalogue import CatalogueModel, KnownFile, catalogue, find_model
from tests.zoo.misbehaving import Site, serve

CONTENT = random.Random(2).randbytes(50_000)
KNOWN = KnownFile(sha256=hashlib.sha256(CONTENT).hexdigest(), size=len(CONTENT), basis="this test")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GAITSTREAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


@pytest.fixture
def site() -> Iterator[Site]:
    with serve(CONTENT) as site:
        yield site


def a_model(**changes: object) -> CatalogueModel:
    fields: dict[str, object] = {
        "name": "posing", "task": "pose", "summary": "", "licence": "MIT", "terms": "https://example.org",
        "url": "http://127.0.0.1:9/model.onnx", "files": (KNOWN,), "manifest": {"scale": 1.0},
    }  # fmt: skip
    return CatalogueModel(**(fields | changes))  # type: ignore[arg-type]


def listed(model: CatalogueModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a model into the catalogue."""
    monkeypatch.setattr(registry, "look_up", {model.name: model}.get)


def left_behind(cache: Path) -> set[str]:
    return {path.name for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"}


def test_a_fetched_model_is_found_by_its_name(
    site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = a_model(url=site.url)
    listed(model, monkeypatch)
    with pytest.raises(ConfigError, match=r"pose 'posing' is not on .* gaitstream models get posing fetches"):
        find_network("posing", "pose", PoseContract)
    receipt = fetched.download(model)
    assert receipt.compared_with == "this test"
    graph, contract = find_network("posing", "pose", PoseContract)
    assert graph.read_bytes() == CONTENT
    assert contract == PoseContract(graph="posing.onnx", scale=1.0)
    assert left_behind(cache) == {"posing.onnx", "posing.yaml", "receipt.json"}


@pytest.mark.parametrize("changed", [b"!" + CONTENT[1:], CONTENT[:-1], CONTENT + b"x"])
def test_wrong_bytes_are_not_kept(changed: bytes, site: Site, cache: Path) -> None:
    site.content = changed
    with pytest.raises(ZooError, match=r"nothing was kept"):
        fetched.download(a_model(url=site.url))
    assert left_behind(cache) == set()
    site.content = CONTENT
    assert fetched.download(a_model(url=site.url)).sha256 == KNOWN.sha256


def test_a_wrong_file_does_not_replace_the_right_one(site: Site) -> None:
    model = a_model(url=site.url)
    fetched.download(model)
    site.content = b"!" + CONTENT[1:]
    with pytest.raises(ZooError, match="nothing was kept"):
        fetched.download(model)
    receipt = fetched.receipt_of(model)
    assert receipt is not None
    fetched.verify(model, receipt)


def test_a_sum_can_be_given_and_one_that_is_missing_is_said(site: Site) -> None:
    model = a_model(url=site.url, files=())
    assert fetched.download(model).compared_with == ""
    assert fetched.download(model, pinned=KNOWN.sha256.upper()).compared_with == "the sum given"
    with pytest.raises(ZooError, match=f"has the sum {KNOWN.sha256}, not 00"):
        fetched.download(model, pinned="0" * 64)
    site.content = b"a new release"
    new = hashlib.sha256(site.content).hexdigest()
    assert fetched.download(a_model(url=site.url), pinned=new).sha256 == new


def test_a_licence_that_binds_is_asked_for(site: Site) -> None:
    model = a_model(url=site.url, consent="for research alone", licence="academic")
    with pytest.raises(ConfigError, match=r"for research alone\. Licence: academic.* get posing --accept"):
        fetched.download(model)
    with pytest.raises(ConfigError, match="for research alone"):
        fetched.take(model, Path())
    assert site.asked == []
    assert fetched.download(model, accepted=True).accepted == "academic: for research alone"


@pytest.mark.parametrize("name", ["model.onnx", "posing.onnx", "by another name.bin"])
def test_without_internet_a_folder_is_searched_by_name_and_by_sum(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "stick"
    folder.mkdir()
    (folder / "decoy.onnx").write_bytes(CONTENT[::-1])
    with pytest.raises(ConfigError, match=r"neither model\.onnx nor posing\.onnx, nor one of another name"):
        fetched.take(a_model(), folder)
    (folder / name).write_bytes(CONTENT)
    assert fetched.take(a_model(), folder).sha256 == KNOWN.sha256
    assert fetched.take(a_model(), folder / name).source == str(folder / name)
    assert (folder / name).read_bytes() == CONTENT
    with pytest.raises(ZooError, match="has the sum"):
        fetched.take(a_model(), folder / "decoy.onnx")
    with pytest.raises(ConfigError, match="does not exist"):
        fetched.take(a_model(), tmp_path / "gone")


def test_a_file_is_taken_out_of_its_archive(site: Site, cache: Path, tmp_path: Path) -> None:
    model = a_model(url=site.url.replace(".onnx", ".zip"), member="end2end.onnx")
    site.content = _archive(tmp_path, {"release/a/end2end.onnx": CONTENT, "release/pipeline.json": b"{}"})
    assert fetched.download(model).file == "posing.onnx"
    assert left_behind(cache) == {"posing.onnx", "posing.yaml", "receipt.json"}
    assert (cache / "posing" / "posing.onnx").read_bytes() == CONTENT
    site.content = _archive(tmp_path, {"end2end.onnx": CONTENT + b"x"})
    with pytest.raises(ZooError, match="has 50001 bytes where 50000 are expected"):
        fetched.download(model)
    site.content = _archive(tmp_path, {"other.onnx": CONTENT})
    with pytest.raises(ZooError, match=r"holds 0 files end2end\.onnx"):
        fetched.download(model)
    assert left_behind(cache) == {"posing.onnx", "posing.yaml", "receipt.json"}


@pytest.mark.parametrize("damage", ["encrypted", "unknown packing", "damaged"])
def test_an_archive_that_cannot_be_read_is_an_error(
    damage: str, site: Site, cache: Path, tmp_path: Path
) -> None:
    model = a_model(url=site.url, member="end2end.onnx")
    content = bytearray(_archive(tmp_path, {"end2end.onnx": CONTENT}))
    listed = content.find(b"PK\x01\x02")
    if damage == "encrypted":
        content[6] |= 1
        content[listed + 8] |= 1
    elif damage == "unknown packing":
        content[8] = content[listed + 10] = 99
    else:
        content[60:160] = bytes(255 for _ in range(100))
    site.content = bytes(content)
    with pytest.raises(ZooError, match="the archive of posing is damaged"):
        fetched.download(model)
    assert left_behind(cache) == set()


def test_an_archive_that_unpacks_to_more_than_there_is_room_for_is_refused(
    site: Site, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = KnownFile(sha256=KNOWN.sha256, basis="this test")
    model = a_model(url=site.url, member="end2end.onnx", files=(unknown,))
    site.content = _archive(tmp_path, {"end2end.onnx": CONTENT})
    monkeypatch.setattr(fetched, "MOST_BYTES", len(CONTENT) - 1)
    with pytest.raises(ZooError, match=r"more than .* has room for"):
        fetched.download(model)
    assert left_behind(cache) == set()


def _archive(folder: Path, files: dict[str, bytes]) -> bytes:
    path = folder / "made.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path.read_bytes()


def test_a_file_that_was_changed_since_is_an_error(
    site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = a_model(url=site.url)
    listed(model, monkeypatch)
    fetched.download(model)
    assert zoo.find("posing", "pose") == cache / "posing" / "posing.yaml"
    (cache / "posing" / "posing.onnx").write_bytes(b"!" + CONTENT[1:])
    with pytest.raises(ZooError, match=r"was changed or damaged; gaitstream models get posing --force"):
        zoo.find("posing", "pose")
    for damage in (b"{", b'{"file": "\xff"}'):
        (cache / "posing" / "receipt.json").write_bytes(damage)
        with pytest.raises(ZooError, match=r"receipt\.json cannot be read .* --force"):
            zoo.find("posing", "pose")


def test_names_in_the_wrong_place_are_said() -> None:
    with pytest.raises(ConfigError, match=r"'yolox_nano' is a detector, not a pose"):
        zoo.find("yolox_nano", "pose")
    with pytest.raises(ConfigError, match=r"is a checkpoint, not a biggait: .* --accept .*export biggait"):
        zoo.find("biggait_ccpg", "recognizer", "biggait")
    with pytest.raises(ConfigError, match=r"\(did you mean 'yolox_nano'\?\).*get' fetches yolox_nano"):
        zoo.find("yolox_nno", "detector")
    with pytest.raises(ConfigError, match=r"no model 'yolo' .*; it has yolox_nano"):
        find_model("yolo")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "http://[no/model.onnx",
        "http://127.0.0.1:port/model.onnx",
        "http:///model.onnx",
        "http://127.0.0.1/a model.onnx",
        "http://127.0.0.1/\u00fc.onnx",
    ],
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ConfigError, match="is no address to fetch from: give one of http or https"):
        fetched.download(a_model(), url=url)


def test_an_address_with_a_password_is_not_repeated() -> None:
    with pytest.raises(ConfigError, match="holds a user name or a password") as caught:
        fetched.download(a_model(), url="http://me:secret@127.0.0.1/model.onnx")
    assert "secret" not in str(caught.value)


def test_a_mirror_may_have_any_of_the_known_copies(site: Site) -> None:
    other = KnownFile(sha256="0" * 64, size=3, basis="another copy")
    model = a_model(files=(other, KNOWN))
    assert fetched.download(model, url=site.url).sha256 == KNOWN.sha256
    site.announces = 4
    with pytest.raises(ZooError, match="4 bytes where 3 or 50000 are"):
        fetched.download(model, url=site.url)
    site.announces = None
    with pytest.raises(ZooError, match="50000 bytes where 3 are expected"):
        fetched.download(a_model(url=site.url, files=(other, KNOWN)))


def test_a_sum_is_found_under_any_name_also_where_no_size_is_known(tmp_path: Path) -> None:
    model = a_model(files=(KnownFile(sha256=KNOWN.sha256, basis="this test"),))
    (tmp_path / "aa.bin").write_bytes(CONTENT[::-1])
    (tmp_path / "renamed.bin").write_bytes(CONTENT)
    assert fetched.take(model, tmp_path).source == str(tmp_path / "renamed.bin")


def test_what_cannot_be_read_is_passed_over_or_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "aa.bin").write_bytes(CONTENT[::-1])
    (tmp_path / "renamed.bin").write_bytes(CONTENT)
    read = fetched.sum_of

    def sum_of(path: Path) -> str:
        if path.name == "aa.bin":
            raise OSError(5, "Input/output error")
        return read(path)

    monkeypatch.setattr(fetched, "sum_of", sum_of)
    assert fetched.take(a_model(), tmp_path).source == str(tmp_path / "renamed.bin")
    with pytest.raises(ConfigError, match=r"cannot be read \(File name too long\)"):
        fetched.take(a_model(), Path("x" * 5000))


def test_a_disk_that_does_not_give_a_file_back_is_said(
    site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the other models it is said as well how they are."""
    models = [a_model(url=site.url), a_model(url=site.url, name="second")]
    for model in models:
        fetched.download(model)
    read = fetched.sum_of

    def sum_of(path: Path) -> str:
        if path.name == "posing.onnx":
            raise OSError(5, "Input/output error")
        return read(path)

    monkeypatch.setattr(fetched, "sum_of", sum_of)
    fetched._sum_of_state.cache_clear()
    monkeypatch.setattr(fetching, "catalogue", lambda: tuple(models))
    assert main(["models", "verify"]) == 1
    shown = capsys.readouterr().out
    assert f"FAILED  posing  {cache}/posing/posing.onnx cannot be read (Input/output error)" in shown
    assert "ok      second" in shown


@pytest.mark.parametrize("given", ["abc", KNOWN.sha256[:-1], f"sha256:{KNOWN.sha256}"])
def test_a_sum_that_is_none_is_said_before_anything_is_fetched(
    given: str, site: Site, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="is no SHA-256 sum: --sha256 takes 64 hexadecimal digits"):
        fetched.download(a_model(url=site.url), pinned=given)
    with pytest.raises(ConfigError, match="is no SHA-256 sum"):
        fetched.take(a_model(), tmp_path, pinned=given)
    assert site.asked == []
    found = fetched.download(a_model(url=site.url), pinned=f" {KNOWN.sha256.upper()} ")
    assert found.compared_with == "the sum given"


def test_a_page_is_no_model_of_which_no_sum_is_known(site: Site, cache: Path) -> None:
    site.content = b"\n<!DOCTYPE html><title>Log in</title>"
    with pytest.raises(ZooError, match="gives a web page in place of posing"):
        fetched.download(a_model(url=site.url, files=()))
    assert left_behind(cache) == set()


def test_a_key_in_the_address_is_not_kept(site: Site, cache: Path) -> None:
    model = a_model(url=site.url)
    assert fetched.download(model, url=f"{site.url}?key=secret").source == site.url
    assert b"secret" not in b"".join(path.read_bytes() for path in cache.rglob("*") if path.is_file())


def test_two_at_once_fetch_it_once(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    model = a_model(url=site.url)
    site.holds_after = 100
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(fetched.download, model)
        _until(lambda: site.asked == [""])
        second = pool.submit(fetched.download, model)
        _until(lambda: "another process works on posing: waiting" in caplog.text)
        site.goes_on.set()
        assert first.result() == second.result()
    assert site.asked == [""]
    fetched.download(model, pinned=KNOWN.sha256)
    assert len(site.asked) == 2


def _until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 60.0
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_a_sum_that_is_given_finds_its_file_under_any_name(tmp_path: Path) -> None:
    (tmp_path / "posing.onnx").write_bytes(CONTENT[::-1])
    (tmp_path / "mine.bin").write_bytes(CONTENT)
    found = fetched.take(a_model(files=()), tmp_path, pinned=KNOWN.sha256.upper())
    assert found.source == str(tmp_path / "mine.bin")
    with pytest.raises(ZooError, match=r"posing\.onnx has the sum .*: nothing was kept"):
        fetched.take(a_model(), tmp_path, pinned="0" * 64)


def test_a_cache_that_cannot_be_written_is_named(cache: Path, site: Site) -> None:
    (cache / "posing.lock").mkdir(parents=True)
    with pytest.raises(ZooError, match=r"models cannot be written .* or set GAITSTREAM_CACHE to a folder of"):
        fetched.download(a_model(url=site.url))
    assert site.asked == []


def test_the_catalogue_is_sound() -> None:
    names = [model.name for model in catalogue()]
    assert len(names) == len(set(names))
    packaged = {entry.name for entry in zoo.ENTRIES}
    for model in catalogue():
        assert model.name not in packaged
        assert model.url.startswith("https://")
        assert model.terms.startswith("https://")
        network = model.task in ("detector", "pose", "segmenter")
        assert (model.manifest is not None) == network
        assert network != bool(model.usage)


@pytest.mark.parametrize(
    ("kind", "contract"),
    [("detector", DetectorContract), ("pose", PoseContract), ("segmenter", SegmenterContract)],
)
def test_every_manifest_is_what_its_network_takes(
    kind: zoo.Kind, contract: type[DetectorContract], tmp_path: Path
) -> None:
    file = tmp_path / "network.bin"
    file.write_bytes(CONTENT)
    models = [one for one in catalogue() if one.task == kind and one.manifest is not None]
    assert models
    for model in (one for one in models if not one.convert):
        fetched.take(model, file, accepted=True, pinned=KNOWN.sha256)
        graph, found = find_network(model.name, kind, contract)
        assert found is not None
        assert found.graph == graph.name == f"{model.name}.onnx"
        assert found.licence == ("" if model.consent else model.licence)
    for model in (one for one in models if one.convert):
        found = msgspec.convert({"graph": model.file, **(model.manifest or {})}, contract)
        assert model.file == f"{model.name}.onnx"
        assert found.licence == model.licence
