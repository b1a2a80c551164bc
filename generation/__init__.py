"""Running a sampler: any number of images over devices and hosts, from a score model and a config.

generate.py           a Generator: batches of images of a seed, by index
drivers.py            one batch: in one call, or in calls of a few steps so that progress shows
conditions.py         the condition of each sample: labels and texts in turn
condition_images.py   condition images of samples: from a split, a file or a folder
cascade.py            ... or drawn first by a smaller network
sampled_score.py      the score model as used in sampling: guided, within the data's range
guided.py             guidance, as set in config.sampling.guidance
guides.py             the models of other folders that guidance uses
sample_files.py       saving the batches: one .npz file or a folder of .png files
start_images.py       the images from which SDEdit starts
start_conditions.py   ... and their classes and texts
trajectory.py         the states of a few images from noise to image
denoising_errors.py   errors estimated once per checkpoint, for samplers that are built from them
"""
