/* What a pass does to a graph, noted and counted.

   The same as passprint/passes/changes.py, which is used where this module was not built; the comments there say why.
   The private names of FX come from passprint/passes/torch_graphs.py.

   Written for CPython 3.11 to 3.14 with the global lock. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#ifdef Py_GIL_DISABLED
#error "without the global lock, passprint counts in Python"
#endif

/* Names of attributes; those that torch does not promise are set once by `setup`. */
static PyObject *name_of_node, *op_of, *target_of, *graph_of;
static PyObject *args_of, *kwargs_of, *inputs_of, *erased_of, *key_of; /* of a node */
static PyObject *module_of, *table_of;                                 /* of a graph */
static PyObject *parts_of;                                             /* of a module */
static PyObject *start_watching, *note_uses, *find_rewired;            /* of a RewriteCounter */
static PyObject *begin_within, *end_within, *is_sound_within;

typedef struct {
    PyObject_HEAD
    PyObject *graph, *in_order, *told;
    PyObject *module, *table, *insert, *remove; /* what is watched, and what its table did by itself; or NULL */
    PyObject *states, *made, *replaced, *rewired, *erased, *bereft;
    PyObject *nodes; /* as the last pass left them, or NULL */
    Py_ssize_t rewrites;
    char changed, is_ready, is_owned, keeps_order, looks_within, is_within;
} Changes;

/* The parts of a state. */
enum { NAME, TARGET, ARGS, KWARGS, INPUTS };

static PyObject *
keys_of(PyObject *node)
{
    PyObject *inputs = PyObject_GetAttr(node, inputs_of);
    if (inputs == NULL) {
        return NULL;
    }
    PyObject *found = PySequence_List(inputs);
    Py_DECREF(inputs);
    return found;
}

/* Whether a truth is told by an attribute; -1 for an error. */
static int
is_true(PyObject *object, PyObject *name)
{
    PyObject *value = PyObject_GetAttr(object, name);
    if (value == NULL) {
        return -1;
    }
    int found = PyObject_IsTrue(value);
    Py_DECREF(value);
    return found;
}

/* Whether an attribute is this object; -1 for an error. */
static int
is_same(PyObject *object, PyObject *name, PyObject *expected)
{
    PyObject *value = PyObject_GetAttr(object, name);
    if (value == NULL) {
        return -1;
    }
    int found = value == expected;
    Py_DECREF(value);
    return found;
}

/* Whether a node is as its state says; -1 for an error. */
static int
is_as_before(PyObject *node, PyObject *state)
{
    int found = is_same(node, target_of, PyTuple_GET_ITEM(state, TARGET));
    if (found == 1) {
        found = is_same(node, args_of, PyTuple_GET_ITEM(state, ARGS));
    }
    if (found == 1) {
        found = is_same(node, kwargs_of, PyTuple_GET_ITEM(state, KWARGS));
    }
    return found;
}

/* -- what FX tells */

static int
touch(Changes *self, PyObject *node)
{
    int known = PyDict_Contains(self->states, node);
    if (known == 0) {
        known = PyDict_Contains(self->made, node);
    }
    if (known != 0) {
        return known < 0 ? -1 : 0;
    }
    PyObject *state = PyTuple_New(5);
    if (state == NULL) {
        return -1;
    }
    PyObject *names[] = {name_of_node, target_of, args_of, kwargs_of};
    for (int at = 0; at < 4; at++) {
        PyObject *value = PyObject_GetAttr(node, names[at]);
        if (value == NULL) {
            Py_DECREF(state);
            return -1;
        }
        PyTuple_SET_ITEM(state, at, value);
    }
    PyObject *inputs = keys_of(node);
    if (inputs == NULL) {
        Py_DECREF(state);
        return -1;
    }
    PyTuple_SET_ITEM(state, INPUTS, inputs);
    int failed = PyDict_SetItem(self->states, node, state);
    Py_DECREF(state);
    return failed;
}

