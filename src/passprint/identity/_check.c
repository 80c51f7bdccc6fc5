/* Whether everything that a walk read is still what it was, by pointer.

   The same check as passprint/identity/guards.py, which is used where this module was not built. Rows come from
   passprint/identity/slots.py. Nothing here runs Python code while it compares functions, namespaces, dicts and
   lists, so such a check is one step for every other thread.

   Written for CPython 3.11 to 3.14 with the global lock. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#ifdef Py_GIL_DISABLED
#error "without the global lock, passprint checks in Python"
#endif

/* A dict's version changes with every change of the dict; later Pythons do not keep it. */
#if PY_VERSION_HEX < 0x030C0000
#define VERSION_OF(dict) (((PyDictObject *)(dict))->ma_version_tag)
#else
#define VERSION_OF(dict) ((uint64_t)0)
#endif

/* The kinds of rows; slots.py has the same numbers. */
enum { REFERS = 0, MAPPING = 1, NAME = 2, ITEMS = 3, SAME = 4, EQUAL = 5, NEVER = 6, CLASS = 7 };

typedef struct {
    int kind;
    Py_ssize_t root;    /* which of the objects asked about is the owner; -1: `owner` is */
    PyObject *owner;    /* a strong reference, or NULL */
    PyObject *key;      /* NAME, CLASS: the name; SAME, EQUAL: what reads the owner */
    PyObject *expected; /* a strong reference; NAME: NULL where the name was not there */
    Py_ssize_t run;     /* NAME: how many rows from here on are about the same dict */
} Row;

typedef struct {
    PyObject *code, *defaults, *keyword_defaults, *closure, *dict, *annotations, *name;
} FunctionFields;

typedef struct {
    PyObject *function; /* borrowed from its row */
    FunctionFields fields;
} FunctionRow;

/* What most rows come down to where nothing has changed: a few words each, side by side in memory, so that a check
   reads little. Their rows hold the references. */

typedef struct {
    PyObject *cell, *content;
} CellRow;

typedef struct {
    PyTypeObject *type, *metatype;
    unsigned int version; /* changes with every change of the class; 0: not known */
    Py_ssize_t row;
} TypeRow;

typedef struct {
    PyObject *dict;
    uint64_t version;
    Py_ssize_t row; /* MAPPING, or the first of a run of NAME */
} DictRow;

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    Py_ssize_t count, functions, cells, types, dicts, others;
    Row *rows;
    FunctionRow *function_rows;
    CellRow *cell_rows;
    TypeRow *type_rows;
    DictRow *dict_rows;
    Py_ssize_t *other_rows; /* indices of the rows that none of these stands for */
    int broken;             /* something had changed before the check was made */
} Check;

/* ---- what an object refers to, in the order of gc.get_referents ---- */

typedef struct {
    PyObject **expected;
    Py_ssize_t count, at;
} Comparison;

static int
compare_referent(PyObject *found, void *context)
{
    Comparison *comparison = context;
    if (comparison->at >= comparison->count || comparison->expected[comparison->at] != found) {
        comparison->at = -1;
        return 1;
    }
    comparison->at++;
    return 0;
}

static int
refers_to(PyObject *owner, PyObject *expected)
{
    traverseproc traverse = Py_TYPE(owner)->tp_traverse;
    Comparison comparison = {((PyListObject *)expected)->ob_item, PyList_GET_SIZE(expected), 0};
    if (traverse != NULL && PyObject_IS_GC(owner)) {
        traverse(owner, compare_referent, &comparison);
    }
    return comparison.at == comparison.count;
}

#define DIFFERS(field) ((uintptr_t)now.field ^ (uintptr_t)then.field)

static inline FunctionFields
fields_of(PyObject *object)
{
    PyFunctionObject *function = (PyFunctionObject *)object;
    FunctionFields fields = {
        function->func_code, function->func_defaults, function->func_kwdefaults, function->func_closure,
        function->func_dict, function->func_annotations, function->func_name,
    };
    return fields;
}

