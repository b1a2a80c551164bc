"""Guidance: score models that wrap another score model and work with every sampler.

classifier_free.py    classifier-free guidance, by the conditional and the unconditional score
classifier.py         guidance by a classifier of noisy images
autoguidance.py       guidance away from a worse model
combinations.py       how two scores are combined: weight, interval, rescaling, APG, CFG++
reward.py             guidance by the gradient of a reward of the denoised image
posterior.py          base of the three below: the score given a measurement of the image
likelihood_score.py   gradient of the likelihood through the denoiser: DPS, PiGDM, TMPD, MMPS
proximal.py           denoised image corrected towards the measurement: DDNM, DiffPIR
exact_posterior.py    exact posteriors of models known in closed form
"""
