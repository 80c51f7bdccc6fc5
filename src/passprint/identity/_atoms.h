/* Canonical bytes of plain values, part of _walk.c: the same as canonical.py makes. */

/* `tag`, the payload's length, a colon, the payload. */
static int
put_frame(Out *out, char tag, const char *payload, Py_ssize_t length)
{
    char *to = next_bytes(out, length + 24);
    if (to == NULL) {
        return -1;
    }
    char digits[24];
    int count = 0;
    size_t left = (size_t)length;
    do {
        digits[count++] = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    char *begin = to;
    *to++ = tag;
    while (count > 0) {
        *to++ = digits[--count];
    }
    *to++ = ':';
    memcpy(to, payload, length);
    out->size += to + length - begin - (length + 24);
    return 0;
}

static inline int
put_ascii(Out *out, PyObject *text)
{
    return put_bytes(out, (const char *)PyUnicode_1BYTE_DATA(text), PyUnicode_GET_LENGTH(text));
}

/* Text as UTF-8, lone surrogates included. */
static int
put_text_of(Out *out, PyObject *text)
{
    if (PyUnicode_IS_COMPACT_ASCII(text)) {
        return put_ascii(out, text);
    }
    PyObject *encoded = PyUnicode_AsEncodedString(text, "utf-8", "surrogatepass");
    if (encoded == NULL) {
        return -1;
    }
    int failed = put_bytes(out, PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded));
    Py_DECREF(encoded);
    return failed;
}

static int
put_framed_text(Out *out, char tag, PyObject *text)
{
    if (PyUnicode_IS_COMPACT_ASCII(text)) {
        return put_frame(out, tag, (const char *)PyUnicode_1BYTE_DATA(text), PyUnicode_GET_LENGTH(text));
    }
    PyObject *encoded = PyUnicode_AsEncodedString(text, "utf-8", "surrogatepass");
    if (encoded == NULL) {
        return -1;
    }
    int failed = put_frame(out, tag, PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded));
    Py_DECREF(encoded);
    return failed;
}

/* A value that holds no other one. 1: of a type that Python encodes, or a large int. */
static int
put_atom(Out *out, PyObject *value)
{
    if (PyUnicode_CheckExact(value)) {
        return put_framed_text(out, 's', value);
    }
    if (value == Py_None || value == Py_True || value == Py_False) {
        const char *text = value == Py_None ? "N0:" : value == Py_True ? "B1:1" : "B1:0";
        return put_bytes(out, text, value == Py_None ? 3 : 4);
    }
    if (PyLong_CheckExact(value)) {
        int overflow;
        long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
        if (overflow || number == LLONG_MIN) {
            return 1;
        }
        if (number == -1 && PyErr_Occurred()) {
            return -1;
        }
        char text[32];
        int length = snprintf(text, sizeof(text), "%s%llx", number < 0 ? "-" : "", number < 0 ? -number : number);
        return put_frame(out, 'i', text, length);
    }
    if (PyFloat_CheckExact(value)) {
        double number = PyFloat_AS_DOUBLE(value);
        uint64_t bits;
        char bytes[8];
        if (number != number) {
            return 1;
        }
        memcpy(&bits, &number, 8);
        for (int at = 0; at < 8; at++) {
            bytes[at] = (char)(bits >> (56 - 8 * at) & 0xff);
        }
        return put_frame(out, 'f', bytes, 8);
    }
    if (PyBytes_CheckExact(value)) {
        return put_frame(out, 'b', PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value));
    }
    return 1;
}

/* A sequence of such values, given as a tuple. 1: it holds others. */
static int
put_tuple(Out *out, char tag, PyObject *value)
{
    Out items;
    start(&items);
    int result = 0;
    for (Py_ssize_t at = 0; result == 0 && at < PyTuple_GET_SIZE(value); at++) {
        result = put_atom(&items, PyTuple_GET_ITEM(value, at));
    }
    if (result == 0) {
        result = put_frame(out, tag, items.data, items.size);
    }
    finish(&items);
    return result;
}

static PyObject *
bytes_of(Out *out, int failed)
{
    PyObject *bytes = failed ? NULL : PyBytes_FromStringAndSize(out->data, out->size);
    finish(out);
    return bytes;
}
