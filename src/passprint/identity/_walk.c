/* A walk, without a step of Python for each of its own: looking an object up among those that were met, reading
   functions, classes and containers, and the digests of all.

   The same as walk.py, class_kinds.py, code_kinds.py, reach.py, components.py and known.py do, which are used where
   this module was not built; what is rare is left to them (enumerations, instances, modules that make what they are
   asked for). `fast.py` hands over, by `setup`, what is needed of them. Nodes are plain Python objects with slots;
   their fields are read in place. The headers without guards are parts of this file, one subject each.

   Written for CPython 3.11 to 3.14 with the global lock. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <marshal.h>
#include <structmember.h>

#include "_blake2b.h"
#include "_bytes.h"

#ifdef Py_GIL_DISABLED
#error "without the global lock, passprint walks in Python"
#endif

/* ---- what Python hands over ---- */

/* Objects: one reference each, kept as long as the process runs. */
#define GIVEN(X)                                                                                                   \
    X(node_type) X(node_template) X(component_type) X(component_template)                                          \
    X(handlers) X(atoms) X(absent) X(unbound) X(empty_cell) X(unknowable) X(import_module)               \
    X(follow) X(import_in_python) X(check_computed) X(add_unknowable) X(generated_leaf) X(expand_function)                 \
    X(code_facts) X(class_leaf) X(builtin_leaf) X(tuple_leaf) X(descriptor_leaf) X(atom_encoder)                   \
    X(identifies_itself) X(held_hints) X(lazy_hints) X(gather) X(seed) X(named_classes)                             \
    X(enum_type) X(uncounted_names) X(ignored_names) X(expand_class) X(expand_field) X(expand_wrapping)            \
    X(expand_property) X(expand_dict) X(list_leaf)                                                               \
    X(os_environ) X(environ_bytes) X(environ_place) X(os_getenv) X(getenv_place) X(add_environment)

#define DECLARE(name) static PyObject *name;
GIVEN(DECLARE)
#undef DECLARE

/* Fields: how far into an object each stands. */
#define FIELDS(X)                                                                                                  \
    X(Node, component) X(Node, edges) X(Node, head) X(Node, index) X(Node, is_about_root) X(Node, is_kept)         \
    X(Node, is_volatile) X(Node, kind) X(Node, mark) X(Node, opaque) X(Node, rows) X(Node, unordered)              \
    X(Component, children) X(Component, is_lasting) X(Component, is_opaque) X(Component, is_volatile)              \
    X(Component, rows) X(Handler, expand) X(Handler, kind) X(Handler, leaf) X(Slots, is_about_root)                \
    X(Slots, is_volatile) X(Slots, root) X(Slots, rows) X(Walk, leaves) X(Walk, nodes) X(Walk, origins)            \
    X(Walk, reaches_root) X(Walk, root) X(Walk, settled) X(Walk, slots) X(Walk, todo) X(Origin, label)             \
    X(Origins, modules) X(ImportRef, module) X(ImportRef, level)          \
    X(ImportRef, taken) X(ImportRef, uses) X(CodeFacts, chains) X(CodeFacts, computed) X(CodeFacts, imports) X(CodeFacts, payload)

#define DECLARE(type, name) static Py_ssize_t at_##type##_##name;
FIELDS(DECLARE)
#undef DECLARE

#define FIELD(object, type, name) (*(PyObject **)((char *)(object) + at_##type##_##name))

static PyTypeObject *walk_class;
static Py_ssize_t *template_fields[2], template_counts[2]; /* of nodes and of components */

static PyObject *text_arrow, *text_argument, *text_repr_running, *text_name, *text_none_bytes, *text_args, *text_origin;
static PyObject *true_bytes, *false_bytes, *zero, *refers, *mapping_kind, *name_kind;
static PyObject *text_of_module, *text_enter, *text_take_over, *text_dict, *text_module, *text_qualname;
static PyObject *text_dynamo_disable, *text_dynamo_wrapper;
static PyObject *text_functools, *text_underscore_name, *text_member, *text_bases, *text_mro;
static PyObject *text_flags, *text_annotations, *text_annotations_cache, *text_params, *text_fields, *text_type;
static PyObject *text_ignore, *text_empty, *text_func, *text_function, *text_fget, *text_fset, *text_fdel;
static PyObject *text_field_name, *text_field_type, *text_init, *text_repr, *text_hash, *text_compare, *text_kw_only;
static PyObject *text_metadata, *text_dataclasses, *text_missing, *text_default, *text_default_factory, *class_kind;
static PyObject *text_item, *text_key, *text_value, *text_bracket, *items_kind;

