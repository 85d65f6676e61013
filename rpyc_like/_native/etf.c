/* The compiled half of Erlang's external term format.

   It does what is usual, and nothing else: `rpyc_like.wire.etf.decoder` and
   `rpyc_like.wire.etf.encoder`, which have the format, start over with whatever is not. */

#include "account.h"
#include "buffer.h"
#include "module.h"
#include <stdint.h>

#define DEPTH 200 /* nesting from which the pure half, which does not recurse, takes over */

static PyObject *to_bytes, *bit_length, *little, *small[256];

/* -- reading */

/* Prices in bytes of memory: those of `rpyc_like.wire.etf.decoder`, which gives the reasons. */
enum {
    PLACE = 9,
    NUMBER = 32 + PLACE,
    BINARY = 80 + PLACE,
    CONTAINER = 64 + PLACE,
    MAP = 144 + PLACE,
    PAIR = 112,
    OPEN_PAIR = 72,
    KEY = 160,
    NEW_ATOM = 512,
    BIG = 48 + PLACE,
};

typedef struct {
    const unsigned char *data;
    Py_ssize_t at, end;
    Py_ssize_t owed; /* elements that containers still wait for; each takes a byte or more */
    Account account;
    PyObject *atoms, *new_atom, *list, *empty, *map, *binary; /* NULL: as Python has it */
    PyObject *special, *make_special;
    int cut; /* whether the bytes have ended too early */
} Reader;

/* Returns whether there are fewer bytes than that. */
static int
is_cut(Reader *r, Py_ssize_t bytes)
{
    if (r->end - r->at < bytes)
        r->cut = 1;
    return r->cut;
}

static int
get_number(Reader *r, int bytes, Py_ssize_t *number)
{
    Py_ssize_t value = 0;
    if (is_cut(r, bytes))
        return UNUSUAL;
    while (bytes--)
        value = (value << 8) | r->data[r->at++];
    *number = value;
    return OK;
}

static PyObject *
made_by(PyObject *make, PyObject *items)
{
    if (make == NULL || items == NULL)
        return items;
    Py_SETREF(items, PyObject_CallOneArg(make, items));
    return items;
}

static PyObject *get_term(Reader *r, int depth);

static PyObject *
get_atom(Reader *r, int tag)
{
    Py_ssize_t size, start = r->at - 1;
    PyObject *raw, *atom;
    if (get_number(r, tag == 100 || tag == 118 ? 2 : 1, &size) || size > r->end - r->at ||
        spend(&r->account, PLACE))
        return NULL;
    r->at += size;
    raw = PyBytes_FromStringAndSize((const char *)r->data + start, r->at - start);
    if (raw == NULL)
        return NULL;
    atom = PyDict_GetItemWithError(r->atoms, raw);
    if (atom != NULL)
        Py_INCREF(atom);
    else if (!PyErr_Occurred() && !spend(&r->account, NEW_ATOM + 4 * (r->at - start))) {
        PyObject *whole = PyLong_FromSsize_t(r->at - start);
        if (whole != NULL)
            atom = PyObject_CallFunctionObjArgs(r->new_atom, raw, whole, NULL);
        Py_XDECREF(whole);
    }
    Py_DECREF(raw);
    return atom;
}

/* Notes that a container waits for elements; returns whether there cannot be so many. */
static int
owe(Reader *r, Py_ssize_t count)
{
    if (is_cut(r, count) || count > r->end - r->at - r->owed)
        return UNUSUAL;
    r->owed += count;
    return OK;
}

/* Returns the next element of a container. */
static PyObject *
get_element(Reader *r, int depth)
{
    r->owed--;
    return get_term(r, depth);
}

static PyObject *
get_tuple(Reader *r, Py_ssize_t size, int depth)
{
    Py_ssize_t i;
    PyObject *items;
    if (depth <= 0 || owe(r, size) || spend(&r->account, CONTAINER))
        return NULL;
    items = PyTuple_New(size);
    for (i = 0; items != NULL && i < size; i++) {
        PyObject *item = get_element(r, depth - 1);
        if (item == NULL)
            Py_CLEAR(items);
        else
            PyTuple_SET_ITEM(items, i, item);
    }
    if (items != NULL && size == 3 && PyTuple_GET_ITEM(items, 0) == r->special)
        Py_SETREF(items, PyObject_CallOneArg(r->make_special, items));
    return items;
}

