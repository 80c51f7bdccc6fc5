/* What code objects and functions hold, read without a step of Python per instruction.

   The same as the functions of the same names in passprint/identity/opcodes.py, which are used where this module was
   not built and which say what each opcode is: `table` has a byte for each. Only public structures are read, but for
   the fields of a function.

   Written for CPython 3.11 to 3.14 with the global lock. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <marshal.h>

#ifdef Py_GIL_DISABLED
#error "without the global lock, passprint reads in Python"
#endif

/* What `table` says of an opcode; bytecode.py has the same numbers. */
enum { NAME = 1, ATTRIBUTE = 2, SHIFTED = 4, EXTENDED = 8, CONSTANT = 16 };

/* An instruction's argument with what its EXTENDED_ARG prefixes add. */
static Py_ssize_t
argument(const unsigned char *text, const unsigned char *table, Py_ssize_t position)
{
    size_t value = text[2 * position + 1];
    int shift = 8;
    while (position > 0 && (table[text[2 * (position - 1)]] & EXTENDED) && shift < 32) {
        position--;
        value |= (size_t)text[2 * position + 1] << shift;
        shift += 8;
    }
    return (Py_ssize_t)value;
}

static int
append_name(PyObject *chain, PyObject *names, const unsigned char *text, const unsigned char *table,
            Py_ssize_t position)
{
    Py_ssize_t index = argument(text, table, position);
    if (table[text[2 * position]] & SHIFTED) {
        index >>= 1;
    }
    if (index >= PyTuple_GET_SIZE(names)) {
        PyErr_SetString(PyExc_IndexError, "the code names more than its co_names has");
        return -1;
    }
    return PyList_Append(chain, PyTuple_GET_ITEM(names, index));
}

static PyObject *
chains_in(PyObject *code, PyObject *names, const unsigned char *table)
{
    const unsigned char *text = (const unsigned char *)PyBytes_AS_STRING(code);
    Py_ssize_t length = PyBytes_GET_SIZE(code) / 2;
    PyObject *found = PyDict_New();
    Py_ssize_t at = 0;
    while (found != NULL && at < length) {
        if (!(table[text[2 * at]] & NAME)) {
            at++;
            continue;
        }
        PyObject *chain = PyList_New(0);
        int failed = chain == NULL || append_name(chain, names, text, table, at) < 0;
        at++;
        while (!failed) {
            while (at < length && text[2 * at] == 0) {
                at++;
            }
            Py_ssize_t next = at;
            while (next < length && (table[text[2 * next]] & EXTENDED)) {
                next++;
            }
            if (next >= length || !(table[text[2 * next]] & ATTRIBUTE)) {
                break;
            }
            failed = append_name(chain, names, text, table, next) < 0;
            at = next + 1;
        }
        PyObject *key = failed ? NULL : PyList_AsTuple(chain);
        Py_XDECREF(chain);
        if (key == NULL || PyDict_SetItem(found, key, Py_None) < 0) {
            Py_CLEAR(found);
        }
        Py_XDECREF(key);
    }
    return found;
}

static PyObject *
read_chains(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 3 || !PyBytes_CheckExact(arguments[0]) || !PyTuple_CheckExact(arguments[1]) ||
        !PyBytes_CheckExact(arguments[2]) || PyBytes_GET_SIZE(arguments[2]) != 256) {
        PyErr_SetString(PyExc_TypeError, "read_chains takes code, names, and a table of 256 bytes");
        return NULL;
    }
    return chains_in(arguments[0], arguments[1], (const unsigned char *)PyBytes_AS_STRING(arguments[2]));
}

