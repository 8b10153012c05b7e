"""The steps of .ci/run. Needs Python 3.11 or newer, Node 20.19 or newer, and git; installs the rest into a temporary folder."""
import configparser
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STEP_LIMIT = 3000  # seconds that one command may take; the longest needs 1,200 on two quiet cores
LOG_LINES = 200  # lines of a failed step that are printed


class Checks:
    "Runs commands in a copy of the project and counts what passed and failed."

    def __init__(self, work: Path):
        self.work, self.project, self.bin = work, work / "project", work / "venv" / "bin"
        self.passed = self.failed = 0
        self.one = threading.RLock()  # steps may run side by side
        (work / "tmp").mkdir()  # what the commands leave behind goes with the rest
        self.env = {**os.environ, "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}", "TMPDIR": str(work / "tmp")}

    def run(self, *command: str, folder: Path | None = None) -> tuple[int, str]:
        "Run a command and return its exit status and all that it printed."
        try:
            process = subprocess.Popen(command, cwd=folder or self.project, env=self.env, text=True, errors="replace",
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        except OSError as error:  # for instance a console command that was not installed
            return 127, str(error)
        try:
            log, _ = process.communicate(timeout=STEP_LIMIT)
            return process.returncode, log
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return 124, process.communicate()[0] + f"\nstopped after {STEP_LIMIT} seconds"

    def report(self, name: str, good: bool, log: str = "", seconds: float | None = None) -> None:
        "Count one result, and print why if it is a failure."
        took = "" if seconds is None else f" ({seconds:.0f} s)"
        lines = [f"{'passed' if good else 'FAILED'}  {name}{took}"]
        if not good:
            lines += [f"    {line}" for line in log.rstrip().splitlines()[-LOG_LINES:]]
        with self.one:
            self.passed, self.failed = self.passed + good, self.failed + (not good)
            print("\n".join(lines))

    def step(self, name: str, *command: str, folder: Path | None = None, status: int = 0) -> str:
        """Run one command that must end with `status` and leave no change in the project; return what it printed.

        What a command leaves may be found by one that runs beside it.
        """
        start = time.monotonic()
        code, log = self.run(*command, folder=folder)
        wrong = [] if code == status else [f"exit status {code}, not {status}"]
        if changes := self.undo_changes():
            wrong += ["left changes in the project:", changes]
        self.report(name, not wrong, "\n".join([log, *wrong]), time.monotonic() - start)
        return log

    def undo_changes(self) -> str:
        "Take back what a command changed in the project, and return a description of it."
        with self.one:
            changes = self.run("git", "status", "--porcelain")[1]
            if changes:
                changes += self.run("git", "diff")[1]
                self.run("git", "reset", "--quiet", "--hard")
                self.run("git", "clean", "--quiet", "-fd")
            return changes


def copy_project(checks: Checks) -> None:
    "Copy what a clone of the working tree would hold, and remember its state with git."
    listed = subprocess.run(["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (checks.project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, checks.project / name)
    git = ["git", "-c", "user.name=ci", "-c", "user.email=ci@localhost", "-c", "commit.gpgsign=false"]
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--no-verify", "-m", "copy"]):
        subprocess.run([*git, *command], cwd=checks.project, check=True)


def install(checks: Checks) -> bool:
    "Install the project and its tools as the README says; nothing else can run without them."
    venv.create(checks.work / "venv", with_pip=True)
    checks.step("install", "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-e", ".[dev]")
    clone = checks.work / "beside" / "mwmae"  # what a script sees that lies beside a clone of that name
    clone.mkdir(parents=True)
    checks.step("a folder called mwmae hides nothing", "python", "-c", "from mwmae import read_audio", folder=clone.parent)
    return not checks.failed


def check_notebooks(checks: Checks) -> None:
    "The package, README and notebooks belong together, and every notebook passes its tests."
    for module in (checks.project / "mwmae").glob("*.py"):  # export never removes the module of a notebook that is gone
        module.unlink()
    checks.step("the package is what the notebooks export", "nbdev_export")
    checks.step("notebooks are clean", "nbdev_clean")
    checks.step("README is up to date", "python", "tools/make_readme.py", "--check")
    start = time.monotonic()
    code, log = checks.run("nbdev_test", "--n_workers", "2", "--do_print", "--timing")
    # nbdev_test exits 0 when it finds nothing to test, so each notebook is asked after.
    completed = {Path(name).name for name in re.findall(r"^- Completed (.+)$", log, re.MULTILINE)}
    failed = set(re.findall(r"^\t(\S+\.ipynb)$", log.rpartition("nbdev Tests Failed")[2], re.MULTILINE))
    notebooks = sorted(path.name for path in (checks.project / "nbs").glob("*.ipynb"))
    for name in notebooks:
        checks.report(f"tests of {name}", name in completed - failed, "see the log of nbdev_test below")
    changes = checks.undo_changes()
    errors = re.findall(r"^\S+ in \S+\.ipynb:\n=+\n.+?(?=^- Completed )", log, re.MULTILINE | re.DOTALL)  # not the notebooks' prints
    why = "\n".join(errors) or log
    checks.report("nbdev_test", code == 0 and bool(notebooks) and not changes, why + changes, time.monotonic() - start)


def check_code(checks: Checks) -> None:
    "Chapters, package and programs have no mistakes that can be seen without running them."
    checks.step("ruff", "ruff", "check", ".")
    checks.step("types", "python", "tools/check_types.py")


def check_scripts(checks: Checks) -> None:
    "The scripts of the page 'Try it' compute what the library computes, and are clean."
    folder = checks.project / "tools" / "try"
    checks.step("npm ci", "npm", "ci", folder=folder)
    checks.step("the numbers that the scripts are tested with", "python", "tools/try/expected.py", "--check")
    log = checks.step("tests of the scripts", "npm", "test", folder=folder)
    checks.report("the tests of the scripts were counted", bool(re.search(r"^\S+ pass [1-9]\d*$", log, re.MULTILINE)), log)
    checks.step("the scripts are clean", "npm", "run", "lint", folder=folder)


def check_site(checks: Checks) -> None:
    "The site builds without Quarto, all its links lead somewhere, and a browser shows what it should."
    built = checks.step("the site builds", "python", "tools/build_site.py")
    checks.report("it has the model and the engine of 'Try it'", bool(re.search(r"^Try it: model.onnx .+, ort/.+wasm [\d.]+ MB", built, re.MULTILINE)), built)
    checks.step("links of the site", "python", "tools/check_site.py")
    checks.step("the site in a browser", "python", "tools/browse_site.py", "--install")
    log = checks.step("'Try it' in a browser", "python", "tools/try/browse.py")
    counts = re.search(r"^(\d+) checks, 0 failed$", log, re.MULTILINE)
    checks.report(f"'Try it': {counts[1] if counts else 'no'} checks", bool(counts) and int(counts[1]) >= 180, log)


def check_promises(checks: Checks) -> None:
    "What holds for any shape and any file, and what SECURITY.md and the lock say."
    tools = checks.project / "tools"
    held = checks.step("properties of shapes and lengths", "python", str(tools / "properties.py"), folder=checks.work)
    checks.report("the properties were counted", bool(re.search(r"^[1-9]\d+ properties held$", held, re.MULTILINE)), held)
    checks.step("nothing of others is run or written elsewhere", "python", str(tools / "check_promises.py"), folder=checks.work)
    checks.step("the lock holds what settings.ini asks for", "python", "tools/lock.py", "--check")


def check_attacks(checks: Checks) -> None:
    "Hostile input, full disks, killed processes, two commands at once: no traceback, and nothing is lost."
    suite = checks.project / "tools" / "attack" / "run.py"
    log = checks.step("attacks on every command", "python", str(suite), "--quick", folder=checks.work)
    counts = re.search(r"^(\d+) tried, (\d+) held$", log, re.MULTILINE)
    checks.report(f"attacks: {counts[0] if counts else 'not counted'}", bool(counts) and int(counts[1]) >= 80 and counts[1] == counts[2], log)


def check_parts(checks: Checks) -> None:
    "Every part of a model by name: its formula, written and read, exported, and a run with it killed and resumed."
    tools = checks.project / "tools"
    log = checks.step("every part computes what its formula says", "python", str(tools / "check_parts.py"), folder=checks.work)
    counts = re.search(r"^(\d+) variants, 0 failed$", log, re.MULTILINE)
    checks.report(f"variants: {counts[1] if counts else 'not all'}", bool(counts) and int(counts[1]) >= 30, log)
    log = checks.step("every part, killed and resumed", "python", str(tools / "kill_test.py"), "--parts", "--kills", "1", folder=checks.work)
    checks.report("runs were killed", bool(re.search(r"^[3-9]\d kills", log, re.MULTILINE)), log)


def check_cluster(checks: Checks) -> None:
    "Two processes that are stopped, killed and started again arrive at the same bytes."
    log = checks.step("what a cluster does to a run", "python", str(checks.project / "tools" / "cluster_test.py"), "--quick", folder=checks.work)
    counts = re.search(r"^(\d+) tried, (\d+) held$", log, re.MULTILINE)
    checks.report(f"cluster: {counts[0] if counts else 'not counted'}", bool(counts) and int(counts[1]) >= 4 and counts[1] == counts[2], log)


def check_systems(checks: Checks) -> None:
    "Commands write the same bytes where fcntl, fork, links, /proc and signals are missing."
    log = checks.step("systems that lack what Linux has", "python", str(checks.project / "tools" / "other_systems.py"), folder=checks.work)
    counts = re.search(r"^(\d+) tried, (\d+) held$", log, re.MULTILINE)
    checks.report(f"systems: {counts[0] if counts else 'not counted'}", bool(counts) and int(counts[1]) >= 30 and counts[1] == counts[2], log)


def check_gpu(checks: Checks) -> None:
    "What is to be measured on a GPU goes through at toy size on a CPU, stage by stage."
    command = str(checks.project / "benchmarks" / "gpu.py")
    log = checks.step("benchmarks/gpu.py --toy", "python", command, "--toy", "--out", "gpu", folder=checks.work)
    for stage in ("parity", "training", "attention", "embedding", "commands"):
        done = re.search(rf"^{stage}: ([1-9]\d*) rows$", log, re.MULTILINE)
        checks.report(f"{stage} at toy size: {done[1] if done else 'no'} rows", bool(done), log)


def check_wheel(checks: Checks) -> None:
    "The wheel alone, in an environment of its own, does outside a clone what the README says."
    dist = checks.work / "dist"
    checks.step("source archive and wheel are built", "python", "-m", "build", "--no-isolation", "--outdir", str(dist))
    checks.step("they can be published", "twine", "check", "--strict", *map(str, dist.iterdir()))
    own, outside = checks.work / "alone" / "bin", checks.work / "outside"
    wheels = [str(path) for path in dist.glob("*.whl")]
    checks.step("it is installed with what it requires alone", "python", "tools/wheel_env.py", str(checks.work / "alone"), *wheels)
    shutil.copytree(checks.project / "nbs" / "sounds", outside / "nbs" / "sounds")
    snippet = re.search(r"```python\n(.*?)```", (checks.project / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    checks.step("the Python of the README", str(own / "python"), "-c", snippet[1] + "\nprint(scene.shape)", folder=outside)
    for name in console_scripts(checks):
        checks.step(f"{name} --version of the wheel", str(own / name), "--version", folder=outside)
    checks.step("mwmae_pretrain of the wheel", str(own / "mwmae_pretrain"), "--data", "nbs/sounds", "--epochs", "2", folder=outside)
    checks.step("mwmae_embed of the wheel", str(own / "mwmae_embed"), "nbs/sounds", folder=outside)
    checks.step("mwmae_hear of the wheel", str(own / "mwmae_hear"), "--seeds", "1", "--model", "logmel", folder=outside)
    for extra, command, *words in (("parquet", "mwmae_embed", "nbs/sounds", "--table", "--out", "table"),
                                   ("onnx", "mwmae_export", "packaged", "model.onnx"),
                                   ("transformers", "mwmae_export", "packaged", "hub", "--format", "transformers"),
                                   ("remote", "mwmae_prepare", "https://localhost:9/a.tar", "store")):
        log = refuses(checks, f"without the extra {extra}", str(own / command), *words, folder=outside)
        checks.report(f"without the extra {extra}: it is named", f"mwmae[{extra}]" in log, log)


def check_online(checks: Checks) -> None:
    "Every page runs as 'Open in Colab' would run it: from an empty folder, with the wheel and what its first cell installs."
    wheels = [str(path) for path in (checks.work / "dist").glob("*.whl")]
    log = checks.step("pages run elsewhere", "python", "tools/online_test.py", "--wheel", *wheels)
    counts = re.search(r"^(\d+) pages ran, 0 failed$", log, re.MULTILINE)
    checks.report(f"pages that run elsewhere: {counts[1] if counts else 'not all'}", bool(counts) and int(counts[1]) >= 95, log)


def check_doors(checks: Checks) -> None:
    "Every door to a model, as its documentation prints it, in an environment of its own."
    wheels = [str(path) for path in (checks.work / "dist").glob("*.whl")]
    log = checks.step("doors", "python", "tools/doors.py", *wheels)
    checks.report("all doors were used", log.rstrip().endswith("\n3 doors used"), log)


def console_scripts(checks: Checks) -> list[str]:
    "Names of the console commands."
    settings = configparser.ConfigParser(delimiters=["="])
    settings.read(checks.project / "settings.ini", encoding="utf-8")
    return [script.partition("=")[0] for script in settings["DEFAULT"]["console_scripts"].split()]


def check_commands(checks: Checks) -> None:
    "Every console command explains itself."
    for command in console_scripts(checks):
        checks.step(f"{command} --help", command, "--help", folder=checks.work)
    listed = checks.step("python -m mwmae", "python", "-m", "mwmae", folder=checks.work)
    checks.report("it lists the commands", "\n  embed " in listed, listed)
    checks.step("a script for the Tab key", "bash", "-c", 'eval "$(mwmae --completion bash)" && complete -p mwmae_embed', folder=checks.work)


def refuses(checks: Checks, name: str, *command: str, folder: Path | None = None) -> str:
    "Bad input ends with exit status 2 and one sentence, not a traceback; return what was printed."
    log = checks.step(name, *command, folder=folder or checks.work, status=2).strip()
    checks.report(f"{name}: one sentence", "Traceback" not in log and len(log.splitlines()) == 1, log)
    return log


def check_evaluation(checks: Checks, sounds: str) -> None:
    "What one does with a run: embed, evaluate, report; and malformed input does no harm."
    checks.step("mwmae_embed", "mwmae_embed", sounds, "--out", "embeddings", folder=checks.work)
    again = checks.step("mwmae_embed again", "mwmae_embed", sounds, "--out", "embeddings", folder=checks.work)
    checks.report("nothing is embedded twice", "sounds embedded, 0 of them by this run" in again, again)
    checks.step("mwmae_hear", "mwmae_hear", "--seeds", "2", folder=checks.work)
    table = checks.step("mwmae_report", "mwmae_report", "hear/results", folder=checks.work)
    checks.report("the report has an overall score", "s(m)" in table and "logmel" in table, table)
    checks.step("malformed sounds do no harm", "python", str(checks.project / "tools" / "fuzz_sounds.py"), "--cases", "40", folder=checks.work)
    refuses(checks, "no sounds to embed", "mwmae_embed", "nowhere")
    refuses(checks, "a table that is not there", "mwmae_ablate", "8")


def check_main_job(checks: Checks) -> None:
    "The two ways to pre-train, a run that is continued, and bad input."
    sounds = str(checks.project / "nbs" / "sounds")
    done = checks.step("mwmae_pretrain", "mwmae_pretrain", "--epochs", "2", folder=checks.work)
    found = re.search(r"masked loss ([\d.]+) before, ([\d.]+) after; predicting the mean of each band: ([\d.]+)", done)
    checks.report("it learns", bool(found) and float(found[2]) < float(found[3]) < float(found[1]), done)
    checks.step("mwmae_prepare", "mwmae_prepare", sounds, "store", folder=checks.work)
    options = ["--out", "own/run", "--epochs", "3", "--batch", "4"]
    checks.step("mwmae_pretrain --data", "mwmae_pretrain", "--data", sounds, *options, folder=checks.work)
    for left in sorted((checks.work / "own" / "run" / "checkpoints").glob("*"))[1:]:
        shutil.rmtree(left)
    checks.step("mwmae_pretrain --resume", "mwmae_pretrain", "--resume", "--out", "own/run", folder=checks.work)
    checks.step("killed and resumed, the same bytes", "python", str(checks.project / "tools" / "kill_test.py"), "--kills", "2", "--commands", "pretrain,prepare,embed", folder=checks.work)
    check_evaluation(checks, sounds)
    refuses(checks, "a folder that is not there", "mwmae_pretrain", "--data", "nowhere")
    refuses(checks, "a model that is not there", "mwmae_pretrain", "--model", "vit")
    refuses(checks, "an option that is not there", "mwmae_pretrain", "--nonsense", "3")
    refuses(checks, "a number that is none", "mwmae_pretrain", "--epochs", "three")
    refuses(checks, "arguments that are missing", "mwmae_prepare")
    refuses(checks, "a command that is not there", "mwmae", "pretrian")


FIRST_LANE = (check_code, check_scripts, check_site, check_promises, check_gpu, check_commands, check_main_job)
SECOND_LANE = (check_parts, check_attacks, check_cluster, check_systems, check_wheel, check_doors)


def side_by_side(checks: Checks, *lanes: tuple) -> None:
    "Run lanes of steps at the same time, those of a lane one after the other: most commands use one core."
    def run(lane: tuple) -> None:
        for steps in lane:
            steps(checks)

    with ThreadPoolExecutor(len(lanes)) as pool:
        for done in [pool.submit(run, lane) for lane in lanes]:
            done.result()


def main() -> None:
    "Run all steps, going on after a failed one, and exit 1 if any failed."
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mwmae-ci-") as folder:
        os.chmod(folder, 0o755)  # some attacks run as a user who may only read
        checks = Checks(Path(folder))
        try:
            copy_project(checks)
            if install(checks):
                check_notebooks(checks)
                side_by_side(checks, FIRST_LANE, SECOND_LANE)
                check_online(checks)
        except Exception:  # whatever happens, the last line is the count
            checks.report("the checks themselves", False, traceback.format_exc())
    print(f"took {time.monotonic() - start:.0f} s")
    print(f"{checks.passed} passed, {checks.failed} failed")
    sys.exit(bool(checks.failed))


main()