static int
same_mapping(PyObject *mapping, PyObject *snapshot)
{
    if (PyDict_GET_SIZE(mapping) != PyDict_GET_SIZE(snapshot)) {
        return 0;
    }
    Py_ssize_t at = 0, at_snapshot = 0;
    PyObject *key, *value, *expected_key, *expected;
    while (PyDict_Next(mapping, &at, &key, &value)) {
        if (!PyDict_Next(snapshot, &at_snapshot, &expected_key, &expected) || key != expected_key ||
            value != expected) {
            return 0;
        }
    }
    return 1;
}

static int
same_items(PyObject *found, PyObject *expected)
{
    Py_ssize_t count = PyTuple_GET_SIZE(expected);
    if (Py_SIZE(found) != count) {
        return 0;
    }
    PyObject **items = PySequence_Fast_ITEMS(found);
    for (Py_ssize_t index = 0; index < count; index++) {
        if (items[index] != PyTuple_GET_ITEM(expected, index)) {
            return 0;
        }
    }
    return 1;
}

static int
has_name(PyTypeObject *type, PyObject *name)
{
    return (type->tp_flags & Py_TPFLAGS_HEAPTYPE) && ((PyHeapTypeObject *)type)->ht_name == name;
}

/* 1: as expected, 0: changed, -1: an exception. */
static int
row_holds(Row *row, PyObject *owner)
{
    switch (row->kind) {
    case REFERS:
        return refers_to(owner, row->expected);
    case CLASS:
        return PyType_Check(owner) && has_name((PyTypeObject *)owner, row->key) && refers_to(owner, row->expected);
    case MAPPING:
        return same_mapping(owner, row->expected);
    case NAME: {
        PyObject *found = PyDict_GetItemWithError(owner, row->key);
        if (found == NULL && PyErr_Occurred()) {
            return -1;
        }
        return found == row->expected;
    }
    case ITEMS:
        return same_items(owner, row->expected);
    case SAME:
    case EQUAL: {
        PyObject *found = PyObject_CallOneArg(row->key, owner);
        if (found == NULL) {
            return -1;
        }
        int holds = row->kind == EQUAL ? PyObject_RichCompareBool(found, row->expected, Py_EQ)
                                       : PyTuple_CheckExact(found) && same_items(found, row->expected);
        Py_DECREF(found);
        return holds;
    }
    default:
        return 0;
    }
}

/* A row, or the names of one namespace. */
static int
run_holds(Row *first, PyObject *owner)
{
    for (Py_ssize_t index = 0; index < first->run; index++) {
        int holds = row_holds(first + index, owner);
        if (holds != 1) {
            return holds;
        }
    }
    return 1;
}

static unsigned int
version_of_type(PyTypeObject *type)
{
#ifdef Py_TPFLAGS_VALID_VERSION_TAG
    if (!(type->tp_flags & Py_TPFLAGS_VALID_VERSION_TAG)) {
        return 0;
    }
#endif
    return type->tp_version_tag;
}

static int
type_holds(TypeRow *known, Row *row)
{
    unsigned int version = version_of_type(known->type);
    if (row->kind == CLASS && !has_name(known->type, row->key)) { /* a new name is no new version */
        return 0;
    }
    if (version != 0 && version == known->version && Py_TYPE(known->type) == known->metatype) {
        return 1;
    }
    if (!refers_to(row->owner, row->expected)) {
        return 0;
    }
    known->version = version;
    known->metatype = Py_TYPE(known->type);
    return 1;
}

