/* The compiled half of the codec: brine and whole messages of plain values.

   It does what is usual, and nothing else. Whatever is not (a large integer, a program's own type,
   something malformed, a limit) it leaves to the pure half, which starts over: so results and errors
   are those of the pure half, always. `rpyc_like.wire.brine.format` has the format, and
   `rpyc_like.core.encoding.codec` that of messages. Holds no state but the objects given to configure(). */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#include "account.h"
#include "buffer.h"
#include "module.h"

#define LARGE (1 << 16) /* bytes from which a text or a bytes value is not copied */
#define BOXES 16          /* levels of boxes in each other */
#define UNCOMPRESSED 3000 /* bytes of a payload that is never compressed */
#define SMALL 32        /* numbers of handlers whose targets are made once */
#define DEPTH 64        /* nesting from which the pure half, which does not recurse, takes over */
#define ITEMS_PER_STEP 64 /* of a container that is measured */
#define PIECE (1 << 20)  /* bytes that are copied or decoded before other threads may run */
#define UNMETERED (1 << 19) /* bytes from which load() has the memory counted, by the pure half */
#define FEW 64           /* items of which any number may have the same hash */
#define HEAVY 200        /* items from which comparing a tuple takes long */
#define MOST_HEAVY 1000  /* of a frozenset's items that are looked at here */

static PyObject *pure_dump_small, *pure_load_at, *pure_load, *pure_dumpable, *own_dumps;
static PyObject *count_memory;
static PyObject *small_ints[0xf0]; /* by their tags; the interpreter shares those from -5 only */
static PyObject *netref_metaclass, *get_conn, *get_boxed, *object_name;
static PyObject *kind_reply, *kind_call, *targets[SMALL];
static unsigned char on_objects[160], special[160];

/* -- writing */

static int
put_size(Writer *w, int short_tag, Py_ssize_t size)
{
    char head[5];
    if (size < 256) {
        head[0] = (char)short_tag;
        head[1] = (char)size;
        return put(w, head, 2);
    }
    if (size > 0x7fffffff)
        return UNUSUAL;
    head[0] = (char)(short_tag + 1);
    head[1] = (char)(size >> 24);
    head[2] = (char)(size >> 16);
    head[3] = (char)(size >> 8);
    head[4] = (char)size;
    return put(w, head, 5);
}

static int
put_tuple_head(Writer *w, Py_ssize_t size)
{
    if (size == 0)
        return put_byte(w, 0x02);
    return size < 5 ? put_byte(w, 0x0f + (int)size) : put_size(w, 0x14, size);
}

static int
put_bytes(Writer *w, const char *bytes, Py_ssize_t size)
{
    int failed;
    if (size >= LARGE)
        return UNUSUAL;
    if (size == 0)
        return put_byte(w, 0x01);
    failed = size < 5 ? put_byte(w, 0x09 + (int)size) : put_size(w, 0x0e, size);
    return failed || put(w, bytes, size);
}

static int
put_double(Writer *w, double value)
{
    uint64_t bits;
    char big[8];
    int i;
    memcpy(&bits, &value, 8);
    for (i = 7; i >= 0; i--, bits >>= 8)
        big[i] = (char)bits;
    return put(w, big, 8);
}

static int
put_int(Writer *w, PyObject *obj)
{
    int overflow;
    char digits[32];
    long long value = PyLong_AsLongLongAndOverflow(obj, &overflow);
    if (overflow || value >= (1LL << 62) || value <= -(1LL << 62))
        return UNUSUAL;
    if (-49 < value && value < 160)
        return put_byte(w, (int)value + 0x50);
    digits[0] = 0x16;
    digits[1] = (char)PyOS_snprintf(digits + 2, sizeof(digits) - 2, "%lld", value);
    return put(w, digits, 2 + digits[1]);
}

static int put_value(Writer *w, PyObject *obj, int depth);

static int
put_items(Writer *w, PyObject *tuple, int depth)
{
    Py_ssize_t i, size = PyTuple_GET_SIZE(tuple);
    if (depth <= 0 || put_tuple_head(w, size))
        return UNUSUAL;
    for (i = 0; i < size; i++)
        if (put_value(w, PyTuple_GET_ITEM(tuple, i), depth - 1))
            return UNUSUAL;
    return OK;
}

static int
put_container(Writer *w, int tag, PyObject *items, int depth)
{
    int failed = items == NULL || put_byte(w, tag) || put_items(w, items, depth - 1);
    Py_XDECREF(items);
    return failed;
}

static int
put_value(Writer *w, PyObject *obj, int depth)
{
    PyTypeObject *kind = Py_TYPE(obj);
    if (kind == &PyLong_Type)
        return put_int(w, obj);
    if (kind == &PyUnicode_Type) {
        Py_ssize_t size;
        const char *text = PyUnicode_AsUTF8AndSize(obj, &size);
        if (text == NULL)
            return UNUSUAL;
        return put_byte(w, 0x08) || put_bytes(w, text, size);
    }
    if (obj == Py_None)
        return put_byte(w, 0x00);
    if (obj == Py_True)
        return put_byte(w, 0x03);
    if (obj == Py_False)
        return put_byte(w, 0x04);
    if (kind == &PyTuple_Type)
        return put_items(w, obj, depth);
    if (kind == &PyBytes_Type)
        return put_bytes(w, PyBytes_AS_STRING(obj), PyBytes_GET_SIZE(obj));
    if (kind == &PyFloat_Type)
        return put_byte(w, 0x18) || put_double(w, PyFloat_AS_DOUBLE(obj));
    if (kind == &PyComplex_Type)
        return put_byte(w, 0x1b) || put_double(w, PyComplex_RealAsDouble(obj)) ||
               put_double(w, PyComplex_ImagAsDouble(obj));
    if (obj == Py_NotImplemented)
        return put_byte(w, 0x05);
    if (obj == Py_Ellipsis)
        return put_byte(w, 0x06);
    if (kind == &PyFrozenSet_Type)
        return put_container(w, 0x1a, PySequence_Tuple(obj), depth);
    if (kind == &PySlice_Type) {
        PySliceObject *slice = (PySliceObject *)obj;
        return put_container(w, 0x19, PyTuple_Pack(3, slice->start, slice->stop, slice->step),
                             depth);
    }
    w->foreign = kind;
    return UNUSUAL;
}

/* -- reading */

typedef struct {
    const unsigned char *data;
    Py_ssize_t at, end;
    int steps; /* since other threads could run */
} Reader;

static void
step(Reader *r)
{
    if (++r->steps >= LOOK_EVERY) {
        r->steps = 0;
        look();
    }
}

static int
get_size(Reader *r, int wide, Py_ssize_t *size)
{
    const unsigned char *at = r->data + r->at;
    if (!wide) {
        if (r->end - r->at < 1)
            return UNUSUAL;
        *size = at[0];
        r->at += 1;
        return OK;
    }
    if (r->end - r->at < 4)
        return UNUSUAL;
    *size = ((Py_ssize_t)at[0] << 24) | (at[1] << 16) | (at[2] << 8) | at[3];
    r->at += 4;
    return OK;
}

