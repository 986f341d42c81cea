"""One step of the method: who gets gradient from what, and every option of method.md 1.5."""

import copy
import dataclasses

import pytest
import torch

from VoxelAdvSegLib.errors import ConfigError
from VoxelAdvSegLib.methods.contract import Turn
from VoxelAdvSegLib.training.loop import take_step

NO_SCALER = torch.amp.GradScaler("cpu", enabled=False)
TOTAL = 100


def step(method, batch, number=0, measure=False):
    return take_step(method, batch, number, TOTAL, 0, NO_SCALER, measure)


def state(network):
    return copy.deepcopy(network.state_dict())


def same(before, network):
    return all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def parts(method):
    """Parameters by the columns of the table in method.md 1.1."""
    student = method.student
    layer, discriminator = method.feature_layer, method.networks["discriminator"]
    return {
        "encoder": [*student.blocks[:4].parameters(), *student.downs[:3].parameters()],
        "block 5": [*student.blocks[4].parameters(), *student.downs[3].parameters()],
        "decoder": [
            *student.blocks[5:].parameters(), *student.ups.parameters(), *student.head.parameters()
        ],
        "R, q": [*layer.fusion.parameters(), *layer.projector.parameters()],
        "p": [*layer.predictor.parameters()],
        "D": [*discriminator.parameters()],
        "teacher": [*method.teacher.parameters(), *method.teacher_feature_layer.parameters()],
    }  # fmt: skip


def terms_of(method, batch, number=0):
    """Every term of a step, with the parameters of the player who minimizes it; nothing is moved."""
    found = {}
    for turn in method.turns(batch, number):
        for name, term in turn.terms.items():
            found[name] = (term, method.players[turn.player].parameters)
    return found


# --- who gets gradient from what (tests 9 to 11) ------------------------------------------------

FLOW = {
    "dice": {"encoder", "block 5", "decoder"},
    "consistency": {"encoder", "block 5", "decoder"},
    "feature": {"encoder", "R, q", "p"},
    "adversarial": {"encoder"},
    "discriminator": {"D"},
}


@pytest.mark.parametrize("sharing", ["separate", "shared"])
@pytest.mark.parametrize("name", FLOW)
def test_gradient_flow(make_method, make_batch, name, sharing):
    method = make_method(norm="instance", fusion_sharing=sharing)
    step(method, make_batch(seed=9))  # student and teacher are no longer equal
    method.networks.zero_grad()
    term, own = terms_of(method, make_batch(), 50)[name]
    term.value.backward(inputs=own)  # as the loop does
    moved = {
        part
        for part, parameters in parts(method).items()
        if any(p.grad is not None and p.grad.abs().max() > 0 for p in parameters)
    }
    assert moved == FLOW[name]


def test_no_parameter_has_two_owners(make_method):
    for sharing in ("separate", "shared"):
        players = make_method(fusion_sharing=sharing).players
        student, discriminator = (set(map(id, players[k].parameters)) for k in ("student", "discriminator"))
        assert not student & discriminator


def input_gradients(method, batch, name):
    batch.labeled.requires_grad_(), batch.unlabeled.requires_grad_()
    term, _ = terms_of(method, batch, 50)[name]
    return torch.autograd.grad(term.value, [batch.labeled, batch.unlabeled], allow_unused=True)


def test_labeled_images_get_no_adversarial_gradient(make_method, make_batch):
    labeled, unlabeled = input_gradients(make_method(norm="instance"), make_batch(), "adversarial")
    assert (labeled == 0).all() and unlabeled.abs().max() > 0
    labeled, _ = input_gradients(make_method(norm="instance", adv_target="both"), make_batch(), "adversarial")
    assert labeled.abs().max() > 0


def test_joint_batch_norm_couples_the_patches_and_split_does_not(make_method, make_batch):
    labeled, _ = input_gradients(make_method(), make_batch(), "adversarial")
    assert labeled.abs().max() > 0
    labeled, unlabeled = input_gradients(make_method(batch_norm_mix="split"), make_batch(), "adversarial")
    assert (labeled == 0).all() and unlabeled.abs().max() > 0