static int
check_holds(Check *self, PyObject *const *roots, Py_ssize_t root_count)
{
    if (self->broken) {
        return 0;
    }
    for (Py_ssize_t index = 0; index < self->functions; index++) {
        FunctionRow *row = &self->function_rows[index];
        FunctionFields now = fields_of(row->function), then = row->fields;
        /* One branch for all: nearly always none differs. */
        uintptr_t differs = DIFFERS(code) | DIFFERS(defaults) | DIFFERS(keyword_defaults) | DIFFERS(closure) |
                            DIFFERS(dict) | DIFFERS(annotations) | DIFFERS(name);
        if (differs) {
            return 0;
        }
    }
    for (Py_ssize_t index = 0; index < self->cells; index++) {
        CellRow *row = &self->cell_rows[index];
        if (((PyCellObject *)row->cell)->ob_ref != row->content) {
            return 0;
        }
    }
    for (Py_ssize_t index = 0; index < self->types; index++) {
        TypeRow *row = &self->type_rows[index];
        if (!type_holds(row, &self->rows[row->row])) {
            return 0;
        }
    }
    for (Py_ssize_t index = 0; index < self->dicts; index++) {
        DictRow *known = &self->dict_rows[index];
        uint64_t version = VERSION_OF(known->dict);
        if (version != 0 && version == known->version) {
            continue;
        }
        int holds = run_holds(&self->rows[known->row], known->dict);
        if (holds != 1) {
            return holds;
        }
        /* Comparing names may have run code; check_clear may have come in between. */
        if (index < self->dicts) {
            known->version = version;
        }
    }
    for (Py_ssize_t index = 0; index < self->others; index++) {
        Row *row = &self->rows[self->other_rows[index]];
        PyObject *owner = row->owner;
        if (row->root >= 0) {
            if (row->root >= root_count) {
                return 0;
            }
            owner = roots[row->root];
        }
        int holds = row_holds(row, owner);
        if (holds != 1) {
            return holds;
        }
    }
    return 1;
}

/* ---- the type ---- */

static PyObject *
check_call(PyObject *callable, PyObject *const *arguments, size_t flags, PyObject *keywords)
{
    if (PyVectorcall_NARGS(flags) != 1 || keywords != NULL || !PyTuple_Check(arguments[0])) {
        PyErr_SetString(PyExc_TypeError, "a check takes one tuple of objects");
        return NULL;
    }
    PyObject *roots = arguments[0];
    /* While Python code runs (SAME, EQUAL), nothing may free the check. */
    Py_INCREF(callable);
    int holds = check_holds((Check *)callable, ((PyTupleObject *)roots)->ob_item, PyTuple_GET_SIZE(roots));
    Py_DECREF(callable);
    return holds < 0 ? NULL : PyBool_FromLong(holds);
}

static int
check_traverse(Check *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    for (Py_ssize_t index = 0; index < self->count; index++) {
        Py_VISIT(self->rows[index].owner);
        Py_VISIT(self->rows[index].key);
        Py_VISIT(self->rows[index].expected);
    }
    for (Py_ssize_t index = 0; index < self->functions; index++) {
        Py_VISIT(self->function_rows[index].function);
        Py_VISIT(self->function_rows[index].fields.code);
        Py_VISIT(self->function_rows[index].fields.defaults);
        Py_VISIT(self->function_rows[index].fields.keyword_defaults);
        Py_VISIT(self->function_rows[index].fields.closure);
        Py_VISIT(self->function_rows[index].fields.dict);
        Py_VISIT(self->function_rows[index].fields.annotations);
        Py_VISIT(self->function_rows[index].fields.name);
    }
    return 0;
}

static int
check_clear(Check *self)
{
    /* Emptied before anything is let go: letting go may run code that asks this check. */
    Py_ssize_t count = self->count, functions = self->functions;
    self->count = self->functions = self->cells = self->types = self->dicts = self->others = 0;
    self->broken = 1;
    for (Py_ssize_t index = 0; index < count; index++) {
        Py_CLEAR(self->rows[index].owner);
        Py_CLEAR(self->rows[index].key);
        Py_CLEAR(self->rows[index].expected);
    }
    for (Py_ssize_t index = 0; index < functions; index++) {
        FunctionRow *row = &self->function_rows[index];
        Py_CLEAR(row->function);
        Py_CLEAR(row->fields.code);
        Py_CLEAR(row->fields.defaults);
        Py_CLEAR(row->fields.keyword_defaults);
        Py_CLEAR(row->fields.closure);
        Py_CLEAR(row->fields.dict);
        Py_CLEAR(row->fields.annotations);
        Py_CLEAR(row->fields.name);
    }
    return 0;
}

static void
check_dealloc(Check *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    check_clear(self);
    PyMem_Free(self->rows);
    PyMem_Free(self->function_rows);
    PyMem_Free(self->cell_rows);
    PyMem_Free(self->type_rows);
    PyMem_Free(self->dict_rows);
    PyMem_Free(self->other_rows);
    type->tp_free(self);
    Py_DECREF(type);
}

