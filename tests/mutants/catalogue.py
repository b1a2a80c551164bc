"""All mutants, in the order in which they are tried."""

from tests.mutants.mutant import Mutant
from tests.mutants.wrong_around_samplers import AROUND_SAMPLERS
from tests.mutants.wrong_augmentation import AUGMENTATIONS
from tests.mutants.wrong_benchmarks import BENCHMARKS
from tests.mutants.wrong_bounds import BOUNDS
from tests.mutants.wrong_compilation_cache import COMPILATION_CACHE
from tests.mutants.wrong_condition_images import TOLD_IMAGES
from tests.mutants.wrong_control import CONTROL
from tests.mutants.wrong_dequantization import DEQUANTIZATION
from tests.mutants.wrong_endings import ENDINGS
from tests.mutants.wrong_exponential import EXPONENTIAL
from tests.mutants.wrong_extensions import EXTENSIONS
from tests.mutants.wrong_features import FEATURES
from tests.mutants.wrong_few_steps import FEW_STEPS
from tests.mutants.wrong_fine_tuning import FINE_TUNING
from tests.mutants.wrong_guidance import GUIDANCE
from tests.mutants.wrong_habits import HABITS
from tests.mutants.wrong_history import HISTORIES
from tests.mutants.wrong_hosts import HOSTS
from tests.mutants.wrong_images import IMAGES
from tests.mutants.wrong_imports import IMPORTS
from tests.mutants.wrong_likelihood import ODE_LIKELIHOOD
from tests.mutants.wrong_measurements import MEASUREMENTS
from tests.mutants.wrong_multistep import MULTISTEP
from tests.mutants.wrong_networks import NETWORKS
from tests.mutants.wrong_observations import OBSERVATIONS
from tests.mutants.wrong_optimal_variance import VARIANCES
from tests.mutants.wrong_paths import PATHS
from tests.mutants.wrong_posteriors import POSTERIORS
from tests.mutants.wrong_processes import MODELS, PROCESSES
from tests.mutants.wrong_quality import QUALITY
from tests.mutants.wrong_restoration import RESTORATION
from tests.mutants.wrong_restoring import RESTORING
from tests.mutants.wrong_resuming import RESUMING
from tests.mutants.wrong_sampling import EVALUATION, SAMPLERS
from tests.mutants.wrong_sde import REVERSE_SDE
from tests.mutants.wrong_sharding import SHARDING
from tests.mutants.wrong_training import DATA, TRAINING
from tests.mutants.wrong_watching import WATCHING
from tests.mutants.wrong_words import WORDS

MUTANTS: list[Mutant] = [
    *PROCESSES,
    *PATHS,
    *MODELS,
    *NETWORKS,
    *TRAINING,
    *AUGMENTATIONS,
    *HISTORIES,
    *HOSTS,
    *DATA,
    *FINE_TUNING,
    *FEW_STEPS,
    *IMAGES,
    *ENDINGS,
    *SHARDING,
    *WATCHING,
    *COMPILATION_CACHE,
    *SAMPLERS,
    *EVALUATION,
    *ODE_LIKELIHOOD,
    *REVERSE_SDE,
    *VARIANCES,
    *EXPONENTIAL,
    *MULTISTEP,
    *AROUND_SAMPLERS,
    *BOUNDS,
    *DEQUANTIZATION,
    *MEASUREMENTS,
    *GUIDANCE,
    *OBSERVATIONS,
    *POSTERIORS,
    *RESTORATION,
    *TOLD_IMAGES,
    *CONTROL,
    *RESTORING,
    *RESUMING,
    *BENCHMARKS,
    *QUALITY,
    *FEATURES,
    *IMPORTS,
    *WORDS,
    *HABITS,
    *EXTENSIONS,
]
