"""Pictures of the panel at work, for people to look at: python Testing/panel/screenshots.py OUT

Real widgets of Qt with stand-ins for Slicer's own, a real scene, real trainings on made-up scans. With
`--readme`, the pictures that the documents show are written to Resources/Screenshots as well.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "Testing")]
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import slicer  # noqa: E402
from panel_bed.bed import Bed  # noqa: E402  the bed comes first: it makes `slicer` and `qt`
from panel_bed.screenshots import grab, sheet  # noqa: E402

from VoxelAdvSegLib.data.phantoms import write_phantoms  # noqa: E402
from VoxelAdvSegLib.jobs.interpreter import Interpreter  # noqa: E402
from VoxelAdvSegLib.panel.samples import load_sample  # noqa: E402

SECTIONS = ("project", "train", "segment", "review", "models", "installation")
SHORT = {"patch": "32,32,32", "filters": 8}
NO_TORCH = "raise ModuleNotFoundError('No module named torch', name='torch')\n"
COUNTS = {"training": (3, 1), "unlabeled": (4, 4), "validation": (2, 0)}
OF_DOCUMENTS = {"training": "2_running_train", "review": "5_review_review", "project": "1_project_project",
                "segment": "4_segmented_segment"}  # fmt: skip


class Photographer:
    """Opens one section at a time and keeps a picture in light and in dark."""

    def __init__(self, bed, widget, folder):
        self.bed, self.widget, self.folder = bed, widget, folder
        self.pictures = {}

    def take(self, moment, *sections):
        for section in sections or SECTIONS:
            for name in SECTIONS:
                getattr(self.widget.ui, f"{name}Section").collapsed = name != section
            self.bed.process(0.05)
            for dark in (False, True):
                name = f"{moment}_{section}{'_dark' if dark else ''}"
                self.pictures[name] = grab(self.widget.parent, self.folder / f"{name}.png", dark=dark)


def run(folder, steps):
    """All pictures, in the order of the work; returns them by name."""
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        bed = Bed(place / "slicer")
        try:
            bed.load_module(REPOSITORY / "VoxelAdvSeg" / "VoxelAdvSeg.py")
            widget = bed.open_module("VoxelAdvSeg")
            workbench = widget.logic.workbench
            workbench._interpreter = Interpreter(Path(sys.executable), {**os.environ, "OMP_NUM_THREADS": "1"})
            workbench.threads = 1
            camera = Photographer(bed, widget, folder)
            camera.take("0_empty")
            at_work(bed, workbench, camera, place, steps)
            failures(bed, workbench, camera, place)
            return camera.pictures
        finally:
            bed.close()


def at_work(bed, workbench, camera, place, steps):
    """Every section in use, those that have work while it runs, and when it is done."""
    workbench.create_project(place / "Abdomen")
    workbench.add_manifest(write_phantoms(place / "scans", counts=COUNTS, voxel_factor=1.5))
    workbench.project.findings()
    workbench.check_installation()
    camera.take("2_running", "installation")
    bed.wait_for(lambda: workbench.installation.verdict is not None and not workbench.behind, 120, "the check")
    bed.process(0.2)
    camera.take("1_project", "project", "train", "installation")

    workbench.train(steps=steps, settings=SHORT, seed=0)
    bed.wait_for(lambda: (workbench.training.step or 0) >= 0.6 * steps, 900, "the training")
    bed.process(1.0)
    camera.take("2_running", "train")
    wait_for_training(bed, workbench)
    camera.take("3_finished", "train", "models")

    camera.widget.ui.volumeSelector.setCurrentNode(load_sample(slicer.mrmlScene))
    workbench.segment(camera.widget.ui.volumeSelector.currentNode(), wait=True)
    bed.process(0.2)
    camera.take("4_segmented", "segment")
    workbench.segment_cases()
    bed.wait_for(lambda: workbench.segmenting.current is not None, 120, "the queue")
    camera.take("2_running", "segment")
    bed.wait_for(lambda: not workbench.is_segmenting and not workbench.behind, 300, "the end of the queue")
    workbench.next_case()
    bed.process(0.2)
    camera.take("5_review", "project", "review")
    workbench.accept()


def failures(bed, workbench, camera, place):
    """What each section says when something is wrong. Review shows no failure of its own."""
    workbench.train(steps=4, settings={**SHORT, "lr": 1e30}, seed=0)
    wait_for_training(bed, workbench)
    camera.take("6_error", "train")

    broken = next(case for case in workbench.project.cases if case.role == "unlabeled")
    broken.image.write_bytes(b"no scan")
    workbench.segment_cases(ids=[broken.id])
    bed.wait_for(lambda: not workbench.is_segmenting and not workbench.behind, 120, "a failure")
    workbench.project.findings()
    workbench.notify("cases")
    camera.take("6_error", "segment", "project")

    (workbench.project.model(workbench.default_model()).path / "model.json").write_text("{", encoding="utf-8")
    workbench.notify("models")
    camera.take("6_error", "models")

    (place / "torch.py").write_text(NO_TORCH, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(place)}
    workbench._interpreter = Interpreter(Path(sys.executable), environment)
    workbench.check_installation(wait=True)
    bed.process(0.2)
    camera.take("6_error", "installation")


def wait_for_training(bed, workbench):
    bed.wait_for(lambda: workbench.training.state.is_over and not workbench.behind, 900, "the end of the training")
    bed.process(1.0)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=120, help="of the training that is shown")
    parser.add_argument("--readme", action="store_true", help="also renew Resources/Screenshots")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    pictures = run(arguments.out, arguments.steps)
    for kind in ("", "_dark"):
        chosen = {name: image for name, image in pictures.items() if name.endswith("_dark") == bool(kind)}
        sheet(chosen, arguments.out / f"all{kind}.png", 4)
    if arguments.readme:
        for name, source in OF_DOCUMENTS.items():
            target = REPOSITORY / "Resources" / "Screenshots" / f"{name}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((arguments.out / f"{source}.png").read_bytes())


if __name__ == "__main__":
    main()
