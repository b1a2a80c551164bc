"""The published configuration files, field by field: the field of ours that corresponds to each, and its required value.

Read from the configuration files of score_sde (the same in its JAX and PyTorch versions). The RefineNet files
(ve/ncsn, ve/ncsnv2) are left out: the published PyTorch cannot build their networks.
"""

VE, VP, SUBVP = "ve", "vp", "subvp"
NO_SKIPS, RESIDUAL = ("none", "none"), ("residual", "none")  # progressive_input, progressive
SKIPS = ("input_skip", "output_skip")
CH_MULT_256, CH_MULT_1024 = (1, 1, 2, 2, 2, 2, 2), (1, 2, 4, 8, 16, 32, 32, 32)
SMALL, DDPM_256 = (1, 2, 2, 2), (1, 1, 2, 2, 4, 4)
EM, RD, AS = "euler_maruyama", "reverse_diffusion", "ancestral_sampling"

# What every file has.
COMMON = {
    "seed": 42,
    "data.num_channels": 3, "data.random_flip": True, "data.uniform_dequantization": False,
    "data.num_levels": 256,
    "model.sigma_min": 0.01, "model.attn_resolutions": (16,), "model.resamp_with_conv": True,
    "model.nonlinearity": "swish",
    "optim.beta1": 0.9, "optim.beta2": 0.999, "optim.eps": 1e-8, "optim.weight_decay": 0.0,
    "optim.warmup": 5000, "optim.decay": "none", "optim.grad_clip": 1.0,
    "training.weighting": "noise", "training.log_freq": 50,
    "training.snapshot_freq": 50_000, "training.keep_every": 50_000, "training.eps": 1e-5,
    "sampling.sampler": "pc", "sampling.n_steps_each": 1, "sampling.noise_removal": True,
}  # fmt: skip

# What files of NCSN++ and DDPM++ have besides.
NCSNPP = {
    "model.resblock_type": "biggan", "model.fir_kernel": (1, 3, 3, 1), "model.skip_rescale": True,
    "model.progressive_combine": "sum", "model.init_scale": 0.0, "model.fourier_scale": 16.0,
}  # fmt: skip

# By image size. training.checkpoint_freq is `snapshot_freq_for_preemption` there.
SMALL_IMAGES = {
    "training.batch_size": 128, "training.n_iters": 1_300_001, "training.checkpoint_freq": 10_000,
    "model.dropout": 0.1, "model.nf": 128, "optim.lr": 2e-4,
    "model.num_scales": 1000, "sampling.pc.num_steps": 1000,
}  # fmt: skip
LARGE_IMAGES = {
    "training.n_iters": 2_400_001, "training.checkpoint_freq": 5_000, "model.dropout": 0.0,
}  # fmt: skip
SIZES = {
    32: {**SMALL_IMAGES, "data.name": "cifar10", "sampling.snr": 0.16},
    64: {
        **SMALL_IMAGES,
        "data.name": "celeb_a",
        "sampling.snr": 0.17,
        "data.resize": True,
        "data.crop_size": 140,
        "data.resample": "bilinear",
    },
    256: {**LARGE_IMAGES, "training.batch_size": 64, "model.nf": 128, "sampling.snr": 0.075},
    1024: {**LARGE_IMAGES, "training.batch_size": 8, "model.nf": 16, "sampling.snr": 0.15},
}

# By process.
PROCESSES = {
    VE: {"data.centered": False, "sampling.eps": 1e-5},
    VP: {
        "data.centered": True,
        "sampling.eps": 1e-3,
        "model.beta_min": 0.1,
        "model.beta_max": 20.0,
    },
}
PROCESSES[SUBVP] = PROCESSES[VP]

# Noise of the VE files, and what goes with it.
SIGMA_MAX_50 = {"model.sigma_max": 50.0}
DEEP = {"training.n_iters": 950_001}
DISCRETE_256 = {"model.num_scales": 1000, "sampling.pc.num_steps": 1000, "optim.lr": 2e-5}


def levels_2000(sigma_max):
    scales = {"model.num_scales": 2000, "sampling.pc.num_steps": 2000, "optim.lr": 2e-4}
    return {"model.sigma_max": sigma_max, **scales}


# LSUN: the largest square, bicubic. Faces: at 256 pixels, means of the large images' pixels.
LSUN = {"data.resize": True, "data.crop_size": 0, "data.resample": "bicubic"}
BEDROOM = {**LSUN, "data.name": "lsun/bedroom"}
CHURCH = {**LSUN, "data.name": "lsun/church_outdoor"}
FACES = {"data.name": "folder", "data.crop_size": 0}
SHRUNK_FACES = {**FACES, "data.resize": True, "data.resample": "box"}

