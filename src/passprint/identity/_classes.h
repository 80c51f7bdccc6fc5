/* How classes, dataclass fields and what wraps a function are read; part of _walk.c.

   The same as class_kinds.py and code_kinds.py do. What is out of the ordinary is left to them before anything was
   noted: enumerations, metaclasses that answer for a class's own attributes, namespaces with keys that are no text. */

static PyObject *
dict_of(PyObject *type) /* borrowed */
{
#if PY_VERSION_HEX >= 0x030C0000
    PyObject *dict = PyType_GetDict((PyTypeObject *)type);
    Py_XDECREF(dict); /* the type holds it */
    return dict;
#else
    return ((PyTypeObject *)type)->tp_dict;
#endif
}

/* Whether a class answers for its own attributes as `type` does. */
static int
is_ordinary_metaclass(PyTypeObject *meta)
{
    if (meta == &PyType_Type) {
        return 1;
    }
    if (meta->tp_getattro != PyType_Type.tp_getattro) {
        return 0;
    }
    PyObject *asked[] = {text_dict, text_bases, text_name, text_mro, text_flags, text_qualname};
    for (int at = 0; at < 6; at++) {
        if (_PyType_Lookup(meta, asked[at]) != _PyType_Lookup(&PyType_Type, asked[at])) {
            return 0;
        }
    }
    return 1;
}

/* Whether C reads a class: its namespace is plain, and its hints too. Gives the hints, borrowed, or NULL. */
static int
is_ordinary_class(PyObject *object, PyObject **hints)
{
    PyTypeObject *type = (PyTypeObject *)object;
    PyObject *space = dict_of(object), *key, *value;
    Py_ssize_t position = 0;
    *hints = NULL;
    if (!PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE) || space == NULL || !PyDict_CheckExact(space) ||
        !is_ordinary_metaclass(Py_TYPE(type)) || PyType_IsSubtype(Py_TYPE(type), (PyTypeObject *)enum_type)) {
        return 0;
    }
    while (PyDict_Next(space, &position, &key, &value)) {
        if (!PyUnicode_CheckExact(key)) {
            return 0;
        }
    }
#if PY_VERSION_HEX < 0x030E0000
    PyObject *names[] = {text_annotations, text_annotations_cache};
    for (int at = 0; at < 2; at++) {
        PyObject *found = PyDict_GetItemWithError(space, names[at]);
        if (found == NULL) {
            continue;
        }
        if (!PyDict_CheckExact(found)) {
            return 0;
        }
        if (PyDict_GET_SIZE(found) > 0) {
            *hints = found;
            break;
        }
    }
#endif
    return 1;
}

/* Slots.klass, of a class that was made at run time. */
static int
note_class(PyObject *slots, PyObject *object)
{
    PyObject *found = referents(object), *held = object;
    if (found == NULL) {
        return -1;
    }
    if (object == FIELD(slots, Slots, root)) {
        put_flag(&FIELD(slots, Slots, is_about_root), 1);
        held = zero;
    }
    PyObject *row = PyTuple_Pack(4, class_kind, held, ((PyHeapTypeObject *)object)->ht_name, found);
    Py_DECREF(found);
    return append_row(slots, row);
}

static int
head_of_class(PyObject *object, PyObject *node, PyObject *hints)
{
    Out out;
    start(&out);
    int failed = put_framed_text(&out, 'n', ((PyHeapTypeObject *)object)->ht_name) < 0;
#if PY_VERSION_HEX >= 0x030E0000
    PyObject *held = failed ? NULL : PyObject_CallOneArg(held_hints, object), *lazy = NULL;
    failed = held == NULL;
    if (!failed && held != Py_None) {
        PyObject *plain = PyDict_New();
        failed = plain == NULL || PyDict_Update(plain, held) < 0 || put_hints_of(&out, plain) < 0;
        Py_XDECREF(plain);
    }
    else if (!failed) {
        lazy = PyObject_CallOneArg(lazy_hints, object);
        failed = lazy == NULL || put_bytes(&out, PyBytes_AS_STRING(lazy), PyBytes_GET_SIZE(lazy)) < 0;
    }
    Py_XDECREF(held);
    Py_XDECREF(lazy);
#else
    failed = failed || put_hints_of(&out, hints) < 0;
#endif
    PyObject *head = bytes_of(&out, failed);
    if (head == NULL) {
        return -1;
    }
    put(&FIELD(node, Node, head), head);
    return 0;
}

