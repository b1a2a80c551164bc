"""Training: from stored images to checkpoints, of a score network or of anything else that has a loss.

    task.py              what can be trained: Task; its Evaluators; the Plan of a run
    loop.py              train_task: how a run begins and ends
    run.py               a run in progress: update, record, evaluate, save
    start.py             how a run begins
    same_data.py         that all hosts read one dataset
    replay.py            one update again, looked into
    earlier_step.py      going back to an earlier checkpoint first
    trainable.py         which parameters are trained
    low_rank_task.py     low-rank updates of frozen weights in the place of the weights
    folder_weights.py    the averaged weights of a folder, of weights or of such updates
    adapters.py          such updates of other folders and files, in use
    weights_file.py      a tree of arrays as one file
    accumulation.py      the gradient of a batch in parts
    memory.py            what an update needs, and what there is
    feed.py              what each step is given, from the device's memory or read on the way
    step.py              one update on all devices
    state.py             TrainState, and the average of the weights
    power_average.py     averages of the weights with a power-function profile, of any width
    kept_averages.py     those that stay on the way, and one of any width made of them
    evaluations.py       what evaluators have said
    checkpoints.py       saving, strict restoring
    named_shapes.py      what differs between two trees of arrays
    staying.py           which checkpoints stay
    about.py             what a checkpoint says of itself
    manifest.py          the checksums of a checkpoint's files
    record.py            metrics.jsonl and TensorBoard
    progress.py          the bar and the throughput
    interrupts.py        SIGTERM and SIGINT
    lock.py              one run in a folder

A score network:

    score_task.py        train(config, workdir)
    classifier_task.py   the same of a classifier of noisy images
    few_step_tasks.py    of networks that draw in few steps: consistency.py (teacher.py), mean_flow.py
    kinds.py             these by training.task
    settings.py          what is refused of config.training
    init_from.py         weights of another run to begin with; origin.py: which of its
    losses.py            denoising score matching, per image: continuous, and discrete (DDPM, SMLD)
    weightings.py        what is learnt: w(t)
    times.py             at which times, and what makes up for it
    draws.py             how the times of a batch are spread
    objective.py         stored images -> loss; its keys are those of score_sde/keys.py
    optimizer.py         clip -> Adam -> weight decay -> learning rate, with warm-up and decay
    evaluators.py        what is measured on the way, by name (EVALUATORS)
    held_out.py          the loss on the test split
    recorded_changes.py  what of it changed on the way, and at which steps
    recorded_config.py   the config that a folder's weights belong to, and what may change when training goes on
    field_roles.py       what each field is to it: refused, recorded with its step, or free (judged_by.py)
    known_classes.py     by which names a network knows the numbers of its classes
    trained_score.py     a folder's weights as a score model

Start with loop.py and run.py for the order of things, and with losses.py for the mathematics.
"""
