/* What the names in a function's code reach, part of _walk.c: the same as reach.py does. What is rare is left to it. */

/* reach._identifies_itself: whether what a foreign module holds counts by itself and not by where it was found. */
static int
is_by_itself(PyObject *walk, PyObject *value, PyObject *name)
{
    PyObject *owner, *own_name;
    if (PyFunction_Check(value)) {
        owner = PyDict_GetItemWithError(((PyFunctionObject *)value)->func_globals, text_name);
        if (owner == NULL && PyErr_Occurred()) {
            return -1;
        }
        owner = Py_NewRef(owner == NULL ? Py_None : owner);
        own_name = Py_NewRef(((PyFunctionObject *)value)->func_name);
    }
    else if (PyType_CheckExact(value) || PyCFunction_CheckExact(value)) {
        owner = PyObject_GetAttr(value, text_module);
        own_name = owner == NULL ? NULL : PyObject_GetAttr(value, text_name);
        if (own_name == NULL) {
            Py_XDECREF(owner);
            return -1;
        }
    }
    else {
        PyObject *said = PyObject_CallFunctionObjArgs(identifies_itself, walk, value, name, NULL);
        int is_true = said == NULL ? -1 : PyObject_IsTrue(said);
        Py_XDECREF(said);
        return is_true;
    }
    int is_same = PyObject_RichCompareBool(own_name, name, Py_EQ), result = is_same < 0 ? -1 : !is_same;
    if (is_same > 0 && owner != Py_None) {
        PyObject *origin = origin_of(walk, owner);
        result = origin == NULL ? -1 : FIELD(origin, Origin, label) == Py_None;
        Py_XDECREF(origin);
    }
    Py_DECREF(owner);
    Py_DECREF(own_name);
    return result;
}

/* Adds what a dotted chain ends at; `foreign` says where that was found, or is None. */
static int
add_end(PyObject *walk, PyObject *node, PyObject *label, PyObject *foreign, PyObject *last, PyObject *value,
        PyObject *seen)
{
    int was_seen = PySet_Contains(seen, label);
    if (was_seen != 0) {
        return was_seen < 0 ? -1 : 0;
    }
    int by_itself = foreign == Py_None ? 1 : is_by_itself(walk, value, last);
    if (by_itself < 0 || PySet_Add(seen, label) < 0) {
        return -1;
    }
    return by_itself ? append_edge(node, text_arrow, label, child_of(walk, value), value)
                     : append_edge(node, text_arrow, label, framed_text('F', foreign), foreign);
}

/* One step of a chain, from a module to what it holds. 0: done, 1: not one that C takes. Takes over the references
   to label and value, and gives new ones. */
static int
step(PyObject *walk, PyObject *rows, PyObject *attribute, PyObject **label, PyObject **foreign, PyObject **value)
{
    PyObject *name = PyObject_GetAttr(*value, text_name), *inside = PyModule_GetDict(*value);
    PyObject *origin = name == NULL || !PyUnicode_CheckExact(name) ? NULL : origin_of(walk, name);
    PyObject *found = origin == NULL ? NULL : PyDict_GetItemWithError(inside, attribute);
    int result = PyErr_Occurred() ? -1 : 1;
    if (found != NULL) {
        PyObject *origin_label = FIELD(origin, Origin, label), *row = NULL;
        PyObject *longer = joined(NULL, *label, attribute);
        PyObject *place = origin_label == Py_None ? Py_NewRef(Py_None) : joined(origin_label, name, attribute);
        row = longer == NULL || place == NULL ? NULL : PyTuple_Pack(4, name_kind, inside, attribute, found);
        result = row == NULL || PyList_Append(rows, row) < 0 ? -1 : 0;
        Py_XDECREF(row);
        if (result == 0) {
            Py_SETREF(*label, longer);
            Py_SETREF(*foreign, place);
            Py_SETREF(*value, Py_NewRef(found));
        }
        else {
            Py_XDECREF(longer);
            Py_XDECREF(place);
        }
    }
    Py_XDECREF(name);
    Py_XDECREF(origin);
    return result;
}

