"""The kernel of a test device: Debian's newest kernel for virtual machines, unpacked without being installed."""

import glob
import os
import re
import subprocess

METAPACKAGE = "linux-image-cloud-amd64"
UPDATE = "; try: apt-get update"


class Kernel:
    """A kernel image and its modules, in a directory."""

    def __init__(self, directory):
        self.directory = directory
        (self.image,) = glob.glob(os.path.join(directory, "boot", "vmlinuz-*"))
        self.release = os.path.basename(self.image).removeprefix("vmlinuz-")
        self._modules = os.path.join(directory, "lib", "modules", self.release)

    @staticmethod
    def fetch(cache):
        """The newest kernel that the package lists know, downloaded into `cache` where it is not there yet."""
        os.makedirs(cache, exist_ok=True)
        package = _newest_package()
        directory = os.path.join(cache, package)
        if not os.path.isdir(directory):
            for name in glob.glob(os.path.join(cache, package + "_*.deb")):
                os.remove(name)
            _call(["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", package], hint=UPDATE, cwd=cache)
            (archive,) = glob.glob(os.path.join(cache, package + "_*.deb"))
            unpacked = directory + ".tmp"
            _call(["dpkg-deb", "-x", archive, unpacked])
            os.remove(archive)
            kernel = Kernel(unpacked)
            _call(["busybox", "depmod", "-b", unpacked, kernel.release])
            os.rename(unpacked, directory)
        return Kernel(directory)

    def modules(self, names):
        """Modules and all that they need, as (name of the file, path) in the order in which they load, without the built-in ones."""
        needed_by = {}
        with open(os.path.join(self._modules, "modules.dep"), encoding="ascii") as dependencies:
            for line in dependencies:
                path, _, needs = line.partition(":")
                needed_by[path] = needs.split()
        paths = {_module_name(path): path for path in needed_by}
        with open(os.path.join(self._modules, "modules.builtin"), encoding="ascii") as lines:
            built_in = {_module_name(line.strip()) for line in lines}
        order = []

        def add(path):
            for need in needed_by[path]:
                add(need)
            if path not in order:
                order.append(path)

        for name in names:
            if name in paths:
                add(paths[name])
            elif name not in built_in:
                raise FileNotFoundError(f"kernel {self.release} has no module {name}")
        return [(os.path.basename(path), os.path.join(self._modules, path)) for path in order]


def _module_name(path):
    return os.path.basename(path).split(".ko")[0].replace("-", "_")


def _newest_package():
    """The package that the metapackage stands for today."""
    found = re.search(r"Depends: (linux-image-\S+)", _call(["apt-cache", "depends", METAPACKAGE], hint=UPDATE))
    if not found:
        raise FileNotFoundError(f"the package lists do not name a kernel for {METAPACKAGE}{UPDATE}")
    return found.group(1)


def _call(arguments, hint="", **options):
    completed = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **options)
    if completed.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)}: {completed.stderr.strip()}{hint}")
    return completed.stdout
