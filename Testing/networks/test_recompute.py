"""Steps that keep less are the same steps."""

import copy

import pytest
import torch

from VoxelAdvSegLib.networks.recompute import Recomputed
from VoxelAdvSegLib.networks.teacher import make_teacher, teacher_mode
from VoxelAdvSegLib.networks.vnet import VNet

VOLUMES = torch.randn(4, 1, 16, 16, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def gradients_of(network, volumes=VOLUMES):
    """Of a loss on logits and some features, as the terms of a method are: two backward passes over one graph."""
    torch.manual_seed(3)
    logits, features = network.forward_features(volumes)
    loss = logits.softmax(1)[:, 1].square().mean() + features[1].mean(0).square().sum() + features[8].std()
    encoder = list(network.blocks[0].parameters())
    first = torch.autograd.grad(loss, encoder, retain_graph=True)
    network.zero_grad()
    loss.backward()
    return [loss.detach(), *first, *[p.grad for p in network.parameters()]]


@pytest.mark.parametrize("norm", ["instance", "batch", "group"])
def test_what_is_computed_again_gives_the_same_gradients_and_statistics(norm: str):
    torch.manual_seed(0)
    plain = VNet(1, 3, 4, norm, dropout=True).double()
    saving = copy.deepcopy(plain)
    saving.recompute_blocks()
    assert saving.state_dict().keys() == plain.state_dict().keys()
    for a, b in zip(gradients_of(plain), gradients_of(saving), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)
    for a, b in zip(plain.buffers(), saving.buffers(), strict=True):
        assert torch.equal(a, b)


def test_less_is_kept():
    """Bytes that the way back holds, counted by torch's own hook."""

    def kept(again: bool) -> int:
        network = VNet(1, 3, 4, "instance", dropout=False).double()
        if again:
            network.recompute_blocks()
        sizes: dict[int, int] = {}

        def note(tensor: torch.Tensor) -> torch.Tensor:
            sizes[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            graph = network(VOLUMES)
        assert graph.requires_grad
        return sum(sizes.values())

    assert kept(True) < 0.5 * kept(False)


def test_a_teacher_of_a_saving_student_saves_too():
    student = VNet(1, 3, 4, "batch", dropout=False).double()
    student.recompute_blocks()
    teacher = make_teacher(student)
    assert isinstance(teacher.blocks[0], Recomputed)
    with torch.no_grad(), teacher_mode(teacher):
        assert teacher.forward_features(VOLUMES)[0].shape == (4, 3, 16, 16, 32)
