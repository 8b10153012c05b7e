"""Attack every command: hostile and broken input, full disks, killed processes, two at once. See README.md here.

Prints each case that does not hold, and at the end how many were tried and how many held; exit status 1 if any did not.
"""

import argparse
import fnmatch
import json
import os
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[1]
sys.path[0:1] = [str(TOOLS), str(TOOLS.parent)]
os.environ |= {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "MPLBACKEND": "agg",
    "CUDA_VISIBLE_DEVICES": "",
    "TOKENIZERS_PARALLELISM": "false",
}

from attack import archives, faults, models, options, pairs, results, sounds, tables, tasks
from attack.case import Case, end_with_parent, try_case
from attack.fixtures import import_everything, make_all, make_by_commands

SUBJECTS = (archives, tables, models, results, sounds, tasks, faults, pairs, options)


def all_cases(quick: bool) -> list[Case]:
    "The cases of all subjects, or those that the subjects name for the quick form."
    cases = [case for subject in SUBJECTS for case in subject.cases()]
    names = [case.name for case in cases]
    if twice := {name for name in names if names.count(name) > 1}:
        sys.exit(f"two cases have one name: {', '.join(sorted(twice))}")
    if not quick:
        return cases
    patterns = [pattern for subject in SUBJECTS for pattern in subject.QUICK]
    if idle := [pattern for pattern in patterns if not fnmatch.filter(names, pattern)]:
        sys.exit(f"no case is called {', '.join(idle)}")
    return [case for case in cases if any(fnmatch.fnmatchcase(case.name, pattern) for pattern in patterns)]


def serve(cases, kit, folder, jobs, done):
    "Run cases whose numbers come through a pipe, until it ends."
    while number := os.read(jobs, 2):
        number = int.from_bytes(number, "big")
        own, begin = folder / f"case{number:04d}", time.monotonic()
        try:
            complaints, printed = try_case(cases[number], kit, own)
        except BaseException:
            complaints, printed = [traceback.format_exc()], ""
        answer = {"complaints": complaints, "printed": printed, "seconds": time.monotonic() - begin}
        (folder / f"{number}.json").write_text(json.dumps(answer), encoding="utf-8")
        os.write(done, number.to_bytes(2, "big"))


def in_child(act) -> int:
    "Do something in a forked process: its exit status."
    sys.stdout.flush()
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    status = 1
    try:
        act()
        status = 0
    except SystemExit as end:
        print(end, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def start_servers(cases, kit, folder, count):
    "Fork processes that run cases: their ids, and the pipe through which they say what they have done."
    jobs, give = os.pipe()
    hear, done = os.pipe()
    processes = []
    for _ in range(count):
        process = os.fork()
        if not process:
            os.close(give)
            os.close(hear)
            status = 1
            end_with_parent()
            try:
                serve(cases, kit, folder, jobs, done)
                status = 0
            finally:
                os._exit(status)
        processes.append(process)
    os.close(jobs)
    os.close(done)
    order = sorted(range(len(cases)), key=lambda i: -cases[i].limit - 100 * cases[i].real)  # the longest first
    os.write(give, b"".join(number.to_bytes(2, "big") for number in order))
    os.close(give)
    return processes, hear


def report(case, answer):
    "Print what is wrong with a case that did not hold."
    print(f"\nFAILED {case.name} ({answer['seconds']:.1f} s)")
    print("\n".join(f"  {line}" for complaint in answer["complaints"][:6] for line in complaint.splitlines()))
    if len(answer["complaints"]) > 6:
        print(f"  and {len(answer['complaints']) - 6} more")
    print("\n".join(f"    {line}" for line in answer["printed"].splitlines()), flush=True)


def run(cases, options, folder):
    "Run cases and print those that do not hold: how many held."
    import_everything()
    kit = folder / "fixtures"
    kit.mkdir()
    if in_child(lambda: make_all(kit)) or in_child(lambda: make_by_commands(kit)):
        sys.exit("the fixtures cannot be made")
    processes, hear = start_servers(cases, kit, folder, options.workers)
    held, times = 0, []
    while number := os.read(hear, 2):
        number = int.from_bytes(number, "big")
        case, answer = cases[number], json.loads((folder / f"{number}.json").read_text(encoding="utf-8"))
        held += not answer["complaints"]
        times.append((answer["seconds"], case.name))
        if options.show or answer["complaints"]:
            report(case, answer) if answer["complaints"] else print(
                f"held {case.name} ({answer['seconds']:.1f} s)", flush=True
            )
        if not (options.keep and answer["complaints"]):
            shutil.rmtree(folder / f"case{number:04d}", ignore_errors=True)
        elif answer["complaints"]:
            print(f"    kept: {folder / f'case{number:04d}'}")
    for process in processes:
        os.waitpid(process, 0)
    if options.show:
        print("slowest: " + ", ".join(f"{name} {seconds:.1f} s" for seconds, name in sorted(times)[-8:]))
    return held


def main():
    "Read the options, run the cases, count."
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the cases that take little time, for every change")
    parser.add_argument(
        "--only", metavar="PATTERN", action="append", help="cases whose name matches, such as 'archives/*'"
    )
    parser.add_argument("--list", action="store_true", help="only print the names and the commands")
    parser.add_argument("--show", action="store_true", help="print the cases that hold, too, and the slowest")
    parser.add_argument("--keep", action="store_true", help="keep the folders of cases that do not hold")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="processes")
    options = parser.parse_args()
    cases = all_cases(options.quick)
    if options.only:
        cases = [case for case in cases if any(fnmatch.fnmatch(case.name, pattern) for pattern in options.only)]
    if options.list:
        print("\n".join(f"{case.name}: {' '.join(case.command[:150].split())}" for case in cases))
        print(f"{len(cases)} cases")
        return
    begin, folder = time.monotonic(), Path(tempfile.mkdtemp(prefix="attack-"))
    folder.chmod(0o755)  # for cases that run as somebody else
    owner = os.getpid()
    try:
        print(faults.substitutes(), end="")
        held = run(cases, options, folder)
    finally:
        if os.getpid() == owner and not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"took {time.monotonic() - begin:.0f} s")
    print(f"{len(cases)} tried, {held} held")
    sys.exit(held < len(cases) or not cases)


if __name__ == "__main__":
    main()