static void
put(PyObject **field, PyObject *value) /* takes the reference */
{
    PyObject *old = *field;
    *field = value;
    Py_XDECREF(old);
}

static void
put_flag(PyObject **field, int value)
{
    put(field, Py_NewRef(value ? Py_True : Py_False));
}

/* An attribute, or NULL without an error where there is none. The usual ways of looking do not even make an error. */
static PyObject *
attribute_or_null(PyObject *object, PyObject *name)
{
    PyObject *found = NULL;
#if PY_VERSION_HEX >= 0x030D0000
    (void)PyObject_GetOptionalAttr(object, name, &found);
#else
    (void)_PyObject_LookupAttr(object, name, &found);
#endif
    return found;
}

/* ---- bytes ---- */

#include "_atoms.h"

static PyObject *
framed_text(char tag, PyObject *text)
{
    Out out;
    start(&out);
    return bytes_of(&out, put_framed_text(&out, tag, text) < 0);
}

/* walk.by_name: code that counts by its name and its distribution's version. */
static PyObject *
by_name(PyObject *label, PyObject *module, PyObject *name)
{
    if (!PyUnicode_CheckExact(module) || !PyUnicode_IS_COMPACT_ASCII(label) || !PyUnicode_IS_COMPACT_ASCII(module) ||
        !PyUnicode_Check(name) || !PyUnicode_IS_COMPACT_ASCII(name)) {
        PyObject *text = PyUnicode_FromFormat("%zd:%U%S:%S", PyUnicode_GET_LENGTH(label), label, module, name);
        PyObject *bytes = text == NULL ? NULL : framed_text('D', text);
        Py_XDECREF(text);
        return bytes;
    }
    Out inner, out;
    char before[32];
    int taken = snprintf(before, sizeof(before), "%zd:", PyUnicode_GET_LENGTH(label));
    start(&inner);
    start(&out);
    int failed = put_bytes(&inner, before, taken) < 0 || put_ascii(&inner, label) < 0 || put_ascii(&inner, module) < 0 ||
                 put_char(&inner, ':') < 0 || put_ascii(&inner, name) < 0 ||
                 put_frame(&out, 'D', inner.data, inner.size) < 0;
    finish(&inner);
    return bytes_of(&out, failed);
}

/* `owner name.attribute`; without an owner, `name.attribute`. */
static PyObject *
joined(PyObject *owner, PyObject *name, PyObject *attribute)
{
    if ((owner != NULL && !PyUnicode_IS_COMPACT_ASCII(owner)) || !PyUnicode_IS_COMPACT_ASCII(name) ||
        !PyUnicode_IS_COMPACT_ASCII(attribute)) {
        return owner == NULL ? PyUnicode_FromFormat("%U.%U", name, attribute)
                             : PyUnicode_FromFormat("%U %U.%U", owner, name, attribute);
    }
    Py_ssize_t before = owner == NULL ? 0 : PyUnicode_GET_LENGTH(owner) + 1, length = PyUnicode_GET_LENGTH(name);
    PyObject *text = PyUnicode_New(before + length + 1 + PyUnicode_GET_LENGTH(attribute), 127);
    if (text == NULL) {
        return NULL;
    }
    char *to = (char *)PyUnicode_1BYTE_DATA(text);
    if (owner != NULL) {
        memcpy(to, PyUnicode_1BYTE_DATA(owner), before - 1);
        to[before - 1] = ' ';
    }
    memcpy(to + before, PyUnicode_1BYTE_DATA(name), length);
    to[before + length] = '.';
    memcpy(to + before + length + 1, PyUnicode_1BYTE_DATA(attribute), PyUnicode_GET_LENGTH(attribute));
    return text;
}

/* ---- nodes, edges, rows ---- */

/* A new object with the fields of a template. */
static PyObject *
copied(PyObject *template, int which)
{
    PyTypeObject *type = Py_TYPE(template);
    PyObject *made = type->tp_alloc(type, 0);
    for (Py_ssize_t at = 0; made != NULL && at < template_counts[which]; at++) {
        Py_ssize_t offset = template_fields[which][at];
        *(PyObject **)((char *)made + offset) = Py_XNewRef(*(PyObject **)((char *)template + offset));
    }
    return made;
}

