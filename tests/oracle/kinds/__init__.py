"""The kinds of state, by subject. Importing them registers them."""

from tests.oracle.kinds import (
    attributes as attributes,
)
from tests.oracle.kinds import (
    classes as classes,
)
from tests.oracle.kinds import (
    containers as containers,
)
from tests.oracle.kinds import (
    data as data,
)
from tests.oracle.kinds import (
    equal as equal,
)
from tests.oracle.kinds import (
    flow as flow,
)
from tests.oracle.kinds import (
    functions as functions,
)
from tests.oracle.kinds import (
    modules as modules,
)
from tests.oracle.kinds import (
    narrow as narrow,
)
from tests.oracle.kinds import (
    objects as objects,
)
from tests.oracle.kinds import (
    tensors as tensors,
)
from tests.oracle.kinds import (
    values as values,
)
