"""Signs are told once, and only after they have lasted."""

import torch

from VoxelAdvSegLib.training.watch import PATIENCE, Watch


def test_a_collapse_is_told_once_after_500_steps():
    watch = Watch()
    said = [watch.look({"class_cosine": torch.tensor(0.995)}) for _ in range(PATIENCE + 100)]
    assert [bool(s) for s in said].index(True) == PATIENCE - 1
    assert sum(map(len, said)) == 1 and "collapsed" in said[PATIENCE - 1][0]


def test_a_healthy_step_starts_the_count_anew():
    watch = Watch()
    values = [0.995] * (PATIENCE - 1) + [0.5] + [0.995] * (PATIENCE - 1)
    assert not any(watch.look({"class_cosine": v}) for v in values)


def test_a_discriminator_at_chance_is_told():
    watch = Watch()
    said = [text for _ in range(PATIENCE) for text in watch.look({"moving_accuracy": 0.51, "other": 1})]
    assert len(said) == 1 and "cannot tell" in said[0]
    assert not any(Watch().look({"moving_accuracy": 0.8}) for _ in range(PATIENCE))


def test_an_organ_that_is_never_found_is_told_once_and_not_too_early():
    watch = Watch()
    scores = {"liver": 0.8, "left kidney": 0.0, "spleen": None, "right kidney": 0.004}
    assert watch.look_at_scores(scores, 300, 1000) == []
    (text,) = watch.look_at_scores(scores, 400, 1000)
    assert "left kidney, right kidney" in text and "liver" not in text and "spleen" not in text
    assert watch.look_at_scores(scores, 500, 1000) == []
    (text,) = watch.look_at_scores({**scores, "liver": 0.0}, 600, 1000)
    assert "nothing of liver is found" in text