/* Appends `(step, label, child, value)`; takes the reference to the child, which may be NULL after an error. */
static int
append_edge(PyObject *node, PyObject *step, PyObject *label, PyObject *child, PyObject *value)
{
    if (child == NULL) {
        return -1;
    }
    PyObject *edge = PyTuple_New(4);
    if (edge == NULL) {
        Py_DECREF(child);
        return -1;
    }
    PyTuple_SET_ITEM(edge, 0, Py_NewRef(step));
    PyTuple_SET_ITEM(edge, 1, Py_NewRef(label));
    PyTuple_SET_ITEM(edge, 2, child);
    PyTuple_SET_ITEM(edge, 3, Py_NewRef(value));
    int failed = PyList_Append(FIELD(node, Node, edges), edge);
    Py_DECREF(edge);
    return failed;
}

static int
append_row(PyObject *slots, PyObject *row) /* takes the reference */
{
    if (row == NULL) {
        return -1;
    }
    int failed = PyList_Append(FIELD(slots, Slots, rows), row);
    Py_DECREF(row);
    return failed;
}

/* What is gathered of an object's references. */
typedef struct {
    PyObject *found[64];
    Py_ssize_t count;
} Gathered;

static int
gather_one(PyObject *object, void *given)
{
    Gathered *gathered = given;
    if (gathered->count == 64) {
        return 1;
    }
    gathered->found[gathered->count++] = object;
    return 0;
}

/* gc.get_referents of one object. */
static PyObject *
referents(PyObject *owner)
{
    Gathered gathered;
    gathered.count = 0;
    traverseproc traverse = Py_TYPE(owner)->tp_traverse;
    if (PyObject_IS_GC(owner) && traverse != NULL && traverse(owner, gather_one, &gathered) != 0) {
        return PyObject_CallOneArg(gather, owner); /* more than there is room for */
    }
    PyObject *found = PyList_New(gathered.count);
    for (Py_ssize_t at = 0; found != NULL && at < gathered.count; at++) {
        PyList_SET_ITEM(found, at, Py_NewRef(gathered.found[at]));
    }
    return found;
}

/* Slots.refer */
static int
refer(PyObject *slots, PyObject *owner)
{
    PyObject *found = referents(owner);
    if (found == NULL) {
        return -1;
    }
    PyObject *held = owner;
    if (owner == FIELD(slots, Slots, root) && owner != Py_None) {
        put_flag(&FIELD(slots, Slots, is_about_root), 1);
        held = zero;
    }
    PyObject *row = PyTuple_Pack(3, refers, held, found);
    Py_DECREF(found);
    return append_row(slots, row);
}

/* Slots.mapping, of an exact dict. */
static int
snapshot(PyObject *slots, PyObject *dict)
{
    PyObject *copy = PyDict_Copy(dict);
    if (copy == NULL) {
        return -1;
    }
    PyObject *row = PyTuple_Pack(3, mapping_kind, dict, copy);
    Py_DECREF(copy);
    return append_row(slots, row);
}

/* The origin of a module's code: a borrowed reference where `Origins` knows it. A new one always. */
static PyObject *
origin_of(PyObject *walk, PyObject *module)
{
    PyObject *origins = FIELD(walk, Walk, origins);
    if (PyUnicode_CheckExact(module)) {
        PyObject *known = PyDict_GetItemWithError(FIELD(origins, Origins, modules), module);
        if (known != NULL || PyErr_Occurred()) {
            return Py_XNewRef(known);
        }
    }
    return PyObject_CallMethodOneArg(origins, text_of_module, module);
}

/* ---- an object's bytes or node ---- */

#include "_leaves.h"

static PyObject *
remembered(PyObject *table, PyObject *key) /* borrowed: of `(object, what)`, the second */
{
    PyObject *pair = PyDict_GetItemWithError(table, key);
    return pair == NULL ? NULL : PyTuple_GET_ITEM(pair, 1);
}

static int
remember(PyObject *table, PyObject *key, PyObject *object, PyObject *what)
{
    PyObject *pair = PyTuple_Pack(2, object, what);
    if (pair == NULL) {
        return -1;
    }
    int failed = PyDict_SetItem(table, key, pair);
    Py_DECREF(pair);
    return failed;
}

static PyObject *
new_node(PyObject *walk, PyObject *object, PyObject *key, PyObject *handler)
{
    PyObject *node = copied(node_template, 0);
    if (node == NULL) {
        return NULL;
    }
    put(&FIELD(node, Node, kind), Py_NewRef(FIELD(handler, Handler, kind)));
    put(&FIELD(node, Node, edges), PyList_New(0));
    PyObject *task = PyTuple_Pack(3, handler, object, node);
    if (task == NULL || FIELD(node, Node, edges) == NULL ||
        remember(FIELD(walk, Walk, nodes), key, object, node) < 0 ||
        PyList_Append(FIELD(walk, Walk, todo), task) < 0) {
        Py_CLEAR(node);
    }
    Py_XDECREF(task);
    return node;
}