static void
hold_function(FunctionRow *row, PyObject *function)
{
    row->function = Py_NewRef(function);
    row->fields = fields_of(function);
    Py_XINCREF(row->fields.code);
    Py_XINCREF(row->fields.defaults);
    Py_XINCREF(row->fields.keyword_defaults);
    Py_XINCREF(row->fields.closure);
    Py_XINCREF(row->fields.dict);
    Py_XINCREF(row->fields.annotations);
    Py_XINCREF(row->fields.name);
}

/* A row is (kind, owner, expected) or (kind, owner, key, expected); an int as the owner is a root's position.
   What is read from it is borrowed. */
static int
read_row(Row *row, PyObject *given, PyObject *absent)
{
    if (!PyTuple_CheckExact(given) || PyTuple_GET_SIZE(given) < 3) {
        PyErr_SetString(PyExc_TypeError, "a row is a tuple of a kind, an owner and what is expected");
        return -1;
    }
    long kind = PyLong_AsLong(PyTuple_GET_ITEM(given, 0));
    if (kind == -1 && PyErr_Occurred()) {
        return -1;
    }
    PyObject *owner = PyTuple_GET_ITEM(given, 1);
    PyObject *expected = PyTuple_GET_ITEM(given, PyTuple_GET_SIZE(given) - 1);
    PyObject *key = PyTuple_GET_SIZE(given) > 3 ? PyTuple_GET_ITEM(given, 2) : NULL;
    int is_root = PyLong_CheckExact(owner);
    int fits = kind == NEVER || (kind == REFERS && PyList_CheckExact(expected)) ||
               (kind == CLASS && key != NULL && PyList_CheckExact(expected)) ||
               (kind == MAPPING && !is_root && PyDict_Check(owner) && PyDict_CheckExact(expected)) ||
               (kind == NAME && !is_root && PyDict_CheckExact(owner) && key != NULL) ||
               (kind == ITEMS && !is_root && PyList_CheckExact(owner) && PyTuple_CheckExact(expected)) ||
               (kind == SAME && key != NULL && PyTuple_CheckExact(expected)) ||
               (kind == EQUAL && key != NULL);
    if (!fits) {
        PyErr_Format(PyExc_TypeError, "a row of kind %ld does not hold what it should: %R", kind, given);
        return -1;
    }
    row->kind = (int)kind;
    row->root = is_root ? PyLong_AsSsize_t(owner) : -1;
    row->owner = is_root ? NULL : owner;
    row->key = key;
    row->expected = expected == absent ? NULL : expected;
    row->run = 1;
    return 0;
}

static int
take_row(Check *self, PyObject *given, PyObject *absent)
{
    Row row;
    if (read_row(&row, given, absent) < 0) {
        return -1;
    }
    if (row.kind == NEVER) {
        self->broken = 1;
    }
    else if (row.kind == REFERS && row.owner != NULL && PyFunction_Check(row.owner)) {
        if (!refers_to(row.owner, row.expected)) {
            self->broken = 1;
        }
        hold_function(&self->function_rows[self->functions++], row.owner);
    }
    else {
        Py_XINCREF(row.owner);
        Py_XINCREF(row.key);
        Py_XINCREF(row.expected);
        self->rows[self->count++] = row;
    }
    return 0;
}

static void
find_runs(Check *self)
{
    for (Py_ssize_t index = self->count - 2; index >= 0; index--) {
        Row *row = &self->rows[index], *next = row + 1;
        if (row->kind == NAME && next->kind == NAME && row->owner == next->owner) {
            row->run = next->run + 1;
        }
    }
}

