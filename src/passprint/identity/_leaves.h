/* Objects that have their bytes at once, part of _walk.c: the same as the handlers' leaf functions do. */

/* Whether an item of a tuple cannot be encoded at once. -1: an error. */
static int
is_no_atom(PyObject *value)
{
    PyObject *encode = PyObject_CallOneArg(atom_encoder, (PyObject *)Py_TYPE(value));
    Py_XDECREF(encode);
    return encode == NULL ? -1 : encode == Py_None;
}

static int
holds_no_atom(PyObject *items)
{
    int found = 0;
    for (Py_ssize_t at = 0; found == 0 && at < PyTuple_GET_SIZE(items); at++) {
        PyObject *item = PyTuple_GET_ITEM(items, at);
        if (!PyUnicode_CheckExact(item) && !PyLong_CheckExact(item) && !PyFloat_CheckExact(item) &&
            !PyBool_Check(item) && item != Py_None && !PyBytes_CheckExact(item)) {
            found = is_no_atom(item);
        }
    }
    return found;
}

/* value_kinds.tuple_leaf */
static PyObject *
leaf_of_tuple(PyObject *walk, PyObject *object)
{
    Out out;
    start(&out);
    int result = put_tuple(&out, '(', object);
    if (result != 1) {
        return bytes_of(&out, result < 0);
    }
    finish(&out);
    result = holds_no_atom(object);
    if (result < 0) {
        return NULL;
    }
    return result ? Py_NewRef(Py_None) : PyObject_CallFunctionObjArgs(tuple_leaf, walk, object, NULL);
}

/* value_kinds.tuple_leaf, of a frozenset: its items' bytes are sorted. */
static PyObject *
leaf_of_frozenset(PyObject *walk, PyObject *object)
{
    PyObject *items = PySequence_List(object);
    int result = items == NULL ? -1 : 0;
    for (Py_ssize_t at = 0; result == 0 && at < PyList_GET_SIZE(items); at++) {
        Out out;
        start(&out);
        result = put_atom(&out, PyList_GET_ITEM(items, at));
        PyObject *bytes = result == 0 ? PyBytes_FromStringAndSize(out.data, out.size) : NULL;
        finish(&out);
        if (result == 0) {
            result = bytes == NULL || PyList_SetItem(items, at, bytes) < 0 ? -1 : 0;
        }
    }
    if (result == 0) {
        result = PyList_Sort(items);
    }
    PyObject *leaf = NULL;
    if (result == 0) {
        Out inner, out;
        start(&inner);
        start(&out);
        int failed = 0;
        for (Py_ssize_t at = 0; !failed && at < PyList_GET_SIZE(items); at++) {
            PyObject *item = PyList_GET_ITEM(items, at);
            failed = put_bytes(&inner, PyBytes_AS_STRING(item), PyBytes_GET_SIZE(item)) < 0;
        }
        failed = failed || put_frame(&out, 'z', inner.data, inner.size) < 0;
        finish(&inner);
        leaf = bytes_of(&out, failed);
    }
    Py_XDECREF(items);
    return result == 1 ? PyObject_CallFunctionObjArgs(tuple_leaf, walk, object, NULL) : leaf;
}

/* value_kinds.list_leaf, of a list. */
static PyObject *
leaf_of_list(PyObject *walk, PyObject *object)
{
    PyObject *slots = FIELD(walk, Walk, slots), *items = PyList_AsTuple(object);
    if (items == NULL) {
        return NULL;
    }
    Out out;
    start(&out);
    int result = object == FIELD(slots, Slots, root) ? 1 : put_tuple(&out, '[', items);
    if (result != 0) {
        finish(&out);
        Py_DECREF(items);
        return result < 0 ? NULL : PyObject_CallFunctionObjArgs(list_leaf, walk, object, NULL);
    }
    PyObject *row = PyTuple_Pack(3, items_kind, object, items);
    Py_DECREF(items);
    return bytes_of(&out, append_row(slots, row) < 0);
}

/* code_kinds.generated_leaf */
static PyObject *
leaf_of_generated(PyObject *walk, PyFunctionObject *function)
{
    PyObject *attributes = function->func_dict, *keywords = function->func_kwdefaults, *held = function->func_defaults;
    if ((attributes != NULL && PyDict_Check(attributes) && PyDict_GET_SIZE(attributes) > 0) ||
        (keywords != NULL && PyDict_Check(keywords) && PyDict_GET_SIZE(keywords) > 0)) {
        return Py_NewRef(Py_None);
    }
    if (held != NULL && !PyTuple_CheckExact(held)) {
        return PyObject_CallFunctionObjArgs(generated_leaf, walk, function, NULL);
    }
    Out inner, out;
    start(&inner);
    int result = put_text_of(&inner, function->func_name);
    if (result == 0 && held != NULL && PyTuple_GET_SIZE(held) > 0) {
        result = put_tuple(&inner, '(', held);
    }
    if (result != 0) {
        finish(&inner);
        int is_node = result < 0 ? -1 : holds_no_atom(held);
        if (is_node != 0) {
            return is_node < 0 ? NULL : Py_NewRef(Py_None);
        }
        return PyObject_CallFunctionObjArgs(generated_leaf, walk, function, NULL);
    }
    start(&out);
    int failed = put_frame(&out, 'G', inner.data, inner.size) < 0 ||
                 refer(FIELD(walk, Walk, slots), (PyObject *)function) < 0;
    finish(&inner);
    return bytes_of(&out, failed);
}

/* Whether a function has attributes that its module did not leave to its first call (code_kinds.MADE_BY_CALLS). */
static int
has_attributes(PyObject *attributes)
{
    Py_ssize_t size = attributes == NULL ? 0 : PyDict_GET_SIZE(attributes);
    return size > 1 || (size == 1 && PyDict_GetItemWithError(attributes, text_dynamo_disable) == NULL);
}

