"""One self-contained page about the demonstration: no script, no file beside it, no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from VoxelAdvSegLib import __version__
from VoxelAdvSegLib.data.manifest import LabeledCase, UnlabeledCase
from VoxelAdvSegLib.demo.album import map_bar, organ_key, phantom_examples, preview_strip, scan_pictures
from VoxelAdvSegLib.demo.charts import Line, line_chart, paired_chart
from VoxelAdvSegLib.demo.comparison import case_mean, most_and_least, read_discriminator
from VoxelAdvSegLib.demo.story import SEMI, SUPERVISED, Story
from VoxelAdvSegLib.demo.style import CSS
from VoxelAdvSegLib.evaluation.statistics import Difference, paired
from VoxelAdvSegLib.evaluation.verdict import ALL_ORGANS
from VoxelAdvSegLib.training.run_folder import write_text

TITLES = {SUPERVISED: "labeled scans alone", SEMI: "with unlabeled scans"}
COLORS = {SUPERVISED: "#0072b2", SEMI: "#d55e00"}
DASHES = {SUPERVISED: "6 3", SEMI: ""}
SIDES = {"labeled": ("voxels of labeled scans", "#117733", ""),
         "unlabeled": ("voxels of unlabeled scans", "#882e72", "6 3")}  # fmt: skip
TERM_TITLES = {
    "dice": "Dice loss against the labels",
    "cross_entropy": "Cross-entropy against the labels",
    "pseudo_label": "Loss against the teacher's labels of unlabeled scans",
    "adversarial": "Adversarial term: fooling the discriminator",
    "feature": "Feature term: voxels of one organ alike",
    "consistency": "Consistency: student and teacher agree",
    "discriminator": "Discriminator's own loss",
}
OBSERVED = {
    "teacher_confidence": ("Teacher's confidence on unlabeled voxels", (0.0, 1.0)),
    "pseudo_labeled": ("Share of unlabeled voxels it is sure of", (0.0, 1.0)),
    "adversarial_weight": ("Weight of the adversarial term", None),
    "consistency_weight": ("Weight of the consistency term", None),
}


def write_page(story: Story, path: Path) -> None:
    """Writes the page, whole or not at all."""
    sections = (_opening, _what_was_done, _result, _overlays, _training, _discriminator, _limits)
    body = "\n".join(section(story) for section in sections)
    write_text(
        path,
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>VoxelAdvSeg: demonstration on phantoms</title><style>\n{CSS}</style></head>\n"
        f"<body><main>\n{body}\n</main></body></html>\n",
    )


def _opening(story: Story) -> str:
    answer, _, why = story.verdict.sentence.partition(": ")
    return (
        "<header><h1>Do scans without labels help to segment?</h1>"
        '<p class="soft">A demonstration of VoxelAdvSeg on made-up scans (phantoms). No patient is in it.</p></header>'
        f'<div class="answer" id="answer"><b>{escape(answer)}, in this run.</b> {escape(_capital(why))}</div>'
    )


def _what_was_done(story: Story) -> str:
    m = story.manifest
    steps = [
        f"{len(m.training)} scans with labels, {len(m.unlabeled)} without, {len(m.validation)} for watching the "
        f"training and {len(m.test)} held out were generated: bodies of different shape with {len(m.organs)} organs, "
        "two of them alike on the left and on the right. The labels of the unlabeled scans exist nowhere.",
        "Two scanners were imitated. They differ in voxel size, orientation, contrast, noise and shading. From "
        f"scanner B come {_from_b(m.training)} labeled scans, {_from_b(m.unlabeled)} unlabeled and "
        f"{_from_b(m.test)} held-out ones.",
        f"Two models were trained for {story.steps} steps each, with the same settings, on the processor: one from the "
        "labeled scans alone, one by voxel-wise adversarial learning from labeled and unlabeled scans. Both saw as "
        "many patches in a step.",
        "Both segmented the held-out scans, which neither training had seen, and were measured against the truth.",
    ]
    facts = (
        f"Seed {story.seed}; VoxelAdvSeg {__version__}. Training took {_minutes(story.supervised.seconds)} without and "
        f"{_minutes(story.semi.seconds)} with unlabeled scans; all together took {_minutes(story.seconds)}."
    )
    return (
        f"<section id='done'><h2>What was done</h2><ol>{''.join(f'<li>{s}</li>' for s in steps)}</ol>"
        f"<p class='soft'>{facts}</p>{organ_key(m.organs)}{phantom_examples(story)}</section>"
    )


def _result(story: Story) -> str:
    rows = [_row(name, difference) for name, difference in story.verdict.organs.items()]
    rows.append(_row(ALL_ORGANS, story.verdict.overall, "total"))
    for scanner in ("a", "b"):
        here = [_of_scanner(trained.report, scanner) for trained in (story.supervised, story.semi)]
        if here[0]["cases"]:
            rows.append(_row(f"{ALL_ORGANS}, scanner {scanner.upper()}", paired({0: here[0]}, {0: here[1]})))
    head = (
        "<tr><th>Dice</th><th>labeled alone</th><th>with unlabeled</th><th>difference</th>"
        "<th>95 % interval</th><th>better in</th></tr>"
    )
    pairs = [
        (_short(a["name"]), first, second)
        for a, b in zip(story.supervised.report["cases"], story.semi.report["cases"], strict=True)
        if (first := case_mean(a)) is not None and (second := case_mean(b)) is not None
    ]
    return (
        "<section id='result'><h2>Result on the held-out scans</h2>"
        f"<div class='wide'><table>{head}{''.join(rows)}</table></div>"
        "<p class='soft'>Dice: 1 is full agreement with the truth, 0 none. The difference is taken scan by scan; "
        "where its interval holds zero, the two methods cannot be told apart by these scans.</p>"
        f"{_method_key(dots=True)}"
        f"<div class='pairs'>{paired_chart('Every held-out scan', pairs, (COLORS[SUPERVISED], COLORS[SEMI]))}</div>"
        "</section>"
    )


def _of_scanner(report: Mapping[str, Any], scanner: str) -> dict[str, Any]:
    return {**report, "cases": [case for case in report["cases"] if case["name"].endswith(f"_{scanner}")]}


def _row(name: str, d: Difference, kind: str = "") -> str:
    interval = "" if d.low is None or d.high is None else f"{d.low:+.3f} to {d.high:+.3f}"
    before, after, gain = ("-" if v is None else f"{v:{form}}" for v, form in
                           ((d.before, ".3f"), (d.after, ".3f"), (d.mean, "+.3f")))  # fmt: skip
    cells = (name, before, after, gain, interval, f"{d.better} of {d.cases}")
    return f"<tr class='{kind}'>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _overlays(story: Story) -> str:
    by_name = {scan.name: scan for scan in story.scans}
    reports = (story.supervised.report, story.semi.report)
    dice = {
        method: {case["name"]: case_mean(case) for case in report["cases"]}
        for method, report in zip((SUPERVISED, SEMI), reports, strict=True)
    }
    shown = []
    for name, why in most_and_least(*reports):
        values = {method: dice[method][name] for method in dice}
        shown.append(f"<h3>{escape(_short(name))}: {escape(why)}</h3>")
        shown.append(scan_pictures(by_name[name], story.manifest.organs, TITLES, values))
    return (
        "<section id='overlays'><h2>Held-out scans</h2>"
        "<p>Chosen by rule, not by eye: the scans that speak most and least for the unlabeled scans, and one in "
        "the middle. White lines: the truth. Coloured areas: what the model found. The patient's right is on the "
        f"left.</p>{organ_key(story.manifest.organs)}"
        "<p>The last picture is the discriminator map: for each voxel, through the eye for the organ found there, "
        "whether its features look to the discriminator like those of a labeled scan. It is no map of errors.</p>"
        f"{map_bar()}{''.join(shown)}</section>"
    )


def _training(story: Story) -> str:
    histories = {SUPERVISED: story.supervised.history, SEMI: story.semi.history}
    names = list(dict.fromkeys(name for history in histories.values() for name in history.terms))

    def curves(name: str) -> list[Line]:
        known = [m for m in histories if name in histories[m].terms]
        return [Line(TITLES[m], COLORS[m], histories[m].terms[name], DASHES[m]) for m in known]

    charts = [line_chart(TERM_TITLES.get(name, name), curves(name)) for name in names]
    validation = line_chart(
        "Dice on the scans watched during training",
        [Line(TITLES[m], COLORS[m], h.validation, DASHES[m]) for m, h in histories.items()],
        (0.0, 1.0),
    )
    observed = [
        line_chart(title, [Line(title, COLORS[SEMI], histories[SEMI].observed[name])], y_range)
        for name, (title, y_range) in OBSERVED.items()
        if name in histories[SEMI].observed
    ]
    planned = "".join(f"<li>{escape(sentence)}</li>" for sentence in story.plan)
    return (
        f"<section id='training'><h2>The training</h2>{_method_key()}<div class='charts'>{validation}"
        f"{''.join(charts)}</div><h3>The teacher, and how much its word weighs</h3>"
        f"<div class='charts'>{''.join(observed)}</div>"
        "<p class='soft'>Losses are shown before they are weighted, and smoothed over neighbouring steps. Terms that "
        "only one method has, have one curve.</p>"
        f"<h3>What the training planned</h3><ul class='soft'>{planned}</ul>"
        "</section>"
    )


def _discriminator(story: Story) -> str:
    history = story.semi.history
    classes = ["background", *(organ.name for organ in story.manifest.organs)]
    charts = [
        line_chart(
            name,
            [Line(title, color, history.accuracy[side][index], dash)
             for side, (title, color, dash) in SIDES.items() if side in history.accuracy],
            (0.0, 1.0), (0.5, "chance"),
        )
        for index, name in enumerate(classes)
    ]  # fmt: skip
    key = "".join(f"<span>{_stroke(color, dash)}{escape(title)}</span>" for title, color, dash in SIDES.values())
    return (
        "<section id='discriminator'><h2>The discriminator at work</h2>"
        "<p>The discriminator looks at the network's features of single voxels and guesses, organ by organ, whether "
        "a voxel is of a labeled or of an unlabeled scan. The network learns to make it fail. Shown is the part of "
        "voxels it guessed right: where one curve is as high as the other is low, it only says the same of "
        "everything.</p>"
        f"<p><b>{escape(read_discriminator(history))}</b></p>"
        f"<div class='key'>{key}</div><div class='charts'>{''.join(charts)}</div>"
        f"<h3>How labeled the held-out scans look to it</h3>{_looks_table(story)}"
        f"<h3>One unlabeled scan during the training</h3>{map_bar()}{preview_strip(story)}</section>"
    )


def _looks_table(story: Story) -> str:
    """Mean of the discriminator map per organ, by scanner."""
    names = list(story.scans[0].looks_means) if story.scans else []
    rows = []
    for name in names:
        cells = []
        for scanner in ("a", "b"):
            known = [
                v for s in story.scans if s.name.endswith(f"_{scanner}") and (v := s.looks_means[name]) is not None
            ]
            cells.append(f"<td>{sum(known) / len(known):.2f}</td>" if known else "<td>-</td>")
        rows.append(f"<tr><td>{escape(name)}</td>{''.join(cells)}</tr>")
    return (
        "<div class='wide'><table><tr><th>mean of the map (0 to 1)</th><th>scanner A</th><th>scanner B</th></tr>"
        f"{''.join(rows)}</table></div>"
    )


def _limits(story: Story) -> str:
    files = {
        "data": "the phantoms, and dataset.json, which lists them",
        "runs": "a folder of each training: settings, diary, model with its card",
        "segmentations": "the held-out scans as segmented, and the discriminator maps",
        f"report_{SUPERVISED}.json, report_{SEMI}.json": "every measure of every scan",
    }
    listed = "".join(f"<li><code>{escape(name)}</code>: {text}</li>" for name, text in files.items())
    return (
        "<section id='limits'><h2>What this shows, and what not</h2>"
        "<p>It shows that the software works from scans to figures on this machine, and how to read what it says. It "
        "says little about the worth of the method: phantoms are simpler than patients, the training is short, and "
        "another seed can turn a small difference round. Nothing here is fit for the care of patients.</p>"
        f"<h3>Beside this page</h3><ul>{listed}</ul>"
        "<p>Once more with other phantoms: "
        f"<code>python -m VoxelAdvSegLib demo --output DIR --seed {story.seed + 1}</code></p></section>"
    )


def _method_key(dots: bool = False) -> str:
    def mark(method: str) -> str:
        if not dots:
            return _stroke(COLORS[method], DASHES[method])
        fill = COLORS[method] if method == SEMI else "#fff"
        return (
            f'<svg viewBox="0 0 34 12"><circle cx="24" cy="6" r="4.5" fill="{fill}" stroke="{COLORS[method]}" '
            'stroke-width="2"/></svg>'
        )

    return f"<div class='key'>{''.join(f'<span>{mark(m)}{TITLES[m]}</span>' for m in TITLES)}</div>"


def _stroke(color: str, dash: str) -> str:
    pattern = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<svg viewBox="0 0 34 12"><path d="M0 6H34" stroke="{color}" stroke-width="2.5"{pattern}/></svg>'


def _from_b(cases: Sequence[LabeledCase | UnlabeledCase]) -> str:
    return f"{sum(case.name.endswith('_b') for case in cases)} of {len(cases)}"


def _short(name: str) -> str:
    """phantom_07_scanner_b as a person says it."""
    words = name.split("_")
    return f"phantom {words[1]}, scanner {words[3].upper()}" if len(words) == 4 else name


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
