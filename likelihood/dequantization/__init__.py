"""The noise that makes integer images continuous, and what it costs: u in (0, 1) for every pixel, with its density.

    dequantizer.py   what a dequantizer is; the uniform one
    flow.py          the variational one, a flow conditioned on the image
    objective.py     the bound on the bits of an integer image that it is trained by
    training.py      training it under a score model that stays as it is
    comparison.py    the bound with the flow beside the bound with uniform noise, on the same draws
    trained.py       <workdir>/dequantizer: what is kept there, and load_dequantizer(config, workdir, loaded)

A continuous density gives an integer image v the probability P(v) = integral of p(v + u) over the unit cube of u, and

    ln P(v) >= E_q[ln p(v + u) - ln q(u|v)]

for any density q there (Ho et al. 2019, Flow++, Eq. 12). The bound falls short of ln P(v) by KL(q || p(v + u)/P(v)): uniform
noise pays for all that the density varies within a cell, q learnt from the model pays for what it did not learn.
"""