/* Reads a bytes value, whose tag comes next, without making an object of it. */
static int
get_span(Reader *r, const char **start, Py_ssize_t *size)
{
    int tag;
    if (r->at >= r->end)
        return UNUSUAL;
    tag = r->data[r->at++];
    if (0x0a <= tag && tag <= 0x0d)
        *size = tag - 0x09;
    else if (tag == 0x01)
        *size = 0;
    else if ((tag != 0x0e && tag != 0x0f) || get_size(r, tag == 0x0f, size))
        return UNUSUAL;
    if (*size > r->end - r->at)
        return UNUSUAL;
    *start = (const char *)r->data + r->at;
    r->at += *size;
    return OK;
}

static int
get_double(Reader *r, double *value)
{
    uint64_t bits = 0;
    int i;
    if (r->end - r->at < 8)
        return UNUSUAL;
    for (i = 0; i < 8; i++)
        bits = (bits << 8) | r->data[r->at++];
    memcpy(value, &bits, 8);
    return OK;
}

static int
get_int(Reader *r, long long *value)
{
    Py_ssize_t size, i = 0;
    const unsigned char *digits;
    long long number = 0;
    int negative;
    if (get_size(r, 0, &size) || size > r->end - r->at || size < 1 || size > 18)
        return UNUSUAL;
    digits = r->data + r->at;
    negative = digits[0] == '-';
    if (negative && size == 1)
        return UNUSUAL;
    for (i = negative; i < size; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return UNUSUAL;
        number = number * 10 + (digits[i] - '0');
    }
    r->at += size;
    *value = negative ? -number : number;
    return OK;
}

static PyObject *get_value(Reader *r, int depth);

/* Releases a tuple of which so many items are there, in slices. */
static void
drop_items(Reader *r, PyObject *tuple, Py_ssize_t filled)
{
    while (filled > 0) {
        PyObject *item = PyTuple_GET_ITEM(tuple, --filled);
        PyTuple_SET_ITEM(tuple, filled, NULL);
        Py_XDECREF(item);
        step(r);
    }
    Py_DECREF(tuple);
}

static PyObject *
get_bytes(const char *start, Py_ssize_t size)
{
    Py_ssize_t at;
    PyObject *made;
    if (size < PIECE)
        return PyBytes_FromStringAndSize(start, size);
    made = PyBytes_FromStringAndSize(NULL, size);
    for (at = 0; made != NULL && at < size; at += PIECE) {
        memcpy(PyBytes_AS_STRING(made) + at, start + at, size - at < PIECE ? size - at : PIECE);
        look();
    }
    return made;
}

/* A large text is decoded in pieces: a million lone surrogates take half a second. */
static PyObject *
get_text(const char *start, Py_ssize_t size)
{
    PyObject *pieces, *piece, *empty, *made = NULL;
    Py_ssize_t stop;
    if (size <= PIECE)
        return PyUnicode_DecodeUTF8(start, size, "surrogatepass");
    pieces = PyList_New(0);
    while (pieces != NULL && size) {
        stop = size < PIECE ? size : PIECE;
        while (stop < size && stop > PIECE - 4 && (start[stop] & 0xc0) == 0x80)
            stop--; /* inside a character */
        piece = PyUnicode_DecodeUTF8(start, stop, "surrogatepass");
        if (piece == NULL || PyList_Append(pieces, piece))
            Py_CLEAR(pieces);
        Py_XDECREF(piece);
        start += stop;
        size -= stop;
        look();
    }
    empty = pieces == NULL ? NULL : PyUnicode_FromStringAndSize(NULL, 0);
    if (empty != NULL)
        made = PyUnicode_Join(empty, pieces);
    Py_XDECREF(empty);
    Py_XDECREF(pieces);
    return made;
}

static PyObject *
get_items(Reader *r, int tag, int depth)
{
    Py_ssize_t i, size;
    PyObject *tuple;
    if (tag < 0x14)
        size = tag - 0x0f;
    else if (get_size(r, tag == 0x15, &size))
        return NULL;
    if (depth <= 0 || size > r->end - r->at)
        return NULL;
    tuple = PyTuple_New(size);
    if (tuple == NULL)
        return NULL;
    /* Plain values are in no cycle, so the collector need not go over them, however many. */
    if (size)
        PyObject_GC_UnTrack(tuple);
    for (i = 0; i < size; i++) {
        PyObject *item = get_value(r, depth - 1);
        if (item == NULL) {
            drop_items(r, tuple, i);
            return NULL;
        }
        PyTuple_SET_ITEM(tuple, i, item);
    }
    return tuple;
}

/* Returns whether comparing an item with others takes long: it has more than so many items. */
static int
is_heavy(PyObject *item, Py_ssize_t *left)
{
    Py_ssize_t i, size;
    if (!PyTuple_CheckExact(item))
        return PyFrozenSet_CheckExact(item);
    size = PyTuple_GET_SIZE(item);
    *left -= size + 1;
    for (i = 0; *left > 0 && i < size; i++)
        if (is_heavy(PyTuple_GET_ITEM(item, i), left))
            return 1;
    return *left <= 0;
}

static int
compare_hashes(const void *one, const void *other)
{
    Py_hash_t a = *(const Py_hash_t *)one, b = *(const Py_hash_t *)other;
    return (a > b) - (a < b);
}

/* Returns whether so many items may share a hash that the pure half is to have a look: more than
   FEW of any kind, or two that take long to compare. */
static int
may_collide(Reader *r, PyObject *items)
{
    Py_ssize_t i, size = PyTuple_GET_SIZE(items), slots = size | 1, heavy = 0;
    unsigned char *counts = PyMem_Calloc(slots, 1);
    Py_hash_t hashes[MOST_HEAVY];
    int found = counts == NULL;
    for (i = 0; !found && i < size; i++) {
        PyObject *item = PyTuple_GET_ITEM(items, i);
        Py_ssize_t left = HEAVY;
        Py_hash_t hash = PyObject_Hash(item);
        if (hash == -1 && PyErr_Occurred())
            found = 1;
        else if (!is_heavy(item, &left))
            found = ++counts[(size_t)hash % slots] > FEW;
        else if (heavy == MOST_HEAVY)
            found = 1;
        else
            hashes[heavy++] = hash;
        step(r);
    }
    PyMem_Free(counts);
    if (!found && heavy) {
        qsort(hashes, heavy, sizeof(hashes[0]), compare_hashes);
        for (i = 1; !found && i < heavy; i++)
            found = hashes[i - 1] == hashes[i];
    }
    return found;
}

static PyObject *
get_frozenset(Reader *r, PyObject *items)
{
    Py_ssize_t i, size = PyTuple_GET_SIZE(items);
    int few = size <= FEW;
    PyObject *made;
    for (i = 0; few && i < size; i++) {
        Py_ssize_t left = HEAVY;
        few = !is_heavy(PyTuple_GET_ITEM(items, i), &left);
    }
    if (few) {
        made = PyFrozenSet_New(items);
        if (made != NULL && size)
            PyObject_GC_UnTrack(made);
        return made;
    }
    if (may_collide(r, items))
        return NULL;
    made = PyFrozenSet_New(NULL);
    if (made == NULL)
        return NULL;
    PyObject_GC_UnTrack(made);
    for (i = 0; i < size; i++) {
        if (PySet_Add(made, PyTuple_GET_ITEM(items, i))) {
            Py_DECREF(made);
            return NULL;
        }
        step(r);
    }
    return made;
}