/* code_kinds._function_leaf: the bytes of a function that counts by name, or None. */
static PyObject *
function_leaf(PyObject *walk, PyObject *object)
{
    PyFunctionObject *function = (PyFunctionObject *)object;
    PyObject *written = ((PyCodeObject *)function->func_code)->co_qualname;
    static const char generated[] = "__create_fn__.<locals>.";
    if (PyUnicode_IS_COMPACT_ASCII(written) && PyUnicode_GET_LENGTH(written) >= (Py_ssize_t)sizeof(generated) - 1 &&
        memcmp(PyUnicode_1BYTE_DATA(written), generated, sizeof(generated) - 1) == 0) {
        return leaf_of_generated(walk, function);
    }
    PyObject *module = PyDict_GetItemWithError(function->func_globals, text_name);
    if (module == NULL) {
        if (PyErr_Occurred()) {
            return NULL;
        }
        module = Py_None;
    }
    Py_INCREF(module);
    PyObject *origin = origin_of(walk, module), *leaf = NULL;
    if (origin != NULL) {
        PyObject *label = FIELD(origin, Origin, label), *name = function->func_qualname;
        int is_plain = label != Py_None && function->func_closure == NULL &&
                       !has_attributes(function->func_dict) &&
                       PyUnicode_FindChar(name, '<', 0, PyUnicode_GET_LENGTH(name), 1) == -1;
        leaf = is_plain ? by_name(label, module, name) : Py_NewRef(Py_None);
        Py_DECREF(origin);
    }
    Py_DECREF(module);
    return leaf;
}

/* Whether the loaded module of this name has an object under a name that holds no dot. */
static int
is_in_module(PyObject *module, PyObject *name, PyObject *object)
{
    PyObject *loaded = PyDict_GetItemWithError(PyImport_GetModuleDict(), module);
    if (loaded == NULL || loaded == Py_None) {
        return PyErr_Occurred() ? -1 : 0;
    }
    PyObject *space = attribute_or_null(loaded, text_dict);
    int found = space != NULL && PyDict_Check(space) && PyDict_GetItemWithError(space, name) == object;
    Py_XDECREF(space);
    return PyErr_Occurred() ? -1 : found;
}

/* class_kinds._class_leaf where it is plain to see; what is not, Python decides. */
static PyObject *
leaf_of_class(PyObject *walk, PyObject *object)
{
    PyObject *module = PyObject_GetAttr(object, text_module), *name = NULL, *origin = NULL, *leaf = NULL;
    int is_static = !PyType_HasFeature((PyTypeObject *)object, Py_TPFLAGS_HEAPTYPE);
    if (module != NULL && PyUnicode_CheckExact(module)) {
        name = PyObject_GetAttr(object, text_qualname);
        origin = name == NULL ? NULL : origin_of(walk, module);
    }
    if (origin != NULL && PyUnicode_Check(name) && FIELD(origin, Origin, label) != Py_None &&
        PyUnicode_FindChar(name, '<', 0, PyUnicode_GET_LENGTH(name), 1) == -1) {
        int found = is_static ? 1 : is_in_module(module, name, object);
        if (found > 0) {
            leaf = by_name(FIELD(origin, Origin, label), module, name);
        }
    }
    Py_XDECREF(module);
    Py_XDECREF(name);
    Py_XDECREF(origin);
    if (leaf == NULL && !PyErr_Occurred()) {
        return PyObject_CallFunctionObjArgs(class_leaf, walk, object, NULL);
    }
    return leaf;
}

/* code_kinds._builtin_leaf of a function of a C module; of what is bound to anything else, Python decides. */
static PyObject *
leaf_of_builtin(PyObject *walk, PyObject *object)
{
    PyCFunctionObject *function = (PyCFunctionObject *)object;
    PyObject *module = function->m_module, *leaf = NULL;
    if (PyCFunction_CheckExact(object) && module != NULL && PyUnicode_CheckExact(module) &&
        (function->m_self == NULL || PyModule_CheckExact(function->m_self))) {
        PyObject *origin = origin_of(walk, module);
        if (origin != NULL && FIELD(origin, Origin, label) != Py_None) {
            PyObject *name = PyUnicode_FromString(function->m_ml->ml_name);
            leaf = name == NULL ? NULL : by_name(FIELD(origin, Origin, label), module, name);
            Py_XDECREF(name);
        }
        Py_XDECREF(origin);
    }
    if (leaf == NULL && !PyErr_Occurred()) {
        return PyObject_CallFunctionObjArgs(builtin_leaf, walk, object, NULL);
    }
    return leaf;
}

/* code_kinds.descriptor_leaf: a method or slot of a type. */
static PyObject *
leaf_of_descriptor(PyObject *walk, PyObject *object)
{
    PyTypeObject *owner = PyDescr_TYPE(object);
    PyObject *module = PyObject_GetAttr((PyObject *)owner, text_module), *leaf = NULL;
    PyObject *name = module == NULL ? NULL : PyObject_GetAttr((PyObject *)owner, text_qualname);
    PyObject *whole = name == NULL ? NULL : joined(NULL, name, PyDescr_NAME(object));
    PyObject *origin = whole == NULL ? NULL : origin_of(walk, module);
    if (origin != NULL) {
        PyObject *label = FIELD(origin, Origin, label);
        leaf = label == Py_None ? by_name(text_empty, text_empty, whole) : by_name(label, module, whole);
    }
    Py_XDECREF(module);
    Py_XDECREF(name);
    Py_XDECREF(whole);
    Py_XDECREF(origin);
    return leaf;
}
