"""What samples are led to, as score models around another: every sampler takes them.

classifier_free.py    more of a class than the model itself has, by its score of no class
classifier.py         by a classifier of noisy images
autoguidance.py       away from a worse model
combinations.py       how one score is led away from another: weight, interval, rescaling, APG, CFG++
reward.py             more of what the expected image is worth
posterior.py          images given a measurement of them: what the three below share
likelihood_score.py   the likelihood's gradient through the denoiser: DPS, PiGDM, TMPD, MMPS
proximal.py           the expected image moved to what was measured: DDNM, DiffPIR
exact_posterior.py    the exact posterior of models known in closed form
"""
