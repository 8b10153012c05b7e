"Archives of tasks (.tar.gz) and of sounds (.tar): paths that lead outside, links, devices, bombs, damage."

import gzip
import io
import lzma
import os
import stat
import tarfile
import zipfile
import zlib

from .case import Case
from .fixtures import then

HEAR = "mwmae_hear tasks --model logmel --grid grid.json --seeds 2 --out hear"


def info(name, size=0, kind=tarfile.REGTYPE, link="", mode=0o644):
    "A member's header."
    member = tarfile.TarInfo(name)
    member.size, member.type, member.linkname, member.mode = size, kind, link, mode
    return member


def archive_of(*members, base=None, name="tasks/evil.tar.gz", mode="w:gz"):
    "A step that writes an archive: of a folder, if there is one, and then of (header, bytes)."

    def step(work):
        (work / name).parent.mkdir(exist_ok=True)
        with tarfile.open(work / name, mode) as tar:
            if base:
                tar.add(work / base, os.path.basename(base))
            for member in members:
                header, data = member(work) if callable(member) else member
                tar.addfile(header, io.BytesIO(data))

    return step


def _hide(work):
    "Move the good task away, so that only the archive is in `tasks`."
    os.rename(work / "tasks", work / "good")
    (work / "tasks").mkdir()


def _long_chain(work):
    "Links whose resolved path is longer than the system allows (CVE-2025-4517), and a file written through them."
    folder, steps = "d" * 247, "abcdefghijklmnop"
    with tarfile.open(work / "tasks" / "evil.tar.gz", "w:gz") as tar:
        path = ""
        for letter in steps:
            tar.addfile(info(os.path.join(path, folder), kind=tarfile.DIRTYPE, mode=0o755))
            tar.addfile(info(os.path.join(path, letter), kind=tarfile.SYMTYPE, link=folder))
            path = os.path.join(path, folder)
        link = os.path.join("/".join(steps), "l" * 254)
        tar.addfile(info(link, kind=tarfile.SYMTYPE, link="../" * len(steps)))
        tar.addfile(info("escape", kind=tarfile.SYMTYPE, link=link + "/../../../beside"))
        tar.addfile(info("escape/evil.txt", 5), io.BytesIO(b"evil\n"))


def _bomb(work):
    "Four gigabytes of zeros in four megabytes."
    header = tarfile.TarInfo("tiny-v1-full/zeros.bin")
    header.size = 1 << 32
    block = gzip.compress(bytes(1 << 24))
    with open(work / "tasks" / "evil.tar.gz", "wb") as file:
        file.write(gzip.compress(header.tobuf(tarfile.GNU_FORMAT)))
        for _ in range(1 << 8):
            file.write(block)
        file.write(gzip.compress(bytes(10240)))


def _many(count):
    "An archive of very many empty files."

    def step(work):
        packer = zlib.compressobj(1, zlib.DEFLATED, 31)
        with open(work / "tasks" / "evil.tar.gz", "wb") as file:
            for i in range(count):
                file.write(packer.compress(tarfile.TarInfo(f"tiny-v1-full/{i}").tobuf()))
            file.write(packer.compress(bytes(10240)) + packer.flush())

    return step


def _written(content, name="tasks/evil.tar.gz"):
    "A step that writes bytes under the name of an archive."

    def step(work):
        (work / name).parent.mkdir(exist_ok=True)
        (work / name).write_bytes(content(work) if callable(content) else content)

    return step


def _whole(work):
    "The bytes of an archive of the good task."
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        tar.add(work / ("good" if (work / "good").exists() else "tasks") / "tiny-v1-full", "tiny-v1-full")
    return file.getvalue()


def _raw(work):
    "The same without compression."
    return gzip.decompress(_whole(work))


def _zip(work):
    "A zip archive."
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("tiny-v1-full/task_metadata.json", "{}")
    return file.getvalue()


def _lying(size):
    "A header that claims a size, and nothing behind it."

    def content(work):
        header = bytearray(tarfile.TarInfo("tiny-v1-full/a.wav").tobuf(tarfile.GNU_FORMAT))
        header[124:136] = b"\x80" + size.to_bytes(11, "big") if size >= 0 else b"\xff" * 12
        header[148:156] = b"        "
        header[148:156] = b"%06o\0 " % sum(header)
        return gzip.compress(bytes(header))

    return content


def _no_special_bits(work):
    "Whether something that was unpacked may run as somebody else, or be written by all."
    for root, folders, files in os.walk(work / "tasks"):
        for name in folders + files:
            mode = os.lstat(os.path.join(root, name)).st_mode
            if not stat.S_ISLNK(mode) and mode & (stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX):
                return f"{name} was unpacked with mode {mode:o}"