/* class_kinds._add_dataclass: the options and the fields. */
static int
add_dataclass(PyObject *walk, PyObject *node, PyObject *params, PyObject *fields)
{
    PyObject *options = PyObject_Str(params == NULL ? Py_None : params);
    int failed = options == NULL ||
                 append_edge(node, text_member, text_params, framed_text('o', options), options) < 0;
    Py_XDECREF(options);
    if (failed) {
        return -1;
    }
    if (!PyDict_CheckExact(fields)) {
        return append_edge(node, text_member, text_fields, child_of(walk, fields), fields);
    }
    PyObject *copy = PyDict_Copy(fields), *name, *field;
    Py_ssize_t position = 0;
    if (copy == NULL || append_row(FIELD(walk, Walk, slots), PyTuple_Pack(3, mapping_kind, fields, copy)) < 0) {
        Py_XDECREF(copy);
        return -1;
    }
    while (!failed && PyDict_Next(copy, &position, &name, &field)) {
        PyObject *hint = PyObject_GetAttr(field, text_type);
        PyObject *label = hint == NULL ? NULL : label_of_hint(name, hint);
        failed = label == NULL || append_edge(node, text_member, label, child_of(walk, field), field) < 0;
        Py_XDECREF(hint);
        Py_XDECREF(label);
    }
    Py_DECREF(copy);
    return failed ? -1 : 0;
}

/* The metaclass and the bases. */
static int
add_bases(PyObject *walk, PyObject *object, PyObject *node)
{
    PyObject *meta = (PyObject *)Py_TYPE(object), *bases = Py_NewRef(((PyTypeObject *)object)->tp_bases);
    int failed = 0;
    if (meta != (PyObject *)&PyType_Type) {
        PyObject *name = PyObject_GetAttr(meta, text_qualname);
        PyObject *label = name == NULL ? NULL : PyUnicode_FromFormat("metaclass %U", name);
        failed = label == NULL || append_edge(node, text_arrow, label, child_of(walk, meta), meta) < 0;
        Py_XDECREF(name);
        Py_XDECREF(label);
    }
    for (Py_ssize_t at = 0; !failed && at < PyTuple_GET_SIZE(bases); at++) {
        PyObject *base = PyTuple_GET_ITEM(bases, at);
        if (base != (PyObject *)&PyBaseObject_Type) {
            PyObject *label = PyObject_GetAttr(base, text_qualname);
            failed = label == NULL || append_edge(node, text_arrow, label, child_of(walk, base), base) < 0;
            Py_XDECREF(label);
        }
    }
    Py_DECREF(bases);
    return failed ? -1 : 0;
}

/* The names that a class and its bases leave out; NULL without an error where there are none. */
static PyObject *
names_left_out(PyObject *object)
{
    PyObject *mro = ((PyTypeObject *)object)->tp_mro;
    for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(mro); at++) {
        PyObject *space = dict_of(PyTuple_GET_ITEM(mro, at));
        if (space != NULL && PyDict_GetItemWithError(space, text_ignore) != NULL) {
            return PyObject_CallOneArg(ignored_names, object);
        }
        if (PyErr_Occurred()) {
            return NULL;
        }
    }
    return NULL;
}

