"""Running a sampler: any number of images over devices and hosts, from a score model and a config.

generate.py           a Generator: batches of images of a seed, by index
drivers.py            one batch: in one call, or a few steps a call so that progress shows
conditions.py         the condition of each sample: labels in turn
condition_images.py   condition images of samples: of a split, a file or a folder
cascade.py            ... or drawn first by a smaller network
sampled_score.py      the score model as sampling asks it: guided, within the data's range
guided.py             guidance, as config.sampling.guidance asks for it
guides.py             the models of other folders that it takes
sample_files.py       what becomes of the batches: one .npz file or a folder of .png files
start_images.py       what SDEdit begins from
trajectory.py         the states of a few images on their way
denoising_errors.py   estimated once a checkpoint, for samplers that are built from them
"""
