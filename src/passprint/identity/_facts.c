/* What one code object, nested ones included, is and reaches: its bytes, the chains of names in it, what it imports
   and takes by computed names. One call for each code object, and no objects but the answer's.

   The same as bytecode.py does, which is used where this module was not built; code that is out of the ordinary (made
   by hand) is left to it. What opcodes are, and what compilers keep of docstrings, is said by bytecode.py and
   opcodes.py and handed over by `setup`. The bytes are those that marshal makes of the tuples in bytecode.py.

   Written for CPython 3.11 to 3.14 with the global lock. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <marshal.h>
#include <structmember.h>

#include "_bytes.h"

#ifdef Py_GIL_DISABLED
#error "without the global lock, passprint reads in Python"
#endif

#if PY_VERSION_HEX < 0x030C0000
#define NEW_INDEX _PyEval_RequestCodeExtraIndex
#define GET_EXTRA _PyCode_GetExtra
#define SET_EXTRA _PyCode_SetExtra
#else
#define NEW_INDEX PyUnstable_Eval_RequestCodeExtraIndex
#define GET_EXTRA PyUnstable_Code_GetExtra
#define SET_EXTRA PyUnstable_Code_SetExtra
#endif

/* What the two tables say of an opcode; opcodes.py has the same numbers. */
enum { NAME = 1, ATTRIBUTE = 2, SHIFTED = 4, EXTENDED = 8, CONSTANT = 16, BLANK = 32, CALL = 64, BETWEEN = 128 };
enum { LOAD = 1, PAIR = 2, STORE = 4, USE = 8, SIMPLE = 16 };

/* How a variable is kept, in co_localspluskinds (pycore_code.h; the same in 3.11 to 3.14). */
enum { IS_LOCAL = 0x20, IS_CELL = 0x40, IS_FREE = 0x80 };

/* ---- what Python hands over ---- */

static PyObject *facts_type, *import_type, *canonical, *in_python;
static unsigned char kinds[256], local_kinds[256];
static int import_name, import_from, load_const, small_int, uncounted_flags, docstring_flag;
static int keeps_first, flags_docstring, empty_doc_slot;
static Py_ssize_t at_payload, at_chains, at_imports, at_computed, at_module, at_level, at_taken, at_uses;
static PyObject *text_getattr, *text_dot, *only_itself; /* `((),)`: a variable that is used as such */

#define FIELD(object, offset) (*(PyObject **)((char *)(object) + (offset)))

/* ---- one reading ---- */

/* One instruction with its whole argument. */
typedef struct {
    int op;
    Py_ssize_t argument;
} Step;

typedef struct {
    Out out;
    PyObject *chains, *imports, *computed; /* dicts, by their keys; the last two NULL until there is one */
} Reading;

/* What a step of reading gives: done; an error; or code that Python has to read. */
enum { DONE = 0, FAILED = -1, UNUSUAL = 1 };

static int
add_key(PyObject **dict, PyObject *key) /* takes the reference */
{
    if (key == NULL || (*dict == NULL && (*dict = PyDict_New()) == NULL)) {
        Py_XDECREF(key);
        return FAILED;
    }
    int failed = PyDict_SetItem(*dict, key, Py_None);
    Py_DECREF(key);
    return failed < 0 ? FAILED : DONE;
}

/* ---- names ---- */

static Py_ssize_t
argument(const unsigned char *text, Py_ssize_t position)
{
    size_t value = text[2 * position + 1];
    int shift = 8;
    while (position > 0 && (kinds[text[2 * (position - 1)]] & EXTENDED) && shift < 32) {
        position--;
        value |= (size_t)text[2 * position + 1] << shift;
        shift += 8;
    }
    return (Py_ssize_t)value;
}

enum { DEPTH = 16 };