static PyObject *
get_list(Reader *r, Py_ssize_t size, int depth)
{
    Py_ssize_t i;
    PyObject *items;
    if (depth <= 0 || owe(r, size + 1) || spend(&r->account, CONTAINER))
        return NULL;
    items = PyList_New(size);
    for (i = 0; items != NULL && i < size; i++) {
        PyObject *item = get_element(r, depth - 1);
        if (item == NULL)
            Py_CLEAR(items);
        else
            PyList_SET_ITEM(items, i, item);
    }
    r->owed--;
    /* Another tail than the empty list is unusual. */
    if (items != NULL && (r->at >= r->end || r->data[r->at++] != 106))
        Py_CLEAR(items);
    return made_by(r->list, items);
}

static PyObject *
get_string(Reader *r)
{
    Py_ssize_t i, size;
    PyObject *items;
    if (get_number(r, 2, &size) || is_cut(r, size) ||
        spend(&r->account, CONTAINER + PLACE * size))
        return NULL;
    items = PyList_New(size);
    for (i = 0; items != NULL && i < size; i++)
        PyList_SET_ITEM(items, i, Py_NewRef(small[r->data[r->at++]]));
    return made_by(r->list, items);
}

/* Whether a map has a key as it is, so that it costs nothing beside. */
static int
is_plain(PyObject *key)
{
    return PyLong_CheckExact(key) || PyBytes_CheckExact(key) || PyUnicode_CheckExact(key);
}

static PyObject *
get_pair(Reader *r, int depth)
{
    PyObject *key = get_element(r, depth), *value = NULL, *pair = NULL;
    if (key != NULL && (is_plain(key) || !spend(&r->account, KEY)))
        value = get_element(r, depth);
    if (value != NULL)
        pair = PyTuple_Pack(2, key, value);
    Py_XDECREF(key);
    Py_XDECREF(value);
    return pair;
}

static PyObject *
get_map(Reader *r, Py_ssize_t size, int depth)
{
    Py_ssize_t i;
    PyObject *pairs;
    if (depth <= 0 || owe(r, 2 * size) || spend(&r->account, MAP + (PAIR + OPEN_PAIR) * size))
        return NULL;
    pairs = PyList_New(size);
    for (i = 0; pairs != NULL && i < size; i++) {
        PyObject *pair = get_pair(r, depth - 1);
        if (pair == NULL)
            Py_CLEAR(pairs);
        else
            PyList_SET_ITEM(pairs, i, pair);
    }
    r->account.left += OPEN_PAIR * size;
    return made_by(r->map, pairs);
}

static PyObject *
get_big(Reader *r, int tag)
{
    Py_ssize_t size;
    PyObject *number, *negative;
    int sign;
    if (get_number(r, tag == 110 ? 1 : 4, &size) || is_cut(r, size + 1) ||
        spend(&r->account, BIG + 4 * size))
        return NULL;
    sign = r->data[r->at++];
    number = _PyLong_FromByteArray(r->data + r->at, size, 1, 0);
    r->at += size;
    if (number == NULL || !sign)
        return number;
    negative = PyNumber_Negative(number);
    Py_DECREF(number);
    return negative;
}

static PyObject *
get_float(Reader *r)
{
    uint64_t bits = 0;
    double value;
    int i;
    if (is_cut(r, 8) || spend(&r->account, NUMBER))
        return NULL;
    for (i = 0; i < 8; i++)
        bits = (bits << 8) | r->data[r->at++];
    memcpy(&value, &bits, 8);
    return Py_IS_FINITE(value) ? PyFloat_FromDouble(value) : NULL;
}