/* reach.follow: a dotted chain through modules. What is rare is Python's, from the chain's beginning. */
static int
follow_chain(PyObject *walk, PyObject *node, PyObject *chain, PyObject *start, PyObject *seen)
{
    PyObject *rows = PyList_New(0), *label = Py_NewRef(PyTuple_GET_ITEM(chain, 0));
    PyObject *foreign = Py_NewRef(Py_None), *value = Py_NewRef(start);
    Py_ssize_t length = PyTuple_GET_SIZE(chain), at = 1;
    int result = rows == NULL ? -1 : 0;
    while (result == 0 && at < length && PyModule_Check(value)) {
        if (!PyModule_CheckExact(value)) { /* torch.ops and other modules that make what they are asked for */
            result = 1;
            break;
        }
        result = step(walk, rows, PyTuple_GET_ITEM(chain, at), &label, &foreign, &value);
        at++;
    }
    if (result == 0 && value == import_module) {
        result = 1;
    }
    if (result == 0 && at < length) { /* something with a class of its own may say that it is a module */
        int is_module = PyObject_IsInstance(value, (PyObject *)&PyModule_Type);
        result = is_module < 0 ? -1 : is_module;
    }
    if (result == 0) {
        PyObject *of_walk = FIELD(FIELD(walk, Walk, slots), Slots, rows);
        Py_ssize_t count = PyList_GET_SIZE(of_walk);
        result = PyList_SetSlice(of_walk, count, count, rows) < 0
                     ? -1
                     : add_end(walk, node, label, foreign, PyTuple_GET_ITEM(chain, length - 1), value, seen);
    }
    else if (result == 1) {
        PyObject *rest = PyTuple_GetSlice(chain, 1, length), *done = NULL;
        if (rest != NULL) {
            done = PyObject_CallFunctionObjArgs(follow, walk, node, PyTuple_GET_ITEM(chain, 0), rest, start, seen,
                                                NULL);
            Py_DECREF(rest);
        }
        result = done == NULL ? -1 : 0;
        Py_XDECREF(done);
    }
    Py_XDECREF(rows);
    Py_DECREF(label);
    Py_DECREF(foreign);
    Py_DECREF(value);
    return result;
}

/* reach.add_import, of code that counts by its name. 1: Python has to. */
static int
add_foreign_import(PyObject *walk, PyObject *node, PyObject *ref, PyObject *seen)
{
    PyObject *name = FIELD(ref, ImportRef, module), *taken = FIELD(ref, ImportRef, taken);
    PyObject *uses = FIELD(ref, ImportRef, uses);
    if (!PyLong_Check(FIELD(ref, ImportRef, level)) || PyObject_IsTrue(FIELD(ref, ImportRef, level)) != 0 ||
        PyErr_Occurred()) {
        return PyErr_Occurred() ? -1 : 1;
    }
    PyObject *origin = origin_of(walk, name);
    if (origin == NULL || FIELD(origin, Origin, label) == Py_None) {
        Py_XDECREF(origin);
        return origin == NULL ? -1 : 1;
    }
    PyObject *label = taken == Py_None ? Py_NewRef(name) : joined(NULL, name, taken);
    int failed = label == NULL;
    Py_ssize_t at = 0, count = PyTuple_GET_SIZE(uses);
    while (!failed && (at < count || at == 0)) {
        PyObject *use = count == 0 ? NULL : PyTuple_GET_ITEM(uses, at), *used = Py_NewRef(label);
        for (Py_ssize_t step = 0; use != NULL && used != NULL && step < PyTuple_GET_SIZE(use); step++) {
            Py_SETREF(used, joined(NULL, used, PyTuple_GET_ITEM(use, step)));
        }
        int was_seen = used == NULL ? -1 : PySet_Contains(seen, used);
        failed = was_seen < 0 || (!was_seen && PySet_Add(seen, used) < 0);
        if (!failed && !was_seen) {
            PyObject *foreign = PyUnicode_FromFormat("%U %U", FIELD(origin, Origin, label), used);
            failed = foreign == NULL ||
                     append_edge(node, text_arrow, used, framed_text('F', foreign), foreign) < 0;
            Py_XDECREF(foreign);
        }
        Py_XDECREF(used);
        at++;
    }
    Py_XDECREF(label);
    Py_DECREF(origin);
    return failed ? -1 : 0;
}

static int
add_import(PyObject *walk, PyObject *node, PyObject *ref, PyObject *space, PyObject *seen)
{
    int result = add_foreign_import(walk, node, ref, seen);
    if (result == 1) {
        PyObject *done = PyObject_CallFunctionObjArgs(import_in_python, walk, node, ref, space, seen, NULL);
        result = done == NULL ? -1 : 0;
        Py_XDECREF(done);
    }
    return result;
}

static int
begins_with(PyObject *text, PyObject *place)
{
    Py_ssize_t length = PyUnicode_GET_LENGTH(place);
    return PyUnicode_GET_LENGTH(text) >= length && PyUnicode_IS_COMPACT_ASCII(text) && PyUnicode_IS_COMPACT_ASCII(place) &&
           memcmp(PyUnicode_1BYTE_DATA(text), PyUnicode_1BYTE_DATA(place), length) == 0;
}