static PyObject *
get_container(Reader *r, int tag, int depth)
{
    PyObject *made = NULL, *items = depth > 0 ? get_value(r, depth - 1) : NULL;
    if (items == NULL)
        return NULL;
    if (PyTuple_CheckExact(items)) {
        if (tag == 0x1a)
            made = get_frozenset(r, items);
        else if (PyTuple_GET_SIZE(items) == 3)
            made = PySlice_New(PyTuple_GET_ITEM(items, 0), PyTuple_GET_ITEM(items, 1),
                               PyTuple_GET_ITEM(items, 2));
    }
    Py_DECREF(items);
    return made;
}

/* Returns a new reference; NULL, perhaps with an exception set, for what the pure half is to do. */
static PyObject *
get_value(Reader *r, int depth)
{
    int tag;
    const char *start;
    Py_ssize_t size;
    long long number;
    double real, imaginary;
    if (r->at >= r->end)
        return NULL;
    step(r);
    tag = r->data[r->at++];
    if (0x20 <= tag && tag <= 0xef)
        return Py_NewRef(small_ints[tag]);
    switch (tag) {
    case 0x00:
        return Py_NewRef(Py_None);
    case 0x02:
        return PyTuple_New(0);
    case 0x03:
        return Py_NewRef(Py_True);
    case 0x04:
        return Py_NewRef(Py_False);
    case 0x05:
        return Py_NewRef(Py_NotImplemented);
    case 0x06:
        return Py_NewRef(Py_Ellipsis);
    case 0x08:
        if (get_span(r, &start, &size))
            return NULL;
        return get_text(start, size);
    case 0x01:
    case 0x0a:
    case 0x0b:
    case 0x0c:
    case 0x0d:
    case 0x0e:
    case 0x0f:
        r->at--;
        if (get_span(r, &start, &size))
            return NULL;
        return get_bytes(start, size);
    case 0x10:
    case 0x11:
    case 0x12:
    case 0x13:
    case 0x14:
    case 0x15:
        return get_items(r, tag, depth);
    case 0x16:
        return get_int(r, &number) ? NULL : PyLong_FromLongLong(number);
    case 0x18:
        return get_double(r, &real) ? NULL : PyFloat_FromDouble(real);
    case 0x19:
    case 0x1a:
        return get_container(r, tag, depth);
    case 0x1b:
        if (get_double(r, &real) || get_double(r, &imaginary))
            return NULL;
        return PyComplex_FromDoubles(real, imaginary);
    default:
        return NULL;
    }
}

/* Returns whether values of a type may travel by value. */
static int
is_plain(PyTypeObject *kind)
{
    return kind == &PyLong_Type || kind == &PyUnicode_Type || kind == Py_TYPE(Py_None) ||
           kind == &PyBool_Type || kind == &PyTuple_Type || kind == &PyBytes_Type ||
           kind == &PyFloat_Type || kind == &PyComplex_Type || kind == &PyFrozenSet_Type ||
           kind == &PySlice_Type || kind == Py_TYPE(Py_NotImplemented) ||
           kind == Py_TYPE(Py_Ellipsis);
}

/* -- prices, those of rpyc_like.wire.meter and rpyc_like.wire.brine.format */

static Py_ssize_t
set_memory(Py_ssize_t count)
{
    Py_ssize_t slots = 0, mask = 7;
    for (;;) {
        Py_ssize_t filled = (mask * 3 + 4) / 5;
        if (filled > count)
            return 224 + 16 * slots;
        slots = 8;
        while (slots <= filled * (filled > 50000 ? 2 : 4))
            slots *= 2;
        mask = slots - 1;
    }
}

static Py_ssize_t
text_memory(const char *start, Py_ssize_t size)
{
    Py_ssize_t i;
    for (i = 0; i < size; i++)
        if (start[i] & 0x80)
            return 80 + (size > PIECE ? 8 : 4) * size;
    return 64 + size;
}

/* Goes over brine up to what is no part of it, or costs too much; returns the price. */
static Py_ssize_t
price_of(Reader *r, Py_ssize_t limit)
{
    Py_ssize_t price = 0, size, ahead;
    const char *start;
    while (r->at < r->end && price <= limit) {
        int tag = r->data[r->at], again;
        Py_ssize_t at = r->at++;
        if (tag < 0x07 && tag != 0x01)
            continue;
        if (0x20 <= tag && tag <= 0xef)
            continue;
        switch (tag) {
        case 0x08:
            if (get_span(r, &start, &size)) {
                r->at = at;
                return price;
            }
            price += text_memory(start, size);
            continue;
        case 0x01:
        case 0x0a:
        case 0x0b:
        case 0x0c:
        case 0x0d:
        case 0x0e:
        case 0x0f:
            r->at--;
            if (get_span(r, &start, &size)) {
                r->at = at;
                return price;
            }
            price += size ? 48 + size : 0;
            continue;
        case 0x16:
        case 0x17:
            if (get_size(r, tag == 0x17, &size) || size > r->end - r->at) {
                r->at = at;
                return price;
            }
            r->at += size;
            price += 32 + size / 2;
            continue;
        case 0x18:
        case 0x1b:
            size = tag == 0x18 ? 8 : 16;
            if (size > r->end - r->at) {
                r->at = at;
                return price;
            }
            r->at += size;
            price += 32;
            continue;
        case 0x19:
            price += 64;
            continue;
        case 0x1a:
            ahead = r->at;
            again = ahead < r->end ? r->data[r->at++] : 0;
            size = 0x10 <= again && again <= 0x13 ? again - 0x0f : 0;
            if ((again == 0x14 || again == 0x15) && get_size(r, again == 0x15, &size))
                size = 0;
            price += set_memory(size <= r->end - r->at ? size : 0);
            r->at = ahead;
            continue;
        case 0x10:
        case 0x11:
        case 0x12:
        case 0x13:
        case 0x14:
        case 0x15:
            size = tag - 0x0f;
            if ((tag >= 0x14 && get_size(r, tag == 0x15, &size)) || size > r->end - r->at) {
                r->at = at;
                return price;
            }
            price += size ? 40 + 8 * size : 0;
            continue;
        default:
            r->at = at;
            return price;
        }
    }
    return price;
}

/* price_at(data, position, limit): what the objects cost that are made of the rest of `data`, and
   where that stops to be brine; it need not go on beyond the limit. */
static PyObject *
codec_price_at(PyObject *self, PyObject *args)
{
    PyObject *data;
    Py_ssize_t position, limit, price;
    Reader r = {0};
    if (!PyArg_ParseTuple(args, "Snn", &data, &position, &limit))
        return NULL;
    r.data = (const unsigned char *)PyBytes_AS_STRING(data);
    r.at = position < 0 ? 0 : position;
    r.end = PyBytes_GET_SIZE(data);
    Py_BEGIN_ALLOW_THREADS
    price = price_of(&r, limit);
    Py_END_ALLOW_THREADS
    return Py_BuildValue("nn", price, r.at);
}

