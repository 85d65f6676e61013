"""The compiled core, which is optional; everything else stands in setup.cfg."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            f"rpyc_like._native.{name}",
            [f"rpyc_like/_native/{name}.c"],
            depends=[f"rpyc_like/_native/{name}.h" for name in ("account", "buffer", "module")],
            optional=True,
        )
        for name in ("codec", "etf", "sexp", "waiting")
    ]
)