/* The chains that start at a global name; says also whether the code imports. */
static int
read_chains(Reading *reading, const unsigned char *text, Py_ssize_t length, PyObject *names, int *imports)
{
    PyObject *chain[DEPTH];
    unsigned char alone[256] = {0}; /* names that were met without attributes */
    Py_ssize_t at = 0, known = PyTuple_GET_SIZE(names);
    while (at < length) {
        int op = text[2 * at], kind = kinds[op];
        if (!(kind & NAME)) {
            *imports |= op == import_name;
            at++;
            continue;
        }
        Py_ssize_t first = argument(text, at) >> (kind & SHIFTED ? 1 : 0), count = 0;
        if (first >= known) {
            return UNUSUAL;
        }
        chain[count++] = PyTuple_GET_ITEM(names, first);
        at++;
        for (;;) {
            while (at < length && text[2 * at] == 0) {
                at++;
            }
            Py_ssize_t next = at;
            while (next < length && (kinds[text[2 * next]] & EXTENDED)) {
                next++;
            }
            if (next >= length || !(kinds[text[2 * next]] & ATTRIBUTE)) {
                break;
            }
            Py_ssize_t index = argument(text, next) >> (kinds[text[2 * next]] & SHIFTED ? 1 : 0);
            if (index >= known || count == DEPTH) {
                return UNUSUAL;
            }
            chain[count++] = PyTuple_GET_ITEM(names, index);
            at = next + 1;
        }
        if (count == 1 && first < 256) {
            if (alone[first]) {
                continue;
            }
            alone[first] = 1;
        }
        PyObject *key = PyTuple_New(count);
        for (Py_ssize_t index = 0; key != NULL && index < count; index++) {
            PyTuple_SET_ITEM(key, index, Py_NewRef(chain[index]));
        }
        if (key != NULL) {
            PyObject_GC_UnTrack(key); /* it holds text only */
        }
        if (add_key(&reading->chains, key) < 0) {
            return FAILED;
        }
    }
    return DONE;
}

/* The attributes taken from what the step before a position loads, after some names before them. */
static PyObject *
attributes_after(PyObject *names, const Step *steps, Py_ssize_t count, Py_ssize_t *at, PyObject *before)
{
    Py_ssize_t from = *at, size = before != NULL;
    while (*at < count && (kinds[steps[*at].op] & ATTRIBUTE)) {
        (*at)++;
    }
    PyObject *chain = PyTuple_New(size + *at - from);
    if (chain == NULL) {
        return NULL;
    }
    if (before != NULL) {
        PyTuple_SET_ITEM(chain, 0, Py_NewRef(before));
    }
    for (; from < *at; from++, size++) {
        Py_ssize_t index = steps[from].argument >> (kinds[steps[from].op] & SHIFTED ? 1 : 0);
        if (index >= PyTuple_GET_SIZE(names)) {
            PyErr_SetString(PyExc_IndexError, "the code names more than its co_names has");
            Py_DECREF(chain);
            return NULL;
        }
        PyTuple_SET_ITEM(chain, size, Py_NewRef(PyTuple_GET_ITEM(names, index)));
    }
    return chain;
}

static Step *
read_steps(const unsigned char *text, Py_ssize_t length, Py_ssize_t *count)
{
    Step *steps = PyMem_Malloc((length + 1) * sizeof(Step));
    if (steps == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    *count = 0;
    for (Py_ssize_t at = 0; at < length; at++) {
        int op = text[2 * at];
        if (op != 0 && !(kinds[op] & EXTENDED)) {
            steps[(*count)++] = (Step){op, argument(text, at)};
        }
    }
    return steps;
}

/* ---- imports ---- */

static int
is_cell(PyCodeObject *code, PyObject *name)
{
    const char *kept = PyBytes_AS_STRING(code->co_localspluskinds);
    for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(code->co_localsplusnames); at++) {
        if ((kept[at] & IS_CELL) && PyUnicode_Compare(PyTuple_GET_ITEM(code->co_localsplusnames, at), name) == 0) {
            return 1;
        }
    }
    return 0;
}

/* bytecode._uses_of_local: the chains that follow uses of a local variable, as a tuple. */
static PyObject *
uses_of_local(PyCodeObject *code, const Step *steps, Py_ssize_t count, Py_ssize_t variable)
{
    if (variable >= code->co_nlocals) {
        return Py_NewRef(only_itself);
    }
    PyObject *name = PyTuple_GET_ITEM(code->co_localsplusnames, variable);
    if (PyUnicode_GET_LENGTH(name) == 0 || is_cell(code, name)) {
        return Py_NewRef(only_itself);
    }
    PyObject *found = PyDict_New(), *itself = PyTuple_GET_ITEM(only_itself, 0);
    int failed = found == NULL;
    for (Py_ssize_t place = 0; !failed && place < count; place++) {
        int kind = local_kinds[steps[place].op];
        Py_ssize_t used = steps[place].argument, at = place + 1;
        if (!(kind & USE)) {
            continue;
        }
        int follows = 0, alone = 0;
        if (kind & LOAD) {
            follows = used == variable;
        }
        else if (kind & PAIR) {
            alone = used >> 4 == variable;
            follows = (used & 15) == variable;
        }
        else {
            alone = used == variable || used >> 4 == variable || (used & 15) == variable;
        }
        if (alone) {
            failed = PyDict_SetItem(found, itself, Py_None) < 0;
        }
        if (follows && !failed) {
            failed = add_key(&found, attributes_after(code->co_names, steps, count, &at, NULL)) < 0;
        }
    }
    PyObject *uses = failed ? NULL : PySequence_Tuple(found);
    Py_XDECREF(found);
    return uses;
}