/* Adds the price of an integer to `memory`, and the size of its brine to `wire`. */
static int
measure_int(PyObject *number, Py_ssize_t *memory, Py_ssize_t *wire)
{
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(number, &overflow);
    if (overflow) {
        PyObject *size = PyObject_CallMethod(number, "__sizeof__", NULL);
        Py_ssize_t bytes = size == NULL ? -1 : PyLong_AsSsize_t(size);
        Py_XDECREF(size);
        *memory += bytes;
        *wire += 2 * bytes;
        return bytes < 0 ? UNUSUAL : OK;
    }
    *memory += 32;
    *wire += 1;
    if (-49 < value && value < 160)
        return OK;
    for (*wire += 1; value; value /= 10)
        *wire += 1;
    return OK;
}

/* Makes room for so many more on a stack. */
static PyObject **
grow(PyObject **stack, PyObject **own, Py_ssize_t filled, Py_ssize_t *room, Py_ssize_t more)
{
    PyObject **larger;
    if (filled + more <= *room)
        return stack;
    *room = (filled + more) * 2;
    larger = PyMem_Malloc(*room * sizeof(PyObject *));
    if (larger != NULL)
        memcpy(larger, stack, filled * sizeof(PyObject *));
    if (stack != own)
        PyMem_Free(stack);
    return larger;
}

/* Returns whether a container is in `seen`, and puts it there: 1, 0, or -1 for an error. What one
   object refers to is met only once. */
static int
met_before(PyObject **seen, PyObject *container)
{
    PyObject *key;
    int found;
    if (Py_REFCNT(container) == 1)
        return 0;
    if (*seen == NULL && (*seen = PySet_New(NULL)) == NULL)
        return -1;
    key = PyLong_FromVoidPtr(container);
    if (key == NULL)
        return -1;
    found = PySet_Contains(*seen, key);
    if (!found)
        found = PySet_Add(*seen, key);
    Py_DECREF(key);
    return found;
}

/* measure(value, count=None, reference=512): the memory that a value takes, and about how much
   brine it is. The value is held by the caller, so all that is in it stays. */
static PyObject *
codec_measure(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *own[64], **stack = own, *item, *iterator, *count = NULL, *seen = NULL, *done;
    Py_ssize_t filled = 1, room = 64, memory = 0, wire = 0, reference = 512, i, size;
    Reader r = {0};
    int met;
    if (nargs < 1 || nargs > 3)
        return PyErr_Format(PyExc_TypeError, "expected 1 to 3 arguments, got %zd", nargs);
    if (nargs > 1 && args[1] != Py_None)
        count = args[1];
    if (nargs > 2 && (reference = PyLong_AsSsize_t(args[2])) == -1 && PyErr_Occurred())
        return NULL;
    own[0] = args[0];
    while (filled) {
        PyTypeObject *kind;
        item = stack[--filled];
        kind = Py_TYPE(item);
        step(&r);
        size = kind == &PyTuple_Type ? PyTuple_GET_SIZE(item)
             : kind == &PyFrozenSet_Type ? PySet_GET_SIZE(item)
             : kind == &PySlice_Type ? 3
             : 0;
        if (size) {
            met = met_before(&seen, item);
            if (met < 0)
                break;
            if (met) {
                wire += 1;
                continue;
            }
            if (count != NULL) {
                done = PyObject_CallFunction(count, "n", 1 + size / ITEMS_PER_STEP);
                if (done == NULL)
                    break;
                Py_DECREF(done);
            }
        }
        if (kind == &PyTuple_Type) {
            memory += 40 + 8 * size;
            wire += size < 5 ? 1 : size < 256 ? 2 : 5;
        }
        else if (kind == &PyFrozenSet_Type) {
            memory += set_memory(size);
            wire += 2;
        }
        else if (kind == &PySlice_Type) {
            memory += 64;
            wire += 2;
        }
        else if (kind == &PyUnicode_Type) {
            memory += 64 + PyUnicode_GET_LENGTH(item) * PyUnicode_KIND(item);
            wire += 2 + PyUnicode_GET_LENGTH(item);
        }
        else if (kind == &PyBytes_Type) {
            memory += 48 + PyBytes_GET_SIZE(item);
            wire += 1 + PyBytes_GET_SIZE(item);
        }
        else if (kind == &PyLong_Type) {
            if (measure_int(item, &memory, &wire))
                break;
        }
        else if (kind == &PyFloat_Type || kind == &PyComplex_Type) {
            memory += 32;
            wire += kind == &PyFloat_Type ? 9 : 17;
        }
        else {
            wire += 1;
            if (!is_plain(kind))
                memory += reference;
        }
        if (!size)
            continue;
        stack = grow(stack, own, filled, &room, size);
        if (stack == NULL) {
            Py_XDECREF(seen);
            return PyErr_NoMemory();
        }
        if (kind == &PyTuple_Type)
            for (i = 0; i < size; i++)
                stack[filled++] = PyTuple_GET_ITEM(item, i);
        else if (kind == &PySlice_Type) {
            stack[filled++] = ((PySliceObject *)item)->start;
            stack[filled++] = ((PySliceObject *)item)->stop;
            stack[filled++] = ((PySliceObject *)item)->step;
        }
        else {
            iterator = PyObject_GetIter(item);
            while (iterator != NULL && size-- > 0 && (item = PyIter_Next(iterator)) != NULL) {
                stack[filled++] = item;
                Py_DECREF(item); /* the set holds it */
            }
            Py_XDECREF(iterator);
            if (PyErr_Occurred())
                break;
        }
    }
    if (stack != own)
        PyMem_Free(stack);
    Py_XDECREF(seen);
    return PyErr_Occurred() ? NULL : Py_BuildValue("nn", memory, wire);
}

/* plain_tuple(list): a tuple of plain values. They are in no cycle: the collector need not go over
   them, which takes longer than making them where there are millions. */
static PyObject *
codec_plain_tuple(PyObject *self, PyObject *items)
{
    PyObject *made = PySequence_Tuple(items);
    if (made != NULL && PyTuple_GET_SIZE(made) && PyObject_GC_IsTracked(made))
        PyObject_GC_UnTrack(made);
    return made;
}

/* Returns how deep the compiled half may go. */
static int
depth_of(PyObject *limit)
{
    long depth = limit == NULL ? DEPTH : PyLong_AsLong(limit);
    return depth < DEPTH ? (int)depth : DEPTH;
}

/* Returns whether a limit of digits leaves all integers that are read here alone. */
static int
has_room(PyObject *limit)
{
    return limit == NULL || PyLong_AsLong(limit) >= 18;
}

/* -- brine */

static PyObject *
codec_dump_small(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    Writer w;
    PyObject *made = NULL;
    writer_begin(&w);
    if (names == NULL && count >= 1 && count <= 3 &&
        put_value(&w, args[0], depth_of(count > 1 ? args[1] : NULL)) == OK)
        made = PyBytes_FromStringAndSize(w.data, w.size);
    writer_end(&w);
    if (made != NULL)
        return made;
    PyErr_Clear();
    if (w.foreign != NULL && PyDict_GetItemWithError(own_dumps, (PyObject *)w.foreign) == NULL &&
        !PyErr_Occurred())
        return PyErr_Format(PyExc_TypeError, "cannot dump %R", w.foreign);
    PyErr_Clear();
    return PyObject_Vectorcall(pure_dump_small, args, count, names);
}