/* class_kinds._expand_class */
static int
read_class(PyObject *walk, PyObject *object, PyObject *node, PyObject *hints)
{
    PyObject *slots = FIELD(walk, Walk, slots), *space = dict_of(object), *names = NULL, *left_out = NULL;
    PyObject *content = PyDict_Copy(space), *key, *value;
    if (content == NULL || note_class(slots, object) < 0 ||
        append_row(slots, PyTuple_Pack(3, mapping_kind, space, content)) < 0) {
        Py_XDECREF(content);
        return -1;
    }
    Py_XINCREF(hints);
    int failed = head_of_class(object, node, hints) < 0;
    Py_XDECREF(hints);
    PyObject *fields = PyDict_GetItemWithError(content, text_fields);
    if (!failed && fields != NULL) {
        failed = add_dataclass(walk, node, PyDict_GetItemWithError(content, text_params), fields) < 0;
    }
    failed = failed || add_bases(walk, object, node) < 0;
    if (!failed) {
        left_out = names_left_out(object);
        names = PyErr_Occurred() ? NULL : PyList_New(0);
        failed = names == NULL;
    }
    Py_ssize_t position = 0;
    while (!failed && PyDict_Next(content, &position, &key, &value)) {
        int skipped = fields != NULL && (key == text_fields || key == text_params ||
                                         PyUnicode_Compare(key, text_fields) == 0 ||
                                         PyUnicode_Compare(key, text_params) == 0);
        if (!skipped) {
            skipped = PySet_Contains(uncounted_names, key);
        }
        if (!skipped && left_out != NULL) {
            skipped = PySet_Contains(left_out, key);
        }
        failed = skipped < 0 || (!skipped && PyList_Append(names, key) < 0);
    }
    failed = failed || PyList_Sort(names) < 0;
    for (Py_ssize_t at = 0; !failed && at < PyList_GET_SIZE(names); at++) {
        key = PyList_GET_ITEM(names, at);
        value = PyDict_GetItemWithError(content, key);
        failed = value == NULL || append_edge(node, text_member, key, child_of(walk, value), value) < 0;
    }
    Py_XDECREF(names);
    Py_XDECREF(left_out);
    Py_DECREF(content);
    return failed ? -1 : 0;
}

/* An attribute's value as an edge; left out where it is None or what says that there is none. */
static int
add_attribute(PyObject *walk, PyObject *object, PyObject *node, PyObject *step, PyObject *name, PyObject *label,
              PyObject *none)
{
    PyObject *value = PyObject_GetAttr(object, name);
    if (value == NULL) {
        return -1;
    }
    int failed = value == none ? 0 : append_edge(node, step, label, child_of(walk, value), value);
    Py_DECREF(value);
    return failed;
}

/* code_kinds._expand_wrapping: staticmethod and classmethod. */
static int
read_wrapper(PyObject *walk, PyObject *object, PyObject *node)
{
    return refer(FIELD(walk, Walk, slots), object) < 0
               ? -1
               : add_attribute(walk, object, node, text_empty, text_func, text_function, NULL);
}

/* code_kinds._expand_property */
static int
read_property(PyObject *walk, PyObject *object, PyObject *node)
{
    int failed = refer(FIELD(walk, Walk, slots), object);
    PyObject *names[] = {text_fget, text_fset, text_fdel};
    for (int at = 0; !failed && at < 3; at++) {
        failed = add_attribute(walk, object, node, text_empty, names[at], names[at], Py_None);
    }
    return failed;
}

/* What a dataclass field is by itself: `((name, type, kind), (options…))` as text. */
static PyObject *
head_of_field(PyObject *field)
{
    PyObject *name = PyObject_GetAttr(field, text_field_name), *hint = PyObject_GetAttr(field, text_type);
    PyObject *type = hint == NULL ? NULL : text_of_hint(hint), *kind = PyObject_GetAttr(field, text_field_type);
    PyObject *written = kind == NULL ? NULL : PyObject_Str(kind), *whole = NULL, *head = NULL;
    PyObject *options[5] = {NULL}, *asked[] = {text_init, text_repr, text_hash, text_compare, text_kw_only};
    int failed = name == NULL || type == NULL || written == NULL;
    for (int at = 0; !failed && at < 5; at++) {
        options[at] = PyObject_GetAttr(field, asked[at]);
        failed = options[at] == NULL;
    }
    if (!failed) {
        whole = Py_BuildValue("((OOO)(OOOOO))", name, type, written, options[0], options[1], options[2], options[3],
                              options[4] == Py_True ? Py_True : Py_False);
    }
    PyObject *text = whole == NULL ? NULL : PyObject_ASCII(whole);
    head = text == NULL ? NULL : framed_text('n', text);
    Py_XDECREF(text);
    Py_XDECREF(whole);
    for (int at = 0; at < 5; at++) {
        Py_XDECREF(options[at]);
    }
    Py_XDECREF(name);
    Py_XDECREF(hint);
    Py_XDECREF(type);
    Py_XDECREF(kind);
    Py_XDECREF(written);
    return head;
}

