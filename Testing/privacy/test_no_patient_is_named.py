"""A training on DICOM that names its patients, and a search for these names in every byte that was written."""

from __future__ import annotations

import gzip
import io
import json
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import generate_uid

from Testing.hostile.corpus import label, scan, sound_series
from Testing.soak_record import record
from Testing.training.conftest import TINY
from VoxelAdvSegLib.cli.main import main
from VoxelAdvSegLib.data.geometry import to_image
from VoxelAdvSegLib.data.pseudonyms import KEY, real_names, reveal
from VoxelAdvSegLib.data.reading import reading_apart
from VoxelAdvSegLib.data.volume import read_geometry, read_volume
from VoxelAdvSegLib.errors import InputError
from VoxelAdvSegLib.jobs.previews import read_preview
from VoxelAdvSegLib.jobs.protocol import TrainRequest, write_order

PROMISE = "No patient is named in what a training leaves"
SETTINGS = {**TINY, "checkpoint_every": 1, "validate_every": 1, "preview_every": 1, "patch": "32,16,16"}
WORDS = [f"--set={key}={value}" for key, value in SETTINGS.items()]
IDENTIFIERS = {
    "PatientName": "Qwertzmann^Hildegunde", "PatientID": "PID7391846250", "PatientBirthDate": "19370214",
    "AccessionNumber": "ACC5550192837", "InstitutionName": "Klinikum Nirgendheim", "StationName": "MRSTATION77",
    "ReferringPhysicianName": "Zausel^Doktor", "OperatorsName": "Knipser^Kurt", "StudyID": "ST88417",
    "DeviceSerialNumber": "SN190283746", "PatientAddress": "Dingsweg 99 Nirgendheim", "OtherPatientIDs": "OTHER66612",
    "StudyDate": "20190731", "StudyDescription": "Herzkontrolle Hildegunde", "SeriesDescription": "ax Qwertzmann",
    "PatientComments": "Kommentar Geheim", "ProtocolName": "Protokoll Geheim", "ImageComments": "Bild von Hildegunde",
}  # fmt: skip
ROOT_NAME = "Patienten Qwertzmann"  # a folder on the way to the scans


@pytest.fixture(scope="module", autouse=True)
def readers():
    with reading_apart():
        yield


class Planted:
    """Scans of six patients: folders of DICOM and, for two, files called like the patient."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / ROOT_NAME
        self.secrets = {part for text in IDENTIFIERS.values() for part in text.split("^")} - {"Doktor", "Kurt"}
        self.secrets |= {ROOT_NAME, "Vorname-Nachname", "Hildegunde"}
        entries = []
        for number in range(6):
            place = self.root / f"Vorname-Nachname {number}"
            place.mkdir(parents=True)
            image = self._series(place, number) if number < 4 else self._file(place, number)
            contour = place / f"Vorname-Nachname Kontur {number}.nii.gz"
            sitk.WriteImage(to_image(label()[5:11], read_geometry(image)), contour)
            entries.append({"image": self._inside(image), "label": self._inside(contour)})
        self.data = self.root / "dataset.json"
        content = {
            "labels": {"0": "background", "1": "atrium"},
            "training": entries[:2],
            "unlabeled": [entry["image"] for entry in entries[2:5]],
            "validation": entries[5:],
        }
        self.data.write_text(json.dumps(content))

    def _inside(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _series(self, place: Path, number: int) -> Path:
        series = sound_series(place)
        study, own = generate_uid(), generate_uid()
        self.secrets |= {study, own}
        for z, file in enumerate(sorted(series.iterdir())):
            slice_ = pydicom.dcmread(file)
            for name, text in IDENTIFIERS.items():
                setattr(slice_, name, text)
            slice_.StudyInstanceUID, slice_.SeriesInstanceUID = study, own
            slice_.PixelData = (scan()[z] + np.int16(number)).tobytes()
            slice_.save_as(file)
            name = f"{slice_.SOPInstanceUID}.{z}.dcm"  # as archives call them
            self.secrets.add(name)
            file.rename(series / name)
        return series.rename(place / f"Serie Vorname-Nachname {number}")

    def _file(self, place: Path, number: int) -> Path:
        """As a converter leaves it: the name in the header's texts, too."""
        image = sitk.GetImageFromArray(scan()[:6] + np.int16(number))
        image.SetMetaData("PatientName", IDENTIFIERS["PatientName"])
        sitk.WriteImage(image, place / f"Vorname-Nachname {number}.nrrd")
        return place / f"Vorname-Nachname {number}.nrrd"


