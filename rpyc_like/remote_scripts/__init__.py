"""Programs that are sent to another machine as text and run there, on whatever Python it has.

They import nothing but the standard library and stay away from new syntax, so that an old Python
can at least say that it is too old.
"""