@pytest.mark.parametrize("order", ["first", "last"])
def test_each_turn_moves_its_player_only(make_method, make_batch, order):
    method = make_method(disc_order=order)
    discriminator, players = method.networks["discriminator"], []
    for turn in method.turns(make_batch(), 0):
        players.append(turn.player)
        before = {name: state(network) for name, network in method.networks.items()}
        player = method.players[turn.player]
        player.optimizer.zero_grad()
        torch.stack([t.weight * t.value for t in turn.terms.values()]).sum().backward(inputs=player.parameters)
        player.optimizer.step()
        assert same(before["discriminator"], discriminator) == (turn.player == "student")
        assert same(before["student"], method.student) == (turn.player == "discriminator")
        assert same(before["feature_layer"], method.feature_layer) == (turn.player == "discriminator")
        assert same(before["teacher"], method.teacher)
    assert players == (["discriminator", "student"] if order == "first" else ["student", "discriminator"])


def test_first_and_last_differ_in_the_discriminator_that_judges(make_method, make_batch):
    # With order first, L_adv passes through weights that have just been updated.
    values = {}
    for order in ("first", "last"):
        method = make_method(disc_order=order, disc_lr=0.05, norm="instance")
        values[order] = step(method, make_batch()).terms["student"]["adversarial"]
    assert values["first"] != values["last"]


# --- the terms --------------------------------------------------------------------------------


def test_the_objective_is_equation_6(make_method, make_batch):
    report = step(make_method(), make_batch(), TOTAL)
    assert set(report.terms["student"]) == {"dice", "adversarial", "feature", "consistency"}
    assert report.weights == pytest.approx(
        {"dice": 1, "adversarial": 0.01, "feature": 0.1, "consistency": 0.001, "discriminator": 1}
    )
    assert step(make_method(), make_batch()).weights["consistency"] == pytest.approx(6.7379e-6, rel=1e-4)


def test_consistency_of_equal_networks_is_nothing(make_method, make_batch):
    method = make_method(consistency_noise=0.0, dropout=False)
    assert step(method, make_batch()).terms["student"]["consistency"].item() < 1e-12


@pytest.mark.parametrize("who", ["teacher", "both"])
def test_noise_is_clipped_and_goes_where_it_is_set(make_method, make_batch, who):
    method, batch, inputs = make_method(consistency_noise_on=who), make_batch(), {}
    for name in ("student", "teacher"):
        first = method.networks[name].blocks[0][0]
        first.register_forward_pre_hook(lambda _, given, name=name: inputs.update({name: given[0]}))
    step(method, batch)
    clean = torch.cat([batch.labeled, batch.unlabeled])
    noise = inputs["teacher"] - clean
    assert 0.19 < noise.abs().max() < 0.2 + 1e-5
    assert noise.std().item() == pytest.approx(0.0954, abs=0.003)  # N(0, 0.1) clipped at two sd
    assert torch.equal(inputs["student"], clean) == (who == "teacher")


def test_consistency_on_unlabeled_only(make_method, make_batch):
    method = make_method(norm="instance", consistency_on="unlabeled")
    step(method, make_batch(seed=9))
    labeled, unlabeled = input_gradients(method, make_batch(), "consistency")
    assert (labeled == 0).all() and unlabeled.abs().max() > 0


@pytest.mark.parametrize(
    ("settings", "networks"),
    [
        ({"adv_weight": 0}, {"student", "teacher", "feature_layer", "teacher_feature_layer"}),
        ({"feature_weight": 0}, {"student", "teacher", "discriminator"}),
        ({"adv_weight": 0, "feature_weight": 0}, {"student", "teacher"}),
        ({"adv_weight": 0, "feature_weight": 0, "consistency_weight": 0}, {"student"}),
    ],
)
def test_a_term_of_weight_zero_builds_nothing(make_method, make_batch, settings, networks):
    method = make_method(**settings)
    assert set(method.networks) == networks
    report = step(method, make_batch(), 50)
    assert ("adversarial" in report.terms["student"]) == ("discriminator" in networks)
    assert ("feature" in report.terms["student"]) == ("feature_layer" in networks)
    assert ("consistency" in report.terms["student"]) == ("teacher" in networks)


def test_no_common_class_leaves_the_discriminator_alone(make_method, make_batch):
    # An untrained teacher is sure of nothing at 0.999.
    method = make_method(pseudo_threshold=0.999)
    before = state(method.networks["discriminator"])
    report = step(method, make_batch())
    assert "discriminator" not in report.terms
    assert report.terms["student"]["adversarial"].item() == 0
    assert report.observed["pseudo_labeled"].item() == 0
    assert same(before, method.networks["discriminator"])
    assert all(p.isfinite().all() for p in method.student.parameters())