/* Sort the rows by how they are checked. */
static int
sort_rows(Check *self)
{
    size_t room = self->count ? (size_t)self->count : 1;
    self->cell_rows = PyMem_New(CellRow, room);
    self->type_rows = PyMem_New(TypeRow, room);
    self->dict_rows = PyMem_New(DictRow, room);
    self->other_rows = PyMem_New(Py_ssize_t, room);
    if (!self->cell_rows || !self->type_rows || !self->dict_rows || !self->other_rows) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t index = 0; index < self->count; index += self->rows[index].run) {
        Row *row = &self->rows[index];
        if (row->kind == REFERS && row->owner != NULL && PyCell_Check(row->owner) &&
            PyList_GET_SIZE(row->expected) <= 1) {
            PyObject *content = PyList_GET_SIZE(row->expected) ? PyList_GET_ITEM(row->expected, 0) : NULL;
            self->cell_rows[self->cells++] = (CellRow){row->owner, content};
        }
        else if ((row->kind == CLASS || row->kind == REFERS) && row->owner != NULL &&
                 PyType_Check(row->owner)) {
            self->type_rows[self->types++] = (TypeRow){(PyTypeObject *)row->owner, NULL, 0, index};
        }
        else if (row->kind == NAME || (row->kind == MAPPING && row->owner != NULL)) {
            self->dict_rows[self->dicts++] = (DictRow){row->owner, 0, index};
        }
        else {
            self->other_rows[self->others++] = index;
        }
    }
    return 0;
}

static PyObject *
check_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    PyObject *rows, *absent;
    if (keywords != NULL && PyDict_GET_SIZE(keywords)) {
        PyErr_SetString(PyExc_TypeError, "Check takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(arguments, "O!O:Check", &PyList_Type, &rows, &absent)) {
        return NULL;
    }
    Check *self = (Check *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->vectorcall = check_call;
    Py_ssize_t count = PyList_GET_SIZE(rows), functions = 0;
    for (Py_ssize_t index = 0; index < count; index++) {
        PyObject *given = PyList_GET_ITEM(rows, index);
        if (PyTuple_CheckExact(given) && PyTuple_GET_SIZE(given) == 3 &&
            PyFunction_Check(PyTuple_GET_ITEM(given, 1))) {
            functions++;
        }
    }
    self->rows = PyMem_New(Row, count ? count : 1);
    self->function_rows = PyMem_New(FunctionRow, functions ? functions : 1);
    if (self->rows == NULL || self->function_rows == NULL) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    for (Py_ssize_t index = 0; index < count; index++) {
        if (take_row(self, PyList_GET_ITEM(rows, index), absent) < 0) {
            Py_DECREF(self);
            return NULL;
        }
    }
    find_runs(self);
    if (sort_rows(self) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

/* The same question asked once, of rows as they are: without roots, and without making a check. */
static PyObject *
rows_hold(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 2 || !PyList_CheckExact(arguments[0])) {
        PyErr_SetString(PyExc_TypeError, "rows_hold takes a list of rows and the object that stands for absence");
        return NULL;
    }
    PyObject *rows = arguments[0], *absent = arguments[1];
    for (Py_ssize_t index = 0; index < PyList_GET_SIZE(rows); index++) {
        Row row;
        if (read_row(&row, PyList_GET_ITEM(rows, index), absent) < 0) {
            return NULL;
        }
        if (row.owner == NULL) {
            Py_RETURN_FALSE;
        }
        int holds = row_holds(&row, row.owner);
        if (holds != 1) {
            return holds < 0 ? NULL : Py_NewRef(Py_False);
        }
    }
    Py_RETURN_TRUE;
}

static PyMethodDef module_methods[] = {
    {"rows_hold", (PyCFunction)(void (*)(void))rows_hold, METH_FASTCALL,
     "rows_hold(rows, absent): whether every row, none of which is about a root, still holds."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef check_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Check, vectorcall), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot check_slots[] = {
    {Py_tp_doc, "Check(rows, absent): called with a tuple of objects, says whether every row still holds."},
    {Py_tp_new, check_new},
    {Py_tp_dealloc, check_dealloc},
    {Py_tp_traverse, check_traverse},
    {Py_tp_clear, check_clear},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_members, check_members},
    {0, NULL},
};

static PyType_Spec check_spec = {
    "passprint.identity._check.Check",
    sizeof(Check),
    0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_IMMUTABLETYPE,
    check_slots,
};

static int
module_exec(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &check_spec, NULL);
    if (type == NULL) {
        return -1;
    }
    int failed = PyModule_AddObjectRef(module, "Check", type);
    Py_DECREF(type);
    return failed < 0 ? failed : PyModule_AddIntConstant(module, "KINDS", CLASS + 1);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT, "_check", "The check of passprint.identity in C.", 0, module_methods,
    module_slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit__check(void)
{
    return PyModuleDef_Init(&module_definition);
}