/* Returns a new reference; NULL, perhaps with an exception set, for what the pure half is to do. */
static PyObject *
get_term(Reader *r, int depth)
{
    Py_ssize_t size;
    int tag;
    if (is_cut(r, 1))
        return NULL;
    tag = r->data[r->at++];
    switch (tag) {
    case 97:
        return get_number(r, 1, &size) || spend(&r->account, PLACE) ? NULL
                                                                    : Py_NewRef(small[size]);
    case 98:
        return get_number(r, 4, &size) || spend(&r->account, NUMBER)
                   ? NULL
                   : PyLong_FromLong((int32_t)(uint32_t)size);
    case 100:
    case 115:
    case 118:
    case 119:
        return get_atom(r, tag);
    case 109: {
        PyObject *bytes;
        if (get_number(r, 4, &size) || is_cut(r, size) ||
            spend(&r->account, BINARY + (r->binary == NULL ? 1 : 4) * size))
            return NULL;
        bytes = PyBytes_FromStringAndSize((const char *)r->data + r->at, size);
        r->at += size;
        return made_by(r->binary, bytes);
    }
    case 104:
    case 105:
        return get_number(r, tag == 104 ? 1 : 4, &size) ? NULL : get_tuple(r, size, depth);
    case 106:
        if (spend(&r->account, r->list == NULL ? CONTAINER : PLACE))
            return NULL;
        return r->list == NULL ? PyList_New(0) : Py_NewRef(r->empty);
    case 107:
        return get_string(r);
    case 108:
        return get_number(r, 4, &size) ? NULL : get_list(r, size, depth);
    case 70:
        return get_float(r);
    case 116:
        return get_number(r, 4, &size) ? NULL : get_map(r, size, depth);
    case 110:
    case 111:
        return get_big(r, tag);
    default:
        return NULL;
    }
}

static PyObject *
unless_none(PyObject *maker)
{
    return maker == Py_None ? NULL : maker;
}

/* decode(bytes, start, makers, limit): the term that begins at `start`, and where it ends; or None
   for what is unusual, False if the bytes end too early. If it takes more memory than `limit` bytes:
   how many are left, below zero. The makers are atoms, new_atom, list, empty list, map, binary,
   special atom, and what makes something of a tuple that begins with it. */
static PyObject *
etf_decode(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    Reader r;
    PyObject *term;
    Py_ssize_t limit;
    if (count != 4 || !PyBytes_CheckExact(args[0]) || !PyLong_CheckExact(args[1]) ||
        !PyTuple_CheckExact(args[2]) || PyTuple_GET_SIZE(args[2]) != 8 ||
        !PyDict_CheckExact(PyTuple_GET_ITEM(args[2], 0))) {
        PyErr_SetString(PyExc_TypeError, "decode(bytes, start, makers, limit)");
        return NULL;
    }
    limit = PyLong_AsSsize_t(args[3]);
    if (limit == -1 && PyErr_Occurred())
        return NULL;
    account_begin(&r.account, limit);
    r.owed = 0;
    r.data = (const unsigned char *)PyBytes_AS_STRING(args[0]);
    r.at = PyLong_AsSsize_t(args[1]);
    r.end = PyBytes_GET_SIZE(args[0]);
    r.atoms = PyTuple_GET_ITEM(args[2], 0);
    r.new_atom = PyTuple_GET_ITEM(args[2], 1);
    r.list = unless_none(PyTuple_GET_ITEM(args[2], 2));
    r.empty = PyTuple_GET_ITEM(args[2], 3);
    r.map = PyTuple_GET_ITEM(args[2], 4);
    r.binary = unless_none(PyTuple_GET_ITEM(args[2], 5));
    r.special = PyTuple_GET_ITEM(args[2], 6);
    r.make_special = PyTuple_GET_ITEM(args[2], 7);
    r.cut = 0;
    term = r.at < 0 ? NULL : get_term(&r, DEPTH);
    if (term == NULL && !PyErr_Occurred() && r.account.left < 0)
        return PyLong_FromSsize_t(r.account.left);
    if (term == NULL && !PyErr_Occurred() && r.cut)
        Py_RETURN_FALSE;
    if (term == NULL)
        return made_or_none(NULL);
    return Py_BuildValue("(Nn)", term, r.at);
}

/* -- writing */

typedef struct {
    Writer out;
    PyObject *atom_type, *list_type, *none, *atoms, *rare;
    int as_binary;
} Printer;

static int
put_number(Printer *p, int tag, int bytes, Py_ssize_t number)
{
    char head[5];
    int i;
    head[0] = (char)tag;
    for (i = bytes; i > 0; i--, number >>= 8)
        head[i] = (char)number;
    return put(&p->out, head, 1 + bytes);
}

static int put_term(Printer *p, PyObject *term, int depth);

static int
put_object(Printer *p, PyObject *bytes)
{
    int failed = bytes == NULL || !PyBytes_Check(bytes) ||
                 put(&p->out, PyBytes_AS_STRING(bytes), PyBytes_GET_SIZE(bytes));
    Py_XDECREF(bytes);
    return failed;
}

