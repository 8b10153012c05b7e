"""Models of mwmae for torch.hub.

    torch.hub.load("mwmae/mwmae", "mwmae")                # from GitHub
    torch.hub.load("path/of/a/clone", "mwmae", source="local")
    torch.hub.list("mwmae/mwmae")                         # the functions below
"""

dependencies = ["torch", "torchaudio", "numpy", "fastcore", "huggingface_hub", "matplotlib", "safetensors", "soundfile", "tqdm"]


def mwmae(
    model: str = "packaged",  # a model folder, a run folder, owner/name on the hub, or 'packaged'
    **options,  # layers, pool, overlap, precision and batch; default: as the model says
):  # a torch module: audio (clips, samples), mono at 16 kHz between -1 and 1, to (clips, values)
    """A trained encoder that turns sounds into embeddings.

    Call it for an embedding of each whole sound; give it to `mwmae.get_timestamp_embeddings` for one of each moment.
    """
    from mwmae.embed import load_model

    return load_model(model, **options)


def autoencoder(
    model: str = "packaged",  # a model folder, a run folder, owner/name on the hub, or 'packaged'
):  # a `MaskedAutoencoder`, encoder and decoder, in evaluation mode
    "A trained masked autoencoder, encoder and decoder, to look into or to train on."
    from mwmae.sharing import from_pretrained

    return from_pretrained(model)


def untrained(
    name: str = "mwmae_base_4x16",  # a name of `list_models`
    **settings,  # settings of `MAEConfig` that differ, such as frames=1000
):  # a `MaskedAutoencoder` with random weights
    "A masked autoencoder of a named size with random weights, to train."
    from mwmae.model import create_model

    return create_model(name, **settings)


def list_models(
    pattern: str = "*",  # such as 'mwmae_*_4x16'
    trained: bool = False,  # list what `mwmae` and `autoencoder` find here, not what `untrained` makes?
) -> list[str]:
    "Names of models, chosen by a pattern: those of `untrained`, or the trained ones of this machine."
    from mwmae.model import list_models as sizes
    from mwmae.sharing import list_trained

    return list_trained(pattern) if trained else sizes(pattern)
