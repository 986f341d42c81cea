"""Files as no scanner writes them: broken by chance from a seed, and broken on purpose by hand.

Each variant is made in an empty folder. What is made on purpose aims at what a header may claim and
what a reader does with it; what is made by chance finds what nobody thought of.
"""
# ruff: noqa: E501 - tables of headers

from __future__ import annotations

import gzip
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from Testing.hostile.mutator import mutate

SHAPE = (16, 18, 20)
LONG = "n" * 230


@dataclass(frozen=True)
class Variant:
    """make(folder) writes the files and returns the path to give to a command.

    whole: whether it is a sound scan, whose only peculiarity is its name or place.
    """

    name: str
    make: Callable[[Path], Path]
    whole: bool = False


# --- sound files to begin with ---------------------------------------------------------------------


def scan() -> np.ndarray:
    """A bright ball in noise, (16, 18, 20) int16."""
    z, y, x = np.indices(SHAPE)
    ball = (z - 8) ** 2 + (y - 9) ** 2 + (x - 10) ** 2 < 30
    return (100 + 80 * ball + np.random.default_rng(0).normal(0, 8, SHAPE)).astype(np.int16)


def sound(path: Path, array: np.ndarray | None = None, packed: bool = False) -> Path:
    image = sitk.GetImageFromArray(scan() if array is None else array)
    image.SetSpacing((1.0, 1.25, 1.5))
    sitk.WriteImage(image, str(path), useCompression=packed)
    return path


def sound_series(folder: Path) -> Path:
    """A DICOM series of six slices, in a folder of its own."""
    series = folder / "series"
    series.mkdir()
    uid, study = generate_uid(entropy_srcs=["series"]), generate_uid(entropy_srcs=["study"])
    for z in range(6):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(z)])
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        image.SeriesInstanceUID, image.StudyInstanceUID = uid, study
        image.FrameOfReferenceUID = study
        image.Modality = "CT"
        image.ImagePositionPatient = [0, 0, 2 * z]
        image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        image.PixelSpacing = [1, 1]
        image.Rows, image.Columns = SHAPE[1:]
        image.SamplesPerPixel = 1
        image.PhotometricInterpretation = "MONOCHROME2"
        image.BitsAllocated = image.BitsStored = 16
        image.HighBit, image.PixelRepresentation = 15, 1
        image.RescaleSlope, image.RescaleIntercept = 1, -1024
        image.PixelData = scan()[z].tobytes()
        image.save_as(series / f"{z}.dcm", enforce_file_format=True)
    return series


# --- broken by hand ----------------------------------------------------------------------------------


def by_hand() -> Iterator[Variant]:
    """Every kind of wrong header, reference, link and name that we could think of."""
    yield from _nifti()
    yield from _text_headers()
    yield from _dicom()
    yield from _places()
    yield from _names()


