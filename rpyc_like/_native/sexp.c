/* The compiled half of EPC's values: what Emacs prints, read and written.

   It does what is usual, and nothing else: `rpyc_like.wire.sexp.reader` and `rpyc_like.wire.sexp.writer`, which
   have the syntax, start over with whatever is not. */

#include "account.h"
#include "buffer.h"
#include "module.h"
#include <stdint.h>

#define DEPTH 200 /* nesting from which the pure half, which does not recurse, takes over */

/* -- reading */

/* Prices in bytes of memory: those of `rpyc_like.wire.sexp.reader`. */
enum {
    PLACE = 9,
    NUMBER = 32 + PLACE,
    TEXT = 80 + PLACE,
    LIST = 96 + PLACE,
    VECTOR = 160 + PLACE,
    SYMBOL = 320,
};

typedef struct {
    const char *text;
    Py_ssize_t at, end;
    PyObject *nil, *words, *word, *vector;
    Account account;
} Reader;

static int
is_space(unsigned char c)
{
    return c <= 0x20;
}

/* Whether a character ends a number or a symbol. */
static int
is_end(unsigned char c)
{
    return c <= 0x20 || c == '"' || c == '\'' || c == ';' || c == '(' || c == ')' || c == '[' ||
           c == ']' || c == '#' || c == '`' || c == ',';
}

static PyObject *
new_nil(Reader *r)
{
    return r->nil == (PyObject *)&PyList_Type ? PyList_New(0) : PyObject_CallNoArgs(r->nil);
}

/* Returns a text of bytes in UTF-8. */
static PyObject *
new_text(Reader *r, const char *bytes, Py_ssize_t size)
{
    Py_ssize_t i = 0;
    while (i < size && !(bytes[i] & 0x80))
        i++;
    if (spend(&r->account, TEXT + (i == size ? 1 : 4) * size))
        return NULL;
    return PyUnicode_DecodeUTF8(bytes, size, NULL);
}

static PyObject *
read_string(Reader *r)
{
    const char *start = r->text + r->at, *stop = r->text + r->end, *from;
    const char *quote = memchr(start, '"', stop - start);
    char *made, *to;
    PyObject *text;
    if (quote == NULL)
        return NULL;
    if (memchr(start, '\\', quote - start) == NULL) {
        r->at = quote + 1 - r->text;
        return new_text(r, start, quote - start);
    }
    for (quote = start; quote < stop && *quote != '"'; quote++)
        if (*quote == '\\')
            quote++;
    if (quote >= stop)
        return NULL;
    made = to = PyMem_Malloc(quote - start);
    if (made == NULL)
        return NULL;
    for (from = start; from < quote; from++) {
        if (*from != '\\') {
            *to++ = *from;
            continue;
        }
        switch (*++from) {
        case '\\':
        case '"':
            *to++ = *from;
            break;
        case 'n':
            *to++ = '\n';
            break;
        case 't':
            *to++ = '\t';
            break;
        case 'r':
            *to++ = '\r';
            break;
        case 'f':
            *to++ = '\f';
            break;
        case 'b':
            *to++ = '\b';
            break;
        default:
            PyMem_Free(made);
            return NULL;
        }
    }
    text = new_text(r, made, to - made);
    PyMem_Free(made);
    r->at = quote + 1 - r->text;
    return text;
}

/* Returns the number that a word is if it has one of the two usual forms. */
static PyObject *
usual_number(const char *word, Py_ssize_t size)
{
    Py_ssize_t i = word[0] == '-', digits = 0;
    long long value = 0;
    char text[64];
    for (; i < size && '0' <= word[i] && word[i] <= '9'; i++, digits++)
        if (digits < 18)
            value = value * 10 + (word[i] - '0');
    if (digits == 0)
        return NULL;
    if (i == size)
        return digits > 18 ? NULL : PyLong_FromLongLong(word[0] == '-' ? -value : value);
    if (word[i] != '.' || size >= (Py_ssize_t)sizeof(text))
        return NULL;
    for (digits = 0, i++; i < size && '0' <= word[i] && word[i] <= '9'; i++)
        digits++;
    if (digits == 0)
        return NULL;
    if (i < size) {
        if (word[i++] != 'e')
            return NULL;
        if (i < size && (word[i] == '-' || word[i] == '+'))
            i++;
        for (digits = 0; i < size && '0' <= word[i] && word[i] <= '9'; i++)
            digits++;
        if (digits == 0 || i < size)
            return NULL;
    }
    memcpy(text, word, size);
    text[size] = 0;
    {
        double number = PyOS_string_to_double(text, NULL, NULL);
        if (number == -1.0 && PyErr_Occurred())
            return NULL;
        return PyFloat_FromDouble(number);
    }
}