/* Returns 1 or 0 like dumpable(), -1 for what the pure half is to do. */
static int
is_dumpable(PyObject *obj, int depth)
{
    PyTypeObject *kind = Py_TYPE(obj);
    if (kind == &PyTuple_Type) {
        Py_ssize_t i;
        for (i = 0; i < PyTuple_GET_SIZE(obj); i++) {
            int found = depth > 0 ? is_dumpable(PyTuple_GET_ITEM(obj, i), depth - 1) : -1;
            if (found != 1)
                return found;
        }
        return 1;
    }
    if (kind == &PyFrozenSet_Type || kind == &PySlice_Type)
        return -1;
    return is_plain(kind) ? 1 : PyDict_Contains(own_dumps, (PyObject *)kind);
}

static PyObject *
codec_dumpable(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    int found = names == NULL && count == 1 ? is_dumpable(args[0], DEPTH) : -1;
    if (found >= 0)
        return PyBool_FromLong(found);
    PyErr_Clear();
    return PyObject_Vectorcall(pure_dumpable, args, count, names);
}

static PyObject *
codec_load_at(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    if (names == NULL && count >= 2 && count <= 4 && PyBytes_CheckExact(args[0]) && PyLong_CheckExact(args[1]) &&
        has_room(count > 3 ? args[3] : NULL)) {
        Reader r = {(const unsigned char *)PyBytes_AS_STRING(args[0]), PyLong_AsSsize_t(args[1]),
                    PyBytes_GET_SIZE(args[0])};
        PyObject *value = NULL;
        if (r.at >= 0)
            value = get_value(&r, depth_of(count > 2 ? args[2] : NULL));
        if (value != NULL) {
            PyObject *end = PyLong_FromSsize_t(r.at);
            PyObject *pair = end == NULL ? NULL : PyTuple_New(2);
            if (pair == NULL) {
                Py_DECREF(value);
                Py_XDECREF(end);
                return NULL;
            }
            PyTuple_SET_ITEM(pair, 0, value);
            PyTuple_SET_ITEM(pair, 1, end);
            return pair;
        }
    }
    PyErr_Clear();
    return PyObject_Vectorcall(pure_load_at, args, count, names);
}

static PyObject *
codec_load(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    if (names == NULL && count >= 1 && count <= 3 && PyBytes_CheckExact(args[0]) &&
        has_room(count > 2 ? args[2] : NULL)) {
        Reader r = {(const unsigned char *)PyBytes_AS_STRING(args[0]), 0,
                    PyBytes_GET_SIZE(args[0])};
        PyObject *value;
        if (r.end > UNMETERED) {
            PyObject *counted = PyObject_CallOneArg(count_memory, args[0]);
            if (counted == NULL)
                return NULL;
            Py_DECREF(counted);
        }
        value = get_value(&r, depth_of(count > 1 ? args[1] : NULL));
        if (value != NULL && r.at == r.end)
            return value;
        Py_XDECREF(value);
    }
    PyErr_Clear();
    return PyObject_Vectorcall(pure_load, args, count, names);
}

/* -- messages of the usual dialect: RPyC 6, not bound to threads */

static PyObject *
slot_of(PyObject *descriptor, PyObject *obj)
{
    return Py_TYPE(descriptor)->tp_descr_get(descriptor, obj, (PyObject *)Py_TYPE(obj));
}

static int
put_box(Writer *w, PyObject *obj, PyObject *conn, int depth);

static int
put_boxes_of(Writer *w, PyObject *items, PyObject *conn, int depth)
{
    Py_ssize_t i, size = PyTuple_GET_SIZE(items);
    if (depth <= 0 || put(w, "\x11\x52", 2) || put_tuple_head(w, size))
        return UNUSUAL;
    for (i = 0; i < size; i++)
        if (put_box(w, PyTuple_GET_ITEM(items, i), conn, depth - 1))
            return UNUSUAL;
    return OK;
}

/* Appends a box: of a proxy that goes home, a plain value, or a tuple of such things. */
static int
put_box(Writer *w, PyObject *obj, PyObject *conn, int depth)
{
    Py_ssize_t start = w->size;
    if ((PyObject *)Py_TYPE(Py_TYPE(obj)) == netref_metaclass) {
        PyObject *boxed = NULL, *owner = slot_of(get_conn, obj);
        int failed = owner != conn || (boxed = slot_of(get_boxed, obj)) == NULL ||
                     !PyBytes_CheckExact(boxed) ||
                     put(w, PyBytes_AS_STRING(boxed), PyBytes_GET_SIZE(boxed));
        Py_XDECREF(owner);
        Py_XDECREF(boxed);
        return failed;
    }
    if (put(w, "\x11\x51", 2) == OK && put_value(w, obj, DEPTH) == OK)
        return OK;
    if (!PyTuple_CheckExact(obj) || (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_Exception)))
        return UNUSUAL;
    PyErr_Clear();
    w->size = start;
    return put_boxes_of(w, obj, conn, depth);
}

/* Appends the box of the arguments of a request. */
static int
put_boxes(Writer *w, PyObject *args, PyObject *conn)
{
    if (PyTuple_GET_SIZE(args) &&
        (PyObject *)Py_TYPE(Py_TYPE(PyTuple_GET_ITEM(args, 0))) == netref_metaclass)
        return put_boxes_of(w, args, conn, BOXES);
    return put_box(w, args, conn, BOXES);
}

/* Skips an id pack of the usual form. */
static int
skip_id_pack(Reader *r)
{
    const unsigned char *d = r->data;
    Py_ssize_t at = r->at, end = r->end;
    int numbers;
    if (end - at < 5 || d[at] != 0x12 || d[at + 1] != 0x08 || d[at + 2] != 0x0e)
        return UNUSUAL;
    at += 4 + d[at + 3];
    for (numbers = 0; numbers < 2; numbers++) {
        if (end - at < 2)
            return UNUSUAL;
        if (d[at] == 0x16)
            at += 2 + d[at + 1];
        else if (numbers == 1 && d[at] == 0x50)
            at += 1;
        else
            return UNUSUAL;
    }
    if (at > end)
        return UNUSUAL;
    r->at = at;
    return OK;
}

static PyObject *
get_box(Reader *r, PyObject *lent, int *is_local, int depth);

/* Returns a tuple of boxes, behind its label. */
static PyObject *
get_boxes_of(Reader *r, PyObject *lent, int *first_is_local, int depth)
{
    Py_ssize_t i, size;
    PyObject *items;
    int local, tag = r->at < r->end ? r->data[r->at++] : 0;
    if (depth <= 0 || tag < 0x10 || tag > 0x14)
        return NULL;
    size = tag - 0x0f;
    if (tag == 0x14 && get_size(r, 0, &size))
        return NULL;
    items = PyTuple_New(size);
    if (items == NULL || size == 0)
        return items; /* the only empty tuple, which the collector never sees */
    PyObject_GC_UnTrack(items);
    for (i = 0; items != NULL && i < size; i++) {
        PyObject *item = get_box(r, lent, &local, depth - 1);
        if (item == NULL) {
            Py_CLEAR(items);
            break;
        }
        PyTuple_SET_ITEM(items, i, item);
        if (i == 0)
            *first_is_local = local;
    }
    if (items != NULL)
        PyObject_GC_Track(items); /* it may hold objects of this side */
    return items;
}