static PyObject *
move_constants(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 3 || !PyBytes_CheckExact(arguments[0]) || !PyBytes_CheckExact(arguments[1]) ||
        !PyBytes_CheckExact(arguments[2]) || PyBytes_GET_SIZE(arguments[2]) != 256) {
        PyErr_SetString(PyExc_TypeError, "move_constants takes code, places, and a table of 256 bytes");
        return NULL;
    }
    const unsigned char *places = (const unsigned char *)PyBytes_AS_STRING(arguments[1]);
    const unsigned char *table = (const unsigned char *)PyBytes_AS_STRING(arguments[2]);
    Py_ssize_t length = PyBytes_GET_SIZE(arguments[0]), known = PyBytes_GET_SIZE(arguments[1]);
    PyObject *moved = PyBytes_FromStringAndSize(PyBytes_AS_STRING(arguments[0]), length);
    if (moved == NULL) {
        return NULL;
    }
    unsigned char *text = (unsigned char *)PyBytes_AS_STRING(moved);
    for (Py_ssize_t at = 0; at + 1 < length; at += 2) {
        if (!(table[text[at]] & CONSTANT)) {
            continue;
        }
        if (text[at + 1] == 0 || text[at + 1] >= known) {
            Py_DECREF(moved);
            Py_RETURN_NONE;
        }
        text[at + 1] = places[text[at + 1]];
    }
    return moved;
}

/* Every opcode with its whole argument; caches and argument prefixes are left out. */
static PyObject *
instructions(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 2 || !PyBytes_CheckExact(arguments[0]) || !PyBytes_CheckExact(arguments[1]) ||
        PyBytes_GET_SIZE(arguments[1]) != 256) {
        PyErr_SetString(PyExc_TypeError, "instructions takes code and a table of 256 bytes");
        return NULL;
    }
    const unsigned char *text = (const unsigned char *)PyBytes_AS_STRING(arguments[0]);
    const unsigned char *table = (const unsigned char *)PyBytes_AS_STRING(arguments[1]);
    PyObject *found = PyList_New(0);
    for (Py_ssize_t at = 0; found != NULL && at < PyBytes_GET_SIZE(arguments[0]) / 2; at++) {
        int op = text[2 * at];
        if (op == 0 || (table[op] & EXTENDED)) {
            continue;
        }
        PyObject *step = Py_BuildValue("(in)", op, argument(text, table, at));
        if (step == NULL || PyList_Append(found, step) < 0) {
            Py_CLEAR(found);
        }
        Py_XDECREF(step);
    }
    return found;
}

/* Whether a constant can be packed as it is: exact plain types, and no NaN. */
static int
plain(PyObject *value)
{
    if (value == Py_None || value == Py_True || value == Py_False || value == Py_Ellipsis ||
        PyUnicode_CheckExact(value) || PyLong_CheckExact(value) || PyBytes_CheckExact(value)) {
        return 1;
    }
    if (PyFloat_CheckExact(value)) {
        return PyFloat_AS_DOUBLE(value) == PyFloat_AS_DOUBLE(value);
    }
    if (!PyTuple_CheckExact(value)) {
        return 0;
    }
    if (Py_EnterRecursiveCall(" while reading constants")) {
        return -1;
    }
    int all = 1;
    for (Py_ssize_t index = 0; all == 1 && index < PyTuple_GET_SIZE(value); index++) {
        all = plain(PyTuple_GET_ITEM(value, index));
    }
    Py_LeaveRecursiveCall();
    return all;
}

static PyObject *
is_plain(PyObject *module, PyObject *value)
{
    int all = plain(value);
    return all < 0 ? NULL : PyBool_FromLong(all);
}

/* What Python hands over to read_code. */
enum { COUNTED = 0, CODE_FACTS = 1, CANONICAL = 2, PACK = 3, HELPERS = 4 };

/* The constants as they are packed: the plain ones with None in the places of others, and `(place, kind, bytes)` for
   those. The facts of code among them are appended to `nested`. */