/* The uses of the variable that a step stores to. */
static PyObject *
uses_of_stored(PyCodeObject *code, const Step *steps, Py_ssize_t count, Py_ssize_t at)
{
    if (at < count && (local_kinds[steps[at].op] & STORE)) {
        return uses_of_local(code, steps, count, steps[at].argument);
    }
    return Py_NewRef(only_itself);
}

/* Takes the references to the module and the uses. */
static int
add_import(Reading *reading, PyObject *module, PyObject *level, PyObject *taken, PyObject *uses)
{
    PyObject *key = module == NULL || uses == NULL ? NULL : PyTuple_Pack(4, module, level, taken, uses);
    Py_XDECREF(module);
    Py_XDECREF(uses);
    return add_key(&reading->imports, key);
}

/* `import a.b` binds `a`; `import a.b as c` binds `a.b`. */
static int
add_plain_import(Reading *reading, PyCodeObject *code, const Step *steps, Py_ssize_t count, Py_ssize_t at,
                 PyObject *module, PyObject *level)
{
    int is_renamed = 0;
    while (at < count && (steps[at].op == import_from || (kinds[steps[at].op] & BETWEEN))) {
        is_renamed = 1;
        at++;
    }
    PyObject *uses = uses_of_stored(code, steps, count, at);
    if (uses == NULL || is_renamed || PyUnicode_FindChar(module, '.', 0, PyUnicode_GET_LENGTH(module), 1) < 0) {
        return add_import(reading, Py_NewRef(module), level, Py_None, uses);
    }
    PyObject *parts = PyUnicode_Split(module, text_dot, -1);
    if (parts == NULL) {
        Py_DECREF(uses);
        return FAILED;
    }
    if (PyTuple_GET_SIZE(uses) == 0) { /* the submodules are attributes of what is bound */
        PyObject *rest = PyList_GetSlice(parts, 1, PyList_GET_SIZE(parts));
        PyObject *inner = rest == NULL ? NULL : PyList_AsTuple(rest);
        Py_XDECREF(rest);
        Py_SETREF(uses, inner == NULL ? NULL : PyTuple_Pack(1, inner));
        Py_XDECREF(inner);
    }
    PyObject *top = Py_NewRef(PyList_GET_ITEM(parts, 0));
    Py_DECREF(parts);
    return add_import(reading, top, level, Py_None, uses);
}

/* bytecode._read_imports */
static int
read_imports(Reading *reading, PyCodeObject *code, const Step *steps, Py_ssize_t count)
{
    PyObject *constants = code->co_consts, *names = code->co_names;
    for (Py_ssize_t place = 2; place < count; place++) {
        if (steps[place].op != import_name) {
            continue;
        }
        Py_ssize_t level_at = steps[place - 2].argument, from_at = steps[place - 1].argument;
        PyObject *level;
        if (steps[place].argument >= PyTuple_GET_SIZE(names) || from_at >= PyTuple_GET_SIZE(constants)) {
            return UNUSUAL;
        }
        if (steps[place - 2].op == small_int) {
            level = PyLong_FromSsize_t(level_at);
        }
        else if (level_at < PyTuple_GET_SIZE(constants) && PyLong_CheckExact(PyTuple_GET_ITEM(constants, level_at))) {
            level = Py_NewRef(PyTuple_GET_ITEM(constants, level_at));
        }
        else {
            return UNUSUAL;
        }
        PyObject *module = PyTuple_GET_ITEM(names, steps[place].argument);
        int failed = level == NULL;
        if (!failed && PyTuple_GET_ITEM(constants, from_at) == Py_None) {
            failed = add_plain_import(reading, code, steps, count, place + 1, module, level) < 0;
            Py_DECREF(level);
            if (failed) {
                return FAILED;
            }
            continue;
        }
        Py_ssize_t at = place + 1;
        while (!failed && at < count && steps[at].op == import_from) {
            if (steps[at].argument >= PyTuple_GET_SIZE(names)) {
                Py_DECREF(level);
                return UNUSUAL;
            }
            failed = add_import(reading, Py_NewRef(module), level, PyTuple_GET_ITEM(names, steps[at].argument),
                                uses_of_stored(code, steps, count, at + 1)) < 0;
            at += 2;
        }
        if (!failed && at == place + 1) { /* from module import * */
            failed = add_import(reading, Py_NewRef(module), level, Py_None, Py_NewRef(only_itself)) < 0;
        }
        Py_XDECREF(level);
        if (failed) {
            return FAILED;
        }
    }
    return DONE;
}

