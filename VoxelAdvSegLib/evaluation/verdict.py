"""Did the unlabeled scans help? An answer that can be "no" or "cannot tell", in numbers and in plain words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from VoxelAdvSegLib.evaluation.statistics import FEWEST_CASES, LEAST_GAIN, Difference, Report, compare, paired

VERDICT = "verdict.json"  # in the folder of the run that was asked about
ALL_ORGANS = "all organs"
HARDLY_TRAINED = 0.3  # mean Dice that neither model reaches when the training was too short to compare them
# Normal quantiles of a two-sided test at 5 % and of a power of 80 %.
QUANTILES = 1.960 + 0.842
MANY = 1000


@dataclass(frozen=True)
class Verdict:
    """answer: "yes", "no" or "cannot tell"; sentence: the answer with its numbers, for a person.

    overall: difference of the cases' means over organs; organs: of each organ; more_cases: scored cases
    that a clear answer would need beyond those there are, as far as these tell; None where the answer is clear.
    """

    answer: str
    sentence: str
    overall: Difference
    organs: Mapping[str, Difference]
    more_cases: int | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "answer": self.answer, "sentence": self.sentence, "more_cases": self.more_cases,
            "overall": asdict(self.overall), "organs": {name: asdict(d) for name, d in self.organs.items()},
        }  # fmt: skip


def judge(
    first: Report | Mapping[int, Report],
    second: Report | Mapping[int, Report],
    words: tuple[str, str] = ("without the unlabeled scans", "with them"),
) -> Verdict:
    """Whether the second model, trained with unlabeled scans too, is better than the first by its Dice.

    Reports of evaluation.report on the same cases; by number of the repetition where there are several.
    words: for both models, in the sentence. Raises ValueError when the reports hold other cases.
    """
    before, after = _by_number(first), _by_number(second)
    for number in before.keys() & after.keys():
        if _names(before[number]) != _names(after[number]):
            raise ValueError("the reports are of different cases")
    overall = paired(before, after)
    organs = {name: paired(before, after, organ=name) for name in next(iter(before.values()))["organs"]}
    answer, more_cases = _answer(overall)
    return Verdict(answer, _sentence(overall, answer, more_cases, words), overall, organs, more_cases)


def _by_number(reports: Report | Mapping[int, Report]) -> Mapping[int, Report]:
    return {0: reports} if "cases" in reports else reports  # type: ignore[dict-item, return-value]


def _names(report: Report) -> list[str]:
    return [case["name"] for case in report["cases"]]


def _answer(d: Difference) -> tuple[str, int | None]:
    if _too_early(d):
        return "cannot tell", None
    answer = compare(d)
    return answer, _more_cases(d) if answer == "cannot tell" else None


def _too_early(d: Difference) -> bool:
    return d.before is not None and d.after is not None and max(d.before, d.after) < HARDLY_TRAINED


def _more_cases(d: Difference) -> int | None:
    """Cases to add until a difference as large as the one found, or 0.005, would be told four times in five."""
    if d.sd is None or d.mean is None:
        return max(1, FEWEST_CASES - d.cases)
    size = max(abs(d.mean), LEAST_GAIN)
    return max(1, max(FEWEST_CASES, math.ceil((QUANTILES * d.sd / size) ** 2)) - d.cases)


def _sentence(d: Difference, answer: str, more_cases: int | None, words: tuple[str, str]) -> str:
    if d.mean is None:
        return "Cannot tell: no scan could be scored with both models."
    scores = f"mean Dice is {d.before:.3f} {words[0]} and {d.after:.3f} {words[1]}"
    if _too_early(d):
        return f"Cannot tell: {scores}. Neither model has learned enough to be compared; more time is needed."
    found = f"{scores}, a difference of {d.mean:+.3f}"
    if d.low is not None:
        found += f" (95 % interval {d.low:+.3f} to {d.high:+.3f})"
    found += f"; better in {d.better} of {_cases(d.cases)}"
    if answer == "yes":
        return f"Yes: {found}."
    if answer == "no":
        worse = d.high is not None and d.high < 0
        why = f"It is worse {words[1]}." if worse else "A gain, if there is one, is too small to be of use."
        return f"No: {found}. {why}"
    many = more_cases is None or more_cases > MANY
    more = f"more than {MANY:,} more labeled cases" if many else f"about {_cases(more_cases or 1, 'more labeled ')}"
    return (
        f"Cannot tell with {_cases(d.cases)}: {found}. To tell a difference of {max(abs(d.mean), LEAST_GAIN):.3f}, "
        f"{more} for scoring would be needed."
    )


def _cases(number: int, kind: str = "") -> str:
    return f"{number} {kind}{'case' if number == 1 else 'cases'}"
