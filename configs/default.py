"""Every field of a configuration, with its unit and constraint. Experiments start here and change few lines.

Names follow score_sde where it has one. Every field can be set on the command line, as
`--config.training.batch_size=64`; an unknown name or a value of another type is refused.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 42  # everything random derives from it
    config.checkpoint_step = (
        0  # the checkpoint to sample from, to measure or to export; 0: the newest
    )

    config.data_parallel = "pmap"  # pmap | shard_map: how devices share a batch

    config.sde = ConfigDict()
    config.sde.name = "vp"  # vp | subvp | ve, or a name registered in sde_lib/__init__.py

    config.data = data = ConfigDict()
    data.name = "digits"  # digits | cifar10 | mixture | folder | any image dataset of TFDS
    # where TFDS keeps its data; empty: TFDS's own default, ~/tensorflow_datasets
    data.data_dir = ""
    # data.name=folder: where the images are, PNG, JPEG or WebP files at any depth, in train/ and test/ or
    # all together
    data.folder = ""
    data.image_size = 8  # pixels a side; the network halves it len(model.ch_mult) - 1 times
    data.num_channels = 1
    # grey levels a channel: the dataset's own, or a divisor to which it is then reduced, as 32 for 8-bit images at
    # 5 bits; 0: the data are real numbers, not levels
    data.num_levels = 256
    data.stored_levels = 256  # grey levels of image files and of TFDS's images; digits know theirs
    data.centered = True  # the process runs on [-1, 1]; False: on [0, 1] (VE)
    data.label = -1  # only the images of this class, of a dataset that has labels; -1: all
    data.random_flip = False  # mirror half of the training images
    # train on (level + u) / levels; False: on level / (levels - 1)
    data.uniform_dequantization = True
    # crop to the central square and resize to image_size, where images differ in size
    data.resize = False
    data.crop_size = 0  # side of that square in pixels; 0: the largest (CelebA: 140)
    data.resample = "bicubic"  # bicubic | bilinear | box: the filter; all average when they shrink
    data.in_memory = "auto"  # auto | yes | no: hold the training images on the device

    config.model = model = ConfigDict()
    # ncsnpp (NCSN++ and DDPM++) | ddpm | mixture (exact score of data.name=mixture)
    model.name = "ncsnpp"
    model.beta_min = 0.1  # VP, sub-VP: the rate at t = 0 ...
    model.beta_max = 20.0  # ... and at t = 1
    model.sigma_min = 0.01  # VE: noise at t = 0, in units of the scaled data ...
    model.sigma_max = 50.0  # ... and at t = 1; about the largest distance between two images
    # what the network gives: process, what is usual under it | noise | score | x0 | velocity | edm
    model.predicts = "process"
    model.sigma_data = 0.5  # edm: standard deviation of the scaled data
    model.num_scales = 1000  # levels of the discrete chains (training.continuous=False)
    # How a network trained on DDPM's levels is asked at a time between them: matched (by log-SNR) |
    # published_pc | published_ode, see models/parameterization.py
    model.discrete_labels = "matched"
    # decay per step of the averaged weights that sampling and evaluation use
    model.ema_rate = 0.9999
    # decay min(ema_rate, (1 + n)/(10 + n)): short runs forget their first weights
    model.ema_warmup = True
    model.dropout = 0.1  # rate, in training only
    # float32 | bfloat16: convolutions and attention; all else stays float32
    model.dtype = "float32"
    # The network (Song et al. 2021, App. H).
    model.nf = 128  # base width; GroupNorm uses min(width / 4, 32) groups
    model.ch_mult = (1, 2, 2, 2)  # width of each resolution level, in units of nf
    model.num_res_blocks = 4  # residual blocks a level
    model.attn_resolutions = (16,)  # self-attention at these image sizes, and always in the middle
    model.resblock_type = "biggan"  # biggan | ddpm
    model.resamp_with_conv = True  # ddpm blocks: convolve when resampling
    model.conditional = True  # the network is told the time
    model.num_classes = 0  # of the labels that the network is told; 0: it is told none
    model.nonlinearity = "swish"  # swish | elu | relu | lrelu
    model.fir = False  # smooth resampling with fir_kernel
    model.fir_kernel = (1, 3, 3, 1)
    model.skip_rescale = True  # divide residual sums by sqrt(2)
    model.progressive = "none"  # none | output_skip | residual
    model.progressive_input = "none"  # none | input_skip | residual
    model.progressive_combine = "sum"  # sum | cat
    model.embedding_type = "positional"  # positional | fourier (continuous VE)
    model.fourier_scale = 16.0  # standard deviation of the Fourier frequencies
    model.scale_by_sigma = False  # divide the output by sigma (VE)
    model.init_scale = 0.0  # of the last layers; 0 stands for 1e-10, so a fresh network gives 0

    config.optim = optim = ConfigDict()
    optim.lr = 2e-4
    optim.beta1 = 0.9
    optim.beta2 = 0.999
    optim.eps = 1e-8
    optim.weight_decay = 0.0  # decoupled
    optim.warmup = 5000  # steps of linear warm-up; the first update has rate 0 when there are any
    optim.decay = "none"  # none | cosine: to 0 at the last step
    optim.grad_clip = 1.0  # largest global norm of the gradient; negative: no clipping

    config.training = training = ConfigDict()
    training.batch_size = 128  # images a step over all devices and hosts; divisible by their number
    training.n_iters = 1_300_001  # steps in all
    training.continuous = True  # False: the discrete loss of DDPM (VP) or SMLD (VE)
    # The objective, a mean over uniform times of a weighted error, see training/weightings.py:
    # noise (sigma^2) | likelihood (g^2) | x0 | velocity | min_snr | p2 | edm
    training.weighting = "noise"
    training.min_snr = 5.0  # min_snr: gamma
    training.p2_k = 1.0  # p2: k and gamma
    training.p2_gamma = 1.0
    # How it is estimated, which moves the gradient's variance only. The density of times: uniform | log_snr,
    # proportional to g^2/sigma^2, for weighting=likelihood | log_normal, EDM's
    training.times = "uniform"
    training.log_normal_mean = -1.2  # log_normal, and edm: of ln(sigma/alpha)
    training.log_normal_std = 1.2
    # the times of a batch: independent | stratified, one in each of so many cells | low_discrepancy, equally spaced
    training.draws = "independent"
    training.reduce_mean = True  # mean over pixels; False: half the sum
    training.label_dropout = (
        0.0  # rate at which a label becomes "no class", for guidance: 0.1 to 0.2
    )
    training.eps = 1e-5  # smallest time trained on
    training.init_from = ""  # begin with the averaged weights of this workdir or published file
    training.trainable = ""  # train parameters of such names, a regular expression; empty: all
    training.steps_per_call = 1  # updates in one compiled call; more than 1 only helps accelerators
    training.log_freq = 50  # steps between two lines of the log
    training.eval_freq = 1000  # steps between two held-out losses
    training.checkpoint_freq = 10_000  # steps between two checkpoints
    training.keep_checkpoints = 3  # latest ones that stay; 0: all
    training.keep_every = 0  # checkpoints of multiples of so many steps stay for ever; 0: none
    training.snapshot_freq = 50_000  # steps between two pictures of samples; 0: none
    training.snapshot_size = 64  # images in that picture

    config.sampling = sampling = ConfigDict()
    sampling.sampler = "pc"  # pc | ode | pc_published; --sampler sets it
    sampling.num_images = 64
    sampling.batch_size = 64  # images at a time over all devices; divisible by their number
    sampling.eps = 1e-3  # the time at which sampling stops
    # begin at this time from sampling.guides, instead of at T from the prior (SDEdit); 0: at T
    sampling.t_start = 0.0
    # test | train: images of the dataset | an .npz file with `images`, or with `states`, which are x at t_start
    sampling.guides = ""
    sampling.path_images = (
        0  # keep the way of so many images from noise, as arrays and as a picture
    )
    sampling.noise_removal = True  # end without the noise that is left at eps ...
    # ... by tweedie: return E[x_0 | x_eps] | predictor_mean: pc's last step adds none (pc_published: always so)
    sampling.noise_removal_by = "tweedie"
    # cut off the fraction of a level, as the published code does, instead of rounding
    sampling.truncate = False
    sampling.snr = 0.16  # Langevin corrector: target ratio of its drift to its noise
    sampling.n_steps_each = 1  # corrector steps after each predictor step
    sampling.grid = ConfigDict()  # the times of samplers with fixed steps
    # uniform | quadratic | log_snr | rho | times | dp, the cheapest for the likelihood (dynamic programming)
    sampling.grid.name = "uniform"
    sampling.grid.rho = 7.0  # rho: equal steps of (sigma/alpha)^(1/rho)
    sampling.grid.times = ()  # times: an explicit list, falling from T (or t_start) to eps
    sampling.grid.candidates = 100  # dp: times of equal log-SNR to choose among
    # How well the network denoises, estimated from training images once a checkpoint, for grid.name=dp and for
    # pc.predictor=ancestral_sampling_optimal
    sampling.errors = ConfigDict()
    sampling.errors.num_levels = 50  # times at which it is asked
    sampling.errors.num_images = 512  # images at each
    # ask the network for one image at a time: a score then has the same bits in any batch, at the price of speed
    sampling.one_by_one = False
    # Keep the expected image in the data's range at every step: none | static, clip | dynamic, shrink to a quantile
    sampling.threshold = "none"
    sampling.threshold_quantile = 0.995
    # Classifier-free guidance, (1 + w) times the score of the class less w times that of no class: w = scale - 1
    sampling.guidance = ConfigDict()
    sampling.guidance.weight = 0.0  # w; 0: none, -1: no class
    sampling.pc = ConfigDict()
    # euler_maruyama | reverse_diffusion | ancestral_sampling | ancestral_sampling_posterior |
    # ancestral_sampling_optimal | probability_flow | none; none with corrector ald: annealed Langevin dynamics
    sampling.pc.predictor = "euler_maruyama"
    sampling.pc.corrector = "none"  # langevin | ald | none
    sampling.pc.num_steps = 1000  # predictor steps from T to eps
    sampling.ode = ConfigDict()
    # heun | midpoint | ralston | bosh3 | dopri5 | tsit5 | dopri8, and on a grid euler | leapfrog_midpoint |
    # reversible_heun, all of diffrax
    sampling.ode.solver = "dopri5"
    sampling.ode.steps = "adaptive"  # adaptive, by rtol and atol | grid, num_steps of sampling.grid
    sampling.ode.num_steps = 20
    # what the solver calls time: t | ratio, sigma/alpha | log_ratio, its logarithm; the last two are not stiff
    sampling.ode.variable = "t"
    # batch | image: adaptive steps of one size for the images of a device, or of their own for each
    sampling.ode.step_size = "batch"
    sampling.ode.rtol = 1e-5
    sampling.ode.atol = 1e-5

    # The reverse SDE by diffrax, --sampler sde
    sampling.sde = ConfigDict()
    sampling.sde.solver = "shark"  # euler | sea (grid only) | heun | sra1 | shark
    sampling.sde.h = 1.0  # amount of noise, any h >= 0: 1 is the reverse SDE, 0 the ODE
    sampling.sde.steps = "grid"  # grid, num_steps of sampling.grid | adaptive, by rtol and atol
    sampling.sde.num_steps = 100
    sampling.sde.rtol = 0.05
    sampling.sde.atol = 2.0 / 256.0  # one of 256 levels of [-1, 1]
    sampling.sde.step_size = "batch"  # as sampling.ode.step_size
    # Exponential integrators: the names of --sampler from ddim on
    sampling.exponential = ConfigDict()
    sampling.exponential.eta = 0.0  # noise, 0 to 1, of ddim and dpm_solver_pp_2m; 0: the ODE
    sampling.exponential.steps = "grid"  # grid | adaptive (dpm_solver_2, dpm_solver_3)
    sampling.exponential.num_steps = 20
    sampling.exponential.rtol = 0.05
    sampling.exponential.atol = 2.0 / 256.0
    sampling.exponential.step_size = "batch"
    # EDM's Heun sampler, --sampler edm; sigmas are those of sigma/alpha
    sampling.edm = ConfigDict()
    sampling.edm.num_steps = 17  # and one more evaluation for the last denoising: 35 in all
    sampling.edm.s_churn = 0.0  # new noise over the whole run; 0: the ODE
    sampling.edm.s_min = 0.0  # churn from this sigma ...
    sampling.edm.s_max = float("inf")  # ... to this one
    sampling.edm.s_noise = 1.0  # standard deviation of the new noise

    # --mode interpolate: encode images by the ODE (sampling.ode), go from one latent to the other, decode
    config.interpolation = interpolation = ConfigDict()
    interpolation.split = "test"  # test | train
    interpolation.images = (
        0,
        1,
        2,
        3,
        4,
        5,
        6,
        7,
    )  # indices in the split, two a row of the picture
    interpolation.frames = 9  # images a row from the first to the second, both included

    config.likelihood = likelihood = ConfigDict()
    likelihood.split = "test"  # test | train
    likelihood.num_images = 0  # the first so many of the split; 0: all of them
    likelihood.batch_size = 64  # images at a time over all devices; divisible by their number
    likelihood.eps = 1e-5  # the time at which the density is taken
    likelihood.repeats = 1  # draws of dequantisation noise, probes and bound for each image
    likelihood.ode = True  # measure the probability-flow ODE's own likelihood
    likelihood.solver = "dopri5"
    likelihood.rtol = 1e-5
    likelihood.atol = 1e-5
    likelihood.step_size = "batch"  # as sampling.ode.step_size
    # The divergence: rademacher | gaussian | orthogonal (Rademacher probes at right angles) | hutchpp, Hutch++ |
    # exact, D products an evaluation
    likelihood.probe = "rademacher"
    likelihood.num_probes = (
        1  # random vectors an image; from 2 on they give an error bar of their own
    )
    likelihood.sketch_size = 8  # hutchpp: directions whose part of the trace is exact
    likelihood.products_at_once = (
        16  # Jacobian-vector products that share a pass; fewer need less memory
    )
    # evaluations an image, even, for the variational bound on the SDE's likelihood; 0: no bound
    likelihood.bound_draws = 64
    # a network trained on a chain: the variances of its steps, ancestral | forward | posterior
    likelihood.chain_variances = "ancestral"
    # uniform | variational, by the flow that --mode dequantize trained in the folder
    likelihood.dequantization = "uniform"
    # none: the density at eps, in place of the data's | gaussian: that of the data, through a last decoding step
    likelihood.decoder = "none"
    likelihood.save_latents = False  # x(T) of every image beside its values
    # an .npz file with `images` that are to be told from those of the split: how well is their AUC
    likelihood.anomalies = ""

    # --mode dequantize: a conditional flow that draws the noise within a level, for likelihood.dequantization=variational.
    # The score model stays as it is; the bound that is minimised ends at likelihood.eps.
    config.dequantizer = dequantizer = ConfigDict()
    dequantizer.width = 64  # channels of its convolutions
    dequantizer.depth = 6  # couplings, at least 2
    dequantizer.n_iters = 2000  # updates in all
    dequantizer.batch_size = 64  # images an update over all devices; divisible by their number
    dequantizer.lr = 2e-3  # Adam's, falling to 0 along a cosine
    dequantizer.checkpoint_freq = 500  # updates between checkpoints, from which a run goes on
    # images of likelihood.split on which it is compared with uniform noise; 0: all of them
    dequantizer.num_images = 0
    dequantizer.repeats = 4  # draws of noise and time for each of them

    # --mode classify: by the likelihoods (config.likelihood) under one model for each class, trained with data.label
    config.classifier = classifier = ConfigDict()
    classifier.workdirs = "runs/digit{label}"  # where these were trained
    classifier.num_classes = 10
    return config
