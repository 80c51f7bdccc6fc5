/* How functions are read, part of _walk.c: the same as code_kinds.py does. */

/* The head of a function whose content counts, and what it reaches. */
static int
expand_content(PyObject *walk, PyObject *object, PyObject *node, PyObject *held)
{
    PyFunctionObject *function = (PyFunctionObject *)object;
    PyObject *known = PyObject_CallOneArg(code_facts, function->func_code);
    if (known == NULL) {
        return -1;
    }
    PyObject *payload = FIELD(known, CodeFacts, payload);
    Out out;
    start(&out);
    int is_wrong = put_bytes(&out, PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload)) < 0 ||
                   put_framed_text(&out, 'n', function->func_name) < 0 || put_hints_of(&out, held) < 0;
#if PY_VERSION_HEX >= 0x030E0000
    if (held == NULL && !is_wrong) {
        PyObject *lazy = PyObject_CallOneArg(lazy_hints, object);
        is_wrong = lazy == NULL || put_bytes(&out, PyBytes_AS_STRING(lazy), PyBytes_GET_SIZE(lazy)) < 0;
        Py_XDECREF(lazy);
    }
#endif
    PyObject *head = bytes_of(&out, is_wrong);
    int failed = head == NULL;
    if (!failed) {
        put(&FIELD(node, Node, head), head);
        failed = add_reached(walk, node, function, known) < 0;
    }
    Py_DECREF(known);
    return failed ? -1 : 0;
}

static int
add_defaults(PyObject *walk, PyObject *node, PyFunctionObject *function)
{
    PyObject *defaults = function->func_defaults;
    if (defaults == NULL || !PyTuple_Check(defaults) || PyTuple_GET_SIZE(defaults) == 0) {
        return 0;
    }
    PyCodeObject *code = (PyCodeObject *)function->func_code;
    PyObject *names = PyCode_GetVarnames(code);
    if (names == NULL) {
        return -1;
    }
    Py_INCREF(defaults);
    Py_ssize_t first = code->co_argcount - PyTuple_GET_SIZE(defaults);
    int failed = 0;
    for (Py_ssize_t at = 0; !failed && at < PyTuple_GET_SIZE(defaults); at++) {
        Py_ssize_t place = first + at;
        PyObject *label = place >= 0 && place < PyTuple_GET_SIZE(names) ? Py_NewRef(PyTuple_GET_ITEM(names, place))
                                                                        : PyUnicode_FromFormat("%zd", at);
        PyObject *value = PyTuple_GET_ITEM(defaults, at);
        failed = label == NULL || append_edge(node, text_argument, label, child_of(walk, value), value) < 0;
        Py_XDECREF(label);
    }
    Py_DECREF(defaults);
    Py_DECREF(names);
    return failed ? -1 : 0;
}

/* The items of a dict, in the order of their names, after a snapshot of it. */
static int
add_items(PyObject *walk, PyObject *node, PyObject *dict, PyObject *step)
{
    Py_INCREF(dict);
    int failed = snapshot(FIELD(walk, Walk, slots), dict) < 0;
    PyObject *labels = failed ? NULL : PyDict_Keys(dict);
    failed = labels == NULL || PyList_Sort(labels) < 0;
    for (Py_ssize_t at = 0; !failed && at < PyList_GET_SIZE(labels); at++) {
        PyObject *label = PyList_GET_ITEM(labels, at), *value = PyDict_GetItemWithError(dict, label);
        if (value == NULL) {
            if (!PyErr_Occurred()) {
                PyErr_SetObject(PyExc_KeyError, label);
            }
            failed = 1;
            break;
        }
        Py_INCREF(value);
        failed = append_edge(node, step, label, child_of(walk, value), value) < 0;
        Py_DECREF(value);
    }
    Py_XDECREF(labels);
    Py_DECREF(dict);
    return failed ? -1 : 0;
}

static int
add_keyword_defaults(PyObject *walk, PyObject *node, PyFunctionObject *function)
{
    PyObject *defaults = function->func_kwdefaults;
    if (defaults == NULL || !PyDict_Check(defaults) || PyDict_GET_SIZE(defaults) == 0) {
        return 0;
    }
    return add_items(walk, node, defaults, text_argument);
}

/* code_kinds.add_attributes */
static int
add_attributes(PyObject *walk, PyObject *node, PyObject *attributes)
{
    return add_items(walk, node, attributes, text_member);
}

