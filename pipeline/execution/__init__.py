"""Doing it: executors, tasks that leave finished chunks, and the generation that is built of them."""

from pipeline.execution.assembly import assemble
from pipeline.execution.executor_config import Choice, ExecutorConfig, break_even
from pipeline.execution.executors import Executor
from pipeline.execution.process_pool import Ended, WorkerProcesses
from pipeline.execution.records import MACHINE_CODES
from pipeline.execution.scheduler import Reporter, compute_plan, finished_samples, predicted_bytes
from pipeline.execution.task import compute_sample
