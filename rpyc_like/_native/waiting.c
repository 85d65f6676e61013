/* Waiting for bytes: polls for a short time before it blocks, where that pays.

   Waking a thread that sleeps in the system is the dearest part of a short exchange. So a thread
   whose messages have lately come within some tens of microseconds looks again and again for that
   long, with the interpreter's lock released, and sleeps only then. One thread of a process does so
   at a time; the others sleep at once.

   An account is kept of what polling costs and saves. What polls in vain does so more rarely, and
   when the credit is used up there is none for long. The credit lets a thread go on for as long as
   it may take until the peer tries it too: only then a wait costs less than to sleep.

   Where both ends sleep, neither would find the other awake within the usual window: each message
   takes as long as it takes to wake its receiver. So a trial lasts as long as a wait usually takes,
   where the exchange is a brisk one, and goes on from wait to wait. The peer notices: its own waits
   become shorter, because it waits for one sleeper only. Then it tries as well. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/socket.h>
#include <time.h>

#include "module.h"

#define MAX_FDS 4
#define RARELY 32     /* waits that are let pass between two that were polled in vain, at most */
#define REST 256      /* waits that are let pass when the credit is used up */
#define LEAST 10000   /* nanoseconds of computing that it costs to sleep and be woken, at least */
#define MOST 14000    /* and at most; between the two, half the time that such a wait takes */
#define CREDIT 400000 /* nanoseconds that polling may cost more than it saves */
#define PROMISING 10 /* windows in which a message must come for the wait to count */
#define TRIAL 4      /* windows that a trial lasts at most */
#define HINTS 2      /* shorter waits, one after the other, by which a peer that polls is noticed */

static atomic_int busy; /* whether a thread of this process polls */
static unsigned long long hits, misses;
static PyObject *landed, *went; /* names of attributes */

typedef struct {
    PyObject_HEAD
    int64_t window; /* nanoseconds; 0: never poll */
    int skip;       /* waits that are let pass before the next trial */
    int penalty;    /* what a failure makes of it */
    int64_t debt;   /* nanoseconds that polling has cost more than it has saved */
    int64_t usual;  /* nanoseconds that a short wait takes when it is not polled, on average */
    int64_t ended;  /* when the last wait ended */
    int settled;    /* whether the last message came within the window */
    int shorter;    /* waits, one after the other, that were shorter than usual */
    int unhinted;   /* waits that were not polled since the last hint was followed */
    int roused;     /* whether waits end at once, until somebody has noticed */
} Pace;

static int64_t
now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int
may_poll(Pace *pace)
{
    return pace->window > 0 && pace->skip == 0 && !atomic_exchange(&busy, 1);
}

/* Returns how long to poll in a wait that begins now. */
static int64_t
patience(Pace *pace, int64_t began)
{
    int64_t trial = pace->usual + pace->usual / 4;
    int brisk = began - pace->ended < pace->window && trial < TRIAL * pace->window;
    return brisk && !pace->settled && trial > pace->window ? trial : pace->window;
}

/* Notes how a wait ended that was begun by polling. */
static void
polled(Pace *pace, int found, int64_t began)
{
    int64_t took;
    atomic_store(&busy, 0);
    pace->ended = now();
    took = pace->ended - began;
    pace->debt += took;
    pace->settled = found && took < pace->window;
    if (found) {
        hits++;
        pace->debt -= pace->usual < 2 * LEAST ? LEAST : pace->usual > 2 * MOST ? MOST : pace->usual / 2;
    }
    else
        misses++;
    if (pace->debt > CREDIT) {
        pace->skip = REST;
        pace->debt = 0;
    }
    else if (!found) {
        pace->skip = pace->penalty;
        if (pace->penalty < RARELY)
            pace->penalty *= 2;
    }
    else {
        pace->penalty = 1;
        if (pace->debt < 0)
            pace->debt = 0;
    }
}

/* Notes how long a wait took that was not begun by polling. */
static void
blocked(Pace *pace, int64_t began)
{
    int64_t took;
    pace->ended = now();
    took = pace->ended - began;
    if (took < PROMISING * pace->window) {
        pace->shorter = took < pace->usual - pace->usual / 4 ? pace->shorter + 1 : 0;
        pace->usual += (took - pace->usual) / 8;
        if (pace->skip > 0)
            pace->skip--;
        if (pace->unhinted < RARELY)
            pace->unhinted++;
        else if (pace->shorter >= HINTS)
            pace->skip = pace->shorter = pace->unhinted = 0;
    }
}

/* Runs signal handlers. Returns whether the wait ends: one has raised, or has called rouse(). */
static int
interrupted(Pace *pace)
{
    return PyErr_CheckSignals() || pace->roused;
}

