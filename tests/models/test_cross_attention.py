"""Cross-attention of pixels to words: invariances under padding, order and single words, and without text."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.errors import ConfigError
from score_sde.models.cross_attention import CrossAttention, Text, attention
from score_sde.models.ncsnpp import NCSNpp
from score_sde.models.score import INTERVAL

LEVEL = {
    "image_size": 4,
    "nf": 8,
    "ch_mult": (1,),
    "num_res_blocks": 1,
    "attn_resolutions": (4,),
    "num_channels": 2,
}
X = jnp.cos(jnp.arange(64.0)).reshape(2, 4, 4, 2)
TIMES = jnp.array([3.0, 700.0])
TOLD = NCSNpp(**LEVEL, words="red green blue one two")
TEXT = jnp.array([[1, 5, 0], [3, 2, 4]])


def compiled(function):
    # Compiling is nearly all the time of these tests, and -O0 changes no formula.
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


@pytest.fixture(scope="module")
def params():
    """Every parameter random: a new network does not see its text."""
    shapes = jax.eval_shape(TOLD.init, jax.random.key(0), X, TIMES)["params"]
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda s: jnp.asarray(0.2 * rng.normal(size=s.shape), s.dtype), shapes)


@pytest.fixture(scope="module")
def apply():
    return compiled(lambda params, text: TOLD.apply({"params": params}, X, TIMES, {"text": text}))


@pytest.fixture(scope="module")
def output(params, apply):
    return lambda text: np.asarray(apply(params, jnp.asarray(text)))


@pytest.fixture(scope="module")
def without():
    """The output of the network without words and with the same other parameters."""
    plain = NCSNpp(**LEVEL)
    apply = compiled(plain.apply)

    def out(params):
        own = {name: of for name, of in params.items() if not of_text(name)}
        return np.asarray(apply({"params": own}, X, TIMES))

    return out


def of_text(name):
    return name.startswith(("CrossAttention", "WordEmbedding"))


def arrays(b=2, n=5, words=3, d=4, seed=0):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.normal(size=(b, m, d)), jnp.float32) for m in (n, words, words)]


def test_it_is_the_mean_under_a_gibbs_law():
    """For keys k_j = sqrt(d) e_j and queries beta e_1 the weights are e^beta / (e^beta + l - 1) and 1 / (...); by hand for l = 3."""
    d, beta = 4, 1.5
    q = beta * jnp.eye(d)[None, :1]
    k = jnp.sqrt(float(d)) * jnp.eye(d)[None, :3]
    v = jnp.asarray([[[1.0, 0, 0, 0], [0, 10.0, 0, 0], [0, 0, 100.0, 0]]])
    found = attention(q, k, v, jnp.ones((1, 3), bool))[0, 0]
    total = np.exp(beta) + 2
    np.testing.assert_allclose(found, [np.exp(beta) / total, 10 / total, 100 / total, 0], rtol=1e-6)


def test_one_word_leaves_nothing_to_the_query():
    q, k, v = arrays(words=1)
    found = attention(q, k, v, jnp.ones((2, 1), bool))
    np.testing.assert_allclose(found, jnp.broadcast_to(v, found.shape), rtol=1e-6)


def test_large_logits_and_no_word_at_all_are_finite():
    """Their gradients too: a NaN of the branch not taken would propagate."""
    q, k, v = arrays()
    there = jnp.array([[True, True, False], [False, False, False]])

    def total(q, k, v):
        return attention(1e4 * q, k, v, there).sum()

    found = attention(1e4 * q, k, v, there)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[1], 0.0)
    gradients = jax.grad(total, argnums=(0, 1, 2))(q, k, v)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    np.testing.assert_array_equal(gradients[2][:, 2], 0.0)


def test_what_only_fills_up_changes_nothing(output):
    """Padding changes nothing to 1e-6; the word itself matters far more."""
    long = jnp.pad(TEXT, ((0, 0), (0, 3)))
    between = jnp.array([[0, 1, 0, 5], [3, 0, 2, 4]])
    expected = output(TEXT)
    np.testing.assert_allclose(output(long), expected, atol=1e-6)
    np.testing.assert_allclose(output(between), expected, atol=1e-6)
    other = output(TEXT.at[0, 0].set(2))
    assert np.abs(other - expected)[0].max() > 1e-3
    np.testing.assert_allclose(other[1], expected[1], atol=1e-6)


def test_words_have_no_places(output):
    np.testing.assert_allclose(output(TEXT[:, ::-1]), output(TEXT), atol=1e-6)


def block_of(weight):
    """The block of features (1, 2, 2, 8) with these last weights: what it makes of one text, and of no word."""
    block, x = CrossAttention(), jnp.linspace(-1.0, 1.0, 32).reshape(1, 2, 2, 8)
    words = jnp.cos(jnp.arange(24.0)).reshape(1, 3, 8)
    there = jnp.ones((1, 3), bool)
    params = block.init(jax.random.key(0), x, Text(words, there))["params"]
    assert set(params["out"]) == {"kernel"}
    params["out"]["kernel"] = params["out"]["kernel"] + weight
    said, silent = (block.apply({"params": params}, x, Text(words, of)) for of in (there, ~there))
    return x, said, silent


def test_a_new_block_and_one_without_a_word_are_nothing():
    """Bit for bit; without words for any weights."""
    x, said, silent = block_of(0.0)
    np.testing.assert_array_equal(said, x)
    np.testing.assert_array_equal(silent, x)
    x, said, silent = block_of(0.3)
    assert np.abs(said - x).max() > 1e-2
    np.testing.assert_array_equal(silent, x)


def test_no_text_is_the_network_without_words(params, output, without):
    """For any weights, with a text of zeros or no condition. The two programs round differently."""
    null = TOLD.null_condition({"text": TEXT})["text"]
    np.testing.assert_array_equal(null, 0)
    expected = without(params)
    np.testing.assert_allclose(output(null), expected, atol=1e-6)
    nothing = compiled(lambda p: TOLD.apply({"params": p}, X, TIMES))(params)
    np.testing.assert_allclose(nothing, expected, atol=1e-6)
    assert np.abs(output(TEXT) - expected).max() > 1e-2


def test_an_interval_alone_comes_without_a_word(params):
    network = TOLD.copy(condition_interval=True)
    shapes = jax.eval_shape(network.init, jax.random.key(0), X, TIMES)["params"]
    own = jax.tree.map(lambda s: jnp.full(s.shape, 0.1, s.dtype), shapes[INTERVAL])

    @compiled
    def both(params):
        conditions = {INTERVAL: TIMES}, {INTERVAL: TIMES, "text": 0 * TEXT}, {INTERVAL: 0 * TIMES}
        return [network.apply({"params": params}, X, TIMES, given) for given in conditions]

    alone, silent, other = both({**params, INTERVAL: own})
    np.testing.assert_allclose(alone, silent, atol=1e-6)
    assert np.abs(alone - other).max() > 1e-2


def test_a_new_network_does_not_see_its_text(params, apply):
    """Bit for bit: since its last layers are initialized to 0, all other weights are arbitrary."""
    silent = {
        name: {**of, "out": jax.tree.map(jnp.zeros_like, of["out"])} if "Cross" in name else of
        for name, of in params.items()
    }
    np.testing.assert_array_equal(apply(silent, TEXT), apply(silent, 0 * TEXT))


def test_a_number_that_is_no_word_gives_nan(output):
    found = output(TEXT.at[0, 0].set(6))
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("red green red", "has 'red' twice"),
        ("red Green", "has 'Green': expected lower-case words"),
        ("red,green", "has 'red,green': expected lower-case words"),
    ],
)
def test_vocabularies_in_which_no_text_could_be_written_are_refused(words, message):
    with pytest.raises(ConfigError, match=message):
        NCSNpp(**LEVEL, words=words)


@pytest.mark.parametrize("text", [jnp.ones(2, jnp.int32), jnp.ones((2, 3))], ids=["1d", "real"])
def test_what_it_does_not_take_is_refused(text):
    with pytest.raises(ValueError, match=r'expected {"text": integers \(b, l\)}'):
        TOLD.null_condition({"text": text})