/* Returns what is in a box: an object of this side, a plain value, or a tuple of such things. */
static PyObject *
get_box(Reader *r, PyObject *lent, int *is_local, int depth)
{
    int ignored;
    const unsigned char *d = r->data + r->at;
    *is_local = 0;
    if (r->end - r->at < 3 || d[0] != 0x11)
        return NULL;
    r->at += 2;
    if (d[1] == 0x51)
        return get_value(r, DEPTH);
    if (d[1] == 0x52)
        return get_boxes_of(r, lent, &ignored, depth);
    if (d[1] == 0x53) {
        Py_ssize_t start = r->at;
        PyObject *key, *entry, *obj = NULL;
        if (skip_id_pack(r))
            return NULL;
        key = PyBytes_FromStringAndSize((const char *)r->data + start, r->at - start);
        if (key == NULL)
            return NULL;
        entry = PyDict_GetItemWithError(lent, key);
        Py_DECREF(key);
        if (entry != NULL) {
            Py_INCREF(entry);
            obj = PyObject_GetAttr(entry, object_name);
            Py_DECREF(entry);
        }
        *is_local = 1;
        return obj;
    }
    return NULL;
}

static PyObject *
get_boxes(Reader *r, PyObject *lent, int *first_is_local)
{
    const unsigned char *d = r->data + r->at;
    PyObject *items;
    *first_is_local = 0;
    if (r->end - r->at < 3 || d[0] != 0x11)
        return NULL;
    r->at += 2;
    if (d[1] == 0x52)
        return get_boxes_of(r, lent, first_is_local, BOXES);
    items = d[1] == 0x51 ? get_value(r, DEPTH) : NULL;
    if (items != NULL && !PyTuple_CheckExact(items))
        Py_CLEAR(items);
    return items;
}

typedef struct {
    PyObject_HEAD
    PyObject *conn;    /* whose proxies go home as such */
    PyObject *lent;    /* dict of objects lent to the peer, by the brine of their id packs */
    PyObject *serving; /* set of the numbers of requests that are not answered yet */
    PyObject *lend;    /* gives the box of a reference to an object, or None */
    PyObject *receive; /* gives the proxy for the brine of an id pack, or None */
    PyObject *take_back; /* is told the brine of an id pack, and how many references come back */
    Py_ssize_t max_serving;
    Py_ssize_t unmetered; /* bytes of the largest message whose memory need not be counted */
} Messages;

static int
messages_init(Messages *self, PyObject *args, PyObject *names)
{
    PyObject *conn, *lent, *serving, *lend, *receive, *take_back;
    Py_ssize_t max_serving, unmetered;
    if (names != NULL ||
        !PyArg_ParseTuple(args, "OO!O!nOOOn", &conn, &PyDict_Type, &lent, &PySet_Type, &serving,
                          &max_serving, &lend, &receive, &take_back, &unmetered))
        return -1;
    Py_XSETREF(self->conn, Py_NewRef(conn));
    Py_XSETREF(self->lent, Py_NewRef(lent));
    Py_XSETREF(self->serving, Py_NewRef(serving));
    Py_XSETREF(self->lend, Py_NewRef(lend));
    Py_XSETREF(self->receive, Py_NewRef(receive));
    Py_XSETREF(self->take_back, Py_NewRef(take_back));
    self->max_serving = max_serving;
    self->unmetered = unmetered;
    return 0;
}

/* disown(take_back): forget the connection, which is gone: none of its proxies goes home any more.
   Another function is told what comes back. */
static PyObject *
messages_disown(Messages *self, PyObject *take_back)
{
    Py_CLEAR(self->conn);
    Py_XSETREF(self->take_back, Py_NewRef(take_back));
    Py_RETURN_NONE;
}

static int
messages_traverse(Messages *self, visitproc visit, void *arg)
{
    Py_VISIT(self->conn);
    Py_VISIT(self->lent);
    Py_VISIT(self->serving);
    Py_VISIT(self->lend);
    Py_VISIT(self->receive);
    Py_VISIT(self->take_back);
    return 0;
}

static int
messages_clear(Messages *self)
{
    Py_CLEAR(self->conn);
    Py_CLEAR(self->lent);
    Py_CLEAR(self->serving);
    Py_CLEAR(self->lend);
    Py_CLEAR(self->receive);
    Py_CLEAR(self->take_back);
    return 0;
}

static void
messages_dealloc(Messages *self)
{
    PyObject_GC_UnTrack(self);
    messages_clear(self);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static int
begin_message(Writer *w, int framed, int kind)
{
    writer_begin(w);
    return (framed && put(w, "\0\0\0\0\0", 5)) || put_byte(w, kind) || put_byte(w, 0x11);
}

/* Returns the message, or None if it could not be written: then the pure half is to do it. */
static PyObject *
end_message(Writer *w, int framed, int written, Py_ssize_t most)
{
    PyObject *made = NULL;
    if (written && framed) {
        Py_ssize_t size = w->size - 5;
        written = size <= most && put_byte(w, '\n') == OK;
        w->data[0] = (char)(size >> 24);
        w->data[1] = (char)(size >> 16);
        w->data[2] = (char)(size >> 8);
        w->data[3] = (char)size;
    }
    if (written)
        made = PyBytes_FromStringAndSize(w->data, w->size);
    writer_end(w);
    if (made != NULL)
        return made;
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_Exception))
        return NULL;
    PyErr_Clear();
    Py_RETURN_NONE;
}

/* request(framed, id, handler, args, cause, batch): the message, or None for what is unusual.

   `cause` is a number or None. `batch` gives the brine of the references that are given back along
   with the request, or is None; it is called when the rest has been written. */
static PyObject *
messages_request(Messages *self, PyObject *const *args, Py_ssize_t count)
{
    Writer w;
    int written, framed;
    if (count != 6 || !PyLong_CheckExact(args[1]) || !PyLong_CheckExact(args[2]) ||
        !PyTuple_CheckExact(args[3]))
        Py_RETURN_NONE;
    framed = args[0] == Py_True;
    written = begin_message(&w, framed, 1) == OK && put_int(&w, args[1]) == OK &&
              put_byte(&w, args[5] != Py_None ? 0x13 : args[4] != Py_None ? 0x12 : 0x11) == OK &&
              put_int(&w, args[2]) == OK && put_boxes(&w, args[3], self->conn) == OK;
    if (written && (args[4] != Py_None || args[5] != Py_None))
        written = put_value(&w, args[4], 0) == OK;
    if (written && args[5] != Py_None && (!framed || w.size <= UNCOMPRESSED)) {
        PyObject *batch = PyObject_CallNoArgs(args[5]);
        if (batch == NULL || !PyBytes_CheckExact(batch) ||
            put(&w, PyBytes_AS_STRING(batch), PyBytes_GET_SIZE(batch))) {
            writer_end(&w);
            Py_XDECREF(batch);
            return PyErr_Occurred() ? NULL : PyErr_NoMemory();
        }
        Py_DECREF(batch);
    }
    else if (args[5] != Py_None)
        written = 0;
    /* A batch that has been taken must go: then the frame may be larger. */
    return end_message(&w, framed, written, args[5] == Py_None ? UNCOMPRESSED : 0x7fffffff);
}