static PyObject *
on_insert(Changes *self, PyObject *node)
{
    int known = PyDict_Contains(self->states, node);
    if (known == 0) {
        known = PyDict_Contains(self->made, node);
    }
    if (known == 0) {
        PyObject *name = PyObject_GetAttr(node, name_of_node);
        if (name == NULL || PyDict_SetItem(self->made, node, name) < 0) {
            known = -1;
        }
        Py_XDECREF(name);
    }
    if (known < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
on_touch(Changes *self, PyObject *node)
{
    if (touch(self, node) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
on_replace(Changes *self, PyObject *args, PyObject *options)
{
    static char *names[] = {"old", "new", "user", NULL};
    PyObject *old, *new, *user;
    if (!PyArg_ParseTupleAndKeywords(args, options, "OOO:on_replace", names, &old, &new, &user)) {
        return NULL;
    }
    int is_ours = is_same(user, graph_of, self->graph);
    if (is_ours == 0) {
        Py_RETURN_NONE; /* the hooks of a module are those of its copies, too */
    }
    if (is_ours < 0 || touch(self, user) < 0) {
        return NULL;
    }
    if (self->told != Py_None) {
        int known = PyDict_Contains(self->replaced, old);
        if (known < 0) {
            return NULL;
        }
        if (!known) {
            PyObject *done = PyObject_CallFunctionObjArgs(self->told, old, new, NULL);
            if (done == NULL) {
                return NULL;
            }
            Py_DECREF(done);
        }
    }
    if (PyDict_SetItem(self->replaced, old, Py_None) < 0 || PySet_Add(self->rewired, user) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Add every item of a list to a set. */
static int
add_all(PyObject *set, PyObject *list)
{
    for (Py_ssize_t at = 0; at < PyList_GET_SIZE(list); at++) {
        if (PySet_Add(set, PyList_GET_ITEM(list, at)) < 0) {
            return -1;
        }
    }
    return 0;
}

static PyObject *
on_erase(Changes *self, PyObject *node)
{
    int is_ours = is_same(node, graph_of, self->graph);
    if (is_ours == 0) {
        Py_RETURN_NONE;
    }
    PyObject *inputs = is_ours < 0 ? NULL : keys_of(node);
    if (inputs == NULL) {
        return NULL;
    }
    int failed = PyDict_SetItem(self->erased, node, Py_None) < 0 || add_all(self->bereft, inputs) < 0;
    Py_DECREF(inputs);
    if (failed) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
insert(Changes *self, PyObject *node)
{
    PyObject *done = self->insert == NULL ? Py_NewRef(Py_None) : PyObject_CallOneArg(self->insert, node);
    if (done == NULL) {
        return NULL;
    }
    Py_DECREF(done);
    return on_insert(self, node);
}

static PyObject *
remove_(Changes *self, PyObject *node)
{
    if (touch(self, node) < 0) {
        return NULL;
    }
    return self->remove == NULL ? Py_NewRef(Py_None) : PyObject_CallOneArg(self->remove, node);
}

/* -- a pass begins, a pass is through */

static int
forget(Changes *self)
{
    self->rewrites = 0;
    self->changed = 0;
    self->keeps_order = 1;
    PyObject *tables[] = {self->states, self->made, self->replaced, self->erased};
    for (int at = 0; at < 4; at++) {
        if (PyDict_GET_SIZE(tables[at])) {
            PyDict_Clear(tables[at]);
        }
    }
    if (PySet_GET_SIZE(self->rewired) && PySet_Clear(self->rewired) < 0) {
        return -1;
    }
    return PySet_GET_SIZE(self->bereft) ? PySet_Clear(self->bereft) : 0;
}

static int
is_watched(Changes *self)
{
    if (self->table == NULL) {
        return 0;
    }
    int found = is_same(self->graph, module_of, self->module);
    return found == 1 ? is_same(self->graph, table_of, self->table) : found;
}

static PyObject *
begin(Changes *self, PyObject *Py_UNUSED(nothing))
{
    if (self->is_ready) {
        Py_RETURN_NONE;
    }
    if (forget(self) < 0) {
        return NULL;
    }
    int watched = is_watched(self);
    if (watched < 0) {
        return NULL;
    }
    if (!watched) {
        PyObject *done = PyObject_CallMethodNoArgs((PyObject *)self, start_watching);
        if (done == NULL) {
            return NULL;
        }
        Py_DECREF(done);
    }
    if (self->nodes == NULL) {
        self->nodes = PySequence_List(self->in_order);
        if (self->nodes == NULL) {
            return NULL;
        }
    }
    self->is_within = 0;
    if (!self->is_owned) {
        return PyObject_CallMethodOneArg((PyObject *)self, note_uses, self->nodes);
    }
    int parts = self->looks_within ? is_true(self->module, parts_of) : 0;
    if (parts > 0) {
        PyObject *found = PyObject_CallMethodNoArgs((PyObject *)self, begin_within);
        parts = found == NULL ? -1 : PyObject_IsTrue(found);
        Py_XDECREF(found);
        self->is_within = parts > 0;
    }
    if (parts < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* What `end` returns. */
static PyObject *
with_what_is_within(Changes *self)
{
    if (self->is_within) {
        PyObject *found = PyObject_CallMethodNoArgs((PyObject *)self, end_within);
        Py_ssize_t rewrites;
        int changed;
        if (found == NULL || !PyArg_ParseTuple(found, "np", &rewrites, &changed)) {
            Py_XDECREF(found);
            return NULL;
        }
        Py_DECREF(found);
        self->rewrites += rewrites;
        self->changed = self->changed || changed;
    }
    return PyBool_FromLong(self->changed);
}

static int
is_equal(PyObject *one, PyObject *other)
{
    Py_ssize_t size = PyList_GET_SIZE(one);
    if (size != PyList_GET_SIZE(other)) {
        return 0;
    }
    PyObject **ours = ((PyListObject *)one)->ob_item, **theirs = ((PyListObject *)other)->ob_item;
    return size == 0 || memcmp(ours, theirs, (size_t)size * sizeof(PyObject *)) == 0;
}

/* Whether nodes that were there before and still are stand in the same order; -1 for an error. */
static int
order_is_kept(Changes *self, PyObject *before, PyObject *nodes)
{
    Py_ssize_t here = 0, there = 0;
    while (1) {
        PyObject *old = here < PyList_GET_SIZE(before) ? PyList_GET_ITEM(before, here) : NULL;
        PyObject *now = there < PyList_GET_SIZE(nodes) ? PyList_GET_ITEM(nodes, there) : NULL;
        if (old == now) {
            if (old == NULL) {
                return 1;
            }
            here++, there++;
            continue;
        }
        int step = 0;
        if (old != NULL) {
            step = PyDict_Contains(self->states, old);
            step = step == 1 ? is_true(old, erased_of) : step;
            here += step == 1;
        }
        if (step == 0 && now != NULL) {
            step = PyDict_Contains(self->made, now);
            there += step == 1;
        }
        if (step != 1) {
            return step;
        }
    }
}

/* One node's part in the count; -1 for an error. */
static int
count_node(Changes *self, PyObject *counted, PyObject *node, PyObject *state)
{
    PyObject *inputs = PyTuple_GET_ITEM(state, INPUTS);
    int found = is_true(node, erased_of);
    if (found != 0) {
        if (found < 0 || add_all(self->bereft, inputs) < 0) {
            return -1;
        }
        return PyDict_SetItem(self->erased, node, Py_None);
    }
    found = is_same(node, target_of, PyTuple_GET_ITEM(state, TARGET));
    if (found <= 0) {
        return found < 0 ? -1 : PySet_Add(counted, node);
    }
    found = is_as_before(node, state);
    if (found == 0) {
        found = PySet_Contains(self->rewired, node);
    }
    if (found != 0) {
        return found < 0 ? -1 : 0;
    }
    PyObject *now = PyObject_GetAttr(node, inputs_of);
    if (now == NULL) {
        return -1;
    }
    int dropped = 0, failed = 0;
    for (Py_ssize_t at = 0; at < PyList_GET_SIZE(inputs) && !failed; at++) {
        PyObject *used = PyList_GET_ITEM(inputs, at);
        int is_used = PySequence_Contains(now, used);
        failed = is_used < 0;
        if (is_used == 0) {
            dropped = 1;
            failed = PySet_Add(counted, used) < 0;
        }
    }
    Py_DECREF(now);
    if (failed || dropped) {
        return failed ? -1 : 0;
    }
    PyObject *args = PyObject_GetAttr(node, args_of), *kwargs = PyObject_GetAttr(node, kwargs_of);
    PyObject *ours = NULL, *theirs = NULL, *text = NULL, *old_text = NULL;
    failed = -1;
    if (args != NULL && kwargs != NULL) {
        ours = PyTuple_Pack(2, args, kwargs);
        theirs = PyTuple_Pack(2, PyTuple_GET_ITEM(state, ARGS), PyTuple_GET_ITEM(state, KWARGS));
    }
    if (ours != NULL && theirs != NULL) {
        text = PyObject_Str(ours);
        old_text = text == NULL ? NULL : PyObject_Str(theirs);
    }
    if (old_text != NULL) {
        failed = PyUnicode_Compare(text, old_text) == 0 ? 0 : PySet_Add(counted, node);
    }
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    Py_XDECREF(ours);
    Py_XDECREF(theirs);
    Py_XDECREF(text);
    Py_XDECREF(old_text);
    return failed;
}

static int
count(Changes *self)
{
    PyObject *counted = PySet_New(self->replaced);
    if (counted == NULL) {
        return -1;
    }
    Py_ssize_t at = 0;
    PyObject *node, *value;
    int failed = 0;
    while (!failed && PyDict_Next(self->states, &at, &node, &value)) {
        Py_INCREF(node); /* the text of arguments may run Python */
        Py_INCREF(value);
        failed = count_node(self, counted, node, value) < 0;
        Py_DECREF(node);
        Py_DECREF(value);
    }
    for (at = 0; !failed && PyDict_Next(self->erased, &at, &node, &value);) {
        int is_bereft = PySet_Contains(self->bereft, node);
        failed = is_bereft < 0 || (!is_bereft && PySet_Add(counted, node) < 0);
    }
    for (at = 0; !failed && PyDict_Next(self->made, &at, &node, &value);) {
        failed = PySet_Discard(counted, node) < 0;
    }
    self->rewrites = PySet_GET_SIZE(counted);
    Py_DECREF(counted);
    return failed ? -1 : 0;
}

static PyObject *
end(Changes *self, PyObject *Py_UNUSED(nothing))
{
    PyObject *nodes = PySequence_List(self->in_order);
    if (nodes == NULL) {
        return NULL;
    }
    PyObject *before = self->nodes == NULL ? PyList_New(0) : self->nodes;
    self->nodes = nodes;
    if (before == NULL) {
        return NULL;
    }
    int kept = is_equal(before, nodes), failed = 0;
    if (!self->is_owned) {
        PyObject *done = PyObject_CallMethodOneArg((PyObject *)self, find_rewired, before);
        failed = done == NULL;
        Py_XDECREF(done);
    } else if (kept && !PyDict_GET_SIZE(self->states)) {
        int watched = is_watched(self);
        if (watched == 1) {
            self->is_ready = !PyDict_GET_SIZE(self->made) && !self->is_within;
            Py_DECREF(before);
            return with_what_is_within(self);
        }
        failed = watched < 0;
    }
    self->is_ready = 0;
    self->changed = !kept;
    Py_ssize_t at = 0;
    PyObject *node, *state;
    while (!failed && !self->changed && PyDict_Next(self->states, &at, &node, &state)) {
        int same = is_as_before(node, state);
        failed = same < 0;
        self->changed = same == 0;
    }
    if (!failed && self->changed) {
        int in_order = order_is_kept(self, before, nodes);
        failed = in_order < 0 || count(self) < 0;
        self->keeps_order = in_order == 1;
    }
    Py_DECREF(before);
    return failed ? NULL : with_what_is_within(self);
}

/* -- whether it is sound */

static int
is_well_placed(Changes *self, PyObject *node, PyObject *name)
{
    int found = is_true(node, erased_of);
    if (found != 0) {
        return found;
    }
    PyObject *now = PyObject_GetAttr(node, name_of_node);
    PyObject *op = now == NULL ? NULL : PyObject_GetAttr(node, op_of);
    PyObject *target = op == NULL ? NULL : PyObject_GetAttr(node, target_of);
    PyObject *inputs = target == NULL ? NULL : PyObject_GetAttr(node, inputs_of);
    found = -1;
    if (inputs != NULL) {
        found = PyObject_RichCompareBool(now, name, Py_EQ);
        if (found == 1 && PyUnicode_Check(op)) {
            found = PyUnicode_CompareWithASCIIString(op, "get_attr") &&
                    PyUnicode_CompareWithASCIIString(op, "call_module");
            if (found) {
                found = PyUnicode_CompareWithASCIIString(op, "call_function") ? PyUnicode_Check(target)
                                                                               : PyCallable_Check(target);
            }
        }
    }
    if (found == 1) {
        PyObject *each = PyObject_GetIter(inputs), *used;
        found = each == NULL ? -1 : 1;
        while (found == 1 && (used = PyIter_Next(each)) != NULL) {
            found = is_same(used, graph_of, self->graph);
            if (found == 1) {
                int gone = is_true(used, erased_of);
                found = gone < 0 ? -1 : !gone;
            }
            found = found == 1 ? is_true(used, key_of) : found;
            found = found == 1 ? PyObject_RichCompareBool(used, node, Py_LT) : found;
            Py_DECREF(used);
        }
        Py_XDECREF(each);
        if (PyErr_Occurred()) {
            found = -1;
        }
    }
    Py_XDECREF(now);
    Py_XDECREF(op);
    Py_XDECREF(target);
    Py_XDECREF(inputs);
    return found;
}

static PyObject *
is_sound(Changes *self, PyObject *Py_UNUSED(nothing))
{
    int found = self->keeps_order;
    if (found && self->is_within) {
        PyObject *within = PyObject_CallMethodNoArgs((PyObject *)self, is_sound_within);
        found = within == NULL ? -1 : PyObject_IsTrue(within);
        Py_XDECREF(within);
    }
    Py_ssize_t at = 0;
    PyObject *node, *value;
    while (found == 1 && PyDict_Next(self->states, &at, &node, &value)) {
        found = is_well_placed(self, node, PyTuple_GET_ITEM(value, NAME));
    }
    for (at = 0; found == 1 && PyDict_Next(self->made, &at, &node, &value);) {
        found = is_well_placed(self, node, value);
    }
    return found < 0 ? NULL : PyBool_FromLong(found);
}

/* -- for the parts in Python */

static PyObject *
watches(Changes *self, PyObject *args)
{
    PyObject *module, *table, *insert, *remove;
    int is_owned;
    if (!PyArg_ParseTuple(args, "OOOOp:watches", &module, &table, &insert, &remove, &is_owned)) {
        return NULL;
    }
    Py_XSETREF(self->module, Py_NewRef(module));
    Py_XSETREF(self->table, Py_NewRef(table));
    Py_XSETREF(self->insert, Py_NewRef(insert));
    Py_XSETREF(self->remove, Py_NewRef(remove));
    self->is_owned = (char)is_owned;
    Py_RETURN_NONE;
}

static PyObject *
watches_no_longer(Changes *self, PyObject *Py_UNUSED(nothing))
{
    Py_CLEAR(self->module);
    Py_CLEAR(self->table);
    Py_CLEAR(self->insert);
    Py_CLEAR(self->remove);
    Py_CLEAR(self->nodes);
    self->is_ready = 0;
    Py_RETURN_NONE;
}

static PyObject *
state_of(Changes *self, PyObject *node)
{
    PyObject *state = PyDict_GetItemWithError(self->states, node);
    if (state == NULL && PyErr_Occurred()) {
        return NULL;
    }
    return Py_NewRef(state == NULL ? Py_None : state);
}

static PyObject *
was(Changes *self, PyObject *args)
{
    PyObject *node, *name, *target, *node_args, *kwargs, *inputs;
    if (!PyArg_ParseTuple(args, "OOOOOO!:was", &node, &name, &target, &node_args, &kwargs, &PyList_Type, &inputs)) {
        return NULL;
    }
    PyObject *state = PyTuple_Pack(5, name, target, node_args, kwargs, inputs);
    int failed = state == NULL || PyDict_SetItem(self->states, node, state) < 0;
    Py_XDECREF(state);
    if (failed) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* -- the type */

static PyObject *
changes_new(PyTypeObject *type, PyObject *args, PyObject *options)
{
    static char *names[] = {"graph", "on_replace", "looks_within", NULL};
    PyObject *graph, *told = Py_None;
    int looks_within = 1;
    if (!PyArg_ParseTupleAndKeywords(args, options, "O|O$p:Changes", names, &graph, &told, &looks_within)) {
        return NULL;
    }
    Changes *self = (Changes *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->graph = Py_NewRef(graph);
    self->told = Py_NewRef(told);
    self->keeps_order = 1;
    self->looks_within = (char)looks_within;
    self->in_order = PyObject_GetAttrString(graph, "nodes"); /* always what the graph has now */
    self->states = PyDict_New();
    self->made = PyDict_New();
    self->replaced = PyDict_New();
    self->erased = PyDict_New();
    self->rewired = PySet_New(NULL);
    self->bereft = PySet_New(NULL);
    if (PyErr_Occurred()) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static int
changes_traverse(Changes *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->graph);
    Py_VISIT(self->in_order);
    Py_VISIT(self->told);
    Py_VISIT(self->module);
    Py_VISIT(self->table);
    Py_VISIT(self->insert);
    Py_VISIT(self->remove);
    Py_VISIT(self->states);
    Py_VISIT(self->made);
    Py_VISIT(self->replaced);
    Py_VISIT(self->rewired);
    Py_VISIT(self->erased);
    Py_VISIT(self->bereft);
    Py_VISIT(self->nodes);
    return 0;
}

static int
changes_clear(Changes *self)
{
    Py_CLEAR(self->graph);
    Py_CLEAR(self->in_order);
    Py_CLEAR(self->told);
    Py_CLEAR(self->module);
    Py_CLEAR(self->table);
    Py_CLEAR(self->insert);
    Py_CLEAR(self->remove);
    Py_CLEAR(self->states);
    Py_CLEAR(self->made);
    Py_CLEAR(self->replaced);
    Py_CLEAR(self->rewired);
    Py_CLEAR(self->erased);
    Py_CLEAR(self->bereft);
    Py_CLEAR(self->nodes);
    return 0;
}

static void
changes_dealloc(Changes *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    changes_clear(self);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static PyMethodDef changes_methods[] = {
    {"on_touch", (PyCFunction)on_touch, METH_O, NULL},
    {"on_insert", (PyCFunction)on_insert, METH_O, NULL},
    {"on_replace", (PyCFunction)(void (*)(void))on_replace, METH_VARARGS | METH_KEYWORDS, NULL},
    {"on_erase", (PyCFunction)on_erase, METH_O, NULL},
    {"insert", (PyCFunction)insert, METH_O, NULL},
    {"remove", (PyCFunction)remove_, METH_O, NULL},
    {"begin", (PyCFunction)begin, METH_NOARGS, NULL},
    {"end", (PyCFunction)end, METH_NOARGS, NULL},
    {"is_sound", (PyCFunction)is_sound, METH_NOARGS, NULL},
    {"_watches", (PyCFunction)watches, METH_VARARGS, NULL},
    {"_watches_no_longer", (PyCFunction)watches_no_longer, METH_NOARGS, NULL},
    {"_state_of", (PyCFunction)state_of, METH_O, NULL},
    {"_was", (PyCFunction)was, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef changes_members[] = {
    {"graph", T_OBJECT, offsetof(Changes, graph), READONLY, NULL},
    {"told", T_OBJECT, offsetof(Changes, told), READONLY, NULL},
    {"rewrites", T_PYSSIZET, offsetof(Changes, rewrites), READONLY, NULL},
    {"changed", T_BOOL, offsetof(Changes, changed), READONLY, NULL},
    {"is_ready", T_BOOL, offsetof(Changes, is_ready), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot changes_slots[] = {
    {Py_tp_doc, "Changes(graph, on_replace=None, *, looks_within=True): see passprint/passes/changes.py."},
    {Py_tp_new, changes_new},
    {Py_tp_dealloc, changes_dealloc},
    {Py_tp_traverse, changes_traverse},
    {Py_tp_clear, changes_clear},
    {Py_tp_methods, changes_methods},
    {Py_tp_members, changes_members},
    {0, NULL},
};

static PyType_Spec changes_spec = {
    "passprint.passes._changes.Changes",
    sizeof(Changes),
    0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    changes_slots,
};

static PyObject *
setup(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *names[8];
    if (!PyArg_ParseTuple(args, "UUUUUUUU:setup", &names[0], &names[1], &names[2], &names[3], &names[4], &names[5],
                          &names[6], &names[7])) {
        return NULL;
    }
    PyObject **places[] = {&args_of, &kwargs_of, &inputs_of, &erased_of, &key_of, &module_of, &table_of,
                           &parts_of};
    for (int at = 0; at < 8; at++) {
        Py_INCREF(names[at]);
        PyUnicode_InternInPlace(&names[at]);
        Py_XSETREF(*places[at], names[at]);
    }
    Py_RETURN_NONE;
}

static PyMethodDef module_methods[] = {
    {"setup", setup, METH_VARARGS,
     "setup(args, kwargs, inputs, erased, key, module, table, parts): what torch calls these attributes."},
    {NULL, NULL, 0, NULL},
};

static int
module_exec(PyObject *module)
{
    struct {
        PyObject **place;
        const char *text;
    } names[] = {{&name_of_node, "name"}, {&op_of, "op"}, {&target_of, "target"}, {&graph_of, "graph"},
                 {&start_watching, "_start_watching"}, {&note_uses, "_note_uses"}, {&find_rewired, "_find_rewired"},
                 {&begin_within, "_begin_within"}, {&end_within, "_end_within"},
                 {&is_sound_within, "_is_sound_within"}};
    for (size_t at = 0; at < sizeof(names) / sizeof(names[0]); at++) {
        PyObject *name = PyUnicode_InternFromString(names[at].text);
        if (name == NULL) {
            return -1;
        }
        Py_XSETREF(*names[at].place, name);
    }
    PyObject *type = PyType_FromModuleAndSpec(module, &changes_spec, NULL);
    if (type == NULL) {
        return -1;
    }
    int failed = PyModule_AddObjectRef(module, "Changes", type);
    Py_DECREF(type);
    return failed < 0 ? failed : PyModule_AddIntConstant(module, "VERSION", 1);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT, "_changes", "What a pass does to a graph, noted and counted in C.", 0, module_methods,
    module_slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit__changes(void)
{
    return PyModuleDef_Init(&module_definition);
}