static PyObject *
split_constants(PyObject *constants, PyObject *nested, PyObject *helpers)
{
    int all = plain(constants);
    if (all != 0) {
        return all < 0 ? NULL : Py_BuildValue("(O())", constants);
    }
    Py_ssize_t count = PyTuple_GET_SIZE(constants);
    PyObject *kept = PyTuple_New(count), *others = PyList_New(0), *result = NULL;
    int failed = kept == NULL || others == NULL;
    for (Py_ssize_t at = 0; !failed && at < count; at++) {
        PyObject *constant = PyTuple_GET_ITEM(constants, at), *bytes;
        const char *kind = "data";
        int is_kept = plain(constant);
        PyTuple_SET_ITEM(kept, at, Py_NewRef(is_kept > 0 ? constant : Py_None));
        failed = is_kept < 0;
        if (is_kept != 0) {
            continue;
        }
        if (PyCode_Check(constant)) {
            PyObject *facts = PyObject_CallOneArg(PyTuple_GET_ITEM(helpers, CODE_FACTS), constant);
            kind = "code";
            bytes = facts == NULL || PyList_Append(nested, facts) < 0 ? NULL
                                                                      : PyObject_GetAttrString(facts, "payload");
            Py_XDECREF(facts);
        }
        else {
            bytes = PyObject_CallOneArg(PyTuple_GET_ITEM(helpers, CANONICAL), constant);
        }
        PyObject *other = bytes == NULL ? NULL : Py_BuildValue("(nsN)", at, kind, bytes);
        failed = other == NULL || PyList_Append(others, other) < 0;
        Py_XDECREF(other);
    }
    if (!failed) {
        PyObject *listed = PyList_AsTuple(others);
        result = listed == NULL ? NULL : PyTuple_Pack(2, kept, listed);
        Py_XDECREF(listed);
    }
    Py_XDECREF(kept);
    Py_XDECREF(others);
    return result;
}

/* The code and constants that count: those of the code object, or where a docstring is to be left out what Python makes
   of them. `(text, constants)` */
static PyObject *
counted_parts(PyCodeObject *code, PyObject *text, int asks_always, PyObject *helpers)
{
    int has_text = (code->co_flags & CO_OPTIMIZED) && PyTuple_GET_SIZE(code->co_consts) > 0 &&
                   PyUnicode_CheckExact(PyTuple_GET_ITEM(code->co_consts, 0));
    if (asks_always || has_text) {
        return PyObject_CallFunctionObjArgs(PyTuple_GET_ITEM(helpers, COUNTED), (PyObject *)code, text, NULL);
    }
    return PyTuple_Pack(2, text, code->co_consts);
}

static PyObject *
pack_code(PyCodeObject *code, PyObject *counted, PyObject *constants, int uncounted_flags, PyObject *helpers)
{
    PyObject *locals = PyCode_GetVarnames(code), *free = PyCode_GetFreevars(code), *cells = PyCode_GetCellvars(code);
    PyObject *whole = NULL, *packed = NULL;
    if (locals != NULL && free != NULL && cells != NULL) {
        whole = Py_BuildValue("(OiiiiOOOOOOO)", code->co_name, code->co_argcount, code->co_posonlyargcount,
                              code->co_kwonlyargcount, code->co_flags & ~uncounted_flags, code->co_names, locals, free,
                              cells, counted, code->co_exceptiontable, constants);
    }
    if (whole != NULL) {
        packed = PyMarshal_WriteObjectToString(whole, 2);
        if (packed == NULL && PyErr_ExceptionMatches(PyExc_ValueError)) {
            PyErr_Clear();
            packed = PyObject_CallOneArg(PyTuple_GET_ITEM(helpers, PACK), whole);
        }
    }
    Py_XDECREF(whole);
    Py_XDECREF(locals);
    Py_XDECREF(free);
    Py_XDECREF(cells);
    return packed;
}

/* Whether the code takes attributes with getattr, or imports. */
static int
takes_steps(PyObject *text, PyObject *names, int import_code)
{
    for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(names); at++) {
        if (PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, at), "getattr") == 0) {
            return 1;
        }
    }
    const unsigned char *ops = (const unsigned char *)PyBytes_AS_STRING(text);
    for (Py_ssize_t at = 0; at + 1 < PyBytes_GET_SIZE(text); at += 2) {
        if (ops[at] == import_code) {
            return 1;
        }
    }
    return 0;
}