static PyObject *
read_word(Reader *r)
{
    const char *start = r->text + r->at;
    Py_ssize_t size = 0, left = r->end - r->at;
    PyObject *name, *value;
    for (; size < left && !is_end(start[size]); size++)
        if (start[size] == '\\' || (start[size] & 0x80))
            return NULL;
    r->at += size;
    if (start[0] == '?' || (size == 1 && start[0] == '.'))
        return NULL;
    if (start[0] == '-' || ('0' <= start[0] && start[0] <= '9')) {
        if (spend(&r->account, NUMBER))
            return NULL;
        value = usual_number(start, size);
        if (value != NULL || PyErr_Occurred())
            return value;
    }
    if (size == 3 && memcmp(start, "nil", 3) == 0)
        return spend(&r->account, LIST) ? NULL : new_nil(r);
    if (spend(&r->account, PLACE))
        return NULL;
    name = PyUnicode_DecodeASCII(start, size, NULL);
    if (name == NULL)
        return NULL;
    value = PyDict_GetItemWithError(r->words, name);
    if (value != NULL)
        Py_INCREF(value);
    else if (!PyErr_Occurred() && !spend(&r->account, SYMBOL + 8 * size))
        value = PyObject_CallOneArg(r->word, name);
    Py_DECREF(name);
    return value;
}

/* Reads values up to a bracket, or to the end; returns a list, NULL for what is unusual. */
static PyObject *
read_items(Reader *r, char closer, int depth)
{
    PyObject *items = PyList_New(0), *value;
    if (items == NULL || depth <= 0)
        goto unusual;
    for (;;) {
        unsigned char c;
        int failed;
        while (r->at < r->end && is_space(r->text[r->at]))
            r->at++;
        if (r->at == r->end) {
            if (closer)
                goto unusual;
            return items;
        }
        c = r->text[r->at];
        if (c == '(' || c == '[') {
            char end = c == '(' ? ')' : ']';
            if (spend(&r->account, c == '(' ? LIST : VECTOR))
                goto unusual;
            r->at++;
            value = read_items(r, end, depth - 1);
            if (value != NULL && c == '[')
                Py_SETREF(value, PyObject_CallOneArg(r->vector, value));
            else if (value != NULL && PyList_GET_SIZE(value) == 0 &&
                     r->nil != (PyObject *)&PyList_Type)
                Py_SETREF(value, new_nil(r));
        }
        else if (c == ')' || c == ']') {
            if (c != (unsigned char)closer)
                goto unusual;
            r->at++;
            return items;
        }
        else if (c == '"') {
            r->at++;
            value = read_string(r);
        }
        else if (is_end(c))
            goto unusual;
        else
            value = read_word(r);
        if (value == NULL)
            goto unusual;
        failed = PyList_Append(items, value);
        Py_DECREF(value);
        if (failed)
            goto unusual;
    }
unusual:
    Py_XDECREF(items);
    return NULL;
}

/* read_all(text, nil, words, word, vector, limit): a list of the values, or None for what is unusual.
   If they take more memory than `limit` bytes: how many are left, below zero. */
static PyObject *
sexp_read_all(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    Reader r;
    PyObject *found;
    Py_ssize_t limit;
    if (count != 6 || !PyUnicode_CheckExact(args[0]) || !PyDict_CheckExact(args[2])) {
        PyErr_SetString(PyExc_TypeError, "read_all(str, nil, dict, word, vector, limit)");
        return NULL;
    }
    limit = PyLong_AsSsize_t(args[5]);
    if (limit == -1 && PyErr_Occurred())
        return NULL;
    account_begin(&r.account, limit);
    r.text = PyUnicode_AsUTF8AndSize(args[0], &r.end);
    if (r.text == NULL)
        return made_or_none(NULL);
    r.at = 0;
    r.nil = args[1];
    r.words = args[2];
    r.word = args[3];
    r.vector = args[4];
    found = read_items(&r, 0, DEPTH);
    if (found == NULL && !PyErr_Occurred() && r.account.left < 0)
        return PyLong_FromSsize_t(r.account.left);
    return made_or_none(found);
}

