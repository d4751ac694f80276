"""Build of what is compiled: minigrad_ext, and the engine's Python files as they stand.

Everything else is declared in pyproject.toml.

Environment variables read here:

* ``MINIGRAD_DEBUG=1``: a slow build that checks every index (and always rebuilds everything).
  Return to the fast one with ``python setup.py build_ext --inplace --force``.
* ``CC``, ``CFLAGS``, ``LDFLAGS``: as everywhere.
"""

import os
import runpy
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CCompilerError, ExecError

DEBUG = os.environ.get("MINIGRAD_DEBUG", "0") not in ("", "0")

# The only place where Cython's directives are set: a misspelt one in a .pyx would pass in silence,
# and here cythonize() refuses it.
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": DEBUG,
}

# What every op passes through is compiled, too, from its Python source; a .pxd beside it gives C
# types to fields. Python's own rules hold there: negative indices, annotations that say `int`, an
# AttributeError where a field is None.
PYTHON = runpy.run_path("minigrad/interpreted.py")["MODULES"]
PYTHON_DIRECTIVES = {"language_level": 3, "annotation_typing": False, "nonecheck": True}

# Not -ffast-math: linked into a shared library it makes the whole process flush subnormals, and
# it lets the compiler assume that NaN does not exist. These are harmless.
FLAGS = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"]
if not DEBUG:
    FLAGS.append("-g0")  # Python's own flags have -g: six times the size

# The innermost loops, which isa.pyx includes.
HEADERS = [path.as_posix() for path in Path("minigrad_ext").glob("*.h")]

# Compile and link flags for OpenMP, first one that works; Apple's clang needs Homebrew's libomp.
OPENMP = [
    (["-fopenmp"], ["-fopenmp"]),
    (["-Xpreprocessor", "-fopenmp"], ["-lomp"]),
]
OPENMP_MSVC = [(["/openmp"], [])]

OPENMP_PROGRAM = """
#include <omp.h>
#ifdef _OPENMP
int main(void) { return omp_get_max_threads() < 1; }
#else
#error "the flag was accepted and ignored"
#endif
"""

NO_COMPILER = (
    "minigrad cannot be built: no working C compiler with Python's headers was found; install "
    "one (Debian, Ubuntu: apt install build-essential python3-dev; Fedora: dnf install gcc "
    "python3-devel; macOS: xcode-select --install; Windows: Visual Studio Build Tools) and "
    "build again."
)


class BuildExt(build_ext):
    """build_ext that looks at the compiler before it hands it work, for all CPUs at once."""

    def finalize_options(self):
        """Compile as many files at a time as there are CPUs, if nothing else is asked for."""
        super().finalize_options()
        self.parallel = self.parallel or True

    def build_extensions(self):
        """Check the compiler, detect OpenMP, translate every .pyx to C and compile it."""
        if not self.compiles("#include <Python.h>\nint main(void) { return 0; }\n"):
            raise SystemExit(NO_COMPILER)
        msvc = self.compiler.compiler_type == "msvc"
        flags = [] if msvc else FLAGS
        openmp = (f for f in (OPENMP_MSVC if msvc else OPENMP) if self.compiles(OPENMP_PROGRAM, *f))
        compile_flags, link_flags = next(openmp, ([], []))
        if not compile_flags:
            self.warn("this compiler has no OpenMP; minigrad's kernels will use one thread")

        # Imported here, so that the sentence above is what one sees when both are missing.
        from Cython.Build import cythonize
        from Cython.Compiler import Options

        Options.warning_errors = DEBUG  # a negative index, say, is only warned of
        self.force = self.force or DEBUG
        translated = [
            *self.translated(".pyx", DIRECTIVES, cythonize),
            *self.translated(".py", PYTHON_DIRECTIVES, cythonize),
        ]
        for extension, c in zip(self.extensions, translated, strict=True):
            extension.sources, extension.depends = c.sources, [*c.depends, *HEADERS]
            extension.extra_compile_args = flags + compile_flags
            extension.extra_link_args = link_flags
            extension.include_dirs = ["minigrad_ext"]
        super().build_extensions()

    def translated(self, suffix, directives, cythonize):
        """The extensions whose sources end so, as C."""
        return cythonize(
            [e for e in self.extensions if e.sources[0].endswith(suffix)],
            build_dir="build/cython",
            compiler_directives=directives,
            force=self.force,
        )

    def compiles(self, program, compile_flags=(), link_flags=()):
        """Whether the C program compiles and links with these flags."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "program.c")
            source.write_text(program)
            try:
                objects = self.compiler.compile(
                    [str(source)], output_dir=folder, extra_postargs=list(compile_flags)
                )
                self.compiler.link_executable(
                    objects, str(Path(folder, "program")), extra_postargs=list(link_flags)
                )
            except (CCompilerError, ExecError):
                return False
        return True


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[
        *(
            Extension(f"minigrad_ext.{path.stem}", [path.as_posix()])
            for path in sorted(Path("minigrad_ext").glob("*.pyx"))
        ),
        *(
            Extension(f"minigrad.{name}", [f"minigrad/{name.replace('.', '/')}.py"])
            for name in PYTHON
        ),
    ],
)