def all_bytes(folder: Path, leave_out: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """Every file with its name, and what is packed in it."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).as_posix()
        yield f"{inside} (its name)", inside.encode()
        if path.is_file() and path.name not in leave_out:
            yield from unpacked(inside, path.read_bytes())


def unpacked(name: str, content: bytes, depth: int = 0) -> Iterator[tuple[str, bytes]]:
    """The bytes, and those of archives, gzip streams and packed parts of PNG and NRRD within them."""
    yield name, content
    if depth > 3:
        return
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            for entry in packed.infolist():
                yield f"{name}:{entry.filename} (its name)", entry.filename.encode() + entry.comment
                yield from unpacked(f"{name}:{entry.filename}", packed.read(entry), depth + 1)
    for match in re.finditer(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]", content):
        kind = zlib.decompressobj(31 if match[0][0] == 0x1F else 15)
        try:
            inner = kind.decompress(content[match.start() :], 1 << 24)
        except zlib.error:
            continue
        if len(inner) > 16:
            yield from unpacked(f"{name}@{match.start()}", inner, depth + 1)


def forms(secret: str) -> set[bytes]:
    """A text as it may stand in a file: in either case, in wide letters, escaped for JSON or an address."""
    texts = {secret, secret.upper(), secret.lower(), json.dumps(secret)[1:-1], secret.replace(" ", "%20")}
    return {text.encode(code) for text in texts for code in ("utf-8", "utf-16-le", "utf-32-le")}


def found_in(folder: Path, secrets: set[str], leave_out: tuple[str, ...] = (KEY,)) -> list[str]:
    wanted = {form: secret for secret in secrets for form in forms(secret)}
    pattern = re.compile(b"|".join(re.escape(form) for form in sorted(wanted, key=len, reverse=True)))
    files = all_bytes(folder, leave_out)
    return [f"{name}: {match[0]!r}" for name, content in files for match in pattern.finditer(content)]


def test_the_search_finds_what_is_hidden(tmp_path: Path):
    """That the tests below can fail."""
    secret = "Vorname-Nachname"
    (tmp_path / "a.gz").write_bytes(b"head" + gzip.compress(b"x" * 50 + secret.encode("utf-16-le")))
    np.savez_compressed(tmp_path / "b.npz", case=np.array(secret))
    (tmp_path / "c.json").write_text(json.dumps({"file": f"/x/{secret.upper()}/y"}))
    (tmp_path / f"{secret}.txt").write_text("")
    image = sitk.Image(4, 4, 4, sitk.sitkUInt8)
    image.SetMetaData("Note", secret)
    sitk.WriteImage(image, tmp_path / "d.nrrd", True)
    found = found_in(tmp_path, {secret})
    assert all(any(hit.startswith(name) for hit in found) for name in ("a.gz", "b.npz", "c.json", "d.nrrd", secret))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return Planted(tmp_path_factory.mktemp("scans"))


@pytest.fixture(scope="module")
def run(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", "--data", str(planted.data), "--run", str(folder), "--steps", "2", *WORDS]) == 0
    return folder


@pytest.mark.trust
def test_a_run_names_no_patient(planted: Planted, run: Path):
    everything = list(all_bytes(run, (KEY,)))
    names = [name for name, _ in everything]
    for kind in ("last.safetensors", "model/model.json", "events.jsonl", ".npz:case.npy", ".image.npy", "config.json"):
        assert any(kind in name for name in names), kind
    assert found_in(run, planted.secrets) == []
    record(PROMISE, f"{len(planted.secrets)} planted texts sought in {sum(len(c) for _, c in everything) / 1e6:.0f} MB")


def test_the_key_is_its_owners_alone_and_tells_who_is_meant(planted: Planted, run: Path):
    assert stat.S_IMODE((run / KEY).stat().st_mode) == 0o600
    names = real_names(run)
    assert len(names) == 6 and all(re.fullmatch(r"case-\d{4}", pseudonym) for pseudonym in names)
    assert any("Vorname-Nachname" in name for name in names.values())
    (preview, *_) = sorted((run / "previews").glob("*.npz"))
    case = read_preview(preview).case
    assert case in names and "Vorname-Nachname" in reveal(run, f"the scan of {case}")
    assert not list((run / "model").rglob(KEY))


def test_a_packed_model_names_no_patient(planted: Planted, run: Path, tmp_path: Path):
    from VoxelAdvSegLib.project.model_file import pack

    pack(run / "model", tmp_path / "model.zip")
    assert found_in(tmp_path, planted.secrets, leave_out=()) == []


def test_a_report_names_no_patient_but_the_screen_does(planted: Planted, run: Path, tmp_path: Path, capfd):
    words = ["evaluate", "--data", str(planted.data), "--split", "validation", "--model", str(run), "--output"]
    assert main([*words, str(tmp_path / "out" / "report.json")]) == 0
    assert "Vorname-Nachname" in capfd.readouterr().out
    assert found_in(tmp_path / "out", planted.secrets, leave_out=("report.key.json",)) == []
    assert stat.S_IMODE((tmp_path / "out" / "report.key.json").stat().st_mode) == 0o600
    assert main([*words, str(tmp_path / "own" / "report.json"), "--names"]) == 0
    assert found_in(tmp_path / "own", planted.secrets)


def test_a_resumed_run_names_no_patient_also_when_it_fails(planted: Planted, run: Path, tmp_path: Path, capfd):
    """The diary tells the failure by pseudonym; the person at the screen reads the file's name."""
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    root = tmp_path / ROOT_NAME
    shutil.copytree(planted.root, root)
    victim = next((root / "Vorname-Nachname 2" / "Serie Vorname-Nachname 2").iterdir())
    victim.write_bytes(victim.read_bytes()[:900])
    shutil.rmtree(copy / "cache")
    words = ["train", "--data", str(root / "dataset.json"), "--run", str(copy), "--resume"]
    assert main(words) == 2
    said = capfd.readouterr().err
    assert victim.parent.name in said and not any(text in said for text in ("Hildegunde", "PID7391846250"))
    last = json.loads((copy / "events.jsonl").read_text().splitlines()[-1])
    assert last["type"] == "error" and "case-0003" in last["text"]
    assert found_in(copy, planted.secrets) == []
    shutil.rmtree(copy / "cache", ignore_errors=True)
    assert main(["train", "--data", str(planted.data), "--run", str(copy), "--resume"]) == 0
    assert found_in(copy, planted.secrets) == []


def test_messages_quote_no_dicom_value(planted: Planted, tmp_path: Path, caplog):
    """Headers broken at random: what is said of them has none of the values."""
    series = tmp_path / "series"
    shutil.copytree(planted.root / "Vorname-Nachname 1" / "Serie Vorname-Nachname 1", series)
    victim = sorted(series.iterdir())[2]
    content = victim.read_bytes()
    rng = np.random.default_rng(0)
    texts = [part for text in IDENTIFIERS.values() for part in text.split("^")]
    refused = 0
    for _ in range(80):
        broken = bytearray(content)
        for _ in range(int(rng.integers(1, 6))):
            broken[int(rng.integers(132, 1200))] ^= 1 << int(rng.integers(8))
        victim.write_bytes(broken)
        try:
            read_volume(series)
        except InputError as error:
            refused += 1
            assert not any(text in str(error) for text in texts), str(error)
    assert refused > 10 and not any(text in caplog.text for text in texts)


def test_a_failed_job_of_the_panel_names_no_patient(planted: Planted, tmp_path: Path, capfd):
    """Its diary and log, that is; its order and its key are their owner's matter."""
    root = tmp_path / ROOT_NAME
    shutil.copytree(planted.root, root)
    (root / "Vorname-Nachname 4" / "Vorname-Nachname 4.nrrd").write_bytes(b"no image")
    run = tmp_path / "run"
    run.mkdir()
    settings = {key: value for key, value in SETTINGS.items() if key != "patch"}
    write_order(
        run, TrainRequest(str(root / "dataset.json"), steps=1, settings=settings, threads=1), tmp_path / "locks"
    )
    assert main(["job", str(run)]) == 2
    (run / "log.txt").write_text("".join(capfd.readouterr()))
    assert found_in(run, planted.secrets, leave_out=(KEY, "job.json")) == []
    assert {stat.S_IMODE((run / name).stat().st_mode) for name in (KEY, "job.json")} == {0o600}
    last = json.loads((run / "events.jsonl").read_text().splitlines()[-1])
    assert last["type"] == "error" and last["file"] == "the scan of case-0005"
    assert reveal(run, last)["file"] == str(root / "Vorname-Nachname 4" / "Vorname-Nachname 4.nrrd")