/* Returns nothing from a wait that was interrupted, or has not begun. */
static PyObject *
leave(PyObject *nothing)
{
    if (PyErr_Occurred())
        return NULL;
    Py_INCREF(nothing);
    return nothing;
}

/* rouse(wanted): whether the wait that the caller has interrupted, and later ones, get nothing. */
static PyObject *
pace_rouse(Pace *pace, PyObject *wanted)
{
    pace->roused = wanted == Py_True;
    Py_RETURN_NONE;
}

/* recv(fd, limit, [note]): bytes, or None if the time is over that the socket's SO_RCVTIMEO gives;
   bytes are in note.landed as well. */
static PyObject *
pace_recv(Pace *pace, PyObject *const *args, Py_ssize_t count)
{
    int fd, polls, error = 0;
    Py_ssize_t limit, got;
    int64_t began = 0, window;
    PyObject *data;
    char *room;
    if (count < 2 || count > 3 || (count == 3 && PyLong_Check(args[2]))) {
        PyErr_SetString(PyExc_TypeError, "recv(fd, limit, [note])");
        return NULL;
    }
    fd = PyLong_AsLong(args[0]);
    limit = PyLong_AsSsize_t(args[1]);
    if (PyErr_Occurred())
        return NULL;
    if (pace->roused)
        return leave(Py_None);
    data = PyBytes_FromStringAndSize(NULL, limit);
    if (data == NULL)
        return NULL;
    room = PyBytes_AS_STRING(data);
    got = recv(fd, room, limit, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        for (;;) {
            polls = may_poll(pace);
            if (pace->window > 0)
                began = now();
            window = patience(pace, began);
            Py_BEGIN_ALLOW_THREADS;
            if (polls) {
                do {
                    got = recv(fd, room, limit, MSG_DONTWAIT);
                    error = got < 0 ? errno : 0;
                } while ((error == EAGAIN || error == EWOULDBLOCK) && now() - began < window);
            }
            else
                error = EAGAIN;
            Py_END_ALLOW_THREADS;
            if (polls) {
                polled(pace, error != EAGAIN && error != EWOULDBLOCK, began);
                if (error && interrupted(pace)) { /* one may have come meanwhile */
                    Py_DECREF(data);
                    return leave(Py_None);
                }
            }
            if (error == EAGAIN || error == EWOULDBLOCK) {
                Py_BEGIN_ALLOW_THREADS;
                got = recv(fd, room, limit, 0);
                error = got < 0 ? errno : 0;
                Py_END_ALLOW_THREADS;
                if (!polls && pace->window > 0)
                    blocked(pace, began);
            }
            if (error != EINTR)
                break;
            if (interrupted(pace)) {
                Py_DECREF(data);
                return leave(Py_None);
            }
        }
    }
    else
        error = got < 0 ? errno : 0;
    if (error) {
        Py_DECREF(data);
        if (error == EAGAIN || error == EWOULDBLOCK)
            Py_RETURN_NONE;
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    if (got != limit)
        _PyBytes_Resize(&data, got);
    if (data != NULL && count == 3 && PyObject_SetAttr(args[2], landed, data) < 0)
        Py_CLEAR(data);
    return data;
}

/* Returns how many descriptors can be read now; 0 also when a signal has come in between. */
static int
look(struct pollfd *fds, Py_ssize_t size)
{
    int found = poll(fds, size, 0);
    return found < 0 && errno == EINTR ? 0 : found;
}

/* wait(fds, timeout): whether one of them can be read within so many seconds (None: for ever). */
static PyObject *
pace_wait(Pace *pace, PyObject *const *args, Py_ssize_t count)
{
    struct pollfd fds[MAX_FDS];
    Py_ssize_t i, size;
    int polls, found, error, milliseconds = -1;
    int64_t began, window, until = 0;
    if (count != 2 || !PyTuple_CheckExact(args[0]) || PyTuple_GET_SIZE(args[0]) > MAX_FDS) {
        PyErr_SetString(PyExc_TypeError, "wait(tuple of up to 4 descriptors, seconds or None)");
        return NULL;
    }
    size = PyTuple_GET_SIZE(args[0]);
    for (i = 0; i < size; i++) {
        fds[i].fd = PyLong_AsLong(PyTuple_GET_ITEM(args[0], i));
        fds[i].events = POLLIN;
    }
    began = now();
    if (args[1] != Py_None) {
        double seconds = PyFloat_AsDouble(args[1]);
        until = began + (int64_t)((seconds > 1e9 ? 1e9 : seconds) * 1e9);
    }
    if (PyErr_Occurred())
        return NULL;
    if (pace->roused)
        return leave(Py_False);
    found = look(fds, size);
    if (found == 0 && (until == 0 || began < until)) {
        polls = may_poll(pace);
        window = patience(pace, began);
        if (polls) {
            Py_BEGIN_ALLOW_THREADS;
            do {
                found = look(fds, size);
            } while (found == 0 && now() - began < window);
            Py_END_ALLOW_THREADS;
            polled(pace, found != 0, began);
            if (found == 0 && interrupted(pace)) /* one may have come meanwhile */
                return leave(Py_False);
        }
        while (found == 0) {
            if (until) {
                int64_t left = (until - now() + 999999) / 1000000; /* rounded up */
                if (left <= 0)
                    break;
                milliseconds = left > 1000000 ? 1000000 : (int)left;
            }
            Py_BEGIN_ALLOW_THREADS;
            found = poll(fds, size, milliseconds);
            error = errno;
            Py_END_ALLOW_THREADS;
            if (found < 0 && error == EINTR) {
                if (interrupted(pace))
                    return leave(Py_False);
                found = 0;
            }
            else if (found < 0) {
                errno = error;
                break;
            }
        }
        if (!polls && found > 0 && pace->window > 0)
            blocked(pace, began);
    }
    if (found < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return PyBool_FromLong(found);
}

/* send(socket, bytes, [note]): how many bytes were written without waiting; also in note.went.

   The interpreter's lock is kept: to give it up would cost more than to write little. */
static PyObject *
pace_send(Pace *pace, PyObject *const *args, Py_ssize_t count)
{
    int fd;
    Py_ssize_t sent;
    PyObject *written;
    if (count < 2 || count > 3 || !PyBytes_CheckExact(args[1])) {
        PyErr_SetString(PyExc_TypeError, "send(socket, bytes, [note])");
        return NULL;
    }
    fd = PyObject_AsFileDescriptor(args[0]);
    if (fd < 0)
        return NULL;
    sent = send(fd, PyBytes_AS_STRING(args[1]), PyBytes_GET_SIZE(args[1]),
                MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
        return PyErr_SetFromErrno(PyExc_OSError);
    written = PyLong_FromSsize_t(sent < 0 ? 0 : sent);
    if (written != NULL && count == 3 && PyObject_SetAttr(args[2], went, written) < 0)
        Py_CLEAR(written);
    return written;
}

static int
pace_init(Pace *pace, PyObject *args, PyObject *names)
{
    double microseconds;
    static char *known[] = {"microseconds", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, names, "d", known, &microseconds))
        return -1;
    if (!(microseconds >= 0 && microseconds <= 1000)) {
        PyErr_Format(PyExc_ValueError, "expected 0 to 1000 microseconds of polling, got %R",
                     PyTuple_GET_SIZE(args) ? PyTuple_GET_ITEM(args, 0) : Py_None);
        return -1;
    }
    pace->window = (int64_t)(microseconds * 1000);
    pace->skip = pace->penalty = 1; /* the first wait is never polled */
    pace->usual = LEAST + MOST;
    pace->debt = pace->ended = 0;
    pace->settled = pace->shorter = pace->unhinted = pace->roused = 0;
    return 0;
}

static void
pace_dealloc(Pace *pace)
{
    Py_TYPE(pace)->tp_free((PyObject *)pace);
}

static PyMethodDef pace_methods[] = {
    {"recv", (PyCFunction)(void (*)(void))pace_recv, METH_FASTCALL, NULL},
    {"rouse", (PyCFunction)pace_rouse, METH_O, NULL},
    {"send", (PyCFunction)(void (*)(void))pace_send, METH_FASTCALL, NULL},
    {"wait", (PyCFunction)(void (*)(void))pace_wait, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject pace_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "rpyc_like._native.waiting.Pace",
    .tp_basicsize = sizeof(Pace),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = PyType_GenericNew,
    .tp_init = (initproc)pace_init,
    .tp_dealloc = (destructor)pace_dealloc,
    .tp_methods = pace_methods,
};

/* counts(): how often polling found something, and how often it did not. */
static PyObject *
waiting_counts(PyObject *self, PyObject *unused)
{
    return Py_BuildValue("(KK)", hits, misses);
}

/* after_fork(): in a child no thread polls. */
static PyObject *
waiting_after_fork(PyObject *self, PyObject *unused)
{
    atomic_store(&busy, 0);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"counts", waiting_counts, METH_NOARGS, NULL},
    {"after_fork", waiting_after_fork, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static int
fill(PyObject *module)
{
    went = PyUnicode_InternFromString("went");
    landed = PyUnicode_InternFromString("landed");
    return went == NULL || landed == NULL ? -1 : PyModule_AddType(module, &pace_type);
}

DEFINE_MODULE(waiting)