/* ---- getattr ---- */

static PyObject *
name_of_step(PyObject *names, const Step *step) /* borrowed; NULL without an error where there is none */
{
    Py_ssize_t index = step->argument >> (kinds[step->op] & SHIFTED ? 1 : 0);
    return index < PyTuple_GET_SIZE(names) ? PyTuple_GET_ITEM(names, index) : NULL;
}

/* bytecode._read_getattrs: chains with a constant name are one more chain, the others' objects are computed from. */
static int
read_getattrs(Reading *reading, PyCodeObject *code, const Step *steps, Py_ssize_t count)
{
    PyObject *names = code->co_names, *constants = code->co_consts;
    for (Py_ssize_t place = 0; place < count; place++) {
        if (!(kinds[steps[place].op] & NAME)) {
            continue;
        }
        PyObject *name = name_of_step(names, &steps[place]);
        if (name == NULL) {
            return UNUSUAL;
        }
        if (name != text_getattr && PyUnicode_Compare(name, text_getattr) != 0) {
            continue;
        }
        Py_ssize_t at = place + 1;
        while (at < count && (kinds[steps[at].op] & BLANK)) {
            at++;
        }
        if (at >= count || !(kinds[steps[at].op] & NAME)) {
            continue; /* of a parameter or local: what it holds is known from elsewhere, or given by the caller */
        }
        PyObject *first = name_of_step(names, &steps[at]);
        if (first == NULL) {
            return UNUSUAL;
        }
        at++;
        PyObject *chain = attributes_after(names, steps, count, &at, first), *taken = NULL;
        if (chain == NULL) {
            return FAILED;
        }
        if (at < count && steps[at].op == load_const) {
            if (steps[at].argument >= PyTuple_GET_SIZE(constants)) {
                Py_DECREF(chain);
                return UNUSUAL;
            }
            taken = PyTuple_GET_ITEM(constants, steps[at].argument);
        }
        Py_ssize_t after = at + 1;
        if (after < count && (local_kinds[steps[after].op] & SIMPLE)) {
            after++; /* the default */
        }
        int failed;
        if (taken != NULL && PyUnicode_CheckExact(taken) && after < count && (kinds[steps[after].op] & CALL)) {
            Py_ssize_t size = PyTuple_GET_SIZE(chain);
            PyObject *longer = PyTuple_New(size + 1);
            for (Py_ssize_t index = 0; longer != NULL && index < size; index++) {
                PyTuple_SET_ITEM(longer, index, Py_NewRef(PyTuple_GET_ITEM(chain, index)));
            }
            if (longer != NULL) {
                PyTuple_SET_ITEM(longer, size, Py_NewRef(taken));
            }
            Py_DECREF(chain);
            failed = add_key(&reading->chains, longer);
        }
        else {
            failed = add_key(&reading->computed, chain);
        }
        if (failed < 0) {
            return FAILED;
        }
    }
    return DONE;
}

/* ---- bytes ---- */

/* Whether a constant can be packed as it is: exact plain types, and no NaN. */
static int
is_plain(PyObject *value)
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
        all = is_plain(PyTuple_GET_ITEM(value, index));
    }
    Py_LeaveRecursiveCall();
    return all;
}

/* The variables of one kind, as a tuple of their names. */
static int
pack_variables(Out *out, PyCodeObject *code, int kind)
{
    PyObject *names = code->co_localsplusnames;
    const char *kept = PyBytes_AS_STRING(code->co_localspluskinds);
    Py_ssize_t count = 0, total = PyTuple_GET_SIZE(names);
    for (Py_ssize_t at = 0; at < total; at++) {
        count += (kept[at] & kind) != 0;
    }
    int failed = put_sized(out, '(', count);
    for (Py_ssize_t at = 0; !failed && at < total; at++) {
        if (kept[at] & kind) {
            failed = pack_text(out, PyTuple_GET_ITEM(names, at));
        }
    }
    return failed;
}

static int read_into(Reading *reading, PyCodeObject *code);

