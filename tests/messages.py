"""Extract, check and compile the translations: `make messages` and `make messages-check`.

    python -m tests.messages           extract the texts and compile the translations
    python -m tests.messages --check   fail if that changes anything, or if German is incomplete

Requires GNU gettext.
"""

from __future__ import annotations

import gettext
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "djhookbox"
#: What is shipped has to be complete; the sample of a right-to-left language is for tests only.
GERMAN = PACKAGE / "locale" / "de" / "LC_MESSAGES" / "django.po"
SAMPLE = ROOT / "tests" / "locale" / "ar" / "LC_MESSAGES" / "django.po"


def main(arguments: list[str]) -> int:
    """Update the translations, or check that they are up to date; return the exit status."""
    missing = [
        name for name in ("xgettext", "msgmerge", "msgcat", "msgfmt") if shutil.which(name) is None
    ]
    if missing:
        print(f"{' and '.join(missing)} missing: install gettext", file=sys.stderr)
        return 1
    if arguments == ["--check"]:
        problems = check()
        for problem in problems:
            print(problem, file=sys.stderr)
        if not problems:
            print("The translations are complete.")
        return bool(problems)
    GERMAN.write_text(extracted())
    for catalogue in (GERMAN, SAMPLE):
        compiled(catalogue, catalogue.with_suffix(".mo"))
    return 0


def check() -> list[str]:
    """Return the problems of the translations."""
    problems = []
    if texts(extracted()) != texts(GERMAN.read_text()):
        problems.append("Texts have changed since they were extracted: run “make messages”.")
    with tempfile.TemporaryDirectory() as folder:
        for catalogue in (GERMAN, SAMPLE):
            new = Path(folder) / "new.mo"
            # Also refuses placeholders that are not those of the original.
            compiled(catalogue, new)
            if entries(new) != entries(catalogue.with_suffix(".mo")):
                problems.append(f"{catalogue.with_suffix('.mo').name} is older than its .po file.")
    for name, option in (("untranslated", "--untranslated"), ("fuzzy", "--only-fuzzy")):
        found = gnu("msgattrib", option, "--no-obsolete", "--no-wrap", str(GERMAN))
        for line in re.findall(r'^msgid "(.+)"$', found, re.MULTILINE):
            problems.append(f"German, {name}: {line}")
    return problems


def extracted() -> str:
    """Return the German catalogue as it would be if all texts were extracted now."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "djhookbox"
        shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("static", "__pycache__"))
        subprocess.run(
            [sys.executable, "-m", "django", "makemessages", "--locale=de", "--no-location",
             "--no-obsolete", "--verbosity=0"],
            cwd=copy, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        return (copy / GERMAN.relative_to(PACKAGE)).read_text()


def texts(catalogue: str) -> str:
    """Return a catalogue independent of the gettext version and without its changing date."""
    written = gnu("msgcat", "--no-wrap", "--sort-output", "-", given=catalogue)
    return re.sub(r'"POT-Creation-Date: .*\n', "", written)


def compiled(catalogue: Path, target: Path) -> None:
    gnu("msgfmt", "--check", "--output-file", str(target), str(catalogue))


def entries(path: Path) -> dict[object, str]:
    if not path.exists():
        return {}
    with path.open("rb") as file:
        catalogue: dict[object, str] = dict(gettext.GNUTranslations(file)._catalog)  # type: ignore[attr-defined]
    catalogue.pop("", None)  # the header, with its date
    return catalogue


def gnu(*command: str, given: str = "") -> str:
    result = subprocess.run(
        command, check=True, input=given, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    return result.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
