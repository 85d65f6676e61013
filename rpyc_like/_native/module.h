/* What makes a module of a file of the compiled core.

   The core keeps objects in static variables, so it belongs to one interpreter of the process, the
   main one. Others do without: to import it there is an ImportError. */

#ifndef RPYC_LIKE_MODULE_H
#define RPYC_LIKE_MODULE_H

#include <Python.h>

static int
is_main_interpreter(void)
{
    if (PyInterpreterState_Get() == PyInterpreterState_Main())
        return 1;
    PyErr_SetString(PyExc_ImportError, "the compiled core is for the main interpreter only");
    return 0;
}

#if PY_VERSION_HEX >= 0x030c0000
#define ONE_INTERPRETER {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#else
#define ONE_INTERPRETER
#endif

/* Of the functions in `methods`, and of what fill(module) adds; it returns 0, or -1 on failure. */
#define DEFINE_MODULE(name)                                                                      \
    static int execute(PyObject *module)                                                         \
    {                                                                                            \
        return is_main_interpreter() ? fill(module) : -1;                                        \
    }                                                                                            \
    static PyModuleDef_Slot slots[] = {{Py_mod_exec, (void *)execute}, ONE_INTERPRETER{0, NULL}}; \
    static struct PyModuleDef definition = {                                                     \
        PyModuleDef_HEAD_INIT, "rpyc_like._native." #name, NULL, 0, methods, slots, NULL, NULL,  \
        NULL,                                                                                    \
    };                                                                                           \
    PyMODINIT_FUNC PyInit_##name(void)                                                           \
    {                                                                                            \
        return PyModuleDef_Init(&definition);                                                    \
    }

#endif
