"""The names that --sampler takes, with a line on each. Nothing heavy is imported here: help comes at once."""

SAMPLERS = {
    "pc": "predictor-corrector on the reverse SDE (sampling.pc)",
    "pc_published": "the published code's predictor-corrector, to the letter (sampling.pc)",
    "ode": "probability-flow ODE by diffrax, adaptive or on a grid (sampling.ode)",
}