/* Walk.child, once the object has a key. */
static PyObject *
child_by_key(PyObject *walk, PyObject *object, PyObject *key)
{
    PyObject *known = remembered(FIELD(walk, Walk, nodes), key);
    if (known != NULL) {
        if (object == FIELD(walk, Walk, root)) {
            put_flag(&FIELD(walk, Walk, reaches_root), 1);
        }
        return Py_NewRef(known);
    }
    PyObject *leaves = FIELD(walk, Walk, leaves);
    known = PyErr_Occurred() ? NULL : remembered(leaves, key);
    if (known != NULL || PyErr_Occurred()) {
        return Py_XNewRef(known);
    }
    PyObject *settled = FIELD(walk, Walk, settled);
    if (PyDict_GET_SIZE(settled) > 0) {
        PyObject *pair = PyDict_GetItemWithError(settled, key);
        if (pair == NULL && PyErr_Occurred()) {
            return NULL;
        }
        if (pair != NULL) {
            PyObject *taken = PyObject_CallMethodOneArg(walk, text_take_over, key);
            if (taken != Py_None) {
                return taken;
            }
            Py_DECREF(taken);
        }
    }
    PyObject *handler = PyDict_GetItemWithError(handlers, (PyObject *)Py_TYPE(object));
    if (handler == NULL) {
        return PyErr_Occurred() ? NULL : PyObject_CallMethodOneArg(walk, text_enter, object);
    }
    Py_INCREF(handler);
    PyObject *leaf = Py_None, *read = FIELD(handler, Handler, leaf), *result;
    PyObject *slots = FIELD(walk, Walk, slots);
    Py_ssize_t count = PyList_GET_SIZE(FIELD(slots, Slots, rows));
    if (PyFunction_Check(object)) {
        leaf = function_leaf(walk, object);
    }
    else if (read == class_leaf) {
        leaf = leaf_of_class(walk, object);
    }
    else if (read == builtin_leaf) {
        leaf = leaf_of_builtin(walk, object);
    }
    else if (read == tuple_leaf && PyTuple_CheckExact(object)) {
        leaf = leaf_of_tuple(walk, object);
    }
    else if (read == tuple_leaf && PyFrozenSet_CheckExact(object)) {
        leaf = leaf_of_frozenset(walk, object);
    }
    else if (read == list_leaf && PyList_CheckExact(object)) {
        leaf = leaf_of_list(walk, object);
    }
    else if (read == descriptor_leaf) {
        leaf = leaf_of_descriptor(walk, object);
    }
    else if (read != Py_None) {
        PyObject *arguments[] = {walk, object};
        leaf = PyObject_Vectorcall(read, arguments, 2, NULL);
    }
    else {
        Py_INCREF(leaf);
    }
    if (leaf == NULL) {
        result = NULL;
    }
    else if (leaf == Py_None) {
        Py_DECREF(leaf);
        result = new_node(walk, object, key, handler);
    }
    else {
        result = leaf;
        /* Where something was read for it, other nodes will have to note that as well. */
        if (PyList_GET_SIZE(FIELD(slots, Slots, rows)) == count && remember(leaves, key, object, leaf) < 0) {
            Py_CLEAR(result);
        }
    }
    Py_DECREF(handler);
    return result;
}

/* Walk.child: the bytes of a plain value, or the node of anything else. */
static PyObject *
child_of(PyObject *walk, PyObject *object)
{
    if (PyUnicode_CheckExact(object)) {
        return framed_text('s', object);
    }
    if (object == Py_None || object == Py_True || object == Py_False) {
        return Py_NewRef(object == Py_None ? text_none_bytes : object == Py_True ? true_bytes : false_bytes);
    }
    Out out;
    start(&out);
    int result = put_atom(&out, object);
    if (result != 1) {
        return bytes_of(&out, result < 0);
    }
    finish(&out);
    PyObject *encode = PyDict_GetItemWithError(atoms, (PyObject *)Py_TYPE(object));
    if (encode != NULL) {
        return PyObject_CallOneArg(encode, object);
    }
    PyObject *key = PyErr_Occurred() ? NULL : PyLong_FromVoidPtr(object);
    if (key == NULL) {
        return NULL;
    }
    PyObject *found = child_by_key(walk, object, key);
    Py_DECREF(key);
    return found;
}

