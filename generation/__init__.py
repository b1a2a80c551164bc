"""Running a sampler: any number of images over devices and hosts, from a score model and a config.

generate.py           a function (score model, number, seed) -> images
drivers.py            one batch: in one call, or a few steps a call so that progress shows
trajectory.py         the states of a few images on their way
start_images.py       what SDEdit begins from
denoising_errors.py   estimated once a checkpoint, for samplers that are built from them
"""