/* reply(framed, id, value): the message, or None for what is unusual.

   With the message the request is noted as answered. */
static PyObject *
messages_reply(Messages *self, PyObject *const *args, Py_ssize_t count)
{
    Writer w;
    PyObject *made;
    int framed = count == 3 && args[0] == Py_True;
    int written = count == 3 && PyLong_CheckExact(args[1]);
    Py_ssize_t most = UNCOMPRESSED;
    written = begin_message(&w, framed, 2) == OK && written && put_int(&w, args[1]) == OK;
    if (written && is_plain(Py_TYPE(args[2])))
        written = put(&w, "\x11\x51", 2) == OK && put_value(&w, args[2], DEPTH) == OK;
    else if (written) {
        PyObject *box = PyObject_CallOneArg(self->lend, args[2]);
        if (box == NULL) {
            writer_end(&w);
            return NULL;
        }
        written = PyBytes_CheckExact(box) &&
                  put(&w, PyBytes_AS_STRING(box), PyBytes_GET_SIZE(box)) == OK;
        most = 0x7fffffff; /* a reference that has been counted must go */
        Py_DECREF(box);
    }
    made = end_message(&w, framed, written, most);
    if (made != NULL && made != Py_None && PySet_Discard(self->serving, args[1]) < 0)
        Py_CLEAR(made);
    return made;
}

/* Notes a request that is to be answered; one that must not come is unusual. */
static int
serve(Messages *self, PyObject *id)
{
    int known = PySet_Contains(self->serving, id);
    if (known != 0 || PySet_GET_SIZE(self->serving) >= self->max_serving)
        return UNUSUAL;
    return PySet_Add(self->serving, id) ? UNUSUAL : OK;
}

/* Returns the proxy for the id pack that is all that is left; None or NULL for what is unusual. */
static PyObject *
get_proxy(Messages *self, Reader *r)
{
    Py_ssize_t start = r->at;
    PyObject *raw, *proxy;
    if (skip_id_pack(r) || r->at != r->end)
        return NULL;
    raw = PyBytes_FromStringAndSize((const char *)r->data + start, r->at - start);
    proxy = raw == NULL ? NULL : PyObject_CallOneArg(self->receive, raw);
    Py_XDECREF(raw);
    return proxy;
}

/* Goes over a batch of references that come back; takes them back if `really`. */
static int
walk_batch(Messages *self, Reader *r, int really)
{
    Py_ssize_t size;
    int tag = r->at < r->end ? r->data[r->at++] : 0;
    if (tag == 0x02)
        size = 0;
    else if (0x10 <= tag && tag <= 0x13)
        size = tag - 0x0f;
    else if ((tag != 0x14 && tag != 0x15) || get_size(r, tag == 0x15, &size))
        return UNUSUAL;
    for (; size > 0; size--) {
        Py_ssize_t start = r->at + 1, end;
        PyObject *count, *raw, *done;
        if (r->at >= r->end || r->data[r->at++] != 0x11 || skip_id_pack(r))
            return UNUSUAL;
        end = r->at;
        count = get_value(r, 0);
        if (count == NULL || !PyLong_CheckExact(count)) {
            Py_XDECREF(count);
            return UNUSUAL;
        }
        if (really) {
            raw = PyBytes_FromStringAndSize((const char *)r->data + start, end - start);
            PyObject *take_back = Py_NewRef(self->take_back); /* another thread may disown */
            done = raw == NULL ? NULL : PyObject_CallFunctionObjArgs(take_back, raw, count, NULL);
            Py_DECREF(take_back);
            Py_XDECREF(raw);
            if (done == NULL) {
                Py_DECREF(count);
                return UNUSUAL;
            }
            Py_DECREF(done);
        }
        Py_DECREF(count);
    }
    return OK;
}

/* open(payload): (REPLY, id, value), (CALL, id, (handler, cause, 0, 0), args), or None for what is
   unusual.

   References are looked up and not counted: a message with references to be counted is unusual. */
static PyObject *
open_message(Messages *self, const unsigned char *data, Py_ssize_t size)
{
    Reader r = {data, 0, size};
    PyObject *id = NULL, *body = NULL, *cause = NULL, *target;
    int kind, handler = 0, local, shape = 0x11;
    if (size < 6 || size > self->unmetered || data[1] != 0x11)
        Py_RETURN_NONE;
    kind = r.data[r.at];
    r.at += 2;
    id = get_value(&r, 0);
    if (id == NULL || !PyLong_CheckExact(id) || r.end - r.at < 3)
        goto unusual;
    if (kind == 2) {
        if (r.data[r.at] != 0x11)
            goto unusual;
        r.at += 2;
        if (r.data[r.at - 1] == 0x51) {
            body = get_value(&r, DEPTH);
            if (body == NULL || r.at != r.end)
                goto unusual;
        }
        else if (r.data[r.at - 1] == 0x54) {
            body = get_proxy(self, &r);
            if (body == NULL || body == Py_None)
                goto unusual;
        }
        else
            goto unusual;
        return Py_BuildValue("(ONN)", kind_reply, id, body);
    }
    if (kind != 1)
        goto unusual;
    shape = r.data[r.at];
    handler = r.data[r.at + 1] - 0x50;
    r.at += 2;
    if (shape < 0x11 || shape > 0x13 || handler < 0 || handler > 159 || special[handler])
        goto unusual;
    if (shape == 0x11 && handler < SMALL)
        target = Py_NewRef(targets[handler]);
    else
        target = NULL;
    body = get_boxes(&r, self->lent, &local);
    if (body == NULL || (on_objects[handler] && !local)) {
        Py_XDECREF(target);
        goto unusual;
    }
    if (target == NULL) {
        cause = shape == 0x11 ? Py_NewRef(Py_None) : get_value(&r, 0);
        if (cause != NULL)
            target = Py_BuildValue("(iNii)", handler, cause, 0, 0);
        if (target == NULL)
            goto unusual;
    }
    if (shape == 0x13) {
        Reader again = r;
        int failed = walk_batch(self, &again, 0) || again.at != again.end || serve(self, id);
        if (!failed && walk_batch(self, &r, 1)) {
            Py_DECREF(target);
            Py_DECREF(id);
            Py_DECREF(body);
            return NULL;
        }
        if (failed)
            r.at = -1;
    }
    else if (r.at != r.end || serve(self, id))
        r.at = -1;
    if (r.at < 0) {
        Py_DECREF(target);
        goto unusual;
    }
    return Py_BuildValue("(ONNN)", kind_call, id, target, body);
unusual:
    Py_XDECREF(id);
    Py_XDECREF(body);
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_Exception))
        return NULL;
    PyErr_Clear();
    Py_RETURN_NONE;
}