COLUMNS = (
    "sde.name", "model.name", "data.image_size", "training.continuous", "training.reduce_mean",
    "sampling.pc.predictor", "sampling.pc.corrector", "model.ema_rate", "model.num_res_blocks",
    "model.ch_mult", "model.embedding_type", "model.fir", "pyramids", "model.scale_by_sigma",
)  # fmt: skip

F, T = False, True
# Published file: our configuration, its parameters, the columns, and further fields.
FILES = {
    "ve/cifar10_ncsnpp": ("ve_cifar:ncsnpp_discrete", 62_693_251, (VE, "ncsnpp", 32, F, F, RD, "langevin", 0.999, 4, SMALL, "positional", T, RESIDUAL, T), SIGMA_MAX_50),
    "ve/cifar10_ncsnpp_continuous": ("ve_cifar:ncsnpp", 62_758_915, (VE, "ncsnpp", 32, T, F, RD, "langevin", 0.999, 4, SMALL, "fourier", T, RESIDUAL, T), SIGMA_MAX_50),
    "ve/cifar10_ncsnpp_deep_continuous": ("ve_cifar:ncsnpp_deep", 107_587_075, (VE, "ncsnpp", 32, T, F, RD, "langevin", 0.999, 8, SMALL, "fourier", T, RESIDUAL, T), {**DEEP, **SIGMA_MAX_50}),
    "ve/cifar10_ddpm": ("ve_cifar:ddpm_discrete", 35_218_947, (VE, "ddpm", 32, F, F, RD, "langevin", 0.999, 2, SMALL, "positional", None, None, T), SIGMA_MAX_50),
    "ve/celeba_ncsnpp": ("ve_celeba", 62_693_251, (VE, "ncsnpp", 64, F, F, RD, "langevin", 0.999, 4, SMALL, "positional", T, RESIDUAL, T), {"model.sigma_max": 90.0}),
    "ve/bedroom_ncsnpp_continuous": ("ve_256:bedroom", 65_574_549, (VE, "ncsnpp", 256, T, F, RD, "langevin", 0.999, 2, CH_MULT_256, "fourier", T, SKIPS, T), {**levels_2000(378.0), **BEDROOM}),
    "ve/church_ncsnpp_continuous": ("ve_256:church", 65_574_549, (VE, "ncsnpp", 256, T, F, RD, "langevin", 0.999, 2, CH_MULT_256, "fourier", T, SKIPS, T), {**levels_2000(380.0), **CHURCH}),
    "ve/ffhq_256_ncsnpp_continuous": ("ve_256:ffhq", 65_574_549, (VE, "ncsnpp", 256, T, F, RD, "langevin", 0.999, 2, CH_MULT_256, "fourier", T, SKIPS, T), {**levels_2000(348.0), **SHRUNK_FACES}),
    "ve/celebahq_256_ncsnpp_continuous": ("ve_256:celebahq", 65_574_549, (VE, "ncsnpp", 256, T, F, RD, "langevin", 0.999, 2, CH_MULT_256, "fourier", T, SKIPS, T), {**levels_2000(348.0), **SHRUNK_FACES}),
    "ve/ffhq_ncsnpp_continuous": ("ve_1024:ffhq", 105_785_896, (VE, "ncsnpp", 1024, T, T, RD, "langevin", 0.9999, 1, CH_MULT_1024, "fourier", T, SKIPS, T), {**levels_2000(1348.0), **FACES}),
    "ve/celebahq_ncsnpp_continuous": ("ve_1024:celebahq", 105_785_896, (VE, "ncsnpp", 1024, T, F, RD, "langevin", 0.9999, 1, CH_MULT_1024, "fourier", T, SKIPS, T), {**levels_2000(1348.0), **FACES}),
    "vp/cifar10_ddpmpp": ("vp_cifar:ddpmpp_discrete", 61_804_419, (VP, "ncsnpp", 32, F, T, AS, "none", 0.9999, 4, SMALL, "positional", F, NO_SKIPS, F), {}),
    "vp/cifar10_ddpmpp_continuous": ("vp_cifar:ddpmpp", 61_804_419, (VP, "ncsnpp", 32, T, T, EM, "none", 0.9999, 4, SMALL, "positional", F, NO_SKIPS, F), {}),
    "vp/cifar10_ddpmpp_deep_continuous": ("vp_cifar:ddpmpp_deep", 106_632_579, (VP, "ncsnpp", 32, T, T, EM, "none", 0.9999, 8, SMALL, "positional", F, NO_SKIPS, F), DEEP),
    "vp/cifar10_ncsnpp": ("vp_cifar:ncsnpp_discrete", 62_693_251, (VP, "ncsnpp", 32, F, T, RD, "none", 0.9999, 4, SMALL, "positional", T, RESIDUAL, F), {}),
    "vp/cifar10_ncsnpp_continuous": ("vp_cifar:ncsnpp", 62_693_251, (VP, "ncsnpp", 32, T, T, EM, "none", 0.9999, 4, SMALL, "positional", T, RESIDUAL, F), {}),
    "vp/cifar10_ncsnpp_deep_continuous": ("vp_cifar:ncsnpp_deep", 107_521_411, (VP, "ncsnpp", 32, T, T, EM, "none", 0.9999, 8, SMALL, "positional", T, RESIDUAL, F), DEEP),
    "vp/ddpm/cifar10": ("vp_cifar:ddpm_discrete", 35_218_947, (VP, "ddpm", 32, F, T, AS, "none", 0.9999, 2, SMALL, "positional", None, None, F), {}),
    "vp/ddpm/cifar10_continuous": ("vp_cifar:ddpm", 35_218_947, (VP, "ddpm", 32, T, T, EM, "none", 0.9999, 2, SMALL, "positional", None, None, F), {}),
    "vp/ddpm/cifar10_unconditional": ("vp_cifar:ddpm_unconditional", None, (VP, "ddpm", 32, F, T, AS, "none", 0.9999, 2, SMALL, None, None, None, F), {"model.conditional": False}),
    "vp/ddpm/bedroom": ("vp_256:bedroom", 111_569_923, (VP, "ddpm", 256, F, T, AS, "none", 0.9999, 2, DDPM_256, "positional", None, None, F), {**DISCRETE_256, **BEDROOM}),
    "vp/ddpm/church": ("vp_256:church", 111_569_923, (VP, "ddpm", 256, F, T, AS, "none", 0.9999, 2, DDPM_256, "positional", None, None, F), {**DISCRETE_256, **CHURCH}),
    "vp/ddpm/celebahq": ("vp_256:celebahq", 111_569_923, (VP, "ddpm", 256, F, T, AS, "none", 0.9999, 2, DDPM_256, "positional", None, None, F), {**DISCRETE_256, **SHRUNK_FACES}),
    "subvp/cifar10_ddpm_continuous": ("subvp_cifar:ddpm", 35_218_947, (SUBVP, "ddpm", 32, T, T, EM, "none", 0.9999, 2, SMALL, "positional", None, None, F), {}),
    "subvp/cifar10_ddpmpp_continuous": ("subvp_cifar:ddpmpp", 61_804_419, (SUBVP, "ncsnpp", 32, T, T, EM, "none", 0.9999, 4, SMALL, "positional", F, NO_SKIPS, F), {}),
    "subvp/cifar10_ddpmpp_deep_continuous": ("subvp_cifar:ddpmpp_deep", 106_632_579, (SUBVP, "ncsnpp", 32, T, T, EM, "none", 0.9999, 8, SMALL, "positional", F, NO_SKIPS, F), DEEP),
    "subvp/cifar10_ncsnpp_continuous": ("subvp_cifar:ncsnpp", 62_693_251, (SUBVP, "ncsnpp", 32, T, T, EM, "none", 0.9999, 4, SMALL, "positional", T, RESIDUAL, F), {}),
    "subvp/cifar10_ncsnpp_deep_continuous": ("subvp_cifar:ncsnpp_deep", 107_521_411, (SUBVP, "ncsnpp", 32, T, T, EM, "none", 0.9999, 8, SMALL, "positional", T, RESIDUAL, F), DEEP),
}  # fmt: skip


def published_values(file):
    """Every field of a published file that ours has, by dotted name."""
    _, _, columns, further = FILES[file]
    row = dict(zip(COLUMNS, columns, strict=True))
    row["model.progressive_input"], row["model.progressive"] = row.pop("pyramids") or (None, None)
    network = NCSNPP if row["model.name"] == "ncsnpp" else {}
    shared = {"model.conditional": True, **SIZES[row["data.image_size"]]}
    values = {**COMMON, **network, **shared, **PROCESSES[row["sde.name"]], **row, **further}
    # None: a field that this network does not have.
    return {name: value for name, value in values.items() if value is not None}
