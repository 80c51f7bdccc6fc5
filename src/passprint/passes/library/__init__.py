"""Graph passes that real transformer graphs need, one a file.

``ALL`` lists them in the order in which they help one another; ``DEFAULT`` the ones of the default pipeline,
which is those with which a model runs no slower (``benchmarks/passes.py`` measures it).
"""

from passprint.passes.base import InductorPass
from passprint.passes.library.dedupe_expressions import DedupeExpressions
from passprint.passes.library.drop_clones import DropClones
from passprint.passes.library.fold_permutes import FoldPermutes
from passprint.passes.library.fold_reshapes import FoldReshapes
from passprint.passes.library.fuse_rms_norm import FuseRMSNorm
from passprint.passes.library.fuse_silu_and_mul import FuseSiluAndMul
from passprint.passes.library.noop_elimination import NoopElimination

DEFAULT: tuple[type[InductorPass], ...] = (
    NoopElimination,
    FoldReshapes,
    FoldPermutes,
    DropClones,
    DedupeExpressions,
)

ALL: tuple[type[InductorPass], ...] = (*DEFAULT, FuseRMSNorm, FuseSiluAndMul)

__all__ = [
    "ALL",
    "DEFAULT",
    "DedupeExpressions",
    "DropClones",
    "FoldPermutes",
    "FoldReshapes",
    "FuseRMSNorm",
    "FuseSiluAndMul",
    "NoopElimination",
]