/* A constant that is not plain: `(place, kind, bytes)`. */
static int
pack_other(Reading *reading, Py_ssize_t place, PyObject *constant)
{
    Out *out = &reading->out;
    int is_code = PyCode_Check(constant);
    if (put_sized(out, '(', 3) < 0 || put_int(out, place) < 0 || put_text(out, is_code ? "code" : "data") < 0) {
        return FAILED;
    }
    if (is_code) {
        if (put_sized(out, 's', 0) < 0) {
            return FAILED;
        }
        Py_ssize_t start = out->size;
        if (Py_EnterRecursiveCall(" while reading nested code")) {
            return FAILED;
        }
        int result = read_into(reading, (PyCodeObject *)constant);
        Py_LeaveRecursiveCall();
        set_size(out, start, out->size - start);
        return result;
    }
    PyObject *bytes = PyObject_CallOneArg(canonical, constant);
    if (bytes == NULL) {
        return FAILED;
    }
    int failed = !PyBytes_Check(bytes) || put_sized(out, 's', PyBytes_GET_SIZE(bytes)) < 0 ||
                 put_bytes(out, PyBytes_AS_STRING(bytes), PyBytes_GET_SIZE(bytes)) < 0;
    Py_DECREF(bytes);
    return failed ? FAILED : DONE;
}

/* The plain constants with None in the places of others, and those. `constants` has NULL for a place that is kept
   though nothing stands in it. */
static int
pack_constants(Reading *reading, PyObject **constants, Py_ssize_t count)
{
    Out *out = &reading->out;
    Py_ssize_t others = 0;
    int failed = put_sized(out, '(', 2) < 0 || put_sized(out, '(', count) < 0;
    for (Py_ssize_t at = 0; !failed && at < count; at++) {
        int plain = constants[at] == NULL ? 1 : is_plain(constants[at]);
        if (plain > 0) {
            failed = pack_plain(out, constants[at] == NULL ? Py_None : constants[at]) < 0;
        }
        else {
            others++;
            failed = plain < 0 || put_char(out, 'N') < 0;
        }
    }
    if (failed || put_sized(out, '(', others) < 0) {
        return FAILED;
    }
    for (Py_ssize_t at = 0; others > 0 && at < count; at++) {
        if (constants[at] != NULL && is_plain(constants[at]) == 0) {
            int result = pack_other(reading, at, constants[at]);
            if (result != DONE) {
                return result;
            }
            others--;
        }
    }
    return DONE;
}

static int
has_no_docstring_by_name(PyObject *name)
{
    static const char *names[] = {"<lambda>", "<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"};
    static const char generic[] = "<generic parameters";
    if (PyUnicode_GET_LENGTH(name) == 0 || PyUnicode_READ_CHAR(name, 0) != '<') {
        return 0;
    }
    for (int at = 0; at < 5; at++) {
        if (PyUnicode_CompareWithASCIIString(name, names[at]) == 0) {
            return 1;
        }
    }
    Py_ssize_t length = sizeof(generic) - 1;
    return PyUnicode_IS_ASCII(name) && PyUnicode_GET_LENGTH(name) >= length &&
           memcmp(PyUnicode_1BYTE_DATA(name), generic, length) == 0;
}

/* bytecode._has_docstring */
static int
has_docstring(PyCodeObject *code)
{
    if (flags_docstring) {
        return (code->co_flags & docstring_flag) != 0;
    }
    return (code->co_flags & CO_OPTIMIZED) && PyTuple_GET_SIZE(code->co_consts) > 0 &&
           PyUnicode_CheckExact(PyTuple_GET_ITEM(code->co_consts, 0)) && !has_no_docstring_by_name(code->co_name);
}

/* Moves the constants that packed code loads, each to its place. 0: it uses one that has none, and was left alone. */
static int
move_constants(unsigned char *text, Py_ssize_t length, const unsigned char *places, Py_ssize_t known)
{
    for (Py_ssize_t at = 0; at < length; at++) {
        if ((kinds[text[2 * at]] & CONSTANT) && (text[2 * at + 1] == 0 || text[2 * at + 1] >= known)) {
            return 0;
        }
    }
    for (Py_ssize_t at = 0; at < length; at++) {
        if (kinds[text[2 * at]] & CONSTANT) {
            text[2 * at + 1] = places[text[2 * at + 1]];
        }
    }
    return 1;
}

/* bytecode._counted_parts: changes packed code and the list of its constants to those without a docstring, and without
   what one makes the compiler keep. Gives the number of constants. */