def test_confidence_in_the_log(make_method, make_batch):
    observed = step(make_method(pseudo_threshold=0.4), make_batch()).observed
    assert 1 / 3 < observed["teacher_confidence"] < 1
    assert 0 < observed["pseudo_labeled"] < 1


# --- the discriminator's options ----------------------------------------------------------------


@pytest.mark.parametrize(("often", "turns"), [(0.5, [1, 0, 1, 0]), (0.25, [1, 0, 0, 0]), (1, [1] * 4), (2, [2] * 4)])
def test_steps_of_the_discriminator(make_method, make_batch, often, turns):
    method = make_method(disc_steps=often)
    found = [[t.player for t in method.turns(make_batch(), number)].count("discriminator") for number in range(4)]
    assert found == turns


def test_a_discriminator_that_has_won_is_only_measured(make_method, make_batch):
    method = make_method(disc_acc_ceiling=0.85)
    discriminator = method.networks["discriminator"]
    discriminator.moving_accuracy.fill_(0.86)
    before = dict(discriminator.named_parameters())
    before = {k: v.clone() for k, v in before.items()}
    report = step(method, make_batch())
    assert "accuracy_labeled" in report.observed
    assert report.terms["discriminator"] == {}
    assert all(torch.equal(v, before[k]) for k, v in discriminator.named_parameters())
    assert discriminator.moving_accuracy < 0.86  # so that it will learn again


def test_start_and_ramp_of_the_adversary(make_method, make_batch):
    method = make_method(disc_start=0.05, adv_start=0.1, adv_ramp=0.1)
    reports = {n: step(method, make_batch(), n) for n in (4, 5, 10, 15, 20)}
    assert [("discriminator" in r.terms) for r in reports.values()] == [False, True, True, True, True]
    weights = [r.observed.get("adversarial_weight", 0.0) for r in reports.values()]
    assert weights == pytest.approx([0, 0, 0, 0.005, 0.01])


def test_input_noise_fades_to_nothing(make_method, make_batch):
    def loss(noise, number):
        method = make_method(disc_input_noise=noise)
        return step(method, make_batch(), number).terms["discriminator"]["discriminator"]

    assert loss(2.0, 0) != loss(0.0, 0)
    assert torch.equal(loss(2.0, TOTAL), loss(0.0, TOTAL))


def test_balanced_weight_aims_at_its_share_of_the_gradient(make_method, make_batch):
    # Half-way up the ramp: what the ramp holds back is not made up for.
    method = make_method(adv_weight_mode="balanced", adv_start=0.1, adv_ramp=0.1)
    report = step(method, make_batch(), 15, measure=True)
    assert report.weights["adversarial"] == pytest.approx(0.005)
    full = 2 * report.ratios["adversarial"]  # at the end of the ramp
    scale = method.networks["discriminator"].weight_scale.item()
    assert scale == pytest.approx(min(100, max(1, 0.1 / full)), rel=1e-4)
    assert 1 < scale < 100
    later = step(method, make_batch(), 50)
    assert later.weights["adversarial"] == pytest.approx(0.01 * scale, rel=1e-4)


def test_ratio_is_that_of_the_gradients(make_method, make_batch):
    method = make_method(norm="instance")
    torch.manual_seed(0)  # as take_step seeds step 0 of seed 0
    terms = terms_of(method, make_batch())
    encoder = method.shared_parameters()

    def norm(name):
        term, _ = terms[name]
        gradients = torch.autograd.grad(term.weight * term.value, encoder, retain_graph=True)
        return torch.cat([g.flatten() for g in gradients]).norm().item()

    expected = norm("feature") / norm("dice")
    found = step(make_method(norm="instance"), make_batch(), measure=True).ratios
    assert found["feature"] == pytest.approx(expected, rel=1e-4)


def test_gate_holds_back_until_held_out_cases_differ(make_method, make_batch):
    method = make_method(adv_gate="held_out")
    report = step(method, make_batch())
    assert report.observed["held_out_accuracy"] == pytest.approx(0.5, abs=0.05)
    assert report.weights.get("adversarial", 0) < 0.001
    method.networks["discriminator"].moving_held_out.fill_(0.9)
    assert step(method, make_batch(), 1).weights["adversarial"] == pytest.approx(0.01 * 0.8, abs=0.001)