/* ---- how objects are read ---- */

#include "_reach.h"

#include "_hints.h"

#include "_functions.h"

#include "_classes.h"

/* Walk.run's loop: everything below the root expanded. */
static int
expand_all(PyObject *walk)
{
    PyObject *todo = FIELD(walk, Walk, todo), *slots = FIELD(walk, Walk, slots);
    while (PyList_GET_SIZE(todo) > 0) {
        Py_ssize_t last = PyList_GET_SIZE(todo) - 1;
        PyObject *task = Py_NewRef(PyList_GET_ITEM(todo, last));
        PyObject *handler = PyTuple_GET_ITEM(task, 0), *object = PyTuple_GET_ITEM(task, 1);
        PyObject *node = PyTuple_GET_ITEM(task, 2), *rows = PyList_New(0);
        int failed = rows == NULL || PyList_SetSlice(todo, last, last + 1, NULL) < 0;
        if (!failed) {
            put(&FIELD(node, Node, rows), Py_NewRef(rows));
            put(&FIELD(slots, Slots, rows), Py_NewRef(rows));
            if (PyFunction_Check(object)) {
                failed = expand(walk, object, node) < 0;
            }
            else {
                int result = expand_other(walk, handler, object, node);
                failed = result < 0;
                if (result == 1) {
                    PyObject *arguments[] = {walk, object, node};
                    PyObject *done = PyObject_Vectorcall(FIELD(handler, Handler, expand), arguments, 3, NULL);
                    failed = done == NULL;
                    Py_XDECREF(done);
                }
            }
        }
        if (!failed && (FIELD(slots, Slots, is_about_root) == Py_True || FIELD(slots, Slots, is_volatile) == Py_True)) {
            put(&FIELD(node, Node, is_about_root), Py_NewRef(FIELD(slots, Slots, is_about_root)));
            put(&FIELD(node, Node, is_volatile), Py_NewRef(FIELD(slots, Slots, is_volatile)));
            put_flag(&FIELD(slots, Slots, is_about_root), 0);
            put_flag(&FIELD(slots, Slots, is_volatile), 0);
        }
        Py_XDECREF(rows);
        Py_DECREF(task);
        if (failed) {
            return -1;
        }
    }
    return 0;
}

/* ---- digests ---- */

#include "_settle.h"

/* ---- what later walks take over ---- */

/* known.is_named_by_module */
static int
is_named(PyObject *object)
{
    PyObject *module, *name;
    if (PyFunction_Check(object)) {
        module = Py_XNewRef(((PyFunctionObject *)object)->func_module);
        name = Py_NewRef(((PyFunctionObject *)object)->func_qualname);
        if (module == NULL) {
            module = Py_NewRef(Py_None);
        }
    }
    else if (PyType_Check(object)) {
        module = PyObject_GetAttr(object, text_module);
        name = module == NULL ? NULL : PyObject_GetAttr(object, text_qualname);
        if (name == NULL) {
            Py_XDECREF(module);
            return -1;
        }
    }
    else {
        return 0;
    }
    int named = PyUnicode_Check(module) ? is_in_module(module, name, object) : 0;
    Py_DECREF(module);
    Py_DECREF(name);
    return named;
}

/* known.Known.learn: the nodes that later walks may take over are added to `kept`, by their objects' ids. Gives the
   dict that holds them, a new one where there were too many. */