def _edited(name: str, ending: str, edit: Callable[[bytearray], object]) -> Variant:
    def make(folder: Path) -> Path:
        path = sound(folder / f"scan.{ending}")
        packed = ending.endswith(".gz")
        content = bytearray(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
        changed = edit(content)
        content = changed if isinstance(changed, (bytes, bytearray)) else content
        path.write_bytes(gzip.compress(content, 1) if packed else bytes(content))
        return path

    return Variant(f"{ending}: {name}", make)


def _nifti() -> Iterator[Variant]:
    def put(form: str, offset: int, *values: float) -> Callable[[bytearray], object]:
        return lambda content: struct.pack_into(form, content, offset, *values)

    for ending in ("nii", "nii.gz"):
        for name, edit in {
            "10^12 voxels": put("<8h", 40, 3, 10000, 10000, 10000, 1, 1, 1, 1),
            "largest axes": put("<8h", 40, 7, *[32767] * 7),
            "2^31 voxels": put("<8h", 40, 3, 2048, 1024, 1024, 1, 1, 1, 1),
            "no axes": put("<h", 40, 0),
            "eight axes": put("<h", 40, 8),
            "negative axes": put("<h", 40, -1),
            "an axis of 0": put("<h", 42, 0),
            "an axis of -5": put("<h", 44, -5),
            "spacing 0": put("<f", 80, 0.0),
            "spacing negative": put("<f", 84, -1.0),
            "spacing NaN": put("<f", 88, float("nan")),
            "spacing infinite": put("<f", 80, float("inf")),
            "spacing tiny": put("<f", 80, 1e-38),
            "spacing huge": put("<f", 80, 1e38),
            "offset NaN": put("<f", 108, float("nan")),
            "offset infinite": put("<f", 108, float("inf")),
            "offset far": put("<f", 108, 1e9),
            "offset negative": put("<f", 108, -4096.0),
            "0 bits": put("<h", 72, 0),
            "13 bits": put("<h", 72, 13),
            "unknown type": put("<h", 70, 1536),
            "type of no such number": put("<h", 70, -7),
            "color": put("<2h", 70, 128, 24),
            "float of 8 bits": put("<2h", 70, 16, 8),
            "slope NaN": put("<2f", 112, float("nan"), 0.0),
            "slope infinite": put("<2f", 112, float("inf"), 0.0),
            "slope 0, intercept huge": put("<2f", 112, 0.0, 3e38),
            "sform NaN": lambda c: struct.pack_into("<h12f", c, 254, 1, *[float("nan")] * 12),
            "sform zero": lambda c: (struct.pack_into("<2h", c, 252, 0, 1), struct.pack_into("<12f", c, 280, *[0.0] * 12)),
            "sform sheared": lambda c: (
                struct.pack_into("<2h", c, 252, 0, 1),
                struct.pack_into("<12f", c, 280, 1, 0.5, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0),
            ),
            "quaternion NaN": lambda c: (struct.pack_into("<2h", c, 252, 1, 0), struct.pack_into("<3f", c, 256, *[float("nan")] * 3)),
            "quaternion of 5": lambda c: (struct.pack_into("<2h", c, 252, 1, 0), struct.pack_into("<3f", c, 256, 5, 5, 5)),
            "origin NaN": lambda c: (struct.pack_into("<2h", c, 252, 1, 0), struct.pack_into("<3f", c, 268, *[float("nan")] * 3)),
            "extension of 2^31 bytes": lambda c: struct.pack_into("<4B2i", c, 348, 1, 0, 0, 0, 2**31 - 16, 4),
            "other byte order in a part": put(">8h", 40, 3, 20, 18, 16, 1, 1, 1, 1),
            "no magic": put("4s", 344, b"abcd"),
            "the magic of a pair": put("4s", 344, b"ni1\0"),
            "only a header": lambda c: bytes(c[:352]),
            "half a header": lambda c: bytes(c[:170]),
            "half": lambda c: bytes(c[: len(c) // 2]),
            "a byte short": lambda c: bytes(c[:-1]),
            "nothing": lambda c: b"",
            "a byte": lambda c: b"\0",
        }.items():  # fmt: skip
            yield _edited(name, ending, edit)
    yield Variant("nii.gz: cut in the stream", lambda f: _rewritten(sound(f / "a.nii.gz"), lambda b: b[: len(b) // 2]))
    yield Variant("nii.gz: wrong checksum", lambda f: _rewritten(sound(f / "a.nii.gz"), lambda b: b[:-8] + b"12345678"))
    yield Variant("nii.gz: packed twice", lambda f: _rewritten(sound(f / "a.nii.gz"), gzip.compress))
    yield Variant("nii.gz: not packed", lambda f: sound(f / "a.nii").rename(f / "a.nii.gz"))
    yield Variant("nii: packed", lambda f: sound(f / "a.nii.gz").rename(f / "a.nii"))
    yield Variant("nii.gz: a bomb behind the voxels", _bomb_behind)
    yield Variant("nii.gz: a bomb for voxels", _bomb_of_voxels)
    yield Variant("hdr: without img", _lonely_header)


def _rewritten(path: Path, change: Callable[[bytes], bytes]) -> Path:
    path.write_bytes(change(path.read_bytes()))
    return path


def _bomb_behind(folder: Path) -> Path:
    """A sound scan that goes on with a gigabyte of nothing."""
    path = sound(folder / "bomb.nii.gz")
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content, 1) + _zeros(64) * 16)
    return path


def _bomb_of_voxels(folder: Path) -> Path:
    """A header that tells of a gigabyte of voxels, and the gigabyte, in a megabyte."""
    header = bytearray(sound(folder / "a.nii").read_bytes()[:352])
    struct.pack_into("<8h", header, 40, 3, 1024, 1024, 512, 1, 1, 1, 1)
    (folder / "bomb.nii.gz").write_bytes(gzip.compress(bytes(header)) + _zeros(64) * 16)
    return folder / "bomb.nii.gz"


def _zeros(megabytes: int) -> bytes:
    """A gzip member that holds so many megabytes of zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(megabytes)), packer.flush()])


def _lonely_header(folder: Path) -> Path:
    sound(folder / "scan.img")
    (folder / "scan.img").unlink()
    return folder / "scan.hdr"


def _line(name: str, ending: str, field: str, text: str | None) -> Variant:
    """A text header whose field says something else, or is not there."""

    def edit(content: bytearray) -> bytes:
        pattern = re.compile(rb"^" + re.escape(field.encode()) + rb"\s*[:=][^\n]*\n", re.MULTILINE)
        assert pattern.search(content), field
        new = b"" if text is None else f"{field} {'=' if ending.startswith('m') else ':'} {text}\n".encode()
        return pattern.sub(lambda match: new, bytes(content), count=1)

    return _edited(f"{field} {name}", ending, edit)


def _text_headers() -> Iterator[Variant]:
    nrrd = {
        "sizes": {
            "10^12": "10000 10000 10000", "2^62": f"{2**62} 1 1", "negative": "-20 18 16", "zero": "0 18 16",
            "words": "a b c", "two": "20 18", "many": " ".join(["2"] * 40), "missing": None, "large": "20 18 1600",
            "small": "20 18 4", "not a number": "nan 18 16",
        },
        "dimension": {"0": "0", "16": "16", "17": "17", "10^9": "1000000000", "-3": "-3", "missing": None},
        "type": {"block": "block", "unknown": "elephant", "double": "double", "missing": None},
        "encoding": {"bzip2": "bzip2", "hex": "hex", "ascii": "ascii", "unknown": "elephant", "gzip": "gzip", "missing": None},
        "endian": {"big": "big", "unknown": "middle"},
        "space": {"unknown": "flatland", "missing": None},
        "space directions": {
            "sheared": "(1,0,0) (0.5,1,0) (0,0,1)", "zero": "(0,0,0) (0,1,0) (0,0,1)", "NaN": "(nan,0,0) (0,1,0) (0,0,1)",
            "infinite": "(inf,0,0) (0,1,0) (0,0,1)", "none": "none none none", "open": "(1,0,0 (0,1,0) (0,0,1)",
            "mirrored": "(-1,0,0) (0,1,0) (0,0,1)", "tiny": "(1e-300,0,0) (0,1,0) (0,0,1)", "parallel": "(1,0,0) (1,0,0) (0,0,1)",
        },
        "space origin": {"NaN": "(nan,0,0)", "huge": "(1e308,0,0)", "words": "(a,b,c)"},
    }  # fmt: skip
    for ending in ("nrrd", "nhdr"):
        for field, texts in nrrd.items():
            for name, text in texts.items():
                yield _line(name, ending, field, text)
    for name, line in {
        "byte skip far": b"byte skip: 1000000000000", "byte skip -2": b"byte skip: -2", "line skip far": b"line skip: 2000000000",
        "spacings NaN": b"spacings: nan 1 1", "spacings 0": b"spacings: 0 1 1", "spacings negative": b"spacings: -1 1 1",
        "two of a field": b"type: double", "a field that is none": b"elephant: 1", "a key with nothing": b":=",
        "a long line": b"# " + b"x" * 2_000_000, "zeros": b"\0" * 400, "content of bytes": bytes(range(128, 256)),
    }.items():  # fmt: skip
        yield _edited(name, "nrrd", lambda c, line=line: bytes(c).replace(b"encoding:", line + b"\nencoding:", 1))
    yield _edited("a header without end", "nrrd", lambda c: b"NRRD0004\n" + b"# and on\n" * 300_000)
    for name, text in _references().items():
        yield _line(name, "nhdr", "data file", text)
        yield _line(name, "mhd", "ElementDataFile", text)
    meta = {
        "DimSize": {"10^12": "10000 10000 10000", "2^62": f"{2**62} 1 1", "negative": "-20 18 16", "zero": "0 18 16",
                    "words": "a b c", "large": "20 18 1600", "small": "20 18 4", "missing": None},
        "NDims": {"0": "0", "10": "10", "11": "11", "10^6": "1000000", "-1": "-1"},
        "ElementSpacing": {"0": "0 1 1", "negative": "-1 1 1", "NaN": "nan 1 1", "infinite": "inf 1 1", "words": "a b c"},
        "ElementType": {"unknown": "MET_ELEPHANT", "string": "MET_STRING", "double": "MET_DOUBLE", "array": "MET_UCHAR_ARRAY"},
        "TransformMatrix": {"sheared": "1 0 0 0.5 1 0 0 0 1", "zero": "0 0 0 0 0 0 0 0 0", "NaN": "nan 0 0 0 1 0 0 0 1",
                            "short": "1 0 0"},
        "Offset": {"NaN": "nan 0 0", "huge": "1e308 0 0"},
        "BinaryDataByteOrderMSB": {"odd": "Maybe"},
        "CompressedData": {"told": "True"},
        "ObjectType": {"tube": "Tube", "missing": None},
    }  # fmt: skip
    for field, texts in meta.items():
        for name, text in texts.items():
            yield _line(name, "mha", field, text)
    for name, line in {
        "header of 10^12 bytes": b"HeaderSize = 1000000000000", "header size -2": b"HeaderSize = -2",
        "10^6 channels": b"ElementNumberOfChannels = 1000000", "channels -1": b"ElementNumberOfChannels = -1",
        "packed size 10^15": b"CompressedDataSize = 1000000000000000", "packed size -1": b"CompressedDataSize = -1",
    }.items():  # fmt: skip
        yield _edited(name, "mha", lambda c, line=line: bytes(c).replace(b"ElementType", line + b"\nElementType", 1))


def _references() -> dict[str, str]:
    """Voxels that are said to be elsewhere. secret.raw lies above the folder and would fit exactly."""
    return {
        "absolute": "/etc/passwd", "a device": "/dev/zero", "above": "../secret.raw", "roundabout": "x/../../secret.raw",
        "of Windows": "C:\\Windows\\win.ini", "above, of Windows": "..\\secret.raw", "a share": "\\\\server\\share\\x.raw",
        "a device of Windows": "\\\\.\\PhysicalDrive0", "missing": "nowhere.raw", "a folder": ".", "itself": "scan.nhdr",
        "a list of devices": "LIST\n/dev/zero\n/dev/zero", "a list of files above": "LIST\n../secret.raw", "an empty list": "LIST",
        "a pattern above": "../s%d.raw 1 16 1", "a pattern without end": "s%d.raw 1 2000000000 1", "a pattern of step 0": "s%d.raw 1 5 0",
        "an odd pattern": "s%n%n%s.raw 1 5 1", "an address": "http://127.0.0.1/x.raw", "a long name": "x" * 5000,
    }  # fmt: skip


def _dicom() -> Iterator[Variant]:
    def changed(name: str, change: Callable[[Path], object]) -> Variant:
        def make(folder: Path) -> Path:
            series = sound_series(folder)
            change(series)
            return series

        return Variant(f"dcm: {name}", make)

    def value(tag: str, new: object, slices: str = "*") -> Callable[[Path], object]:
        def change(series: Path) -> None:
            for file in sorted(series.glob(f"{slices}.dcm")):
                _set(file, tag, new)

        return change

    def bytes_of(edit: Callable[[bytes], bytes]) -> Callable[[Path], object]:
        return lambda series: _rewritten(series / "2.dcm", edit)

    yield changed("a slice missing", lambda s: (s / "2.dcm").unlink())
    yield changed("a slice twice", lambda s: (s / "copy.dcm").write_bytes((s / "2.dcm").read_bytes()))
    yield changed("two series", value("SeriesInstanceUID", "1.2.3", "[345]"))
    yield changed("a scout of another size", value("Rows", 9, "5"))
    yield changed("one slice", lambda s: [file.unlink() for file in s.glob("[1-5].dcm")])
    yield changed("no slice", lambda s: [file.unlink() for file in s.iterdir()])
    yield changed("texts only", lambda s: [file.write_text("hello") for file in s.iterdir()])
    yield changed("an empty file among them", bytes_of(lambda b: b""))
    yield changed("half a slice", bytes_of(lambda b: b[: len(b) // 2]))
    yield changed("half a header", bytes_of(lambda b: b[:300]))
    yield changed("only the mark", bytes_of(lambda b: b[:132]))
    yield changed("a slice of noise", bytes_of(lambda b: b[:132] + np.random.default_rng(1).bytes(2000)))
    yield changed("deflated bomb", _deflated_bomb)
    for tag, values in {
        "NumberOfFrames": ("1000000000", "-1", "0", "7"),
        "Rows": (0, 65535, 17),
        "Columns": (0, 65535, 21),
        "PixelSpacing": ([0, 0], [-1, 1], ["1"], ["1e300", "1"], []),
        "ImageOrientationPatient": ([0] * 6, [1, 0, 0, 1, 0, 0], ["1", "0", "0"], [1, 0, 0, 0.5, 1, 0], []),
        "ImagePositionPatient": (["0", "0"], [0, 0, 0], ["1e300", "0", "0"], []),
        "RescaleSlope": ("0", "1e300"),
        "RescaleIntercept": ("1e38", "-1e300"),
        "SamplesPerPixel": (0, 3, 65535),
        "BitsAllocated": (0, 1, 13, 64, 65535),
        "BitsStored": (0, 17, 65535),
        "HighBit": (65535,),
        "PhotometricInterpretation": ("RGB", "PALETTE COLOR", "ELEPHANT"),
        "PixelData": (b"", b"\0", bytes(10_000_000)),
        "Modality": ("SEG", "ELEPHANT"),
    }.items():
        for new in values:
            words = f"{len(new)} bytes" if isinstance(new, bytes) else str(new)
            yield changed(f"{tag} {words}", value(tag, new))
    for name, syntax in {"unknown": "1.2.3.4", "JPEG": "1.2.840.10008.1.2.4.50", "RLE": "1.2.840.10008.1.2.5",
                         "big endian": "1.2.840.10008.1.2.2", "implicit": "1.2.840.10008.1.2"}.items():  # fmt: skip
        yield changed(f"transfer syntax {name}", bytes_of(lambda b, s=syntax: _other_syntax(b, s)))
    for tag, text in {
        b"\x28\x00\x30\x00DS": b"nan\\nan ", b"\x20\x00\x32\x00DS": b"a\\b\\c   ", b"\x28\x00\x53\x10DS": b"NaN ",
        b"\x28\x00\x30\x00D": b"\xff" * 4, b"\x20\x00\x37\x00D": b"\0" * 8,
    }.items():  # fmt: skip
        yield changed(
            f"bytes of {tag[:4].hex()} {text[:5]!r}", bytes_of(lambda b, t=tag, x=text: _value_bytes(b, t, x))
        )


def _set(file: Path, tag: str, new: object) -> None:
    """A value that pydicom would not write, too: the file is sound but for it."""
    image = pydicom.dcmread(file)
    setattr(image, tag, new)
    image.save_as(file, enforce_file_format=True)


def _other_syntax(content: bytes, uid: str) -> bytes:
    old = str(ExplicitVRLittleEndian).encode()
    assert old in content
    return content.replace(old + b"\0", uid.encode().ljust(len(old) + 1, b"\0")[: len(old) + 1], 1)


def _value_bytes(content: bytes, tag: bytes, new: bytes) -> bytes:
    start = content.index(tag) + 8
    return content[:start] + new + content[start + len(new) :]


def _deflated_bomb(series: Path) -> None:
    """A small file whose data set is a gigabyte of zeros, if one unpacks it."""
    content = (series / "2.dcm").read_bytes()
    head = _other_syntax(content, "1.2.840.10008.1.2.1.99")[: 132 + 12 + 200]
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(1024)), packer.flush()])
    (series / "2.dcm").write_bytes(head + bomb)


def _places() -> Iterator[Variant]:
    """Links, pipes, folders and files of another kind in the place of a scan."""
    yield Variant("a link to itself", lambda f: _linked(f / "a.nii.gz", f / "a.nii.gz"))
    yield Variant(
        "two links in a circle", lambda f: (_linked(f / "b.nii", f / "a.nii"), _linked(f / "a.nii", f / "b.nii"))[1]
    )
    yield Variant("a link to /dev/zero", lambda f: _linked(f / "a.nii", Path("/dev/zero")))
    yield Variant("a link to /dev/random", lambda f: _linked(f / "a.nrrd", Path("/dev/random")))
    yield Variant("a link to nothing", lambda f: _linked(f / "a.mha", f / "gone.mha"))
    yield Variant("a link to a text", lambda f: _linked(f / "a.nii", Path("/etc/passwd")))
    yield Variant("a link to the scan", lambda f: _linked(f / "a.nii.gz", sound(f / "b.nii.gz")), whole=True)
    for ending in ("nii.gz", "nrrd", "mha"):
        yield Variant(f"a pipe called {ending}", lambda f, e=ending: _pipe(f / f"a.{e}"))
        yield Variant(f"an empty file called {ending}", lambda f, e=ending: _written(f / f"a.{e}", b""))
        yield Variant(f"a text called {ending}", lambda f, e=ending: _written(f / f"a.{e}", b"no image\n" * 100))
        yield Variant(
            f"noise called {ending}", lambda f, e=ending: _written(f / f"a.{e}", np.random.default_rng(2).bytes(5000))
        )
        yield Variant(f"a folder called {ending}", lambda f, e=ending: _folder(f / f"a.{e}"))
    yield Variant("a pipe as voxels", _pipe_as_voxels)
    yield Variant("a link to /dev/zero as voxels", _device_as_voxels)
    yield Variant("a link in the series", lambda f: _linked_slice(f))
    for has in ("nii", "nii.gz", "nrrd", "mha", "png", "tif", "vtk", "hdf5", "dcm"):
        for says in ("nii", "nii.gz", "nrrd", "mha", "hdf5", "png"):
            if has != says:
                yield Variant(f"{has} called {says}", lambda f, h=has, s=says: _misnamed(f, h, s))


def _linked(link: Path, target: Path) -> Path:
    link.symlink_to(target)
    return link


def _pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _voxels_of(folder: Path) -> Path:
    header = sound(folder / "scan.nhdr")
    (folder / "scan.raw").unlink()
    return header


def _pipe_as_voxels(folder: Path) -> Path:
    header = _voxels_of(folder)
    _pipe(folder / "scan.raw")
    return header


def _device_as_voxels(folder: Path) -> Path:
    header = _voxels_of(folder)
    _linked(folder / "scan.raw", Path("/dev/zero"))
    return header


def _linked_slice(folder: Path) -> Path:
    series = sound_series(folder)
    (series / "zz.dcm").symlink_to("/dev/zero")
    return series


def _misnamed(folder: Path, has: str, says: str) -> Path:
    if has == "dcm":
        made = sound_series(folder) / "0.dcm"
    elif has in ("png", "tif"):
        made = folder / f"made.{has}"
        array = scan().astype(np.uint8)
        sitk.WriteImage(sitk.GetImageFromArray(array[0] if has == "png" else array), str(made))
    else:
        made = sound(folder / f"made.{has}")
    return made.rename(folder / f"scan.{says}")


def _names() -> Iterator[Variant]:
    """Sound scans with names that have broken other programs."""
    for name in (
        "Müller Jörg", "患者さん", "مريض", "🫀🧠", "e\u0301", "a b  c", " leading", "trailing ", "dots.and.dots", "-dash", "--data",
        "percent %s %n", "dollar $HOME", "quote ' \" `", "semi;colon", "star*", "question?", "bracket[1]", "{brace}", "line\nbreak",
        "tab\tulator", "bell\a", "\u202ertl", "zero\u200bwidth", LONG, "CON", "nul", "COM1", "aux.x", "con ", "~", "#1", "a&b", "<a>", "|",
    ):  # fmt: skip
        yield Variant(
            f"called {name[:20]!a}", lambda f, n=name: sound(f / "s.nii.gz").rename(f / f"{n}.nii.gz"), whole=True
        )
    yield Variant("called by no text", lambda f: sound(f / "s.nii.gz").rename(f / "\udcff\udcfe.nii.gz"))
    yield Variant("a series in a strange folder", lambda f: sound_series(f).rename(f / "Müller, Jörg * 1"), whole=True)
    yield Variant("deep in folders", _deep, whole=True)


def _deep(folder: Path) -> Path:
    place = folder
    for number in range(12):
        place = place / f"{number}-{'d' * 60}"
    place.mkdir(parents=True)
    return sound(folder / "s.nrrd").rename(place / "s.nrrd")


# --- broken by chance ----------------------------------------------------------------------------------

BASES = ("nii", "nii.gz", "nrrd", "packed nrrd", "nhdr", "mha", "packed mha", "mhd", "dcm")


def by_chance(seed: int, count: int) -> Iterator[Variant]:
    """So many variants of sound files with a few bytes changed, cut, doubled or overwritten."""
    for number in range(count):
        base = BASES[number % len(BASES)]
        yield Variant(
            f"{base}: {seed}/{number}", lambda f, b=base, n=number: _spoiled(f, b, np.random.default_rng((seed, n)))
        )


def _spoiled(folder: Path, base: str, rng: np.random.Generator) -> Path:
    if base == "dcm":
        series = sound_series(folder)
        file = series / f"{rng.integers(6)}.dcm"
        file.write_bytes(mutate(file.read_bytes(), rng))
        return series
    packed, _, ending = base.rpartition(" ")
    path = sound(folder / f"scan.{ending}", packed=bool(packed) or ending == "nii.gz")
    if ending == "nii.gz" and rng.random() < 0.7:  # what lies below the packing
        path.write_bytes(gzip.compress(mutate(gzip.decompress(path.read_bytes()), rng), 1))
        return path
    beside = [file for file in folder.iterdir() if file != path]
    victim = beside[0] if beside and rng.random() < 0.3 else path
    victim.write_bytes(mutate(victim.read_bytes(), rng))
    return path


# --- labels ----------------------------------------------------------------------------------------------


def labels(seed: int, count: int) -> Iterator[Variant]:
    """Labels and segmentations of `scan`, broken by hand, and so many of each format by chance."""
    for name, array in {
        "of 64 bits": label().astype(np.int64), "of large values": label().astype(np.uint16) * 300,
        "of fractions": label() / 2.0, "negative": -label().astype(np.int16), "NaN": np.where(label(), np.nan, 0.0),
        "of huge values": label().astype(np.float32) * 1e38, "of every value": np.arange(5760).reshape(SHAPE).astype(np.uint16),
        "of two slices": label()[:2], "empty": np.zeros(SHAPE, np.uint8), "full": np.ones(SHAPE, np.uint8),
    }.items():  # fmt: skip
        yield Variant(f"label {name}", lambda f, a=array: sound(f / "label.nrrd", a))
    for key, text in {
        "Segment0_LabelValue": "-1", "Segment0_Layer": "-1", "Segment0_Name": "", "Segment0_ID": "", "Segment0_Color": "nan inf -inf",
        "Segment0_Extent": "9 9 9", "Segment0_Tags": "|" * 10_000, "Segment1_Name": "ball", "Segment99999999999999999999_Name": "ball",
        "Segment2_Name": "BALL ", "Segmentation_ReferenceImageExtentOffset": "1000000 0 0",
    }.items():  # fmt: skip
        yield Variant(f"segments: {key} {text[:12]!r}", lambda f, k=key, t=text: _segments(f, {k: t}))
    for number in (10**9, -(10**12), 256, 10**30):
        yield Variant(f"segments: value {number}", lambda f, n=number: _segments(f, {"Segment0_LabelValue": str(n)}))
        yield Variant(f"segments: layer {number}", lambda f, n=number: _segments(f, {"Segment0_Layer": str(n)}))
    yield Variant(
        "segments: 5,000 of them", lambda f: _segments(f, {f"Segment{n}_Name": f"organ {n}" for n in range(5000)})
    )
    yield Variant("segments: none", lambda f: sound(f / "label.seg.nrrd", label()))
    yield Variant("segments: grey values", lambda f: sound(f / "label.seg.nrrd"))
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        yield Variant(
            f"segments: {seed}/{number}", lambda f, r=rng: _rewritten(_segments(f, {}), lambda b: mutate(b, r))
        )
        yield Variant(
            f"label: {seed}/{number}",
            lambda f, r=rng: _rewritten(sound(f / "label.nii", label()), lambda b: mutate(b, r)),
        )


def label() -> np.ndarray:
    z, y, x = np.indices(SHAPE)
    return ((z - 8) ** 2 + (y - 9) ** 2 + (x - 10) ** 2 < 30).astype(np.uint8)


def _segments(folder: Path, changes: dict[str, str]) -> Path:
    """A segmentation as 3D Slicer writes it, with one segment called ball."""
    image = sitk.GetImageFromArray(label())
    image.SetSpacing((1.0, 1.25, 1.5))
    keys = {"Segment0_ID": "Segment_1", "Segment0_Name": "ball", "Segment0_LabelValue": "1", "Segment0_Layer": "0"}
    for key, text in (keys | changes).items():
        image.SetMetaData(key, text)
    sitk.WriteImage(image, str(folder / "label.seg.nrrd"))
    return folder / "label.seg.nrrd"
