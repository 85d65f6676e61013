/* What the compiled codecs write into. */

#ifndef RPYC_LIKE_BUFFER_H
#define RPYC_LIKE_BUFFER_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

enum { OK = 0, UNUSUAL = 1 };

typedef struct {
    char *data;
    Py_ssize_t size, room;
    PyTypeObject *foreign; /* borrowed: the type of what cannot be written */
    char own[512];
} Writer;

static inline void
writer_begin(Writer *w)
{
    w->data = w->own;
    w->size = 0;
    w->foreign = NULL;
    w->room = sizeof(w->own);
}

static inline void
writer_end(Writer *w)
{
    if (w->data != w->own)
        PyMem_Free(w->data);
}

static inline int
reserve(Writer *w, Py_ssize_t more)
{
    Py_ssize_t room;
    char *data;
    if (w->size + more <= w->room)
        return OK;
    room = (w->size + more) * 2;
    data = PyMem_Malloc(room);
    if (data == NULL)
        return UNUSUAL;
    memcpy(data, w->data, w->size);
    writer_end(w);
    w->data = data;
    w->room = room;
    return OK;
}

static inline int
put(Writer *w, const char *bytes, Py_ssize_t size)
{
    if (reserve(w, size))
        return UNUSUAL;
    memcpy(w->data + w->size, bytes, size);
    w->size += size;
    return OK;
}

static inline int
put_byte(Writer *w, int byte)
{
    if (reserve(w, 1))
        return UNUSUAL;
    w->data[w->size++] = (char)byte;
    return OK;
}

/* Returns an object, or None for what the pure half is to do; not for what is no Exception. */
static inline PyObject *
made_or_none(PyObject *made)
{
    if (made != NULL || (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_Exception)))
        return made;
    PyErr_Clear();
    Py_RETURN_NONE;
}

#endif
