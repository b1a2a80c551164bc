"""Dequantization: noise u in (0, 1) for every pixel, with its density, that makes integer images continuous.

    dequantizer.py   the dequantizer protocol, and uniform dequantization
    flow.py          variational dequantization: a flow conditioned on the image
    objective.py     the bound on -ln P of an integer image that the flow is trained on
    training.py      training of the flow for a fixed score model
    comparison.py    the bound with the flow compared with that of uniform noise, on the same draws
    trained.py       the folder <workdir>/dequantizer, and load_dequantizer(config, workdir, loaded)

A continuous density gives an integer image v the probability P(v) = integral of p(v + u) over the unit cube of u, and

    ln P(v) >= E_q[ln p(v + u) - ln q(u|v)]

for any density q on the cube (Ho et al. 2019, Flow++, Eq. 12). The gap is KL(q || p(v + u)/P(v)): for uniform noise it measures
all variation of the density within a cell, for a learned q only what q fails to fit.
"""