def test_held_out_cases_are_never_real(make_method, make_batch):
    # At step 0 case 0 has its turn (four folds of four cases): half the voxels are left, and the
    # other half at step 200.
    counts = [step(make_method(adv_gate="held_out"), make_batch(), n).observed["voxels_labeled"] for n in (0, 200)]
    batch = make_batch()
    for count, number in zip(counts, (1, 0), strict=True):
        assert count.tolist() == torch.bincount(batch.label[number].flatten()).tolist()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"copy_paste": "bidirectional", "batch_labeled": 1}, "batch_labeled = batch_unlabeled"),
        ({"adv_gate": "held_out", "labeled_cases": 1}, "at least 2 labeled cases"),
    ],
)
def test_what_settings_and_data_cannot_have_together(make_method, settings, says):
    with pytest.raises(ConfigError) as caught:
        make_method(**settings)
    assert says in str(caught.value)


def test_erosion_ignores_voxels_beside_another_class(make_method, make_batch):
    # One organ, a box of 8 x 8 x 16 voxels: its inner 6 x 6 x 14 and what lies beyond the rim stay.
    batch = make_batch(classes=2)
    label = torch.zeros_like(batch.label)
    label[:, 4:12, 4:12, 8:24] = 1
    batch = dataclasses.replace(batch, label=label)
    observed = step(make_method(classes=2, real_label_erosion=1), batch).observed
    voxels = label[0].numel()
    assert observed["voxels_labeled"].tolist() == [2 * (voxels - 10 * 10 * 18), 2 * 6 * 6 * 14]
    whole = observed["voxels_unlabeled"].sum()
    eroded = step(make_method(classes=2, pseudo_erosion=1), batch).observed["voxels_unlabeled"].sum()
    assert whole == batch.unlabeled.numel() and eroded < whole


def test_pseudo_labels_of_the_student(make_method, make_batch):
    method = make_method(pseudo_source="student", norm="instance", dropout=False)
    with torch.no_grad():
        expected = method.student(make_batch().unlabeled).argmax(1)
        for p in method.teacher.parameters():
            p.zero_()  # a teacher of nothing but class 0
    counts = step(method, make_batch()).observed["voxels_unlabeled"]
    assert counts.tolist() == torch.bincount(expected.flatten(), minlength=3).tolist()


# --- the teacher --------------------------------------------------------------------------------


def test_the_teacher_follows_after_the_step(make_method, make_batch):
    method = make_method()
    step(method, make_batch())
    assert same(state(method.student), method.teacher)  # decay 0 at t = 0, buffers too
    assert same(state(method.feature_layer), method.teacher_feature_layer)
    first = state(method.teacher)
    step(method, make_batch(), 1)
    for name, value in method.teacher.state_dict().items():
        if value.is_floating_point():  # decay 1/2 at t = 1
            expected = (first[name] + method.student.state_dict()[name]) / 2
            torch.testing.assert_close(value, expected, rtol=0, atol=1e-6)


def test_the_teacher_may_follow_every_nth_step(make_method, make_batch):
    method = make_method(ema_every=2)
    before = state(method.teacher)
    step(method, make_batch())
    assert same(before, method.teacher)
    step(method, make_batch(), 1)
    assert same(state(method.student), method.teacher)


# --- copy-paste ---------------------------------------------------------------------------------


def test_warm_up_asks_for_labeled_patches(make_method, make_batch):
    method = make_method(copy_paste="bidirectional", copy_paste_warmup=0.12)
    assert [method.batch_sizes(n) for n in (0, 11, 12)] == [(4, 0), (4, 0), (2, 2)]
    report = step(method, make_batch(4, 0), 3)
    assert set(report.terms) == {"student"}
    assert set(report.terms["student"]) == {"dice", "feature", "consistency"}


def test_pseudo_labels_supervise_mixed_patches_with_rising_weight(make_method, make_batch):
    method = make_method(copy_paste="bidirectional", copy_paste_warmup=0.1, pseudo_rampup=0.3)
    weights = [step(method, make_batch(), n).weights["pseudo_label"] for n in (10, 25, 40, 90)]
    # 0.5 exp(-5 (1 - t/30)^2) for t = 0, 15, 30, 80
    assert weights == pytest.approx([0.00336897, 0.143252, 0.5, 0.5], rel=1e-4)


def test_every_origin_is_on_its_side_of_the_mixed_patches(make_method, make_batch):
    # All four mixed patches together hold each labeled and each unlabeled voxel once.
    report = step(make_method(copy_paste="bidirectional", copy_paste_warmup=0), make_batch(), 50)
    batch = make_batch()
    assert report.observed["voxels_labeled"].tolist() == torch.bincount(batch.label.flatten()).tolist()
    assert report.observed["voxels_unlabeled"].sum() == batch.unlabeled.numel()
    narrow = make_method(copy_paste="bidirectional", copy_paste_warmup=0, adv_seam_margin=2)
    rest = step(narrow, make_batch(), 50).observed
    assert 0 < rest["voxels_labeled"].sum() < batch.label.numel()
    assert 0 < rest["voxels_unlabeled"].sum() < batch.label.numel()


