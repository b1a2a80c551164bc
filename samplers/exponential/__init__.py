"""Exponential integrators of the probability-flow ODE: its linear part exactly, the network's part by a rule.

With x_hat = x/alpha, rho = sigma/alpha and lambda = ln(alpha/sigma) = -ln rho, the flow of every process is

    dx_hat = eps_hat drho = -rho eps_hat dlambda,    data_hat = x_hat - rho eps_hat,

so what remains to be approximated is one prediction over one step. Each method is a diffrax solver whose time is lambda,
which increases from noise to data, and whose state is x_hat; its drift term is an `ODETerm` of

    (lambda, x_hat, args) -> eps_hat

(the prediction, not dx_hat/dlambda). The solver does not depend on the process, except DEIS in t. `single_step.py` contains DDIM
and DPM-Solver, `stochastic.py` the methods that add noise, and `multistep.py` those that remember predictions, with `deis.py`
and `unipc.py` as special cases. `methods.py` is the table of names, and `sampler.py` makes a sampler of an entry. A new
method is a class with one rule and a line in the table.
"""
