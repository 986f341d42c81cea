"""Windows over a whole scan: exact strides, plain averages, any size."""

import warnings

import pytest
import torch
from torch import nn

from VoxelAdvSegLib.config import Config, Inference, Patches, resolve
from VoxelAdvSegLib.inference.windows import count_windows, predict_probabilities, slide, window_stride


def starts(size_zyx: tuple[int, ...], patch_zyx: tuple[int, ...], settings: Inference) -> list[list[int]]:
    """First voxel of every window along each axis, read off a volume that tells its own indices."""
    index = torch.stack(torch.meshgrid(*[torch.arange(float(n)) for n in size_zyx], indexing="ij"))[None]
    seen: list[list[float]] = []

    def predictor(windows: torch.Tensor) -> torch.Tensor:
        seen.extend(windows[:, :, 0, 0, 0].tolist())
        return windows[:, :1]

    slide(index, patch_zyx, predictor, settings)
    return [sorted({int(s[axis]) for s in seen}) for axis in range(3)]


def test_the_benchmarks_stride_is_kept_exactly():
    """112 x 112 x 80 with stride 18 x 18 x 4 over 150 x 112 x 88: MONAI alone would round overlaps down."""
    made = starts((88, 112, 150), (80, 112, 112), Inference(stride=(18, 18, 4)))
    assert made == [[0, 4, 8], [0], [0, 18, 36, 38]]  # the last window ends with the volume


@pytest.mark.parametrize("patch, overlap, stride", [(48, 0.5, 24), (32, 0.25, 24), (16, 0.0, 16), (16, 1.0, 1)])
def test_an_overlap_is_a_stride(patch: int, overlap: float, stride: int):
    assert window_stride([patch], Inference(stride=None, overlap=overlap)) == [stride]


@pytest.mark.parametrize("weight", ["constant", "gaussian"])
@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize(
    ("size", "overlap"),
    [((20, 21, 50), 0.5), ((16, 16, 32), 0.5), ((5, 40, 9), 0.25), ((33, 16, 70), 0.0), ((17, 50, 33), 0.75)],
)
def test_averages_are_those_of_monai(weight: str, at_once: int, size: tuple[int, int, int], overlap: float):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI imports what is deprecated
        from monai.inferers.utils import sliding_window_inference

        patch = (16, 16, 32)
        position = torch.linspace(0, 1, 16 * 16 * 32).reshape(patch)  # the answer depends on the place in the window

        def predictor(windows: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return torch.cat([windows, windows * position], 1), (windows - position).sin()

        volume = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0))
        expected = sliding_window_inference(volume, patch, 2, predictor, overlap, weight, cval=0.0)
    settings = Inference(stride=None, overlap=overlap, window_weight=weight)
    for own, theirs in zip(slide(volume, patch, predictor, settings, at_once), expected, strict=True):
        assert own.shape == theirs.shape and (own - theirs).abs().max() < 1e-6


@pytest.mark.parametrize("weight", ["constant", "gaussian"])
@pytest.mark.parametrize("size", [(20, 21, 50), (16, 16, 32), (5, 40, 9), (2, 2, 2)])
def test_averages_of_equal_answers_are_that_answer(weight: str, size: tuple[int, int, int]):
    """Voxels come back where they were, also from volumes smaller than a window."""
    volume = torch.rand(1, 1, *size)
    settings = Inference(stride=None, window_weight=weight)
    double = slide(volume, (16, 16, 32), lambda windows: 2 * windows, settings)
    assert isinstance(double, torch.Tensor) and torch.allclose(double, 2 * volume, atol=1e-5)


def test_overlapping_windows_are_averaged_equally():
    """Windows of 4 with stride 2 along x of 6: the two in the middle see each of two windows."""
    numbers = iter([1.0, 3.0])

    def predictor(windows: torch.Tensor) -> torch.Tensor:
        return torch.stack([torch.full_like(window, next(numbers)) for window in windows])

    out = slide(torch.zeros(1, 1, 4, 4, 6), (4, 4, 4), predictor, Inference(stride=(2, 4, 4)))
    assert isinstance(out, torch.Tensor)
    assert out[0, 0, 0, 0].tolist() == [1, 1, 2, 2, 3, 3]


