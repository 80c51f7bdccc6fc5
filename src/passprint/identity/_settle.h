/* Digests of what a walk found, part of _walk.c: the same as components.py makes. */

static int
is_node(PyObject *object)
{
    return Py_TYPE(object) == (PyTypeObject *)node_type;
}

/* ---- hashing ---- */

/* `@` and the digest of bytes, with other bytes (or NULL) before them. */
static PyObject *
mark_of(PyObject *before, const char *data, Py_ssize_t size)
{
    PyObject *mark = PyBytes_FromStringAndSize(NULL, 1 + DIGEST);
    if (mark == NULL) {
        return NULL;
    }
    Blake2b hash;
    blake2b_begin(&hash);
    if (before != NULL) {
        blake2b_take(&hash, PyBytes_AS_STRING(before), (size_t)PyBytes_GET_SIZE(before));
    }
    blake2b_take(&hash, data, (size_t)size);
    PyBytes_AS_STRING(mark)[0] = '@';
    blake2b_end(&hash, (uint8_t *)PyBytes_AS_STRING(mark) + 1);
    return mark;
}

/* node.Node.own_bytes, without the seed. */
static int
put_own_bytes(Out *out, PyObject *node)
{
    PyObject *edges = FIELD(node, Node, edges), *kind = FIELD(node, Node, kind), *head = FIELD(node, Node, head);
    Py_ssize_t begin = out->size, count = PyList_GET_SIZE(edges);
    int is_plain = PyUnicode_CheckExact(kind) && PyBytes_CheckExact(head), failed = 0;
    if (is_plain) {
        failed = put_sized(out, '(', 3) < 0 || pack_text(out, kind) < 0 ||
                 put_sized(out, 's', PyBytes_GET_SIZE(head)) < 0 ||
                 put_bytes(out, PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head)) < 0;
    }
    if (is_plain && !failed && FIELD(node, Node, unordered) == Py_True) {
        return put_char(out, 'N');
    }
    failed = failed || put_sized(out, '[', count) < 0;
    for (Py_ssize_t at = 0; is_plain && !failed && at < count; at++) {
        PyObject *label = PyTuple_GET_ITEM(PyList_GET_ITEM(edges, at), 1);
        is_plain = PyUnicode_CheckExact(label);
        failed = is_plain && pack_text(out, label) < 0;
    }
    if (failed || is_plain) {
        return failed ? -1 : 0;
    }
    out->size = begin; /* a class derived from str among the labels */
    PyObject *own = PyObject_CallMethod(node, "own_bytes", NULL);
    if (own == NULL) {
        return -1;
    }
    failed = put_bytes(out, PyBytes_AS_STRING(own) + PyBytes_GET_SIZE(seed),
                       PyBytes_GET_SIZE(own) - PyBytes_GET_SIZE(seed));
    Py_DECREF(own);
    return failed;
}

