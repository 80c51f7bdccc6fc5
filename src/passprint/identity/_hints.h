/* Type hints as they are written, part of _walk.c: the same as hints.py makes. */

static int put_hint(Out *out, PyObject *hint);

/* An attribute, or NULL without an error where there is none. Classes are asked most, and (3.11) raise when they
   have none. */
static PyObject *
attribute_of_hint(PyObject *hint, PyObject *name)
{
    if (PyType_Check(hint) && Py_TYPE(hint)->tp_getattro == PyType_Type.tp_getattro &&
        _PyType_Lookup((PyTypeObject *)hint, name) == NULL && _PyType_Lookup(Py_TYPE(hint), name) == NULL) {
        return NULL;
    }
    return attribute_or_null(hint, name);
}

/* Whether a hint is one of typing's own words (`Union`, `Optional`): an object that looks its name up in Python. */
static int
is_special_form(PyObject *hint)
{
    static PyTypeObject *special; /* kept as long as the process runs, as typing is */
    PyTypeObject *kind = Py_TYPE(hint);
    if (special == NULL && strcmp(kind->tp_name, "_SpecialForm") == 0) {
        PyObject *module = _PyType_Lookup(kind, text_module);
        if (module != NULL && PyUnicode_Check(module) && PyUnicode_CompareWithASCIIString(module, "typing") == 0) {
            special = (PyTypeObject *)Py_NewRef(kind);
        }
    }
    return kind == special;
}

/* Hints in brackets. */
static int
put_hints(Out *out, PyObject *hints)
{
    PyObject *listed = PySequence_List(hints);
    int failed = listed == NULL || put_char(out, '[') < 0;
    for (Py_ssize_t at = 0; !failed && at < PyList_GET_SIZE(listed); at++) {
        failed = (at > 0 && put_bytes(out, ", ", 2) < 0) || put_hint(out, PyList_GET_ITEM(listed, at)) < 0;
    }
    Py_XDECREF(listed);
    return failed ? -1 : put_char(out, ']');
}

static int
put_generic(Out *out, PyObject *hint, PyObject *arguments)
{
    PyObject *origin = attribute_or_null(hint, text_origin);
    if (origin == NULL && PyErr_Occurred()) {
        return -1;
    }
    int is_true = origin == NULL ? 0 : PyObject_IsTrue(origin);
    int failed = is_true < 0 || put_hint(out, is_true ? origin : (PyObject *)Py_TYPE(hint)) < 0 ||
                 put_hints(out, arguments) < 0;
    Py_XDECREF(origin);
    return failed ? -1 : 0;
}

/* The name of a hint, or of its type. */
static int
put_hint_name(Out *out, PyObject *hint)
{
    PyObject *names[] = {text_qualname, text_name, text_underscore_name}, *found = NULL;
    for (int at = 0; at < 3; at++) {
        found = attribute_of_hint(hint, names[at]);
        int is_true = found == NULL ? (PyErr_Occurred() ? -1 : 0) : PyObject_IsTrue(found);
        if (is_true < 0) {
            Py_XDECREF(found);
            return -1;
        }
        if (is_true) {
            break;
        }
        Py_CLEAR(found);
    }
    if (found == NULL || !PyUnicode_Check(found)) {
        Py_XSETREF(found, PyObject_GetAttr((PyObject *)Py_TYPE(hint), text_qualname));
    }
    int failed = found == NULL || put_text_of(out, found) < 0;
    Py_XDECREF(found);
    return failed ? -1 : 0;
}

/* hints.hint_text */
static int
put_hint(Out *out, PyObject *hint)
{
    if (PyUnicode_Check(hint)) {
        return put_text_of(out, hint);
    }
    if (hint == Py_None || hint == Py_Ellipsis) {
        return hint == Py_None ? put_bytes(out, "None", 4) : put_bytes(out, "Ellipsis", 8);
    }
    PyObject *found = NULL;
    if (is_special_form(hint)) {
        found = PyObject_GenericGetAttr(hint, text_underscore_name);
        int is_named = found != NULL && PyUnicode_CheckExact(found) && PyUnicode_GET_LENGTH(found) > 0;
        int result = is_named ? put_text_of(out, found) : -1;
        Py_XDECREF(found);
        if (is_named) {
            return result;
        }
        PyErr_Clear();
    }
    found = attribute_of_hint(hint, text_args);
    if (found == NULL && PyErr_Occurred()) {
        return -1;
    }
    int is_generic = found != NULL && PyTuple_Check(found), failed = -1;
    if (is_generic || PyList_Check(hint) || PyTuple_Check(hint)) {
        if (Py_EnterRecursiveCall(" while reading type hints") == 0) {
            failed = is_generic ? put_generic(out, hint, found) : put_hints(out, hint);
            Py_LeaveRecursiveCall();
        }
    }
    else {
        failed = put_hint_name(out, hint);
    }
    Py_XDECREF(found);
    return failed;
}

/* `name: hint` as text. */
static PyObject *
label_of_hint(PyObject *name, PyObject *hint)
{
    Out out;
    start(&out);
    PyObject *written = PyObject_Str(name), *label = NULL;
    if (written != NULL && put_text_of(&out, written) == 0 && put_bytes(&out, ": ", 2) == 0 &&
        put_hint(&out, hint) == 0) {
        label = PyUnicode_DecodeUTF8(out.data, out.size, "surrogatepass");
    }
    finish(&out);
    Py_XDECREF(written);
    return label;
}

static PyObject *
text_of_hint(PyObject *hint)
{
    Out out;
    start(&out);
    PyObject *text = put_hint(&out, hint) < 0 ? NULL : PyUnicode_DecodeUTF8(out.data, out.size, "surrogatepass");
    finish(&out);
    return text;
}

/* hints.hint_bytes: appends nothing where there are none. */
static int
put_hints_of(Out *out, PyObject *hints)
{
    PyObject *name, *hint;
    Py_ssize_t position = 0;
    if (hints == NULL || PyDict_GET_SIZE(hints) == 0) {
        return 0;
    }
    Out lines;
    start(&lines);
    int failed = 0, is_first = 1;
    Py_INCREF(hints);
    while (!failed && PyDict_Next(hints, &position, &name, &hint)) {
        PyObject *written = PyObject_Str(name);
        Py_INCREF(hint);
        failed = written == NULL || (!is_first && put_char(&lines, '\n') < 0) || put_text_of(&lines, written) < 0 ||
                 put_bytes(&lines, ": ", 2) < 0 || put_hint(&lines, hint) < 0;
        is_first = 0;
        Py_DECREF(hint);
        Py_XDECREF(written);
    }
    Py_DECREF(hints);
    failed = failed || put_frame(out, 'a', lines.data, lines.size) < 0;
    finish(&lines);
    return failed ? -1 : 0;
}