def _only_inside(work):
    "Whether a link or a device was unpacked."
    for root, folders, files in os.walk(work / "tasks"):
        for name in folders + files:
            mode = os.lstat(os.path.join(root, name)).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                return f"{name} was unpacked, which is neither a file nor a folder"


EVIL = b"evil\n"
MEMBERS = {  # what is added to the archive of a good task
    "a name with parents": (info("tiny-v1-full/../../../../beside/evil.txt", 5), EVIL),
    "a name of parents alone": (info("../../../beside/evil.txt", 5), EVIL),
    "an absolute name": lambda work: (info(str(work.parent / "beside" / "evil.txt"), 5), EVIL),
    "a link to a parent": (info("tiny-v1-full/link", kind=tarfile.SYMTYPE, link="../../../../beside"), b""),
    "an absolute link": (info("tiny-v1-full/link", kind=tarfile.SYMTYPE, link="/etc"), b""),
    "a link to itself": (info("tiny-v1-full/link", kind=tarfile.SYMTYPE, link="link"), b""),
    "a hard link outside": (info("tiny-v1-full/hard", kind=tarfile.LNKTYPE, link="../../../beside/precious.txt"), b""),
    "a hard link to an absolute name": (info("tiny-v1-full/hard", kind=tarfile.LNKTYPE, link="/etc/passwd"), b""),
    "a device": (info("tiny-v1-full/null", kind=tarfile.CHRTYPE), b""),
    "a pipe": (info("tiny-v1-full/pipe", kind=tarfile.FIFOTYPE), b""),
    "a file that runs as its owner": (info("tiny-v1-full/run", 5, mode=0o6777), EVIL),
    "a name of 300 bytes": (info("tiny-v1-full/" + "n" * 300, 5), EVIL),
    "a path of 5,000 bytes": (info("tiny-v1-full/" + "n/" * 2500, 5), EVIL),
    "a name with a line break": (info("tiny-v1-full/a\nb\x1b[31m", 5), EVIL),
    "a name that is not UTF-8": (info(os.fsdecode(b"tiny-v1-full/\xff\xfe"), 5), EVIL),
    "a name with a backslash": (info("tiny-v1-full\\..\\..\\evil.txt", 5), EVIL),
    "a folder in place of a file": (info("tiny-v1-full/task_metadata.json", kind=tarfile.DIRTYPE), b""),
    "a file in place of a folder": (info("tiny-v1-full/16000", 5), EVIL),
    "a file twice": (info("tiny-v1-full/labelvocabulary.csv", 5), EVIL),
    "a member of an unknown kind": (info("tiny-v1-full/strange", kind=b"Q"), b""),
    "an empty name": (info("", 5), EVIL),
    "the name of a dot": (info(".", 5), EVIL),
    "a read-only folder": (info("tiny-v1-full/locked", kind=tarfile.DIRTYPE, mode=0), b""),
}
BYTES = {  # what stands where an archive should
    "empty": b"",
    "text": b"<html>404 Not Found</html>\n" * 50,
    "random": bytes(range(256)) * 20,
    "a zip": _zip,
    "cut in half": lambda work: _whole(work)[: len(_whole(work)) // 2],
    "cut at its end": lambda work: _whole(work)[:-9],
    "cut in its header": lambda work: _whole(work)[:40],
    "a bit flipped": lambda work: _flipped(_whole(work)),
    "without compression": _raw,
    "xz in place of gzip": lambda work: lzma.compress(_raw(work)),
    "compressed twice": lambda work: gzip.compress(_whole(work)),
    "compressed text": gzip.compress(b"no tar at all" * 999),
    "zeros": gzip.compress(bytes(1 << 20)),
    "followed by rubbish": lambda work: _whole(work) + b"rubbish" * 99,
    "a size beyond the file": _lying(1 << 60),
    "a negative size": _lying(-1),
    "no task": lambda work: gzip.compress(bytes(10240)),
}

HARMLESS = (
    "followed by rubbish",
    "without compression",
    "xz in place of gzip",
    "cut at its end",
)  # all of the task is there


def _flipped(data):
    "The same with one bit another one, in the middle."
    data = bytearray(data)
    data[len(data) // 2] ^= 16
    return bytes(data)


def _sound_tar(*members, name="evil.tar"):
    "A step that writes a tar of one good sound and what else is given."

    def step(work):
        sound = (work / "sounds" / "a.wav").read_bytes()
        archive_of(
            (info("good.wav", len(sound)), sound),
            *[_with_sound(member, sound) for member in members],
            name=name,
            mode="w",
        )(work)

    return step


def _with_sound(member, sound):
    "A member whose bytes are those of a sound, if it has any."

    def make(work):
        header, data = member(work) if callable(member) else member
        header = (
            tarfile.TarInfo.frombuf(header.tobuf(tarfile.GNU_FORMAT), "utf-8", "surrogateescape")
            if len(header.name) < 99
            else header
        )
        if header.isreg() and data:
            header.size, data = len(sound), sound
        return header, data

    return make


SOUND_MEMBERS = {
    "a name with parents": (info("x/../../../beside/a.wav", 5), EVIL),
    "an absolute name": (info("/tmp/evil.wav", 5), EVIL),
    "the name ...wav": (info("..wav", 5), EVIL),
    "a link to a file": (info("link.wav", kind=tarfile.SYMTYPE, link="/etc/passwd"), b""),
    "a pipe": (info("pipe.wav", kind=tarfile.FIFOTYPE), b""),
    "a device": (info("zero.wav", kind=tarfile.CHRTYPE), b""),
    "a name of 300 bytes": (info("n" * 300 + ".wav", 5), EVIL),
    "a name of 244 bytes": (info("n" * 240 + ".wav", 5), EVIL),
    "a name that is not UTF-8": (info(os.fsdecode(b"\xff\xfe.wav"), 5), EVIL),
    "a name with a line break": (info("a\nb.wav", 5), EVIL),
    "an empty sound": (info("empty.wav"), b""),
    "the same name twice": (info("good.wav", 5), EVIL),
    "a folder called like a sound": (info("good.wav/inner.wav", 5), EVIL),
}


QUICK = (
    "archives/a whole task is scored",
    "archives/task with a name with parents",
    "archives/task with an absolute name",
    "archives/task with a link to a parent",
    "archives/task with a hard link outside",
    "archives/task with a device",
    "archives/task with a file that runs as its owner",
    "archives/task with a name with a line break",
    "archives/task empty",
    "archives/task cut in half",
    "archives/task a bit flipped",
    "archives/task a size beyond the file",
    "archives/a good task beside one text",
    "archives/links longer than the system allows",
    "archives/a bomb of zeros",
    "archives/an archive that is replaced",
    "archives/embed sounds with a name with parents",
    "archives/embed sounds with a name that is not UTF-8",
    "archives/embed a tar that is of zeros",
    "archives/embed a pipe called .tar",
    "archives/prepare a folder with a pipe called .tar",
    "archives/prepare a tar that was cut",
)


def cases():
    "All cases of archives."
    good = ("tasks", "grid.json")
    yield Case(
        "archives/a whole task is scored",
        HEAR,
        then(*good, _hide, _written(_whole, "tasks/tiny.tar.gz")),
        status=0,
        says="tiny-v1-full",
    )
    for name, member in MEMBERS.items():
        yield Case(
            f"archives/task with {name}",
            HEAR,
            then(*good, _hide, archive_of(member, base="good/tiny-v1-full")),
            status=(0, 2),
            lines=4,
            check=lambda work: _no_special_bits(work) or _only_inside(work),
        )
    for name, content in BYTES.items():
        yield Case(
            f"archives/task {name}",
            HEAR,
            then(*good, _hide, _written(content)),
            status=(0, 2) if name in HARMLESS else 2,
            says=".",
            lines=4,
        )
    for name, content in list(BYTES.items())[:6]:
        yield Case(
            f"archives/a good task beside one {name}",
            HEAR,
            then(*good, _written(content)),
            status=0,
            says="skipped.*evil",
            lines=4,
            leaves=("hear/results",),
        )
    yield Case(
        "archives/links longer than the system allows",
        HEAR,
        then(*good, _hide, _long_chain),
        lines=4,
        check=_only_inside,
    )
    yield Case("archives/a bomb of zeros", HEAR, then(*good, _hide, _bomb), lines=4, limit=90, memory=1200)
    yield Case(
        "archives/very many files",
        HEAR,
        then(*good, _hide, _many(20_000)),
        says="more than 1,000 members",
        lines=4,
        environment=(("MWMAE_ARCHIVE_LIMITS", "0.001"),),
    )
    yield Case(
        "archives/limits in words",
        HEAR,
        then(*good, _hide, _written(_whole)),
        says="MWMAE_ARCHIVE_LIMITS is 'many'",
        lines=4,
        environment=(("MWMAE_ARCHIVE_LIMITS", "many"),),
    )
    yield Case(
        "archives/two tasks in one",
        HEAR,
        then(*good, _hide, archive_of((info("other/task_metadata.json", 2), b"{}"), base="good/tiny-v1-full")),
        lines=4,
    )
    yield Case(
        "archives/metadata that is a link",
        HEAR,
        then(*good, _hide, archive_of((info("t/task_metadata.json", kind=tarfile.SYMTYPE, link="/etc/passwd"), b""))),
        lines=4,
    )
    yield Case(
        "archives/a pipe called like one",
        HEAR,
        then(*good, _hide, lambda work: os.mkfifo(work / "tasks/x.tar.gz")),
        lines=4,
    )
    yield Case(
        "archives/a folder called like one",
        HEAR,
        then(*good, _hide, lambda work: (work / "tasks/x.tar.gz").mkdir()),
        lines=4,
    )
    yield Case(
        "archives/a link that leads nowhere",
        HEAR,
        then(*good, _hide, lambda work: (work / "tasks/x.tar.gz").symlink_to("nowhere")),
        lines=4,
    )
    yield Case("archives/nothing but a suffix", HEAR, then(*good, _hide, _written(_whole, "tasks/.tar.gz")), lines=4)
    yield Case(
        "archives/a name of dots",
        HEAR,
        then(*good, _hide, _written(_whole, "tasks/....tar.gz")),
        status=(0, 2),
        lines=4,
    )
    yield Case(
        "archives/an archive that is replaced",
        HEAR,
        then(*good, _hide, _written(_whole, "tasks/tiny.tar.gz")),
        status=0,
        changes=("*",),
        after=_replace,
        then=HEAR.replace("--out hear", "--out second"),
        check=_second_is_new,
    )
    yield Case(
        "archives/listing damaged ones", "mwmae_hear tasks --list", then(*good, _written(b"x")), status=0, says="tiny"
    )
    commands = {
        "embed": "mwmae_embed evil.tar --model model --out out",
        "prepare": "mwmae_prepare evil.tar out --workers 1",
    }
    for verb, command in commands.items():
        for name, member in SOUND_MEMBERS.items():
            refused = verb == "embed" and name in ("the same name twice",)
            yield Case(
                f"archives/{verb} sounds with {name}",
                command,
                then("sounds", "model", _sound_tar(member)),
                status=(0, 2) if refused else 0,
                leaves=() if refused else (("out/evil.tar/good.wav.npy",) if verb == "embed" else ("out/store.json",)),
            )
        for name, content in {
            "empty": b"",
            "text": b"hello" * 999,
            "compressed": lambda work: gzip.compress(bytes(10240)),
            "of zeros": bytes(10240),
            "random": os.urandom(5000),
        }.items():
            yield Case(
                f"archives/{verb} a tar that is {name}",
                command,
                then("sounds", "model", _written(content, "evil.tar")),
                status=(0, 2),
            )
            yield Case(
                f"archives/{verb} a folder with a tar that is {name}",
                command.replace("evil.tar", "mixed"),
                then(
                    "sounds",
                    "model",
                    _written(content, "mixed/evil.tar"),
                    lambda work: os.rename(work / "sounds/a.wav", work / "mixed/a.wav"),
                ),
                status=0,
            )
        yield Case(
            f"archives/{verb} a pipe called .tar",
            command,
            then("sounds", "model", lambda work: os.mkfifo(work / "evil.tar")),
            status=(0, 2),
            limit=20,
        )
        yield Case(
            f"archives/{verb} a folder with a pipe called .tar",
            command.replace("evil.tar", "sounds"),
            then("sounds", "model", lambda work: os.mkfifo(work / "sounds/evil.tar")),
            status=0,
            limit=20,
        )
        yield Case(
            f"archives/{verb} a tar that was cut",
            command,
            then(
                "sounds",
                "model",
                _sound_tar((info("second.wav", 5), EVIL)),
                lambda work: os.truncate(work / "evil.tar", 21_000),
            ),
            status=(0, 2),
        )


def _replace(work):
    "Put an archive of the same name and other sounds where the first one was."
    good = work / "good" / "tiny-v1-full"
    for path in sorted((good / "16000").glob("*/*.wav")):
        data = bytearray(path.read_bytes())
        data[2000:8000] = bytes(6000)
        path.write_bytes(data)
    (work / "tasks" / "tiny.tar.gz").write_bytes(_whole(work))


def _second_is_new(work):
    "Whether embeddings after the change are others."
    import numpy as np

    first, second = (
        sorted((work / out / "embeddings").glob("*/*/train/*.embedding.npy")) for out in ("hear", "second")
    )
    if not first or len(first) != len(second):
        return f"{len(first)} embeddings before and {len(second)} afterwards"
    if any(np.array_equal(np.load(a), np.load(b)) for a, b in zip(first, second)):
        return "an archive was replaced, and the embeddings are those of the old one"
