"""From a child's last words and exit code to cause and next step."""

import pytest

from VoxelAdvSegLib.errors import RunError
from VoxelAdvSegLib.jobs.explain import CODES, SIGNS, explain_error, explain_exit, explain_text

# Lines as torch, Python and the systems write them.
LINES = [
    ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", "graphics card has too little"),
    ("CUDA error: no kernel image is available for execution on the device", "not built for this graphics card"),
    ("RuntimeError: The NVIDIA driver on your system is too old (found version 11040).", "older than torch needs"),
    ("/x/python: Error while finding module: No module named 'VoxelAdvSegLib'", "library of this extension"),
    ("ModuleNotFoundError: No module named 'torch'", "torch is not installed"),
    ("ModuleNotFoundError: No module named 'torch._C'", "missing in this Python: torch._C"),
    ("ModuleNotFoundError: No module named 'monai'", "missing in this Python: monai"),
    ("segment needs the package safetensors, which is not installed", "missing in this Python: safetensors"),
    ("ImportError: DLL load failed while importing _C: The specified module", "could not be loaded"),
    ("OSError: [WinError 126] The specified module could not be found. Error loading c10.dll", "could not be loaded"),
    ("ImportError: libcudnn.so.9: cannot open shared object file: No such file", "could not be loaded"),
    ("OSError: [Errno 28] No space left on device", "disk is full"),
    ("RuntimeError: [alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory", "too little free memory"),
    ("numpy.exceptions._ArrayMemoryError: Unable to allocate; MemoryError", "computer has too little free memory"),
    ("RuntimeError: CUDA error: device-side assert triggered", "reported an error"),
    ("PermissionError: [WinError 32] The process cannot access the file", "may not be written"),
]  # fmt: skip


@pytest.mark.parametrize("line, cause", LINES, ids=range(len(LINES)))
def test_a_line_means(line: str, cause: str):
    found = explain_text(f"Traceback (most recent call last):\n{line}\n\n")
    assert found is not None and cause in found[0] and found[1].endswith(".")


def test_every_sign_has_a_line():
    causes = {explain_text(line)[0] for line, _ in LINES}
    assert {why.split("{")[0] for _, why, _ in SIGNS} == {
        c.split(":")[0] + ": " if "this Python:" in c else c for c in causes
    }


def test_the_last_telling_line_counts():
    log = "UserWarning: No module named 'torch.foo'\nOSError: [Errno 28] No space left on device\nbye"
    assert "disk is full" in explain_text(log)[0]
    assert explain_text("nothing special\nhere") is None


@pytest.mark.parametrize(
    "code, word",
    [(-9, "ended it"), (137, "ended it"), (-11, "crashed"), (139, "crashed"), (0xC0000005, "crashed"),
     (0xC0000005 - 2**32, "crashed"), (0xC0000135, "library"), (127, "library"), (-15, "outside"), (143, "outside"),
     (0xC000013A, "outside"), (-4, "processor")],
)  # fmt: skip
def test_an_exit_code_means(code: int, word: str):
    failure = explain_exit(code, "", "training")
    assert word in failure.why and failure.do and "(training)" in failure.what and str(code) in failure.details


def test_the_log_says_more_than_the_code():
    assert "disk" in explain_exit(-9, "OSError: No space left on device", "training").why


def test_an_unknown_end_shows_the_last_words():
    assert "it rains" in explain_exit(5, "sun\n it rains \n\n", "").why
    assert explain_exit(None, "", "").why == "It left no message."


def test_our_own_errors_in_a_log_are_taken_at_their_word():
    error = RunError("the run folder is in use", file="r", expected="one", found="two", do="wait for it")
    failure = explain_exit(2, f"Traceback\n{RunError('old', found='x', do='no')}\nnoise\n{error}\n", "starting")
    assert (failure.what, failure.do) == ("The run folder is in use.", "Wait for it.")
    assert failure.why == "R: expected one; found two."


def test_an_error_event_of_a_bug_keeps_its_text():
    failure = explain_error({"text": "IndexError: list index out of range\nmore"})
    assert failure.why == "IndexError: list index out of range." and "log" in failure.do
    assert failure.text == " ".join([failure.what, failure.why, failure.do])
    assert "reason" in explain_error({}).why


def test_every_code_has_cause_and_cure():
    for why, do in CODES.values():
        assert why.endswith(".") and do.endswith(".")
