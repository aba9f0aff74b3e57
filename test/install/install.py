#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""An installed copy serves programs outside the tree.

Installs the build into an empty folder, moves that folder (a copy may be unpacked
anywhere), then compiles a C and a C++ program against it by pkg-config, shared and
static, and by CMake, and runs each on two ranks.
Usage: install.py SOURCE BUILD PREFIX LIBDIR MESON MPIEXEC CC [CXX]
"""

import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

EXPECTED = "2 ranks: 2 1 1"


class Failure(Exception):
    """A step that failed, with all it printed."""


def run(command, **options):
    out = subprocess.run(command, text=True, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                         timeout=120, **options)
    if out.returncode != 0:
        raise Failure(f"{' '.join(command)}: exit status {out.returncode}\n{out.stdout}")
    return out.stdout


class Installed:
    """The moved copy, and how programs are made with it and run."""

    def __init__(self, folder, source, build, prefix, libdir, meson, mpiexec, *compilers):
        self.folder, self.source, self.mpiexec = folder, source, mpiexec
        run([meson, "install", "-C", build, "--no-rebuild", "--quiet",
             "--destdir", os.path.join(folder, "staged")])
        self.prefix = os.path.join(folder, "moved")
        os.rename(os.path.join(folder, "staged") + prefix, self.prefix)
        self.libdir = os.path.join(self.prefix, libdir)
        self.programs = [(os.path.join(source, "apps/examples/allreduce.c"), "C",
                          compilers[0], "-std=c11")]
        if len(compilers) > 1:
            self.programs.append((os.path.join(source, "test/install/allreduce.cc"), "CXX",
                                  compilers[1], "-std=c++17"))
        self.env = dict(os.environ, LD_LIBRARY_PATH=self.libdir,
                        PKG_CONFIG_PATH=os.path.join(self.libdir, "pkgconfig"))

    def files(self):
        """All that is promised is there, and no header that is not public."""
        headers = set(os.listdir(os.path.join(self.source, "include/dml")))
        found = set(os.listdir(os.path.join(self.prefix, "include/dml")))
        if headers != found:
            raise Failure(f"headers that differ: {sorted(headers ^ found)}")
        with open(os.path.join(self.source, "include/dml/version.h"), encoding="utf-8") as file:
            abi = re.search(r"define DML_ABI (\d+)", file.read()).group(1)
        for name in ("libdml.so", "libdml.so." + abi, "libdml.a", "libdml-mpi.so", "pkgconfig/dml.pc",
                     "cmake/dml/dmlConfig.cmake", "cmake/dml/dmlConfigVersion.cmake"):
            if not os.path.isfile(os.path.join(self.libdir, name)):
                raise Failure(f"{name} is not installed")

    def execute(self, program):
        out = run([self.mpiexec, "-n", "2", program], env=self.env)
        if EXPECTED not in out.splitlines():
            raise Failure(f"wanted \"{EXPECTED}\", got:\n{out}")

    def pkg_config(self, path, language, compiler, standard, *static):
        flags = run(["pkg-config", "--cflags", "--libs", *static, "dml"],
                    env=self.env).split()
        if static:
            flags = ["-l:libdml.a" if flag == "-ldml" else flag for flag in flags]
        program = os.path.join(self.folder, "user-" + language + "".join(static))
        copy = shutil.copy(path, self.folder)
        run([*compiler.split(), standard, "-Wall", "-Wextra", "-Werror", copy, *flags,
             "-o", program], cwd=self.folder, env=self.env)
        if static and "libdml" in run(["ldd", program]):
            raise Failure("the statically linked program needs libdml.so")
        self.execute(program)

    def example(self, path):
        """As its head says: cc FILE $(pkg-config --cflags --libs dml). It checks itself."""
        flags = run(["pkg-config", "--cflags", "--libs", "dml"], env=self.env).split()
        program = os.path.join(self.folder, "example")
        _, _, compiler, standard = self.programs[0]
        run([*compiler.split(), standard, "-Wall", "-Wextra", "-Werror", path, *flags, "-lm",
             "-o", program], cwd=self.folder, env=self.env)
        run([self.mpiexec, "-n", "2", program], env=self.env)

    def cmake(self, path, language, compiler, standard):
        project = os.path.join(self.folder, "cmake-" + language)
        os.mkdir(project)
        shutil.copy(os.path.join(self.source, "test/install/CMakeLists.txt"), project)
        shutil.copy(path, project)
        version = run(["pkg-config", "--modversion", "dml"], env=self.env).split(".")
        wanted = ".".join(version[:2])
        configure = ["cmake", "-S", project, "-DCMAKE_PREFIX_PATH=" + self.prefix,
                     "-DLANGUAGE=" + language, f"-DCMAKE_{language}_FLAGS={standard}",
                     "-DSOURCE=" + os.path.basename(path)]
        try:
            run([*configure, "-B", project + "/other", f"-DWANTED={wanted}99"], env=self.env)
        except Failure as refusal:
            if "compatible" not in str(refusal):
                raise
        else:
            raise Failure(f"version {wanted}99 is found where there is {wanted}")
        run([*configure, "-B", project + "/build", "-DWANTED=" + wanted], env=self.env)
        run(["cmake", "--build", project + "/build"], env=self.env)
        self.execute(project + "/build/user")


def main():
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        installed = Installed(folder, *sys.argv[1:])
        steps = [("files", installed.files)]
        for program in installed.programs:
            name = os.path.basename(program[0])
            steps.append((f"{name} by pkg-config, shared",
                          lambda p=program: installed.pkg_config(*p)))
            steps.append((f"{name} by pkg-config, static",
                          lambda p=program: installed.pkg_config(*p, "--static")))
            if shutil.which("cmake"):
                steps.append((f"{name} by CMake", lambda p=program: installed.cmake(*p)))
            else:
                print(f"skipped: {name} by CMake: cmake is not installed")
        for path in sorted(glob.glob(os.path.join(installed.source, "apps/examples/*.c"))):
            steps.append((os.path.basename(path), lambda p=path: installed.example(p)))
        for name, step in steps:
            try:
                step()
                passed += 1
            except (Failure, subprocess.TimeoutExpired) as failure:
                print(f"FAILED: {name}: {failure}")
                failed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