static Py_ssize_t
leave_docstring_out(PyCodeObject *code, unsigned char *text, Py_ssize_t length, PyObject **constants,
                    Py_ssize_t count)
{
    unsigned char places[256] = {0};
    if (count == 0 || (keeps_first ? count > 255 : !has_docstring(code))) {
        return count;
    }
    if (keeps_first || !empty_doc_slot) {
        if (count > 255) {
            constants[0] = NULL;
            return count;
        }
        for (Py_ssize_t at = 1; at < count; at++) {
            places[at] = (unsigned char)(at - 1);
        }
        if (move_constants(text, length, places, count)) {
            memmove(constants, constants + 1, (count - 1) * sizeof(PyObject *));
            return count - 1;
        }
        return count;
    }
    Py_ssize_t moved = 1;
    while (moved < count && constants[moved] != Py_None) {
        moved++;
    }
    if (moved == count || count > 255) { /* nothing to put in its place, or too many to move */
        constants[0] = NULL;
        return count;
    }
    for (Py_ssize_t at = 1; at < count; at++) {
        places[at] = (unsigned char)(at == moved ? 0 : at - (at > moved));
    }
    if (!move_constants(text, length, places, count)) {
        return count;
    }
    memmove(constants + moved, constants + moved + 1, (count - moved - 1) * sizeof(PyObject *));
    constants[0] = Py_None;
    return count - 1;
}

/* The code less its inline caches, which are empty, and as many as the instructions before them have. */
static Py_ssize_t
copy_without_caches(char *to, const char *text, Py_ssize_t length)
{
    Py_ssize_t kept = 0;
    for (Py_ssize_t at = 0; at + 1 < length; at += 2) {
        unsigned short word;
        memcpy(&word, text + at, 2);
        memcpy(to + kept, &word, 2);
        kept += 2 * (word != 0);
    }
    return kept;
}

static int
has_only_text(PyObject *names)
{
    for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(names); at++) {
        if (!PyUnicode_CheckExact(PyTuple_GET_ITEM(names, at))) {
            return 0;
        }
    }
    return 1;
}

/* Appends a code object's bytes, and adds its names and imports. */
static int
pack_code(Reading *reading, PyCodeObject *code, PyObject *text)
{
    Out *out = &reading->out;
    PyObject *names = code->co_names;
    Py_ssize_t length = PyBytes_GET_SIZE(text), count = PyTuple_GET_SIZE(code->co_consts);
    int failed = put_sized(out, '(', 12) < 0 || pack_text(out, code->co_name) < 0 ||
                 put_int(out, code->co_argcount) < 0 || put_int(out, code->co_posonlyargcount) < 0 ||
                 put_int(out, code->co_kwonlyargcount) < 0 || put_int(out, code->co_flags & ~uncounted_flags) < 0 ||
                 put_sized(out, '(', PyTuple_GET_SIZE(names)) < 0;
    for (Py_ssize_t at = 0; !failed && at < PyTuple_GET_SIZE(names); at++) {
        failed = pack_text(out, PyTuple_GET_ITEM(names, at)) < 0;
    }
    failed = failed || pack_variables(out, code, IS_LOCAL) < 0 || pack_variables(out, code, IS_FREE) < 0 ||
             pack_variables(out, code, IS_CELL) < 0 || put_sized(out, 's', length) < 0;
    Py_ssize_t start = out->size;
    PyObject *few[32], **constants = few;
    if (!failed && count > 32) {
        constants = PyMem_Malloc(count * sizeof(PyObject *));
        failed = constants == NULL;
    }
    char *to = failed ? NULL : next_bytes(out, length);
    if (to == NULL) {
        if (constants != few) {
            PyMem_Free(constants);
        }
        return FAILED;
    }
    length = copy_without_caches(to, PyBytes_AS_STRING(text), length);
    out->size = start + length;
    set_size(out, start, length);
    memcpy(constants, &PyTuple_GET_ITEM(code->co_consts, 0), count * sizeof(PyObject *));
    count = leave_docstring_out(code, (unsigned char *)out->data + start, length / 2, constants, count);
    PyObject *table = code->co_exceptiontable;
    int result = put_sized(out, 's', PyBytes_GET_SIZE(table)) < 0 ||
                         put_bytes(out, PyBytes_AS_STRING(table), PyBytes_GET_SIZE(table)) < 0
                     ? FAILED
                     : pack_constants(reading, constants, count);
    if (constants != few) {
        PyMem_Free(constants);
    }
    return result;
}

static int
has_getattr(PyObject *names)
{
    for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(names); at++) {
        PyObject *name = PyTuple_GET_ITEM(names, at);
        if (name == text_getattr || (!PyUnicode_CHECK_INTERNED(name) && PyUnicode_Compare(name, text_getattr) == 0)) {
            return 1;
        }
    }
    return 0;
}