/* -- writing */

typedef struct {
    Writer out;
    PyObject *symbol_type, *symbol;
} Printer;

static int print_value(Printer *p, PyObject *value, int depth);

/* What each byte of a text is written as: a byte, or a backslash and a letter, and how many. */
static struct {
    char written[2];
    unsigned char size;
} escapes[256];

static void
fill_escapes(void)
{
    static const char special[] = "\"\\\n\t\r\b\f", letters[] = "\"\\ntrbf";
    int i;
    for (i = 0; i < 256; i++) {
        escapes[i].written[0] = (char)i;
        escapes[i].size = 1;
    }
    for (i = 0; special[i]; i++) {
        int byte = (unsigned char)special[i];
        escapes[byte].written[0] = '\\';
        escapes[byte].written[1] = letters[i];
        escapes[byte].size = 2;
    }
}

/* Returns whether none of eight characters is escaped: none is below 32, a quote or a backslash. */
static int
is_clean(const char *bytes)
{
    const uint64_t ones = 0x0101010101010101ULL, high = 0x8080808080808080ULL;
    uint64_t eight, quotes, slashes;
    memcpy(&eight, bytes, 8);
    quotes = eight ^ (ones * '"');
    slashes = eight ^ (ones * '\\');
    return !((((eight - ones * 32) & ~eight) | ((quotes - ones) & ~quotes) |
              ((slashes - ones) & ~slashes)) &
             high);
}

static int
print_string(Printer *p, PyObject *text)
{
    Py_ssize_t size;
    const char *from = PyUnicode_AsUTF8AndSize(text, &size), *end;
    char *to;
    if (from == NULL || reserve(&p->out, 2 * size + 3))
        return UNUSUAL;
    end = from + size;
    to = p->out.data + p->out.size;
    *to++ = '"';
    while (from < end) {
        const char *stop = end - from < 8 ? end : from + 8;
        if (end - from >= 8 && is_clean(from)) {
            memcpy(to, from, 8);
            to += 8;
            from += 8;
        }
        for (; from < stop; from++) {
            unsigned char byte = (unsigned char)*from;
            memcpy(to, escapes[byte].written, 2);
            to += escapes[byte].size;
        }
    }
    *to++ = '"';
    p->out.size = to - p->out.data;
    return OK;
}

/* Writes what a function of the pure half makes of a symbol. */
static int
print_symbol(Printer *p, PyObject *value)
{
    Py_ssize_t size;
    const char *text;
    PyObject *made = PyObject_CallOneArg(p->symbol, value);
    int failed = made == NULL || !PyUnicode_CheckExact(made) ||
                 (text = PyUnicode_AsUTF8AndSize(made, &size)) == NULL || put(&p->out, text, size);
    Py_XDECREF(made);
    return failed;
}

/* Whether a value may be the dot of a dotted list. */
static int
may_be_dot(Printer *p, PyObject *value)
{
    Py_ssize_t before = p->out.size;
    int dot;
    if ((PyObject *)Py_TYPE(value) != p->symbol_type)
        return 0;
    dot = print_symbol(p, value) || (p->out.size - before == 2 && p->out.data[before] == '\\' &&
                                     p->out.data[before + 1] == '.');
    p->out.size = before;
    return dot;
}

static int
print_list(Printer *p, PyObject *list, int depth)
{
    Py_ssize_t i;
    int failed, is_list = PyList_CheckExact(list);
    if (depth <= 0 || put_byte(&p->out, '('))
        return UNUSUAL;
    for (i = 0; i < (is_list ? PyList_GET_SIZE(list) : PyTuple_GET_SIZE(list)); i++) {
        PyObject *item = is_list ? PyList_GET_ITEM(list, i) : PyTuple_GET_ITEM(list, i);
        Py_INCREF(item);
        failed = (i && put_byte(&p->out, ' ')) ||
                 (i && i == Py_SIZE(list) - 2 && may_be_dot(p, item)) ||
                 print_value(p, item, depth - 1);
        Py_DECREF(item);
        if (failed)
            return UNUSUAL;
    }
    return put_byte(&p->out, ')');
}