/* class_kinds._expand_field; 1: one with metadata, which Python reads. */
static int
read_field(PyObject *walk, PyObject *field, PyObject *node)
{
    PyObject *metadata = PyObject_GetAttr(field, text_metadata);
    Py_ssize_t size = metadata == NULL ? -1 : PyObject_IsTrue(metadata);
    Py_XDECREF(metadata);
    if (size != 0) {
        return size < 0 ? -1 : 1;
    }
    PyObject *module = PyDict_GetItemWithError(PyImport_GetModuleDict(), text_dataclasses);
    PyObject *missing = module == NULL ? NULL : PyObject_GetAttr(module, text_missing);
    if (missing == NULL) {
        return PyErr_Occurred() ? -1 : 1;
    }
    PyObject *head = head_of_field(field);
    int failed = head == NULL;
    if (!failed) {
        put(&FIELD(node, Node, head), head);
        failed = add_attribute(walk, field, node, text_member, text_default, text_default, missing) < 0 ||
                 add_attribute(walk, field, node, text_member, text_default_factory, text_default_factory, missing) <
                     0;
    }
    Py_DECREF(missing);
    return failed ? -1 : 0;
}

/* value_kinds.expand_dict: an item is a node of its own, with the key and the value. */
static int
read_dict(PyObject *walk, PyObject *object, PyObject *node)
{
    PyObject *content = PyDict_Copy(object), *key, *value;
    Py_ssize_t position = 0;
    if (content == NULL ||
        append_row(FIELD(walk, Walk, slots), PyTuple_Pack(3, mapping_kind, object, content)) < 0) {
        Py_XDECREF(content);
        return -1;
    }
    int failed = 0;
    while (!failed && PyDict_Next(content, &position, &key, &value)) {
        PyObject *pair = copied(node_template, 0), *label = NULL;
        if (pair != NULL) {
            put(&FIELD(pair, Node, kind), Py_NewRef(text_item));
            put(&FIELD(pair, Node, edges), PyList_New(0));
        }
        failed = pair == NULL || FIELD(pair, Node, edges) == NULL ||
                 append_edge(pair, text_empty, text_key, child_of(walk, key), key) < 0 ||
                 append_edge(pair, text_empty, text_value, child_of(walk, value), value) < 0;
        int is_no_text = failed || PyUnicode_CheckExact(key) || PyLong_CheckExact(key) ? 0 : is_no_atom(key);
        failed = failed || is_no_text < 0;
        if (!failed) {
            label = is_no_text ? PyObject_GetAttr((PyObject *)Py_TYPE(key), text_qualname) : PyObject_Repr(key);
        }
        failed = label == NULL || append_edge(node, text_bracket, label, Py_NewRef(pair), value) < 0;
        Py_XDECREF(label);
        Py_XDECREF(pair);
    }
    Py_DECREF(content);
    return failed ? -1 : 0;
}

/* Expands a node that is no function's. 1: Python has to. */
static int
expand_other(PyObject *walk, PyObject *handler, PyObject *object, PyObject *node)
{
    PyObject *way = FIELD(handler, Handler, expand), *hints;
    if (way == expand_class) {
        return is_ordinary_class(object, &hints) ? read_class(walk, object, node, hints) : 1;
    }
    if (way == expand_field) {
        return read_field(walk, object, node);
    }
    if (way == expand_dict && PyDict_CheckExact(object)) {
        return read_dict(walk, object, node);
    }
    if (way == expand_wrapping) {
        return read_wrapper(walk, object, node);
    }
    return way == expand_property ? read_property(walk, object, node) : 1;
}
