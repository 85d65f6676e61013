"""The compiled core, which is optional; everything else stands in setup.cfg."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            f"rpyc_like._native.{name}",
            [f"rpyc_like/_native/{name}.c"],
            depends=["rpyc_like/_native/buffer.h", "rpyc_like/_native/module.h"],
            optional=True,
        )
        for name in ("codec", "etf", "sexp", "waiting")
    ]
)
