"""Training, from stored images to checkpoints, of a score network or anything else with a per-image loss.

    task.py              what can be trained: Task; its Evaluators; the Plan of a run
    loop.py              train_task: how a run begins and ends
    run.py               a run in progress: update, record, evaluate, save
    start.py             the initial state of a run
    same_data.py         check that all hosts read the same dataset
    replay.py            repeat a single update of a run, to inspect it
    earlier_step.py      go back to an earlier checkpoint
    trainable.py         which parameters are trained
    low_rank_task.py     train low-rank updates (LoRA) of frozen weights
    folder_weights.py    the averaged weights in a working directory, including those with low-rank updates
    adapters.py          apply low-rank updates from other folders and files
    weights_file.py      a tree of arrays as one file
    accumulation.py      gradient accumulation over parts of a batch
    memory.py            the memory that an update needs, and that is available
    feed.py              the input of each step, resident on the devices or streamed
    step.py              one update on all devices
    state.py             TrainState, and the average of the weights
    power_average.py     averages of the weights with a power-function profile, of any width
    kept_averages.py     power-function averages stored during training, and reconstruction of any width from them
    evaluations.py       the results of the evaluators during a run
    checkpoints.py       saving, strict restoring; orbax_errors.py: what may go wrong in it
    named_shapes.py      differences between two trees of arrays
    staying.py           which checkpoints are kept
    about.py             the metadata of a checkpoint
    manifest.py          the checksums of a checkpoint's files
    record.py            metrics.jsonl and TensorBoard
    progress.py          the progress bar and the throughput
    interrupts.py        SIGTERM and SIGINT
    lock.py              one run at a time in a folder

A score network:

    score_task.py        train(config, workdir)
    classifier_task.py   the same for a classifier of noisy images
    few_step_tasks.py    the same for few-step models: consistency.py (teacher.py), mean_flow.py
    kinds.py             these tasks by training.task
    settings.py          checks of config.training
    init_from.py         weights of another run to start from; origin.py: which of its weights
    losses.py            denoising score matching, per image: continuous, and discrete (DDPM, SMLD)
    weightings.py        loss weightings w(t), which determine the objective
    times.py             densities of training times, and the correction for them
    draws.py             how the times of a batch are spread
    objective.py         stored images -> loss, with the keys of score_sde/keys.py
    optimizer.py         clip -> Adam -> weight decay -> learning rate, with warm-up and decay
    evaluators.py        evaluators during training, by name (EVALUATORS)
    held_out.py          the loss on the test split
    recorded_config.py   the config that a folder's weights belong to, and what may change when training continues
    recorded_changes.py  the fields that changed during a run, and at which steps
    field_roles.py       the role of each field there: refused, recorded with its step, or free (judged_by.py)
    known_classes.py     the class names that belong to a network's class labels
    trained_score.py     a folder's weights as a score model

Start with loop.py and run.py for the control flow, and with losses.py for the mathematics.
"""