static PyObject *
learn(PyObject *walked, PyObject *kept, Py_ssize_t limit)
{
    PyObject *objects = PyDict_New(), *todo = PyList_New(0), *key, *pair;
    Py_ssize_t position = 0;
    int failed = objects == NULL || todo == NULL;
    while (!failed && PyDict_Next(walked, &position, &key, &pair)) {
        PyObject *object = PyTuple_GET_ITEM(pair, 0), *node = PyTuple_GET_ITEM(pair, 1);
        if (FIELD(node, Node, is_kept) == Py_True) {
            continue;
        }
        PyObject *component = FIELD(node, Node, component);
        failed = PyDict_SetItem(objects, node, object) < 0;
        if (!failed && component != Py_None && FIELD(component, Component, is_lasting) == Py_True) {
            int named = is_named(object);
            failed = named < 0 || (named && PyList_Append(todo, node) < 0);
        }
    }
    int too_many = !failed && PyDict_GET_SIZE(kept) + PyDict_GET_SIZE(objects) > limit;
    PyObject *result = too_many ? PyDict_New() : Py_NewRef(kept);
    failed |= result == NULL;
    while (!failed && PyDict_GET_SIZE(objects) <= limit && PyList_GET_SIZE(todo) > 0) {
        Py_ssize_t last = PyList_GET_SIZE(todo) - 1;
        PyObject *node = Py_NewRef(PyList_GET_ITEM(todo, last));
        failed = PyList_SetSlice(todo, last, last + 1, NULL) < 0;
        if (!failed && FIELD(node, Node, is_kept) != Py_True) {
            put_flag(&FIELD(node, Node, is_kept), 1);
            PyObject *object = PyDict_GetItemWithError(objects, node);
            failed = object == NULL && PyErr_Occurred() != NULL;
            if (object != NULL) {
                PyObject *id = PyLong_FromVoidPtr(object);
                failed = id == NULL || remember(result, id, object, node) < 0;
                Py_XDECREF(id);
            }
            PyObject *edges = FIELD(node, Node, edges);
            for (Py_ssize_t at = 0; !failed && at < PyList_GET_SIZE(edges); at++) {
                PyObject *child = PyTuple_GET_ITEM(PyList_GET_ITEM(edges, at), 2);
                if (is_node(child) && FIELD(child, Node, is_kept) != Py_True) {
                    failed = PyList_Append(todo, child) < 0;
                }
            }
        }
        Py_DECREF(node);
    }
    Py_XDECREF(objects);
    Py_XDECREF(todo);
    if (failed) {
        Py_CLEAR(result);
    }
    return result;
}

/* Adds a member for each name that is in neither set, in the order of the names. */
static int
add_members(PyObject *walk, PyObject *node, PyObject *names, PyObject *content, PyObject *uncounted,
            PyObject *ignored)
{
    for (Py_ssize_t at = 0; at < PyList_GET_SIZE(names); at++) {
        PyObject *name = PyList_GET_ITEM(names, at);
        int is_left_out = PySet_Contains(uncounted, name);
        if (is_left_out == 0) {
            is_left_out = PySet_Contains(ignored, name);
        }
        if (is_left_out != 0) {
            if (is_left_out < 0) {
                return -1;
            }
            continue;
        }
        PyObject *value = PyDict_GetItemWithError(content, name), *label = PyObject_Str(name);
        if (value == NULL || label == NULL) {
            if (!PyErr_Occurred()) {
                PyErr_SetObject(PyExc_KeyError, name);
            }
            Py_XDECREF(label);
            return -1;
        }
        int failed = append_edge(node, text_member, label, child_of(walk, value), value) < 0;
        Py_DECREF(label);
        if (failed) {
            return -1;
        }
    }
    return 0;
}

/* ---- what Python calls ---- */

static int
takes(const char *name, Py_ssize_t given, Py_ssize_t wanted)
{
    if (given == wanted && node_type != NULL) {
        return 1;
    }
    PyErr_Format(PyExc_TypeError, "_walk.%s takes %zd arguments, after setup", name, wanted);
    return 0;
}

/* Whether it is a walk that can be taken on: one of Python's class. */
static int
is_walk(PyObject *walk)
{
    if (PyObject_TypeCheck(walk, walk_class)) {
        return 1;
    }
    PyErr_Format(PyExc_TypeError, "a walk is expected, not %R", Py_TYPE(walk));
    return 0;
}

static PyObject *
call_child(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    return takes("child", count, 2) && is_walk(arguments[0]) ? child_of(arguments[0], arguments[1]) : NULL;
}

static PyObject *
call_expand_all(PyObject *module, PyObject *walk)
{
    return takes("expand_all", 1, 1) && is_walk(walk) && expand_all(walk) == 0 ? Py_NewRef(Py_None) : NULL;
}

static PyObject *
call_settle(PyObject *module, PyObject *root)
{
    if (!takes("settle", 1, 1)) {
        return NULL;
    }
    if (!is_node(root)) {
        PyErr_SetString(PyExc_TypeError, "settle takes a node");
        return NULL;
    }
    return FIELD(root, Node, mark) != Py_None || settle_below(root) == 0 ? Py_NewRef(Py_None) : NULL;
}

static PyObject *
call_mark(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    if (!takes("mark", count, 2)) {
        return NULL;
    }
    if (!PyBytes_Check(arguments[0]) || !PyBytes_Check(arguments[1])) {
        PyErr_SetString(PyExc_TypeError, "mark takes bytes twice");
        return NULL;
    }
    return mark_of(arguments[0], PyBytes_AS_STRING(arguments[1]), PyBytes_GET_SIZE(arguments[1]));
}