/* Writes a key of a property list that needs no thought. */
static int
print_key(Printer *p, PyObject *key)
{
    Py_ssize_t size, i;
    const char *text;
    if (!PyUnicode_CheckExact(key) || !PyUnicode_IS_ASCII(key))
        return UNUSUAL;
    text = PyUnicode_AsUTF8AndSize(key, &size);
    for (i = 0; i < size; i++)
        if (!Py_ISALNUM(text[i]) && text[i] != '-' && text[i] != '_')
            return UNUSUAL;
    return put_byte(&p->out, ':') || put(&p->out, text, size);
}

static int
print_dict(Printer *p, PyObject *dict, int depth)
{
    Py_ssize_t at = 0;
    PyObject *key, *value;
    int first = 1, failed;
    if (depth <= 0 || put_byte(&p->out, '('))
        return UNUSUAL;
    while (PyDict_Next(dict, &at, &key, &value)) {
        Py_INCREF(value);
        failed = (!first && put_byte(&p->out, ' ')) || print_key(p, key) ||
                 put_byte(&p->out, ' ') || print_value(p, value, depth - 1);
        Py_DECREF(value);
        if (failed)
            return UNUSUAL;
        first = 0;
    }
    return put_byte(&p->out, ')');
}

static int
print_int(Printer *p, PyObject *value)
{
    int overflow;
    char digits[24], *at = digits + sizeof(digits);
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    unsigned long long left = number < 0 ? 0 - (unsigned long long)number : (unsigned long long)number;
    if (overflow)
        return UNUSUAL;
    do
        *--at = (char)('0' + left % 10);
    while (left /= 10);
    if (number < 0)
        *--at = '-';
    return put(&p->out, at, digits + sizeof(digits) - at);
}

static int
print_float(Printer *p, PyObject *value)
{
    double number = PyFloat_AS_DOUBLE(value);
    char *text;
    int failed;
    if (!Py_IS_FINITE(number))
        return UNUSUAL;
    text = PyOS_double_to_string(number, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    failed = text == NULL || put(&p->out, text, strlen(text));
    PyMem_Free(text);
    return failed;
}

static int
print_value(Printer *p, PyObject *value, int depth)
{
    PyTypeObject *kind = Py_TYPE(value);
    if (kind == &PyUnicode_Type)
        return print_string(p, value);
    if (kind == &PyLong_Type)
        return print_int(p, value);
    if (kind == &PyList_Type || kind == &PyTuple_Type)
        return print_list(p, value, depth);
    if (kind == &PyDict_Type)
        return print_dict(p, value, depth);
    if (value == Py_None || value == Py_False)
        return put(&p->out, "()", 2);
    if (value == Py_True)
        return put_byte(&p->out, 't');
    if (kind == &PyFloat_Type)
        return print_float(p, value);
    if ((PyObject *)kind == p->symbol_type)
        return print_symbol(p, value);
    return UNUSUAL;
}

/* write(value, symbol type, symbol): the text, or None for what is unusual. */
static PyObject *
sexp_write(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    Printer p;
    PyObject *made = NULL;
    if (count != 3) {
        PyErr_SetString(PyExc_TypeError, "write(value, symbol type, symbol)");
        return NULL;
    }
    writer_begin(&p.out);
    p.symbol_type = args[1];
    p.symbol = args[2];
    if (print_value(&p, args[0], DEPTH) == OK)
        made = PyUnicode_DecodeUTF8(p.out.data, p.out.size, NULL);
    writer_end(&p.out);
    return made_or_none(made);
}

static PyMethodDef methods[] = {
    {"read_all", (PyCFunction)(void (*)(void))sexp_read_all, METH_FASTCALL, NULL},
    {"write", (PyCFunction)(void (*)(void))sexp_write, METH_FASTCALL, NULL},
    LOOKS_METHOD,
    {NULL, NULL, 0, NULL},
};

static int
fill(PyObject *module)
{
    fill_escapes();
    return 0;
}

DEFINE_MODULE(sexp)