/* Appends marks, in order where it counts. */
static int
put_marks(Out *out, PyObject *node, PyObject *marks)
{
    if (FIELD(node, Node, unordered) == Py_True && PyList_Sort(marks) < 0) {
        return -1;
    }
    for (Py_ssize_t at = 0; at < PyList_GET_SIZE(marks); at++) {
        PyObject *mark = PyList_GET_ITEM(marks, at);
        if (put_bytes(out, PyBytes_AS_STRING(mark), PyBytes_GET_SIZE(mark)) < 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- components ---- */

/* The component of some nodes, given their rows and the components below them. */
static PyObject *
component_of(PyObject *members, PyObject *rows, PyObject *children)
{
    PyObject *made = copied(component_template, 1);
    if (made == NULL) {
        return NULL;
    }
    int is_lasting = 1, is_volatile = 0, is_opaque = 0;
    for (Py_ssize_t at = 0; at < PyList_GET_SIZE(children); at++) {
        PyObject *child = PyList_GET_ITEM(children, at);
        is_volatile |= FIELD(child, Component, is_volatile) == Py_True;
        is_opaque |= FIELD(child, Component, is_opaque) == Py_True;
        is_lasting &= FIELD(child, Component, is_lasting) == Py_True;
    }
    for (Py_ssize_t at = 0; at < PyList_GET_SIZE(members); at++) {
        PyObject *node = PyList_GET_ITEM(members, at);
        is_volatile |= FIELD(node, Node, is_volatile) == Py_True;
        is_lasting &= FIELD(node, Node, is_about_root) != Py_True;
        if (FIELD(node, Node, opaque) != Py_None) {
            is_opaque = 1;
            /* another one would be kept open by keeping it */
            is_lasting &= PyUnicode_CompareWithASCIIString(FIELD(node, Node, kind), "opaque") == 0;
        }
    }
    put(&FIELD(made, Component, rows), Py_NewRef(rows));
    put(&FIELD(made, Component, children), Py_NewRef(children));
    put_flag(&FIELD(made, Component, is_volatile), is_volatile);
    put_flag(&FIELD(made, Component, is_opaque), is_opaque);
    put_flag(&FIELD(made, Component, is_lasting), is_lasting && !is_volatile);
    return made;
}

/* A row of what a member of a component refers to: marks, and for other members their places. */
static PyObject *
links_of(PyObject *node, PyObject *places, PyObject *below)
{
    PyObject *edges = FIELD(node, Node, edges);
    PyObject *links = PyList_New(PyList_GET_SIZE(edges));
    for (Py_ssize_t at = 0; links != NULL && at < PyList_GET_SIZE(edges); at++) {
        PyObject *child = PyTuple_GET_ITEM(PyList_GET_ITEM(edges, at), 2), *link = child;
        if (is_node(child)) {
            PyObject *component = FIELD(child, Node, component);
            link = FIELD(child, Node, mark);
            if (link == Py_None) {
                link = PyDict_GetItemWithError(places, child);
            }
            else if (component != Py_None && PyDict_SetItem(below, component, Py_None) < 0) {
                link = NULL;
            }
        }
        if (link == NULL) {
            if (!PyErr_Occurred()) {
                PyErr_SetString(PyExc_RuntimeError, "a node of a component refers to an open one outside");
            }
            Py_CLEAR(links);
            break;
        }
        PyList_SET_ITEM(links, at, Py_NewRef(link));
    }
    return links;
}

/* What each member starts with, and the marks or colours of what it refers to; in a frame. */
static PyObject *
bodies_of(PyObject *members, PyObject *firsts, PyObject *links, PyObject *colours)
{
    Py_ssize_t count = PyList_GET_SIZE(members);
    PyObject *bodies = PyList_New(count);
    for (Py_ssize_t at = 0; bodies != NULL && at < count; at++) {
        PyObject *row = PyList_GET_ITEM(links, at), *marks = PyList_New(PyList_GET_SIZE(row));
        PyObject *first = PyList_GET_ITEM(firsts, at), *body = NULL;
        for (Py_ssize_t edge = 0; marks != NULL && edge < PyList_GET_SIZE(row); edge++) {
            PyObject *link = PyList_GET_ITEM(row, edge);
            PyObject *known = PyBytes_Check(link) ? link : PyList_GET_ITEM(colours, PyLong_AsSsize_t(link));
            PyList_SET_ITEM(marks, edge, Py_NewRef(known));
        }
        if (marks != NULL) {
            Out out;
            start(&out);
            body = bytes_of(&out, put_bytes(&out, PyBytes_AS_STRING(first), PyBytes_GET_SIZE(first)) < 0 ||
                                      put_marks(&out, PyList_GET_ITEM(members, at), marks) < 0);
        }
        Py_XDECREF(marks);
        if (body == NULL) {
            Py_CLEAR(bodies);
        }
        else {
            PyList_SET_ITEM(bodies, at, body);
        }
    }
    return bodies;
}

/* The digest of a whole component, with an `@`: of its members' bodies, each once and sorted, after so many rounds. */
static PyObject *
digest_of_bodies(PyObject *bodies, Py_ssize_t rounds)
{
    PyObject *frames = PySet_New(NULL), *sorted = NULL, *digest = NULL;
    int failed = frames == NULL;
    for (Py_ssize_t at = 0; !failed && at < PyList_GET_SIZE(bodies); at++) {
        PyObject *body = PyList_GET_ITEM(bodies, at);
        Out out;
        start(&out);
        PyObject *framed =
            bytes_of(&out, put_frame(&out, 'm', PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body)) < 0);
        failed = framed == NULL || PySet_Add(frames, framed) < 0;
        Py_XDECREF(framed);
    }
    sorted = failed ? NULL : PySequence_List(frames);
    if (sorted != NULL && PyList_Sort(sorted) == 0) {
        char before[48];
        int taken = snprintf(before, sizeof(before), "component %zd ", rounds);
        Out out;
        start(&out);
        failed = put_bytes(&out, before, taken) < 0;
        for (Py_ssize_t at = 0; !failed && at < PyList_GET_SIZE(sorted); at++) {
            PyObject *framed = PyList_GET_ITEM(sorted, at);
            failed = put_bytes(&out, PyBytes_AS_STRING(framed), PyBytes_GET_SIZE(framed)) < 0;
        }
        digest = failed ? NULL : mark_of(NULL, out.data, out.size);
        finish(&out);
    }
    Py_XDECREF(sorted);
    Py_XDECREF(frames);
    return digest;
}

/* The colours of members by themselves. */
static PyObject *
first_colours(PyObject *members)
{
    Py_ssize_t count = PyList_GET_SIZE(members);
    PyObject *colours = PyList_New(count);
    for (Py_ssize_t at = 0; colours != NULL && at < count; at++) {
        Out out;
        start(&out);
        int failed = put_own_bytes(&out, PyList_GET_ITEM(members, at)) < 0;
        PyObject *mark = failed ? NULL : mark_of(seed, out.data, out.size);
        finish(&out);
        if (mark == NULL) {
            Py_CLEAR(colours);
            break;
        }
        PyList_SET_ITEM(colours, at, mark);
    }
    return colours;
}

/* The marks of bodies. */
static PyObject *
next_colours(PyObject *bodies)
{
    Py_ssize_t count = bodies == NULL ? 0 : PyList_GET_SIZE(bodies);
    PyObject *colours = bodies == NULL ? NULL : PyList_New(count);
    for (Py_ssize_t at = 0; colours != NULL && at < count; at++) {
        PyObject *body = PyList_GET_ITEM(bodies, at);
        PyObject *mark = mark_of(NULL, PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body));
        if (mark == NULL) {
            Py_CLEAR(colours);
            break;
        }
        PyList_SET_ITEM(colours, at, mark);
    }
    return colours;
}

/* How many of the colours differ. -1: an error. */
static Py_ssize_t
count_different(PyObject *colours)
{
    PyObject *different = PySet_New(colours);
    Py_ssize_t count = different == NULL ? -1 : PySet_GET_SIZE(different);
    Py_XDECREF(different);
    return count;
}

/* Colours until no more members, or all, are told apart; then each gets its mark. */
static int
colour(PyObject *members, PyObject *links, PyObject *component)
{
    Py_ssize_t count = PyList_GET_SIZE(members), told_apart = 0, rounds = 0;
    PyObject *own = first_colours(members), *colours = Py_XNewRef(own);
    Py_ssize_t different = own == NULL ? -1 : count_different(own);
    while (different >= 0 && different != told_apart && different != count) {
        told_apart = different;
        PyObject *bodies = bodies_of(members, own, links, colours), *next = next_colours(bodies);
        Py_XDECREF(bodies);
        Py_XSETREF(colours, next);
        different = next == NULL ? -1 : count_different(next);
        rounds++;
    }
    PyObject *bodies = different < 0 ? NULL : bodies_of(members, colours, links, colours);
    PyObject *whole = bodies == NULL ? NULL : digest_of_bodies(bodies, rounds);
    int failed = whole == NULL;
    for (Py_ssize_t at = 0; !failed && at < count; at++) {
        char bytes[7 + 33 + 32];
        PyObject *node = PyList_GET_ITEM(members, at);
        memcpy(bytes, "member ", 7);
        memcpy(bytes + 7, PyBytes_AS_STRING(PyList_GET_ITEM(colours, at)), 33);
        memcpy(bytes + 40, PyBytes_AS_STRING(whole) + 1, 32);
        PyObject *mark = mark_of(NULL, bytes, sizeof(bytes));
        failed = mark == NULL;
        if (!failed) {
            put(&FIELD(node, Node, mark), mark);
            put(&FIELD(node, Node, component), Py_NewRef(component));
        }
    }
    Py_XDECREF(bodies);
    Py_XDECREF(own);
    Py_XDECREF(colours);
    Py_XDECREF(whole);
    return failed ? -1 : 0;
}

/* components.refine: settles nodes that reach each other. */
static int
refine(PyObject *members)
{
    Py_ssize_t count = PyList_GET_SIZE(members);
    PyObject *places = PyDict_New(), *below = PyDict_New(), *rows = PyList_New(0), *links = PyList_New(0);
    PyObject *component = NULL;
    int failed = places == NULL || below == NULL || rows == NULL || links == NULL;
    for (Py_ssize_t at = 0; !failed && at < count; at++) {
        PyObject *place = PyLong_FromSsize_t(at);
        failed = place == NULL || PyDict_SetItem(places, PyList_GET_ITEM(members, at), place) < 0;
        Py_XDECREF(place);
    }
    for (Py_ssize_t at = 0; !failed && at < count; at++) {
        PyObject *node = PyList_GET_ITEM(members, at), *row = links_of(node, places, below);
        Py_ssize_t end = PyList_GET_SIZE(rows);
        failed = row == NULL || PyList_Append(links, row) < 0 ||
                 PyList_SetSlice(rows, end, end, FIELD(node, Node, rows)) < 0;
        Py_XDECREF(row);
    }
    if (!failed) {
        PyObject *children = PyDict_Keys(below);
        component = children == NULL ? NULL : component_of(members, rows, children);
        Py_XDECREF(children);
        failed = component == NULL || colour(members, links, component) < 0;
    }
    Py_XDECREF(component);
    Py_XDECREF(places);
    Py_XDECREF(below);
    Py_XDECREF(rows);
    Py_XDECREF(links);
    return failed ? -1 : 0;
}

static int
add_once(PyObject *list, PyObject *object)
{
    for (Py_ssize_t at = PyList_GET_SIZE(list) - 1; at >= 0; at--) {
        if (PyList_GET_ITEM(list, at) == object) {
            return 0;
        }
    }
    return PyList_Append(list, object);
}

/* Settles a node that reaches no open one. 1: it reaches itself, and so is a component to be coloured. */
static int
settle_one(PyObject *members)
{
    PyObject *node = PyList_GET_ITEM(members, 0), *edges = FIELD(node, Node, edges), *children = PyList_New(0);
    int is_ordered = FIELD(node, Node, unordered) != Py_True, result = 0;
    PyObject *marks = is_ordered ? NULL : PyList_New(0);
    if (children == NULL || (!is_ordered && marks == NULL)) {
        Py_XDECREF(children);
        return -1;
    }
    Out out;
    start(&out);
    result = put_own_bytes(&out, node);
    for (Py_ssize_t at = 0; result == 0 && at < PyList_GET_SIZE(edges); at++) {
        PyObject *child = PyTuple_GET_ITEM(PyList_GET_ITEM(edges, at), 2), *mark = child;
        if (is_node(child)) {
            mark = FIELD(child, Node, mark);
            PyObject *component = FIELD(child, Node, component);
            if (mark == Py_None) {
                result = 1;
                break;
            }
            if (component != Py_None && add_once(children, component) < 0) {
                result = -1;
                break;
            }
        }
        result = is_ordered ? put_bytes(&out, PyBytes_AS_STRING(mark), PyBytes_GET_SIZE(mark))
                            : PyList_Append(marks, mark);
    }
    if (result == 0 && !is_ordered) {
        result = put_marks(&out, node, marks);
    }
    if (result == 0) {
        PyObject *mark = mark_of(seed, out.data, out.size);
        PyObject *component = mark == NULL ? NULL : component_of(members, FIELD(node, Node, rows), children);
        if (component == NULL) {
            Py_XDECREF(mark);
            result = -1;
        }
        else {
            put(&FIELD(node, Node, mark), mark);
            put(&FIELD(node, Node, component), component);
        }
    }
    finish(&out);
    Py_DECREF(children);
    Py_XDECREF(marks);
    return result;
}

/* One node on the way down: where it stands among those met, the lowest that it reaches, the next edge to look at. */
typedef struct {
    PyObject *node;
    Py_ssize_t index, lowest, next;
} Visit;

/* Settles a strongly connected component: all open nodes from a node on. */
static int
settle_component(PyObject *open_nodes, Py_ssize_t first)
{
    Py_ssize_t count = PyList_GET_SIZE(open_nodes);
    PyObject *members = PyList_GetSlice(open_nodes, first, count);
    int result = members == NULL || PyList_SetSlice(open_nodes, first, count, NULL) < 0 ? -1 : 1;
    if (result == 1 && count - first == 1) {
        result = settle_one(members);
    }
    if (result == 1) {
        result = PyList_Reverse(members) < 0 ? -1 : refine(members); /* the last that was met comes first */
    }
    Py_XDECREF(members);
    return result;
}

static int
met(PyObject *node, Py_ssize_t index)
{
    PyObject *number = PyLong_FromSsize_t(index);
    if (number == NULL) {
        return -1;
    }
    put(&FIELD(node, Node, index), number);
    return 0;
}

/* components.settle_digests: Tarjan's algorithm. A node's place among the open ones is found by its index. */
static int
settle_below(PyObject *root)
{
    Py_ssize_t room = 64, depth = 0, counter = 0;
    Visit *visits = PyMem_Malloc(room * sizeof(Visit));
    PyObject *open_nodes = PyList_New(0);
    /* For the n-th node met: where it stood in open_nodes when it was. */
    Py_ssize_t *places = PyMem_Malloc(room * sizeof(Py_ssize_t)), places_room = room;
    int failed = visits == NULL || places == NULL || open_nodes == NULL || met(root, 0) < 0 ||
                 PyList_Append(open_nodes, root) < 0;
    if (!failed) {
        places[0] = 0;
        visits[depth++] = (Visit){root, 0, 0, 0};
    }
    while (!failed && depth > 0) {
        Visit *visit = &visits[depth - 1];
        PyObject *edges = FIELD(visit->node, Node, edges), *entered = NULL;
        while (visit->next < PyList_GET_SIZE(edges)) {
            PyObject *child = PyTuple_GET_ITEM(PyList_GET_ITEM(edges, visit->next), 2);
            visit->next++;
            if (!is_node(child) || FIELD(child, Node, mark) != Py_None) {
                continue;
            }
            Py_ssize_t index = PyLong_AsSsize_t(FIELD(child, Node, index));
            if (index < 0) {
                entered = child;
                break;
            }
            if (index < visit->lowest) {
                visit->lowest = index;
            }
        }
        if (entered != NULL) {
            counter++;
            if (depth == room) {
                room *= 2;
                Visit *more = PyMem_Realloc(visits, room * sizeof(Visit));
                failed = more == NULL;
                visits = more == NULL ? visits : more;
            }
            if (counter == places_room) {
                places_room *= 2;
                Py_ssize_t *more = PyMem_Realloc(places, places_room * sizeof(Py_ssize_t));
                failed |= more == NULL;
                places = more == NULL ? places : more;
            }
            failed = failed || met(entered, counter) < 0;
            if (!failed) {
                places[counter] = PyList_GET_SIZE(open_nodes);
                visits[depth++] = (Visit){entered, counter, counter, 0};
                failed = PyList_Append(open_nodes, entered) < 0;
            }
            continue;
        }
        depth--;
        if (visit->lowest == visit->index) {
            failed = settle_component(open_nodes, places[visit->index]) < 0;
        }
        else if (visit->lowest < visits[depth - 1].lowest) {
            visits[depth - 1].lowest = visit->lowest;
        }
    }
    PyMem_Free(visits);
    PyMem_Free(places);
    Py_XDECREF(open_nodes);
    return failed ? -1 : 0;
}
