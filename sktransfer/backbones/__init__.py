"""Networks that turn samples into features: timm's, a bundled one, or the user's own."""

from sktransfer.utils._lazy import lazy_names

# Imported on first use: estimators take BackboneHolderMixin as a base, and are imported without torch.
_PLACES = {
    "AudioBackbone": "_audio",
    "Backbone": "_backbone",
    "BackboneDescription": "_holder",
    "BackboneHolderMixin": "_holder",
    "Identity": "_identity",
    "ImageBackbone": "_image",
    "Suffix": "_suffix",
    "Tap": "_backbone",
    "TextBackbone": "_text",
    "build_network": "_saved",
    "check_sizes": "_plain",
    "columns_as_features": "_table",
    "create_average": "_timm",
    "create_mixer": "_timm",
    "create_optimizer": "_timm",
    "describe": "_describe",
    "described_by_word": "_describe",
    "describe_network": "_saved",
    "description_class": "_saved",
    "forget_backbones": "_load",
    "given_to": "_onnx",
    "last_map": "_split",
    "list_backbones": "_timm",
    "load_backbone": "_load",
    "means_table": "_describe",
    "name_of": "_saved",
    "outputs_from": "_split",
    "read_saved": "_saved",
    "reading_saved": "_saved",
    "to_onnx": "_onnx",
    "to_plain": "_plain",
    "train_transform": "_timm",
    "write_saved": "_saved",
}
__all__ = sorted(_PLACES)
__getattr__, __dir__ = lazy_names(__name__, _PLACES)