static int
read_into(Reading *reading, PyCodeObject *code)
{
    if (!PyUnicode_CheckExact(code->co_name) || !has_only_text(code->co_names) ||
        !has_only_text(code->co_localsplusnames) || !PyBytes_CheckExact(code->co_exceptiontable)) {
        return UNUSUAL;
    }
    PyObject *text = PyCode_GetCode(code);
    if (text == NULL) {
        return FAILED;
    }
    const unsigned char *ops = (const unsigned char *)PyBytes_AS_STRING(text);
    Py_ssize_t length = PyBytes_GET_SIZE(text) / 2, count;
    int imports = 0, result = read_chains(reading, ops, length, code->co_names, &imports);
    int takes = result == DONE && has_getattr(code->co_names);
    if (result == DONE && (imports || takes)) {
        Step *steps = read_steps(ops, length, &count);
        result = steps == NULL ? FAILED : DONE;
        if (result == DONE && imports) {
            result = read_imports(reading, code, steps, count);
        }
        if (result == DONE && takes) {
            result = read_getattrs(reading, code, steps, count);
        }
        PyMem_Free(steps);
    }
    if (result == DONE) {
        result = pack_code(reading, code, text);
    }
    Py_DECREF(text);
    return result;
}

/* ---- the answer ---- */

static PyObject *
new_import(PyObject *key)
{
    PyTypeObject *type = (PyTypeObject *)import_type;
    PyObject *made = type->tp_alloc(type, 0);
    if (made != NULL) {
        FIELD(made, at_module) = Py_NewRef(PyTuple_GET_ITEM(key, 0));
        FIELD(made, at_level) = Py_NewRef(PyTuple_GET_ITEM(key, 1));
        FIELD(made, at_taken) = Py_NewRef(PyTuple_GET_ITEM(key, 2));
        FIELD(made, at_uses) = Py_NewRef(PyTuple_GET_ITEM(key, 3));
    }
    return made;
}

static PyObject *
keys_of(PyObject *dict)
{
    PyObject *keys = PyTuple_New(dict == NULL ? 0 : PyDict_GET_SIZE(dict)), *key, *value;
    Py_ssize_t position = 0, at = 0;
    while (keys != NULL && dict != NULL && PyDict_Next(dict, &position, &key, &value)) {
        PyTuple_SET_ITEM(keys, at++, Py_NewRef(key));
    }
    return keys;
}

static PyObject *
answer(Reading *reading)
{
    PyTypeObject *type = (PyTypeObject *)facts_type;
    PyObject *made = type->tp_alloc(type, 0);
    if (made == NULL) {
        return NULL;
    }
    FIELD(made, at_payload) = PyBytes_FromStringAndSize(reading->out.data, reading->out.size);
    FIELD(made, at_chains) = keys_of(reading->chains);
    PyObject *imports = FIELD(made, at_imports) = keys_of(reading->imports);
    FIELD(made, at_computed) = keys_of(reading->computed);
    int failed = FIELD(made, at_payload) == NULL || FIELD(made, at_chains) == NULL || imports == NULL ||
                 FIELD(made, at_computed) == NULL;
    for (Py_ssize_t at = 0; !failed && at < PyTuple_GET_SIZE(imports); at++) {
        PyObject *key = PyTuple_GET_ITEM(imports, at), *record = new_import(key);
        failed = record == NULL;
        if (!failed) {
            PyTuple_SET_ITEM(imports, at, record);
            Py_DECREF(key);
        }
    }
    if (failed) {
        Py_CLEAR(made);
    }
    return made;
}

static PyObject *
read_facts(PyCodeObject *code)
{
    Reading reading = {{0}};
    start(&reading.out);
    int result = read_into(&reading, code);
    PyObject *made = result == DONE ? answer(&reading) : NULL;
    finish(&reading.out);
    Py_XDECREF(reading.chains);
    Py_XDECREF(reading.imports);
    Py_XDECREF(reading.computed);
    return result == UNUSUAL ? PyObject_CallOneArg(in_python, (PyObject *)code) : made;
}

/* ---- facts are kept beside their code object, as long as that lives ---- */

typedef struct {
    PyObject *facts;
    unsigned long round; /* in which it was read; those of earlier ones were forgotten */
} Kept;

static Py_ssize_t extra_index = -1;
static unsigned long this_round = 1;

static void
let_go(void *given)
{
    Kept *kept = given;
    if (kept != NULL) {
        Py_XDECREF(kept->facts);
        free(kept);
    }
}

