"""Exponential integrators of the probability-flow ODE: the linear part exactly, the network's part by a rule.

With x_hat = x/alpha, rho = sigma/alpha and lambda = ln(alpha/sigma) = -ln rho, the flow of every process is

    dx_hat = eps_hat drho = -rho eps_hat dlambda,    data_hat = x_hat - rho eps_hat,

so what is left to approximate is one prediction over one step. Each method is a diffrax solver whose time is
lambda, which grows from noise to data, and whose state is x_hat; its drift term is an `ODETerm` of

    (lambda, x_hat, args) -> eps_hat

(the prediction, not dx_hat/dlambda), and it knows nothing of the process. `single_step.py` holds DDIM and
DPM-Solver, `stochastic.py` those that add noise; `multistep.py` those that remember predictions, with `deis.py` and
`unipc.py` as cases of it. `methods.py` is the table of names, and `sampler.py` turns a line of it into a sampler. A new method is a class with one rule and a line in the table.
"""
