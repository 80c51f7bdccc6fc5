/* A growing run of bytes, and what marshal (version 2) makes of plain values. Errors are -1 with an exception. */

#ifndef PASSPRINT_BYTES_H
#define PASSPRINT_BYTES_H

typedef struct {
    char *data;
    Py_ssize_t size, room;
    char few[2048]; /* where it stands as long as there is not much */
} Out;

static inline void
start(Out *out)
{
    out->data = out->few;
    out->size = 0;
    out->room = sizeof(out->few);
}

static inline void
finish(Out *out)
{
    if (out->data != out->few) {
        PyMem_Free(out->data);
    }
}

static int
make_room(Out *out, Py_ssize_t more)
{
    Py_ssize_t room = 2 * out->room + more;
    char *data = out->data == out->few ? PyMem_Malloc(room) : PyMem_Realloc(out->data, room);
    if (data == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    if (out->data == out->few) {
        memcpy(data, out->few, out->size);
    }
    out->data = data;
    out->room = room;
    return 0;
}

/* Where so many bytes are to be written; NULL after an error. */
static inline char *
next_bytes(Out *out, Py_ssize_t count)
{
    if (out->room - out->size < count && make_room(out, count) < 0) {
        return NULL;
    }
    char *to = out->data + out->size;
    out->size += count;
    return to;
}

static inline int
put_bytes(Out *out, const char *from, Py_ssize_t count)
{
    char *to = next_bytes(out, count);
    if (to == NULL) {
        return -1;
    }
    memcpy(to, from, count);
    return 0;
}

static inline int
put_char(Out *out, char value)
{
    char *to = next_bytes(out, 1);
    if (to == NULL) {
        return -1;
    }
    *to = value;
    return 0;
}

static inline void
put_number(char *to, Py_ssize_t value) /* four bytes, the lowest first */
{
    to[0] = (char)(value & 0xff);
    to[1] = (char)(value >> 8 & 0xff);
    to[2] = (char)(value >> 16 & 0xff);
    to[3] = (char)(value >> 24 & 0xff);
}

/* A letter and a size of four bytes. */
static inline int
put_sized(Out *out, char letter, Py_ssize_t size)
{
    char *to = next_bytes(out, 5);
    if (to == NULL) {
        return -1;
    }
    *to = letter;
    put_number(to + 1, size);
    return 0;
}

/* Puts in the size of what was written from a place on. */
static inline void
set_size(Out *out, Py_ssize_t start, Py_ssize_t size)
{
    put_number(out->data + start - 4, size);
}

static inline int
put_int(Out *out, Py_ssize_t value) /* one of 32 bits */
{
    return put_sized(out, 'i', value);
}

static inline int
put_text(Out *out, const char *text)
{
    Py_ssize_t length = (Py_ssize_t)strlen(text);
    return put_sized(out, 'u', length) < 0 || put_bytes(out, text, length) < 0 ? -1 : 0;
}

/* Text as UTF-8, lone surrogates included. */
static int
pack_text(Out *out, PyObject *text)
{
    if (PyUnicode_IS_COMPACT_ASCII(text)) {
        Py_ssize_t length = PyUnicode_GET_LENGTH(text);
        return put_sized(out, 'u', length) < 0 ||
                       put_bytes(out, (const char *)PyUnicode_1BYTE_DATA(text), length) < 0
                   ? -1
                   : 0;
    }
    PyObject *encoded = PyUnicode_AsEncodedString(text, "utf-8", "surrogatepass");
    if (encoded == NULL) {
        return -1;
    }
    int failed = put_sized(out, 'u', PyBytes_GET_SIZE(encoded)) < 0 ||
                 put_bytes(out, PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded)) < 0;
    Py_DECREF(encoded);
    return failed ? -1 : 0;
}

/* A plain value: None, bool, Ellipsis, int, float, str, bytes, and tuples of them, all of exactly these types. */
static inline int
pack_plain(Out *out, PyObject *value)
{
    if (value == Py_None || value == Py_True || value == Py_False || value == Py_Ellipsis) {
        return put_char(out, value == Py_None ? 'N' : value == Py_True ? 'T' : value == Py_False ? 'F' : '.');
    }
    if (PyUnicode_CheckExact(value)) {
        return pack_text(out, value);
    }
    if (PyBytes_CheckExact(value)) {
        return put_sized(out, 's', PyBytes_GET_SIZE(value)) < 0
                   ? -1
                   : put_bytes(out, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value));
    }
    if (PyTuple_CheckExact(value)) {
        if (put_sized(out, '(', PyTuple_GET_SIZE(value)) < 0 || Py_EnterRecursiveCall(" while packing")) {
            return -1;
        }
        int failed = 0;
        for (Py_ssize_t at = 0; !failed && at < PyTuple_GET_SIZE(value); at++) {
            failed = pack_plain(out, PyTuple_GET_ITEM(value, at)) < 0;
        }
        Py_LeaveRecursiveCall();
        return failed ? -1 : 0;
    }
    if (PyLong_CheckExact(value)) {
        int overflow;
        long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
        if (number == -1 && !overflow && PyErr_Occurred()) {
            return -1;
        }
        if (!overflow && number >= -2147483648LL && number <= 2147483647LL) {
            return put_int(out, (Py_ssize_t)number);
        }
    }
    PyObject *packed = PyMarshal_WriteObjectToString(value, 2); /* a large int, a float */
    if (packed == NULL) {
        return -1;
    }
    int failed = put_bytes(out, PyBytes_AS_STRING(packed), PyBytes_GET_SIZE(packed));
    Py_DECREF(packed);
    return failed;
}

#endif