static PyObject *
code_facts(PyObject *module, PyObject *code)
{
    if (facts_type == NULL || !PyCode_Check(code)) {
        PyErr_SetString(PyExc_TypeError, "code_facts takes a code object, after setup");
        return NULL;
    }
    void *extra = NULL;
    if (extra_index < 0) {
        return read_facts((PyCodeObject *)code);
    }
    if (GET_EXTRA(code, extra_index, &extra) < 0) {
        return NULL;
    }
    Kept *kept = extra;
    if (kept != NULL && kept->round == this_round) {
        return Py_NewRef(kept->facts);
    }
    PyObject *made = read_facts((PyCodeObject *)code);
    if (made == NULL) {
        return NULL;
    }
    kept = malloc(sizeof(Kept));
    if (kept != NULL) {
        *kept = (Kept){Py_NewRef(made), this_round};
        if (SET_EXTRA(code, extra_index, kept) < 0) { /* what stood there is let go */
            let_go(kept);
            Py_DECREF(made);
            return NULL;
        }
    }
    return made;
}

static PyObject *
read_anew(PyObject *module, PyObject *code)
{
    if (facts_type == NULL || !PyCode_Check(code)) {
        PyErr_SetString(PyExc_TypeError, "read_facts takes a code object, after setup");
        return NULL;
    }
    return read_facts((PyCodeObject *)code);
}

static PyObject *
forget(PyObject *module, PyObject *nothing)
{
    this_round++;
    Py_RETURN_NONE;
}

static int
take_slot(PyObject *type, const char *name, Py_ssize_t *offset)
{
    PyObject *descriptor = PyObject_GetAttrString(type, name);
    if (descriptor == NULL) {
        return -1;
    }
    int is_slot = Py_TYPE(descriptor) == &PyMemberDescr_Type &&
                  ((PyMemberDescrObject *)descriptor)->d_member->type == T_OBJECT_EX;
    if (is_slot) {
        *offset = ((PyMemberDescrObject *)descriptor)->d_member->offset;
    }
    else {
        PyErr_Format(PyExc_TypeError, "%R has no slot %s", type, name);
    }
    Py_DECREF(descriptor);
    return is_slot ? 0 : -1;
}

static PyObject *
setup(PyObject *module, PyObject *args)
{
    PyObject *facts, *import, *encode, *python;
    const char *table, *locals;
    Py_ssize_t table_size, locals_size;
    if (!PyArg_ParseTuple(args, "O!O!OOy#y#(iiii)(ii)(ppp)", &PyType_Type, &facts, &PyType_Type, &import, &encode,
                          &python, &table, &table_size, &locals, &locals_size, &import_name, &import_from,
                          &load_const, &small_int, &uncounted_flags, &docstring_flag, &keeps_first,
                          &flags_docstring, &empty_doc_slot)) {
        return NULL;
    }
    if (table_size != 256 || locals_size != 256) {
        PyErr_SetString(PyExc_TypeError, "setup takes two tables of 256 bytes");
        return NULL;
    }
    if (take_slot(facts, "payload", &at_payload) < 0 || take_slot(facts, "chains", &at_chains) < 0 ||
        take_slot(facts, "imports", &at_imports) < 0 || take_slot(facts, "computed", &at_computed) < 0 ||
        take_slot(import, "module", &at_module) < 0 || take_slot(import, "level", &at_level) < 0 ||
        take_slot(import, "taken", &at_taken) < 0 || take_slot(import, "uses", &at_uses) < 0) {
        return NULL;
    }
    memcpy(kinds, table, 256);
    memcpy(local_kinds, locals, 256);
    Py_XSETREF(import_type, Py_NewRef(import));
    Py_XSETREF(canonical, Py_NewRef(encode));
    Py_XSETREF(in_python, Py_NewRef(python));
    Py_XSETREF(facts_type, Py_NewRef(facts));
    Py_RETURN_NONE;
}

static int
make_constants(PyObject *module)
{
    if (only_itself == NULL) {
        text_getattr = PyUnicode_InternFromString("getattr");
        text_dot = PyUnicode_InternFromString(".");
        only_itself = Py_BuildValue("(())");
        extra_index = NEW_INDEX(let_go);
    }
    return text_getattr == NULL || text_dot == NULL || only_itself == NULL ? -1 : 0;
}

static PyMethodDef module_methods[] = {
    {"setup", setup, METH_VARARGS, "setup(…): takes what the reading in Python is made of."},
    {"code_facts", code_facts, METH_O, "code_facts(code): what a code object is and reaches, remembered."},
    {"read_facts", read_anew, METH_O, "read_facts(code): the same, read anew."},
    {"forget", forget, METH_NOARGS, "forget(): forgets what was remembered."},
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
    PyModuleDef_HEAD_INIT, "_facts", "Facts of code for passprint.identity, in C.", 0, module_methods, module_slots,
    NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit__facts(void)
{
    return PyModuleDef_Init(&module_definition);
}
