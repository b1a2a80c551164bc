"""Training: from uint8 images to checkpoints of a score network.

    losses.py       denoising score matching, per image: continuous, and discrete (DDPM, SMLD)
    weightings.py   what is learnt: w(t)
    times.py        at which times, and what makes up for it
    draws.py        how the times of a batch are spread
    objective.py    stored images -> x0 -> loss; all randomness, a function of (seed, step, image)
    optimizer.py    clip -> Adam -> weight decay -> learning rate, with warm-up and decay
    state.py        TrainState, and the average of the weights
    step.py         one update on all devices
    held_out.py     the loss on the test split
    checkpoints.py  saving, strict restoring
    record.py       metrics.jsonl and TensorBoard
    recorded_config.py   the config that a folder's weights belong to
    progress.py     the bar and the throughput
    interrupts.py   SIGTERM and SIGINT
    loop.py         train(config, workdir)

Start with loop.py for the order of things, and with losses.py for the mathematics.
"""
