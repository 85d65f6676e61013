/* What a peer's bytes may become in memory, and how often others may run meanwhile.

   Each file of the compiled core that includes this counts for itself. */

#ifndef RPYC_LIKE_ACCOUNT_H
#define RPYC_LIKE_ACCOUNT_H

#include <Python.h>

#define LOOK_EVERY 10000     /* items after which other threads may run: `wire.meter` has the number */
#define LOOK_BYTES (1 << 20) /* and bytes copied */

static Py_ssize_t looks; /* how often other threads could run; for tests */

/* Lets other threads run. What this thread holds must be out of their reach: containers that are
   not filled are not tracked, so that gc.get_objects() does not find them. */
static inline void
look(void)
{
    looks++;
    Py_BEGIN_ALLOW_THREADS
    Py_END_ALLOW_THREADS
}

/* looks(): how often decoding has let other threads run. */
static PyObject *
get_looks(PyObject *self, PyObject *ignored)
{
    return PyLong_FromSsize_t(looks);
}

#define LOOKS_METHOD {"looks", get_looks, METH_NOARGS, NULL}

typedef struct {
    Py_ssize_t left;  /* bytes of memory; below zero when too much was asked for */
    Py_ssize_t until; /* items, and bytes in proportion, until others may run */
} Account;

static inline void
account_begin(Account *a, Py_ssize_t limit)
{
    a->left = limit;
    a->until = LOOK_EVERY;
}

/* Takes memory for one item; returns whether there is not enough. Other threads may have run. */
static inline int
spend(Account *a, Py_ssize_t size)
{
    a->left -= size;
    a->until -= 1 + size / (LOOK_BYTES / LOOK_EVERY);
    if (a->until <= 0) {
        a->until = LOOK_EVERY;
        look();
    }
    return a->left < 0;
}

#endif
