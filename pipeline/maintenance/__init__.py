"""Looking after stores: status, verify, repair, diff."""

from pipeline.maintenance.contested import RETRY, Contested, contested_verdicts
from pipeline.maintenance.diff import diff_stores
from pipeline.maintenance.probe import (
    PROBED,
    Finding,
    Probe,
    collect_probes,
    measure,
    peak_bytes,
    remember_probe,
    remembered_probe,
)
from pipeline.maintenance.repair import Repair, repair_stage
from pipeline.maintenance.status import Preview, explain, preview, preview_stored, remember_rate
from pipeline.maintenance.verify import (
    DamagedFile,
    Verification,
    compare_with_source,
    compute_chain,
    names_in,
    verify_store,
)
