"""The kernels under the address and undefined-behaviour sanitizers, on random shapes, by every set of instructions."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

NATIVE = Path(__file__).parents[3] / "native"
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g")
#: As native/CMakeLists.txt has them.
FLAGS = {
    "kernels_avx512vnni": ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512vnni", "-mavx2", "-mfma"],
    "kernels_avx2vnni": ["-mavx2", "-mfma", "-mavxvnni"],
    "kernels_avx2": ["-mavx2", "-mfma"],
    "kernels_plain": [],
}

if shutil.which("c++") is None:
    pytest.skip("there is no C++ compiler here", allow_module_level=True)


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The driver, built with the sanitizers."""
    out = tmp_path_factory.mktemp("sanitized")
    (out / "probe.cpp").write_text("int main() {}", encoding="utf-8")
    probe = ["c++", *SANITIZE, str(out / "probe.cpp"), "-o", str(out / "probe")]
    if subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("this C++ compiler comes without the sanitizers")
    on_x86 = platform.machine() in ("x86_64", "AMD64")
    kernels = list(FLAGS) if on_x86 else ["kernels_plain"]
    units = [(NATIVE / f"{name}.cpp", FLAGS.get(name, [])) for name in ("encoder", "topk", "kernels", *kernels)]
    units.append((Path(__file__).with_name("fuzz_kernels.cpp"), []))
    common = ["c++", "-std=c++17", "-O1", "-ffp-contract=fast", *SANITIZE, f"-I{NATIVE}", "-c"]
    running = [
        subprocess.Popen([*common, *flags, str(source), "-o", str(out / f"{source.stem}.o")], stderr=subprocess.PIPE)
        for source, flags in units
    ]
    for process in running:
        _, problems = process.communicate()
        assert process.returncode == 0, problems.decode()
    objects = [str(out / f"{source.stem}.o") for source, _ in units]
    subprocess.run(["c++", *SANITIZE, *objects, "-pthread", "-o", str(out / "fuzz")], check=True)
    return out / "fuzz"


def fuzzed(program: Path, rounds: int, seed: int) -> None:
    done = subprocess.run(
        [program, str(rounds), str(seed)],
        env={**os.environ, "ASAN_OPTIONS": "detect_leaks=1"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "clean"), done.stderr[-4000:]


def test_random_shapes_are_clean(fuzz: Path) -> None:
    fuzzed(fuzz, 40, 1)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(2, 8))
def test_many_random_shapes_are_clean(fuzz: Path, seed: int) -> None:
    fuzzed(fuzz, 300, seed)