static PyObject *
call_learn(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    if (!takes("learn", count, 3)) {
        return NULL;
    }
    Py_ssize_t limit = PyLong_AsSsize_t(arguments[2]);
    if (!PyDict_Check(arguments[0]) || !PyDict_Check(arguments[1]) || PyErr_Occurred()) {
        PyErr_SetString(PyExc_TypeError, "learn takes the nodes of a walk, those that are kept, and a limit");
        return NULL;
    }
    return learn(arguments[0], arguments[1], limit);
}

static PyObject *
call_add_members(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    if (!takes("add_members", count, 6)) {
        return NULL;
    }
    if (!is_walk(arguments[0])) {
        return NULL;
    }
    if (!is_node(arguments[1]) || !PyList_CheckExact(arguments[2]) || !PyDict_CheckExact(arguments[3]) ||
        !PyAnySet_Check(arguments[4]) || !PyAnySet_Check(arguments[5])) {
        PyErr_SetString(PyExc_TypeError, "add_members takes a walk, a node, names, a dict and two sets of names");
        return NULL;
    }
    int failed =
        add_members(arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]) < 0;
    return failed ? NULL : Py_NewRef(Py_None);
}

/* Where a field stands in the objects of a class with slots. */
static Py_ssize_t
offset_of(PyObject *type, const char *name)
{
    PyObject *descriptor = PyObject_GetAttrString(type, name);
    Py_ssize_t offset = -1;
    if (descriptor != NULL && Py_TYPE(descriptor) == &PyMemberDescr_Type &&
        ((PyMemberDescrObject *)descriptor)->d_member->type == T_OBJECT_EX) {
        offset = ((PyMemberDescrObject *)descriptor)->d_member->offset;
    }
    else if (!PyErr_Occurred()) {
        PyErr_Format(PyExc_TypeError, "%R has no slot %s", type, name);
    }
    Py_XDECREF(descriptor);
    return offset;
}

/* The offsets of all slots of a template's class. */
static int
read_template(PyObject *template, int which)
{
    PyObject *names = PyObject_GetAttrString((PyObject *)Py_TYPE(template), "__slots__");
    PyObject *listed = names == NULL ? NULL : PySequence_Tuple(names);
    Py_XDECREF(names);
    if (listed == NULL) {
        return -1;
    }
    Py_ssize_t count = PyTuple_GET_SIZE(listed), *offsets = PyMem_Malloc((count + 1) * sizeof(Py_ssize_t));
    int failed = offsets == NULL;
    for (Py_ssize_t at = 0; !failed && at < count; at++) {
        const char *name = PyUnicode_AsUTF8(PyTuple_GET_ITEM(listed, at));
        offsets[at] = name == NULL ? -1 : offset_of((PyObject *)Py_TYPE(template), name);
        failed = offsets[at] < 0;
    }
    Py_DECREF(listed);
    if (failed) {
        PyMem_Free(offsets);
        return -1;
    }
    PyMem_Free(template_fields[which]);
    template_fields[which] = offsets;
    template_counts[which] = count;
    return 0;
}

