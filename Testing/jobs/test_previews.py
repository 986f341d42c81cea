"""Previews are read without torch, and what is no preview is refused in words."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from VoxelAdvSegLib.errors import InputError
from VoxelAdvSegLib.jobs import previews
from VoxelAdvSegLib.jobs.previews import read_preview

SHAPE = (4, 5, 6)
WHOLE = {
    "image": np.ones(SHAPE, np.float16), "label": np.ones(SHAPE, np.uint8),
    "looks_labeled": np.full(SHAPE, 51, np.uint8), "case": "case-0001", "step": 20,
    "spacing_xyz_mm": np.array([0.5, 1.0, 2.0]), "origin_lps_mm": np.array([-10.0, 5.0, 0.25]),
    "direction": np.array([0.0, 1, 0, -1, 0, 0, 0, 0, 1]),
}  # fmt: skip


def written(folder: Path, **changes: object) -> Path:
    content = {key: value for key, value in {**WHOLE, **changes}.items() if value is not None}
    np.savez_compressed(folder / "step_000020.npz", **content)  # type: ignore[arg-type]
    return folder / "step_000020.npz"


def test_all_comes_back(tmp_path: Path):
    preview = read_preview(written(tmp_path))
    assert (preview.case, preview.step) == ("case-0001", 20)
    assert preview.grid is not None and preview.grid.shape_zyx == SHAPE
    assert preview.grid.spacing_xyz_mm == (0.5, 1.0, 2.0) and preview.grid.origin_lps_mm == (-10.0, 5.0, 0.25)
    assert preview.grid.direction == (0, 1, 0, -1, 0, 0, 0, 0, 1)
    assert preview.looks_labeled_float() == pytest.approx(0.2)


def test_without_discriminator_or_of_an_earlier_version(tmp_path: Path):
    nothing = dict.fromkeys(("looks_labeled", "case", "step", "spacing_xyz_mm", "origin_lps_mm", "direction"))
    preview = read_preview(written(tmp_path, **nothing))
    assert preview.looks_labeled is None and preview.looks_labeled_float() is None
    assert preview.grid is None and preview.step is None and preview.case == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"image": None}, {"label": None}, {"label": np.ones((4, 5), np.uint8)}, {"label": np.ones((4, 5, 7), np.uint8)},
        {"label": np.ones(SHAPE, np.float32)}, {"image": np.ones(SHAPE, np.uint8)},
        {"image": np.array([{}], dtype=object)}, {"spacing_xyz_mm": np.array([0.0, 1, 1])},
        {"spacing_xyz_mm": np.ones(2)}, {"origin_lps_mm": np.array([np.nan, 0, 0])}, {"direction": np.ones(9)},
        {"direction": np.eye(2)}, {"direction": None}, {"step": "x"},
    ],
)  # fmt: skip
def test_what_is_no_preview_is_refused(tmp_path: Path, changes: dict):
    with pytest.raises(InputError):
        read_preview(written(tmp_path, **changes))


def test_pickled_objects_are_never_loaded(tmp_path: Path):
    mark = tmp_path / "mark"

    class Trap:
        def __reduce__(self):
            return (Path.touch, (mark,))

    with pytest.raises(InputError):
        read_preview(written(tmp_path, image=np.array([Trap()], dtype=object)))
    assert not mark.exists()


@pytest.mark.parametrize("cut", [0, 1, 100, -1, -30])
def test_a_file_cut_short_is_refused(tmp_path: Path, cut: int):
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match="preview cannot be read"):
        read_preview(path)


def test_flipped_bytes_end_in_words_or_in_a_preview(tmp_path: Path):
    path = written(tmp_path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            damaged[place] ^= 1 << rng.integers(0, 8)
        path.write_bytes(damaged)
        try:
            read_preview(path)
        except InputError as error:
            assert error.do


def test_a_header_that_claims_too_much_is_refused(tmp_path: Path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**4,) * 3})
    path = tmp_path / "p.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("image", "label"):
            archive.writestr(f"{name}.npy", header.getvalue())
    with pytest.raises(InputError):
        read_preview(path)


def test_an_explosive_file_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(previews, "MOST_BYTES", 1000)
    with pytest.raises(InputError, match="preview cannot be read"):
        read_preview(written(tmp_path, image=np.zeros((40, 50, 60), np.float16)))


def test_a_missing_one_is_told(tmp_path: Path):
    with pytest.raises(InputError):
        read_preview(tmp_path / "none.npz")
