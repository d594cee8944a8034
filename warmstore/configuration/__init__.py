"""A run's configuration: composed from YAML, checked against its models."""

from warmstore.configuration.compose import COMMAND_LINE, Composed, own_folder, run_names
from warmstore.configuration.data_config import DataConfig, SplitConfig
from warmstore.configuration.load import DEFAULT_RUN, known_keys, load_config
from warmstore.configuration.run_config import RunConfig
from warmstore.configuration.training_config import TrainerConfig