/* environment.reads_environment: whether a function's node has an edge to the environment. */
static int
reads_environment(PyObject *node)
{
    PyObject *edges = FIELD(node, Node, edges);
    for (Py_ssize_t at = 0; at < PyList_GET_SIZE(edges); at++) {
        PyObject *value = PyTuple_GET_ITEM(PyList_GET_ITEM(edges, at), 3);
        if (value == os_environ || value == os_getenv ||
            (PyUnicode_CheckExact(value) && (begins_with(value, environ_place) || begins_with(value, getenv_place)))) {
            return 1;
        }
    }
    return 0;
}

/* reach.add_reached: the values of the names that code looks up. */
static int
add_reached(PyObject *walk, PyObject *node, PyFunctionObject *function, PyObject *facts_of_code)
{
    PyObject *space = function->func_globals, *builtins = function->func_builtins;
    PyObject *chains = FIELD(facts_of_code, CodeFacts, chains), *slots = FIELD(walk, Walk, slots);
    PyObject *seen = PySet_New(NULL);
    int failed = seen == NULL;
    for (Py_ssize_t at = 0; !failed && at < PyTuple_GET_SIZE(chains); at++) {
        PyObject *chain = PyTuple_GET_ITEM(chains, at), *name = PyTuple_GET_ITEM(chain, 0);
        int was_seen = PySet_Contains(seen, name);
        if (was_seen != 0) {
            failed = was_seen < 0;
            continue;
        }
        PyObject *value = PyDict_GetItemWithError(space, name), *from = space;
        if (value == NULL) {
            if (PyErr_Occurred() || append_row(slots, PyTuple_Pack(4, name_kind, space, name, absent)) < 0) {
                failed = 1;
                break;
            }
            from = builtins;
            value = PyDict_GetItemWithError(builtins, name);
            if (value == NULL) {
                failed = PyErr_Occurred() || PySet_Add(seen, name) < 0 ||
                         append_edge(node, text_arrow, name, Py_NewRef(unbound), Py_None) < 0;
                continue;
            }
        }
        Py_INCREF(value);
        failed = append_row(slots, PyTuple_Pack(4, name_kind, from, name, value)) < 0;
        if (!failed && from == builtins) {
            int is_unknowable = PySet_Contains(unknowable, name);
            failed = is_unknowable < 0;
            if (is_unknowable > 0) {
                PyObject *done = PyObject_CallFunctionObjArgs(add_unknowable, walk, node, name, NULL);
                failed = done == NULL;
                Py_XDECREF(done);
            }
        }
        int is_module = 0;
        if (!failed) {
            is_module = PyModule_Check(value) || value == import_module;
            if (!is_module && !PyFunction_Check(value) && !PyType_CheckExact(value) && !PyCFunction_CheckExact(value)) {
                is_module = PyObject_IsInstance(value, (PyObject *)&PyModule_Type);
                failed = is_module < 0;
            }
        }
        if (!failed && is_module) {
            failed = follow_chain(walk, node, chain, value, seen) < 0;
        }
        else if (!failed) {
            failed = PySet_Add(seen, name) < 0 ||
                     append_edge(node, text_arrow, name,
                                 value == os_environ ? Py_NewRef(environ_bytes) : child_of(walk, value), value) < 0;
        }
        Py_DECREF(value);
    }
    PyObject *imports = FIELD(facts_of_code, CodeFacts, imports);
    for (Py_ssize_t at = 0; !failed && at < PyTuple_GET_SIZE(imports); at++) {
        failed = add_import(walk, node, PyTuple_GET_ITEM(imports, at), space, seen) < 0;
    }
    PyObject *computed = FIELD(facts_of_code, CodeFacts, computed);
    for (Py_ssize_t at = 0; !failed && at < PyTuple_GET_SIZE(computed); at++) {
        PyObject *done =
            PyObject_CallFunctionObjArgs(check_computed, walk, node, PyTuple_GET_ITEM(computed, at), space, NULL);
        failed = done == NULL;
        Py_XDECREF(done);
    }
    if (!failed && reads_environment(node)) {
        PyObject *done = PyObject_CallFunctionObjArgs(add_environment, walk, node, function, NULL);
        failed = done == NULL;
        Py_XDECREF(done);
    }
    Py_XDECREF(seen);
    return failed ? -1 : 0;
}
