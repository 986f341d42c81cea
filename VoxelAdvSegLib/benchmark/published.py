"""Figures of publications, for the eye beside measured ones; no mean is ever taken over them.

Tables I, II and IV of Lee et al., which quote the compared papers (method.md 2.4); percent and voxels.
"PROTOCOL" is what each publication's code does, read in its repository where there is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LAST = "6000 steps, last checkpoint"
BEST_ON_TEST = "public code: 15000 steps, best on the test list"
PROTOCOL = {
    "supervised": LAST, "ua_mt": LAST, "sassnet": LAST, "dtc": LAST, "lg_er_mt": LAST, "mc_net": BEST_ON_TEST,
    "dap": "not known", "duwm": "not known", "cvrl": "not known",
    "voxel_adversarial": "6000 steps, checkpoint not stated",
}  # fmt: skip
CROPPED = "test scans are cropped around the true atrium, as in all work on this split"


@dataclass(frozen=True)
class Published:
    """dice, jaccard in percent, hd95, assd in voxels as printed; organs: Dice of each, where printed."""

    dice: float
    jaccard: float
    hd95: float
    assd: float
    protocol: str
    organs: tuple[float, ...] = ()


def _table(rows: Mapping[str, tuple[float, float, float, float]]) -> dict[str, Published]:
    return {name: Published(*figures, PROTOCOL[name.partition("[")[0]]) for name, figures in rows.items()}


TABLE_1_8 = _table({
    "supervised": (79.99, 58.12, 21.11, 5.48),  # Jaccard as printed; 68.12 would fit the Dice
    "dap": (81.89, 71.23, 15.81, 3.80),
    "ua_mt": (84.25, 73.48, 13.84, 3.36),
    "sassnet": (87.32, 77.72, 9.62, 2.55),
    "lg_er_mt": (85.54, 75.12, 13.29, 3.77),
    "duwm": (85.91, 75.75, 12.67, 3.31),
    "dtc": (86.57, 76.55, 14.47, 3.74),
    "cvrl": (87.72, 78.29, 9.34, 2.23),
    "mc_net": (87.71, 78.31, 9.36, 2.18),
    "voxel_adversarial": (88.42, 79.38, 8.74, 2.52),
})  # fmt: skip
TABLE_1_16 = _table({
    "supervised": (86.03, 76.06, 14.26, 3.51),
    "dap": (87.89, 78.72, 9.29, 2.74),
    "ua_mt": (88.88, 80.21, 7.32, 2.26),
    "sassnet": (89.54, 81.24, 8.24, 2.20),
    "lg_er_mt": (89.62, 81.31, 7.16, 2.06),
    "duwm": (89.65, 81.35, 7.04, 2.03),
    "dtc": (89.42, 80.98, 7.32, 2.10),
    "cvrl": (89.87, 81.65, 6.96, 1.72),
    "mc_net": (90.34, 82.48, 6.00, 1.77),
    "voxel_adversarial": (90.56, 82.84, 5.95, 1.79),
})  # fmt: skip
_OURS = "voxel_adversarial"
TABLE_4 = {
    "ablation:vnet": Published(86.03, 76.06, 14.26, 3.51, PROTOCOL["supervised"]),
    "ablation:adv": Published(88.76, 80.01, 10.46, 2.64, PROTOCOL[_OURS]),
    "ablation:feature": Published(88.67, 79.85, 11.52, 3.31, PROTOCOL[_OURS]),
    "ablation:adv+feature": Published(90.39, 82.56, 10.11, 2.70, PROTOCOL[_OURS]),
    "ablation:all": Published(90.56, 82.84, 5.95, 1.79, PROTOCOL[_OURS]),
}
# spleen, left kidney, gallbladder, esophagus, liver, stomach, pancreas, duodenum
TABLE_2 = {
    name: Published(*figures[:4], "6000 steps, checkpoint not stated; scores on 128 x 128 x 64 voxels", figures[4:])
    for name, figures in {
        "supervised": (66.58, 54.08, 5.74, 1.79, 87.79, 81.98, 64.69, 44.88, 91.00, 66.51, 53.39, 42.42),
        "ua_mt": (69.57, 56.90, 4.99, 1.36, 89.64, 77.53, 67.82, 56.19, 92.21, 70.73, 54.58, 47.86),
        "sassnet": (69.09, 56.42, 4.85, 1.48, 87.42, 87.26, 60.19, 54.16, 90.41, 69.41, 57.30, 46.59),
        "dtc": (69.39, 57.00, 5.78, 1.79, 89.05, 87.03, 59.64, 56.11, 91.23, 68.45, 56.63, 46.99),
        "mc_net": (69.76, 57.34, 5.61, 1.90, 89.15, 87.82, 64.66, 50.50, 92.28, 71.22, 56.97, 45.49),
        "voxel_adversarial": (71.28, 59.01, 4.32, 1.24, 89.75, 87.07, 66.64, 56.01, 93.03, 71.58, 59.08, 47.03),
    }.items()
}

# name: what the table is of, and its figures by row
PUBLISHED: Mapping[str, tuple[str, Mapping[str, Published]]] = {
    "la-8": (f"left atrium, 8 labeled scans, Table I of Lee et al.; {CROPPED}", TABLE_1_8),
    "la-16": (f"left atrium, 16 labeled scans, Tables I and IV of Lee et al.; {CROPPED}", TABLE_1_16 | TABLE_4),
    "mo-14": ("eight abdominal organs, 14 labeled scans, Table II of Lee et al.", TABLE_2),
}  # fmt: skip