static int
put_big(Printer *p, PyObject *number, int negative)
{
    PyObject *size = NULL, *bytes = NULL, *positive = PyNumber_Absolute(number);
    Py_ssize_t count = 0;
    int failed = UNUSUAL;
    if (positive != NULL)
        size = PyObject_CallOneArg(bit_length, positive);
    if (size != NULL) {
        count = (PyLong_AsSsize_t(size) + 7) / 8;
        Py_SETREF(size, PyLong_FromSsize_t(count));
    }
    if (size != NULL && count > 0)
        bytes = PyObject_CallFunctionObjArgs(to_bytes, positive, size, little, NULL);
    if (bytes != NULL && PyBytes_CheckExact(bytes))
        failed = put_number(p, count < 256 ? 110 : 111, count < 256 ? 1 : 4, count) ||
                 put_byte(&p->out, negative) ||
                 put(&p->out, PyBytes_AS_STRING(bytes), PyBytes_GET_SIZE(bytes));
    Py_XDECREF(positive);
    Py_XDECREF(size);
    Py_XDECREF(bytes);
    return failed;
}

static int
put_integer(Printer *p, PyObject *number)
{
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(number, &overflow);
    if (overflow)
        return put_big(p, number, overflow < 0);
    if (0 <= value && value <= 255)
        return put_number(p, 97, 1, value);
    if (INT32_MIN <= value && value <= INT32_MAX)
        return put_number(p, 98, 4, value);
    return put_big(p, number, value < 0);
}

static int
put_float(Printer *p, PyObject *number)
{
    double value = PyFloat_AS_DOUBLE(number);
    uint64_t bits;
    char whole[9];
    int i;
    if (!Py_IS_FINITE(value))
        return UNUSUAL;
    memcpy(&bits, &value, 8);
    whole[0] = 70;
    for (i = 8; i > 0; i--, bits >>= 8)
        whole[i] = (char)bits;
    return put(&p->out, whole, 9);
}

static int
put_text(Printer *p, PyObject *text)
{
    Py_ssize_t size;
    const char *bytes;
    if (p->as_binary) {
        bytes = PyUnicode_AsUTF8AndSize(text, &size);
        return bytes == NULL || size > UINT32_MAX || put_number(p, 109, 4, size) ||
               put(&p->out, bytes, size);
    }
    size = PyUnicode_GET_LENGTH(text);
    if (size == 0)
        return put_byte(&p->out, 106);
    if (PyUnicode_KIND(text) != PyUnicode_1BYTE_KIND || size > 0xffff)
        return UNUSUAL;
    return put_number(p, 107, 2, size) || put(&p->out, (const char *)PyUnicode_1BYTE_DATA(text), size);
}

/* Writes a list of bytes as such; sets *done if it is one. */
static int
put_string(Printer *p, PyObject *list, int *done)
{
    Py_ssize_t i, size = PyList_GET_SIZE(list), before = p->out.size;
    *done = 0;
    if (size > 0xffff)
        return OK;
    if (put_number(p, 107, 2, size) || reserve(&p->out, size))
        return UNUSUAL;
    for (i = 0; i < size; i++) {
        PyObject *item = PyList_GET_ITEM(list, i);
        int overflow;
        long long value;
        if (!PyLong_CheckExact(item))
            break;
        value = PyLong_AsLongLongAndOverflow(item, &overflow);
        if (overflow || value < 0 || value > 255)
            break;
        p->out.data[p->out.size++] = (char)value;
    }
    *done = i == size;
    if (!*done)
        p->out.size = before;
    return OK;
}

static int
put_list(Printer *p, PyObject *list, int depth)
{
    Py_ssize_t i, size = PyList_GET_SIZE(list);
    int failed, done;
    if (size == 0)
        return put_byte(&p->out, 106);
    if (depth <= 0 || size > UINT32_MAX || put_string(p, list, &done))
        return UNUSUAL;
    if (done)
        return OK;
    if (put_number(p, 108, 4, size))
        return UNUSUAL;
    for (i = 0; i < size && size == PyList_GET_SIZE(list); i++) {
        PyObject *item = PyList_GET_ITEM(list, i);
        Py_INCREF(item);
        failed = put_term(p, item, depth - 1);
        Py_DECREF(item);
        if (failed)
            return UNUSUAL;
    }
    return i != size || put_byte(&p->out, 106);
}