def test_padding_is_the_mean_intensity():
    seen = []
    slide(torch.ones(1, 1, 2, 4, 4), (4, 4, 4), lambda w: seen.append(w.clone()) or w, Inference(stride=None))
    assert seen[0][0, 0, :, 0, 0].tolist() == [0, 1, 1, 0]


SMALL = Config(patches=Patches(patch=(8, 4, 4)))


class LooksRight(nn.Module):
    """Logits that grow along x within the window: not symmetric under a flip."""

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        ramp = torch.linspace(-1, 1, windows.shape[-1]).expand_as(windows)
        return torch.cat([windows, ramp], 1)


def test_flips_are_averaged_after_turning_back():
    volume = torch.rand(1, 1, 4, 4, 8)
    settings = Inference(stride=None, flips=True)
    plain = predict_probabilities(LooksRight(), volume, SMALL, settings)
    x = predict_probabilities(LooksRight(), volume, SMALL, settings, flip_axes_zyx=[2])
    ramp = torch.linspace(-1, 1, 8).expand(4, 4, 8)
    expected = ((volume[0, 0] - ramp).sigmoid() + (volume[0, 0] + ramp).sigmoid()) / 2
    assert torch.allclose(plain[0], (volume[0, 0] - ramp).sigmoid(), atol=1e-6)
    assert torch.allclose(x[0], expected, atol=1e-6)
    every = predict_probabilities(LooksRight(), volume, SMALL, settings, flip_axes_zyx=[0, 1, 2])
    assert torch.allclose(every, x, atol=1e-6)  # the other axes do not matter to this network
    assert torch.allclose(every.sum(0), torch.ones(4, 4, 8), atol=1e-6)
    off = predict_probabilities(LooksRight(), volume, SMALL, Inference(stride=None), flip_axes_zyx=[2])
    assert torch.equal(off, plain)


@pytest.mark.parametrize("size", [(16, 16, 32), (9, 40, 33), (17, 16, 70), (100, 20, 64)])
@pytest.mark.parametrize("settings", [{"stride": None}, {"stride": (18, 18, 4)}, {"stride": None, "overlap": 0.25}])
def test_windows_are_counted_beforehand(size: tuple[int, int, int], settings: dict):
    patch, seen = (16, 16, 32), []
    slide(torch.zeros(1, 1, *size), patch, lambda w: w, Inference(**settings), watch=seen.append)
    assert sum(seen) == count_windows(size, patch, Inference(**settings))


def test_whoever_watches_may_end_the_work():
    class EnoughError(Exception):
        pass

    def watch(windows: int) -> None:
        raise EnoughError

    with pytest.raises(EnoughError):
        slide(torch.zeros(1, 1, 16, 16, 64), (16, 16, 16), lambda w: w, Inference(stride=None), watch=watch)


def test_a_network_is_asked_in_the_precision_it_was_trained_in(monkeypatch):
    """bf16 on a CPU that has it and was asked for it; fp32 on one that has not, where the same model still segments."""
    seen = []

    class Notes(nn.Module):
        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            seen.append((windows @ windows.transpose(-1, -2)).dtype)
            return torch.cat([windows, windows], 1)

    for knows, amp in ((True, "bf16"), (True, "auto"), (False, "bf16"), (False, "fp16")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda knows=knows: {"avx512_bf16": knows}, raising=False)
        config = resolve("la-paper", {"patch": [16, 16, 16], "amp": amp})
        assert predict_probabilities(Notes(), torch.rand(1, 1, 16, 16, 16), config).dtype == torch.float32
    assert seen == [torch.bfloat16, torch.float32, torch.float32, torch.float32]