static PyObject *
read_code(PyObject *module, PyObject *args)
{
    PyObject *given, *table, *helpers;
    int import_code, uncounted_flags, asks_always;
    if (!PyArg_ParseTuple(args, "O!SiipO!", &PyCode_Type, &given, &table, &import_code, &uncounted_flags,
                          &asks_always, &PyTuple_Type, &helpers)) {
        return NULL;
    }
    if (PyBytes_GET_SIZE(table) != 256 || PyTuple_GET_SIZE(helpers) != HELPERS) {
        PyErr_SetString(PyExc_TypeError, "read_code takes code, a table of 256 bytes, and four helpers");
        return NULL;
    }
    PyCodeObject *code = (PyCodeObject *)given;
    PyObject *text = PyCode_GetCode(code), *nested = PyList_New(0), *result = NULL;
    PyObject *parts = text == NULL || nested == NULL ? NULL : counted_parts(code, text, asks_always, helpers);
    if (parts != NULL && PyTuple_CheckExact(parts) && PyTuple_GET_SIZE(parts) == 2) {
        PyObject *constants = split_constants(PyTuple_GET_ITEM(parts, 1), nested, helpers);
        PyObject *payload = NULL, *chains = NULL;
        if (constants != NULL) {
            payload = pack_code(code, PyTuple_GET_ITEM(parts, 0), constants, uncounted_flags, helpers);
        }
        if (payload != NULL) {
            chains = chains_in(text, code->co_names, (const unsigned char *)PyBytes_AS_STRING(table));
        }
        if (chains != NULL) {
            int steps = takes_steps(text, code->co_names, import_code);
            result = PyTuple_Pack(4, payload, chains, nested, steps ? Py_True : Py_False);
        }
        Py_XDECREF(constants);
        Py_XDECREF(payload);
        Py_XDECREF(chains);
    }
    Py_XDECREF(parts);
    Py_XDECREF(text);
    Py_XDECREF(nested);
    return result;
}

static PyObject *
read_holders(PyObject *module, PyObject *given)
{
    if (!PyFunction_Check(given)) {
        PyErr_SetString(PyExc_TypeError, "read_holders takes a function");
        return NULL;
    }
    PyFunctionObject *function = (PyFunctionObject *)given;
    PyObject *attributes = function->func_dict != NULL ? function->func_dict : Py_None;
    PyObject *hints = function->func_annotations; /* a tuple until somebody asks for the dict */
    int hinted = hints != NULL && (PyTuple_CheckExact(hints) || PyDict_CheckExact(hints)) &&
                 (PyTuple_CheckExact(hints) ? PyTuple_GET_SIZE(hints) : PyDict_GET_SIZE(hints)) > 0;
    return PyTuple_Pack(2, attributes, hinted ? Py_True : Py_False);
}

static PyMethodDef module_methods[] = {
    {"read_chains", (PyCFunction)(void (*)(void))read_chains, METH_FASTCALL,
     "read_chains(text, names, table): the dotted chains that start at a global name, as a dict's keys."},
    {"move_constants", (PyCFunction)(void (*)(void))move_constants, METH_FASTCALL,
     "move_constants(text, places, table): the code with its constants elsewhere; None where it uses the first."},
    {"instructions", (PyCFunction)(void (*)(void))instructions, METH_FASTCALL,
     "instructions(text, table): every opcode with its whole argument."},
    {"is_plain", is_plain, METH_O, "is_plain(constant): whether a constant can be packed as it is."},
    {"read_code", read_code, METH_VARARGS,
     "read_code(code, table, import_code, uncounted_flags, asks_always, helpers): what a code object is, the chains of "
     "names in it, the facts of nested code, and whether it has to be read step by step."},
    {"read_holders", read_holders, METH_O,
     "read_holders(function): its dict of attributes or None, and whether it has type hints."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {
    {0, NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT, "_read", "Reads code for passprint.identity, in C.", 0, module_methods, module_slots, NULL,
    NULL, NULL,
};

PyMODINIT_FUNC
PyInit__read(void)
{
    return PyModuleDef_Init(&module_definition);
}