static int
put_tuple(Printer *p, PyObject *tuple, int depth)
{
    Py_ssize_t i, size = PyTuple_GET_SIZE(tuple);
    if (depth <= 0 || size > UINT32_MAX ||
        put_number(p, size < 256 ? 104 : 105, size < 256 ? 1 : 4, size))
        return UNUSUAL;
    for (i = 0; i < size; i++)
        if (put_term(p, PyTuple_GET_ITEM(tuple, i), depth - 1))
            return UNUSUAL;
    return OK;
}

static int
put_term(Printer *p, PyObject *term, int depth)
{
    PyTypeObject *kind = Py_TYPE(term);
    if (kind == &PyLong_Type)
        return put_integer(p, term);
    if ((PyObject *)kind == p->atom_type)
        return put_object(p, PyObject_GetItem(p->atoms, term));
    if (kind == &PyBytes_Type) {
        Py_ssize_t size = PyBytes_GET_SIZE(term);
        return size > UINT32_MAX || put_number(p, 109, 4, size) ||
               put(&p->out, PyBytes_AS_STRING(term), size);
    }
    if (kind == &PyTuple_Type)
        return put_tuple(p, term, depth);
    if (kind == &PyList_Type || ((PyObject *)kind == p->list_type && PyList_Check(term)))
        return put_list(p, term, depth);
    if (kind == &PyUnicode_Type)
        return put_text(p, term);
    if (kind == &PyFloat_Type)
        return put_float(p, term);
    if (term == Py_True)
        return put(&p->out, "d\0\4true", 7);
    if (term == Py_False)
        return put(&p->out, "d\0\5false", 8);
    if (term == Py_None)
        return put(&p->out, PyBytes_AS_STRING(p->none), PyBytes_GET_SIZE(p->none));
    if (depth == DEPTH || depth <= 0)
        return UNUSUAL;
    return put_object(p, PyObject_CallOneArg(p->rare, term));
}

/* encode(term, (atom type, list type, none, as binary, atoms, rare), versioned): the bytes, after
   the version if that is wanted; or None for what is unusual. `rare` writes what is, inside of what
   is not. */
static PyObject *
etf_encode(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    Printer p;
    PyObject *made = NULL;
    if (count != 3 || !PyTuple_CheckExact(args[1]) || PyTuple_GET_SIZE(args[1]) != 6 ||
        !PyBytes_CheckExact(PyTuple_GET_ITEM(args[1], 2))) {
        PyErr_SetString(PyExc_TypeError, "encode(term, settings, versioned)");
        return NULL;
    }
    writer_begin(&p.out);
    p.atom_type = PyTuple_GET_ITEM(args[1], 0);
    p.list_type = PyTuple_GET_ITEM(args[1], 1);
    p.none = PyTuple_GET_ITEM(args[1], 2);
    p.as_binary = PyTuple_GET_ITEM(args[1], 3) == Py_True;
    p.atoms = PyTuple_GET_ITEM(args[1], 4);
    p.rare = PyTuple_GET_ITEM(args[1], 5);
    if ((args[2] != Py_True || put_byte(&p.out, 131) == OK) && put_term(&p, args[0], DEPTH) == OK)
        made = PyBytes_FromStringAndSize(p.out.data, p.out.size);
    writer_end(&p.out);
    return made_or_none(made);
}

static PyMethodDef methods[] = {
    {"decode", (PyCFunction)(void (*)(void))etf_decode, METH_FASTCALL, NULL},
    {"encode", (PyCFunction)(void (*)(void))etf_encode, METH_FASTCALL, NULL},
    LOOKS_METHOD,
    {NULL, NULL, 0, NULL},
};

static int
fill(PyObject *module)
{
    int i;
    for (i = 0; i < 256; i++)
        if ((small[i] = PyLong_FromLong(i)) == NULL)
            return -1;
    to_bytes = PyObject_GetAttrString((PyObject *)&PyLong_Type, "to_bytes");
    bit_length = PyObject_GetAttrString((PyObject *)&PyLong_Type, "bit_length");
    little = PyUnicode_InternFromString("little");
    return to_bytes == NULL || bit_length == NULL || little == NULL ? -1 : 0;
}

DEFINE_MODULE(etf)