static PyObject *
setup(PyObject *module, PyObject *given)
{
    if (!PyDict_Check(given)) {
        PyErr_SetString(PyExc_TypeError, "setup takes a dict");
        return NULL;
    }
#define TAKE(name)                                                                                                 \
    PyObject *new_##name = PyDict_GetItemString(given, #name);                                                     \
    if (new_##name == NULL) {                                                                                      \
        PyErr_SetString(PyExc_KeyError, #name);                                                                    \
        return NULL;                                                                                               \
    }
    GIVEN(TAKE)
#undef TAKE
#define FIND(type, name)                                                                                           \
    {                                                                                                              \
        PyObject *owner = PyDict_GetItemString(new_named_classes, #type);                                          \
        if (owner == NULL) {                                                                                       \
            PyErr_SetString(PyExc_KeyError, #type);                                                                \
            return NULL;                                                                                           \
        }                                                                                                          \
        at_##type##_##name = offset_of(owner, #name);                                                              \
        if (at_##type##_##name < 0) {                                                                              \
            return NULL;                                                                                           \
        }                                                                                                          \
    }
    FIELDS(FIND)
#undef FIND
    if (read_template(new_node_template, 0) < 0 || read_template(new_component_template, 1) < 0) {
        return NULL;
    }
    walk_class = (PyTypeObject *)PyDict_GetItemString(new_named_classes, "Walk"); /* held by `named_classes` */
#define KEEP(name) put(&name, Py_NewRef(new_##name));
    GIVEN(KEEP)
#undef KEEP
    Py_RETURN_NONE;
}

static int
make_constants(PyObject *module)
{
#define TEXT(name, text)                                                                                           \
    if (name == NULL && (name = PyUnicode_InternFromString(text)) == NULL) {                                       \
        return -1;                                                                                                 \
    }
    TEXT(text_arrow, "\xe2\x86\x92")
    TEXT(text_argument, "(")
    TEXT(text_repr_running, "repr_running")
    TEXT(text_name, "__name__")
    TEXT(text_dict, "__dict__")
    TEXT(text_dynamo_disable, "__dynamo_disable")
    TEXT(text_dynamo_wrapper, "_torchdynamo_wrapper_id")
    TEXT(text_module, "__module__")
    TEXT(text_qualname, "__qualname__")
    TEXT(text_of_module, "of_module")
    TEXT(text_enter, "enter")
    TEXT(text_take_over, "take_over")
    TEXT(text_functools, "functools")
    TEXT(text_args, "__args__")
    TEXT(text_origin, "__origin__")
    TEXT(text_underscore_name, "_name")
    TEXT(text_member, ".")
    TEXT(text_bases, "__bases__")
    TEXT(text_mro, "__mro__")
    TEXT(text_flags, "__flags__")
    TEXT(text_annotations, "__annotations__")
    TEXT(text_annotations_cache, "__annotations_cache__")
    TEXT(text_params, "__dataclass_params__")
    TEXT(text_fields, "__dataclass_fields__")
    TEXT(text_type, "type")
    TEXT(text_ignore, "__fingerprint_ignore__")
    TEXT(text_empty, "")
    TEXT(text_func, "__func__")
    TEXT(text_function, "function")
    TEXT(text_fget, "fget")
    TEXT(text_fset, "fset")
    TEXT(text_fdel, "fdel")
    TEXT(text_field_name, "name")
    TEXT(text_field_type, "_field_type")
    TEXT(text_init, "init")
    TEXT(text_repr, "repr")
    TEXT(text_hash, "hash")
    TEXT(text_compare, "compare")
    TEXT(text_kw_only, "kw_only")
    TEXT(text_metadata, "metadata")
    TEXT(text_dataclasses, "dataclasses")
    TEXT(text_missing, "MISSING")
    TEXT(text_default, "default")
    TEXT(text_default_factory, "default_factory")
    TEXT(text_item, "item")
    TEXT(text_key, "key")
    TEXT(text_value, "value")
    TEXT(text_bracket, "[")
#undef TEXT
    if (text_none_bytes != NULL) {
        return 0;
    }
    true_bytes = PyBytes_FromString("B1:1");
    false_bytes = PyBytes_FromString("B1:0");
    zero = PyLong_FromLong(0);
    refers = PyLong_FromLong(0);
    mapping_kind = PyLong_FromLong(1);
    name_kind = PyLong_FromLong(2);
    class_kind = PyLong_FromLong(7);
    items_kind = PyLong_FromLong(3);
    text_none_bytes = PyBytes_FromString("N0:");
    return true_bytes && false_bytes && zero && class_kind && items_kind && refers && mapping_kind && name_kind && text_none_bytes
               ? 0
               : -1;
}

static PyMethodDef module_methods[] = {
    {"setup", setup, METH_O, "setup(given): takes what the walk in Python is made of."},
    {"child", (PyCFunction)(void (*)(void))call_child, METH_FASTCALL,
     "child(walk, object): the bytes of a plain value, or the node of anything else."},
    {"expand_all", call_expand_all, METH_O, "expand_all(walk): expands what is to be done, and all below."},
    {"settle", call_settle, METH_O, "settle(root): the digests of a node and of all below it."},
    {"mark", (PyCFunction)(void (*)(void))call_mark, METH_FASTCALL,
     "mark(before, data): an @ and the BLAKE2b of both, one after the other, in 32 bytes."},
    {"learn", (PyCFunction)(void (*)(void))call_learn, METH_FASTCALL,
     "learn(walked, kept, limit): adds to the kept nodes those of a walk that last; gives the dict of them."},
    {"add_members", (PyCFunction)(void (*)(void))call_add_members, METH_FASTCALL,
     "add_members(walk, node, names, content, uncounted, ignored): an edge for each name that is in neither set."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, make_constants},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT, "_walk", "Walks for passprint.identity, in C.", 0, module_methods, module_slots, NULL, NULL,
    NULL,
};

PyMODINIT_FUNC
PyInit__walk(void)
{
    return PyModuleDef_Init(&module_definition);
}