static int
add_cells(PyObject *walk, PyObject *node, PyFunctionObject *function)
{
    PyObject *closure = function->func_closure;
    if (closure == NULL || PyTuple_GET_SIZE(closure) == 0) {
        return 0;
    }
    PyObject *names = PyCode_GetFreevars((PyCodeObject *)function->func_code);
    if (names == NULL) {
        return -1;
    }
    Py_INCREF(closure);
    int failed = 0;
    for (Py_ssize_t at = 0; !failed && at < PyTuple_GET_SIZE(closure) && at < PyTuple_GET_SIZE(names); at++) {
        PyObject *label = PyTuple_GET_ITEM(names, at), *cell = PyTuple_GET_ITEM(closure, at);
        int is_left_out = PyUnicode_Compare(label, text_repr_running) == 0;
        if (is_left_out) {
            continue;
        }
        if (refer(FIELD(walk, Walk, slots), cell) < 0) {
            failed = 1;
            break;
        }
        PyObject *value = Py_XNewRef(PyCell_GET(cell));
        failed = value == NULL ? append_edge(node, text_arrow, label, Py_NewRef(empty_cell), Py_None) < 0
                               : append_edge(node, text_arrow, label, child_of(walk, value), value) < 0;
        Py_XDECREF(value);
    }
    Py_DECREF(closure);
    Py_DECREF(names);
    return failed ? -1 : 0;
}

/* The hints that a function holds, where they are a dict with something in it: borrowed; NULL where there are none. */
static PyObject *
hints_of(PyObject *function, int *failed)
{
    PyObject *annotations = ((PyFunctionObject *)function)->func_annotations; /* a tuple until somebody asks */
    if (annotations == NULL || (PyTuple_CheckExact(annotations) && PyTuple_GET_SIZE(annotations) == 0)) {
        return NULL;
    }
#if PY_VERSION_HEX >= 0x030E0000
    PyObject *hints = PyObject_CallOneArg(held_hints, function);
    if (hints == NULL) {
        *failed = 1;
        return NULL;
    }
    Py_DECREF(hints); /* the function holds it */
#else
    PyObject *hints = PyFunction_GetAnnotations(function);
    if (hints == NULL) {
        *failed = PyErr_Occurred() != NULL;
        return NULL;
    }
#endif
    return PyDict_CheckExact(hints) && PyDict_GET_SIZE(hints) > 0 ? hints : NULL;
}

/* Whether a function is one that C does not read: Python's own way takes it. */
static int
is_unusual(PyFunctionObject *function, PyObject *module)
{
    PyObject *attributes = function->func_dict, *hints = function->func_annotations;
    if (!PyDict_CheckExact(function->func_globals) || !PyDict_CheckExact(function->func_builtins) ||
        (function->func_kwdefaults != NULL && !PyDict_CheckExact(function->func_kwdefaults)) ||
        (hints != NULL && !PyTuple_CheckExact(hints) && !PyDict_CheckExact(hints)) ||
        (attributes != NULL && !PyDict_CheckExact(attributes))) {
        return 1;
    }
    if (attributes == NULL || PyDict_GET_SIZE(attributes) == 0) {
        return 0;
    }
    /* functools.singledispatch's functions, and those that torch wrapped or will call through a wrapper */
    return (PyUnicode_Check(module) && PyUnicode_Compare(module, text_functools) == 0) ||
           PyDict_Contains(attributes, text_dynamo_disable) || PyDict_Contains(attributes, text_dynamo_wrapper);
}

/* code_kinds._expand_function */
static int
expand(PyObject *walk, PyObject *object, PyObject *node)
{
    PyFunctionObject *function = (PyFunctionObject *)object;
    PyObject *slots = FIELD(walk, Walk, slots), *module = PyDict_GetItemWithError(function->func_globals, text_name);
    if (module == NULL && PyErr_Occurred()) {
        return -1;
    }
    module = Py_NewRef(module == NULL ? Py_None : module);
    if (is_unusual(function, module)) {
        Py_DECREF(module);
        PyObject *done = PyObject_CallFunctionObjArgs(expand_function, walk, object, node, NULL);
        Py_XDECREF(done);
        return done == NULL ? -1 : 0;
    }
    PyObject *origin = origin_of(walk, module), *attributes = function->func_dict;
    int failed = origin == NULL;
    PyObject *held = failed || FIELD(origin, Origin, label) != Py_None ? NULL : hints_of(object, &failed);
    Py_XINCREF(held);
    Py_XINCREF(attributes);
    failed = failed || refer(slots, object) < 0 || (held != NULL && snapshot(slots, held) < 0);
    if (!failed && FIELD(origin, Origin, label) == Py_None) {
        failed = expand_content(walk, object, node, held) < 0;
    }
    else if (!failed) {
        PyObject *head = by_name(FIELD(origin, Origin, label), module,
                                 ((PyCodeObject *)function->func_code)->co_qualname);
        failed = head == NULL;
        put(&FIELD(node, Node, head), head);
    }
    failed = failed || add_defaults(walk, node, function) < 0 || add_keyword_defaults(walk, node, function) < 0 ||
             add_cells(walk, node, function) < 0;
    if (!failed && attributes != NULL) {
        if (PyDict_GET_SIZE(attributes) > 0) {
            failed = add_attributes(walk, node, attributes) < 0;
        }
        else {
            failed = snapshot(slots, attributes) < 0;
        }
    }
    Py_XDECREF(attributes);
    Py_XDECREF(held);
    Py_XDECREF(origin);
    Py_DECREF(module);
    return failed ? -1 : 0;
}