# --- every option runs and leaves finite weights --------------------------------------------------

OPTIONS = [
    {"classes": 9},
    {"channels": 2},
    {"feature_levels": [9]},
    {"feature_levels": [2, 3, 4, 5]},
    {"feature_levels": [4, 1], "adv_detach_levels": [1]},
    {"fusion_kernel": 3},
    {"fusion_path": "dense"},
    {"fusion_align_corners": True},
    {"fusion_sharing": "shared", "disc_norm": "spectral"},
    {"disc_heads": "single"},
    {"disc_norm": "layer"},
    {"disc_lr_schedule": "follow", "disc_label_smoothing": 0.1},
    {"adv_form": "saturating"},
    {"adv_form": "lsgan", "adv_target": "both"},
    {"adv_form": "hinge", "adv_reduction": "voxel_mean"},
    {"adv_reduction": "sum", "adv_weight": 1e-6},
    {"disc_include_background": False, "feature_include_background": False},
    {"pseudo_below": "background", "pseudo_threshold": 0.7},
    {"pseudo_quantile": 0.8},
    {"teacher_norm": "buffers", "teacher_buffers": "copy", "teacher_dropout": True},
    {"teacher_buffers": "own"},
    {"batch_norm_mix": "split", "consistency_loss": "kl"},
    {"consistency_loss": "ce", "consistency_on": "unlabeled", "consistency_quantum": 2},
    {"feature_pairing": "same_voxel", "feature_reduction": "mean_dim"},
    {"feature_pairing": "class_mean", "feature_mlp_norm": "layer"},
    {"feature_cross_sample": False, "feature_mlp_norm": "none"},
    {"feature_symmetric": True, "feature_on_unlabeled": True},
    {"dice_denominator": "linear", "dice_pool": "sample", "dice_absent": "smooth", "ce_weight": 1},
    {"copy_paste": "labeled", "adv_gate": "held_out"},
    {"copy_paste": "bidirectional", "feature_symmetric": True},
    {"copy_paste": "bidirectional", "feature_pairing": "same_voxel", "adv_seam_margin": 1},
    {"copy_paste": "bidirectional", "feature_cross_sample": False, "batch_norm_mix": "split"},
    {"copy_paste": "bidirectional", "feature_on_unlabeled": True, "adv_gate": "held_out"},
    {"batch_labeled": 1, "batch_unlabeled": 1},
    {"batch_labeled": 1, "batch_unlabeled": 1, "copy_paste": "bidirectional", "norm": "group"},
    {"batch_labeled": 3, "batch_unlabeled": 1},
    {"optimizer": "adam", "grad_clip": 1.0, "lr_schedule": "cosine"},
    {"preset": "auto"},
    {"preset": "mo"},
    {"preset": "mo-paper"},
]


@pytest.mark.parametrize("unlabeled", [True, False], ids=["", "without unlabeled"])
@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: ",".join(f"{k}={v}" for k, v in o.items()))
def test_options(make_method, make_batch, options, unlabeled):
    method = make_method(**options)
    before = state(method.student)
    classes, channels = options.get("classes", 3), options.get("channels", 1)
    for number in (30, 31):  # behind warm-up and starts
        labeled, others = method.batch_sizes(number)
        batch = make_batch(labeled, others if unlabeled else 0, classes, channels)
        report = step(method, batch, number, measure=number == 31)
        assert all(torch.isfinite(t) for terms in report.terms.values() for t in terms.values())
        assert ("discriminator" in report.terms) == unlabeled
    assert not same(before, method.student)
    for network in method.networks.values():
        assert all(p.isfinite().all() for p in network.parameters())


def test_turns_are_what_the_loop_expects(make_method, make_batch):
    for turn in make_method().turns(make_batch(), 0):
        assert isinstance(turn, Turn) and turn.player in ("student", "discriminator")


def test_exports_hold_a_whole_discriminator(make_method):
    for sharing in ("separate", "shared"):
        weights = make_method(fusion_sharing=sharing).exports()
        assert set(weights) == {"student", "teacher", "discriminator"}
        assert {"fusion.last.weight", "heads.weight"} <= weights["discriminator"].keys()
