"""The compiled core, which is optional; everything else stands in setup.cfg."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension("rpyc_like._native.codec", ["rpyc_like/_native/codec.c"], optional=True),
    ]
)