static PyObject *
messages_open(Messages *self, PyObject *payload)
{
    if (!PyBytes_CheckExact(payload))
        Py_RETURN_NONE;
    return open_message(self, (const unsigned char *)PyBytes_AS_STRING(payload),
                        PyBytes_GET_SIZE(payload));
}

/* open_frames(bytes): the message of exactly one whole frame; a list of the messages of the usual
   frames at the beginning, and the number of bytes that these are; or None if there is none. */
static PyObject *
messages_open_frames(Messages *self, PyObject *bytes)
{
    const unsigned char *data;
    PyObject *message, *number, *messages = NULL;
    Py_ssize_t at = 0, end, size;
    int failed;
    if (!PyBytes_CheckExact(bytes))
        Py_RETURN_NONE;
    data = (const unsigned char *)PyBytes_AS_STRING(bytes);
    end = PyBytes_GET_SIZE(bytes);
    while (end - at >= 12) {
        const unsigned char *head = data + at;
        size = ((Py_ssize_t)head[0] << 24) | (head[1] << 16) | (head[2] << 8) | head[3];
        if (head[4] != 0 || size < 6 || size > end - at - 6 || head[5 + size] != '\n')
            break;
        message = open_message(self, head + 5, size);
        if (message == NULL) {
            Py_XDECREF(messages);
            return NULL;
        }
        if (message == Py_None) {
            Py_DECREF(message);
            break;
        }
        at += size + 6;
        if (messages == NULL && at == end)
            return message;
        if (messages == NULL)
            messages = PyList_New(0);
        failed = messages == NULL || PyList_Append(messages, message);
        Py_DECREF(message);
        if (failed) {
            Py_XDECREF(messages);
            return NULL;
        }
    }
    if (messages == NULL)
        Py_RETURN_NONE;
    number = PyLong_FromSsize_t(at);
    failed = number == NULL || PyList_Append(messages, number);
    Py_XDECREF(number);
    if (failed)
        Py_CLEAR(messages);
    return messages;
}

static PyMethodDef messages_methods[] = {
    {"request", (PyCFunction)(void (*)(void))messages_request, METH_FASTCALL, NULL},
    {"reply", (PyCFunction)(void (*)(void))messages_reply, METH_FASTCALL, NULL},
    {"open", (PyCFunction)messages_open, METH_O, NULL},
    {"disown", (PyCFunction)messages_disown, METH_O, NULL},
    {"open_frames", (PyCFunction)messages_open_frames, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject messages_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "rpyc_like._native.codec.Messages",
    .tp_basicsize = sizeof(Messages),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = PyType_GenericNew,
    .tp_init = (initproc)messages_init,
    .tp_dealloc = (destructor)messages_dealloc,
    .tp_traverse = (traverseproc)messages_traverse,
    .tp_clear = (inquiry)messages_clear,
    .tp_methods = messages_methods,
};

/* -- the module */

static int
mark(unsigned char *table, PyObject *numbers)
{
    PyObject *number, *iterator = PyObject_GetIter(numbers);
    if (iterator == NULL)
        return -1;
    memset(table, 0, 160);
    while ((number = PyIter_Next(iterator)) != NULL) {
        long value = PyLong_AsLong(number);
        Py_DECREF(number);
        if (0 <= value && value < 160)
            table[value] = 1;
    }
    Py_DECREF(iterator);
    return PyErr_Occurred() ? -1 : 0;
}

/* configure_brine(dump_small, load_at, load, dumpable, own dumps, count_memory): the pure functions
   that do what is unusual, the dict of types that a program has added, and what refuses brine that
   takes too much memory. */
static PyObject *
codec_configure_brine(PyObject *self, PyObject *args)
{
    PyObject *dump, *load_at, *load, *dumpable, *own, *count;
    if (!PyArg_ParseTuple(args, "OOOOO!O", &dump, &load_at, &load, &dumpable, &PyDict_Type, &own,
                          &count))
        return NULL;
    Py_XSETREF(count_memory, Py_NewRef(count));
    Py_XSETREF(pure_dumpable, Py_NewRef(dumpable));
    Py_XSETREF(own_dumps, Py_NewRef(own));
    Py_XSETREF(pure_dump_small, Py_NewRef(dump));
    Py_XSETREF(pure_load_at, Py_NewRef(load_at));
    Py_XSETREF(pure_load, Py_NewRef(load));
    Py_RETURN_NONE;
}

/* configure_messages(metaclass, conn slot, boxed slot, handlers about objects, special handlers,
   REPLY, CALL) */
static PyObject *
codec_configure_messages(PyObject *self, PyObject *args)
{
    PyObject *metaclass, *conn, *boxed, *about_objects, *unusual, *reply, *call;
    int i;
    if (!PyArg_ParseTuple(args, "OOOOOOO", &metaclass, &conn, &boxed, &about_objects, &unusual,
                          &reply, &call))
        return NULL;
    if (Py_TYPE(conn)->tp_descr_get == NULL || Py_TYPE(boxed)->tp_descr_get == NULL) {
        PyErr_SetString(PyExc_TypeError, "expected descriptors");
        return NULL;
    }
    Py_XSETREF(netref_metaclass, Py_NewRef(metaclass));
    Py_XSETREF(get_conn, Py_NewRef(conn));
    Py_XSETREF(get_boxed, Py_NewRef(boxed));
    Py_XSETREF(kind_reply, Py_NewRef(reply));
    Py_XSETREF(kind_call, Py_NewRef(call));
    for (i = 0; i < SMALL; i++) {
        Py_XSETREF(targets[i], Py_BuildValue("(iOii)", i, Py_None, 0, 0));
        if (targets[i] == NULL)
            return NULL;
    }
    if (mark(on_objects, about_objects) || mark(special, unusual))
        return NULL;
    Py_RETURN_NONE;
}

#define ENTRY(name, flags) {#name, (PyCFunction)(void (*)(void))codec_##name, flags, NULL}
#define NAMED(name) ENTRY(name, METH_FASTCALL | METH_KEYWORDS)

static PyMethodDef methods[] = {
    NAMED(dump_small),
    NAMED(load_at),
    NAMED(load),
    {"dumpable", (PyCFunction)(void (*)(void))codec_dumpable, METH_FASTCALL | METH_KEYWORDS,
     "dumpable($module, obj)\n--\n\nReturns whether dump() accepts obj, its depth and digits aside."},
    {"price_at", codec_price_at, METH_VARARGS, NULL},
    {"plain_tuple", codec_plain_tuple, METH_O, NULL},
    {"measure", (PyCFunction)(void (*)(void))codec_measure, METH_FASTCALL, NULL},
    LOOKS_METHOD,
    {"configure_brine", codec_configure_brine, METH_VARARGS, NULL},
    {"configure_messages", codec_configure_messages, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static int
fill(PyObject *module)
{
    int tag;
    for (tag = 0x20; tag < 0xf0; tag++) {
        Py_XSETREF(small_ints[tag], PyLong_FromLong(tag - 0x50));
        if (small_ints[tag] == NULL)
            return -1;
    }
    object_name = PyUnicode_InternFromString("obj");
    return object_name == NULL ? -1 : PyModule_AddType(module, &messages_type);
}

DEFINE_MODULE(codec)
