/* What code objects and functions hold, read without a step of Python per instruction.

   The same as the functions of the same names in passprint/identity/opcodes.py, which are used where this module was
   not built and which say what each opcode is: `table` has a byte for each. Only public structures are read, but for
   the fields of a function.

   Written for CPython 3.11 to 3.14 with the global lock. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

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
