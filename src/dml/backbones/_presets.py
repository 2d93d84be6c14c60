"""The presets that have a name of their own: where their weights are and under which licence.

Licences are those of the weights, as their authors publish them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

_APACHE, _MIT = "Apache-2.0", "MIT"
_DINOV3 = "DINOv3 License (Meta), to be accepted on the hub first"
_NON_COMMERCIAL = "CC BY-NC 4.0: no commercial use"
_GEMMA = "Gemma Terms of Use (Google), to be accepted on the hub first"


@dataclass(frozen=True)
class Preset:
    """A preset with a name of its own.

    Args:
        name: The name that recipes use.
        handle: Its place on a hub.
        licence: The licence of its weights, and whether it must be accepted.
    """

    name: str
    handle: str
    licence: str


# (licence, beginning of the handle, {name in recipes: end of the handle})
_FAMILIES: tuple[tuple[str, str, dict[str, str]], ...] = (
    (
        _APACHE,
        "kaggle://keras/dinov2/keras/",
        {
            "dinov2_small": "dinov2_small/1",
            "dinov2_base": "dinov2_base/1",
            "dinov2_large": "dinov2_large/1",
            "dinov2_giant": "dinov2_giant/1",
            "dinov2_with_registers_small": "dinov2_with_registers_small/1",
            "dinov2_with_registers_base": "dinov2_with_registers_base/1",
            "dinov2_with_registers_large": "dinov2_with_registers_large/1",
            "dinov2_with_registers_giant": "dinov2_with_registers_giant/1",
        },
    ),
    (
        _DINOV3,
        "kaggle://keras/dinov3/keras/",
        {
            "dinov3_vit_small": "dinov3_vit_small_lvd1689m/1",
            "dinov3_vit_small_plus": "dinov3_vit_small_plus_lvd1689m/1",
            "dinov3_vit_base": "dinov3_vit_base_lvd1689m/1",
            "dinov3_vit_large": "dinov3_vit_large_lvd1689m/1",
            "dinov3_vit_huge_plus": "dinov3_vit_huge_plus_lvd1689m/1",
            "dinov3_vit_7b": "dinov3_vit_7b_lvd1689m/1",
            "dinov3_vit_large_satellite": "dinov3_vit_large_sat493m/1",
            "dinov3_vit_7b_satellite": "dinov3_vit_7b_sat493m/1",
        },
    ),
    (
        _APACHE,  # timm's weights by Google, converted
        "hf://WinKawaks/",
        {"vit_tiny": "vit-tiny-patch16-224", "vit_small": "vit-small-patch16-224"},
    ),
    (
        _APACHE,
        "kaggle://keras/vit/keras/",
        {
            "vit_base": "vit_base_patch16_224_imagenet/4",
            "vit_base_384": "vit_base_patch16_384_imagenet/4",
            "vit_base_21k": "vit_base_patch16_224_imagenet21k/3",
            "vit_base_32_21k": "vit_base_patch32_224_imagenet21k/3",
            "vit_large": "vit_large_patch16_224_imagenet/4",
            "vit_large_384": "vit_large_patch16_384_imagenet/4",
            "vit_large_21k": "vit_large_patch16_224_imagenet21k/3",
            "vit_huge_21k": "vit_huge_patch14_224_imagenet21k/3",
        },
    ),
    (
        _APACHE,
        "kaggle://keras/deit/keras/",
        {
            "deit_tiny": "deit_tiny_distilled_patch16_224_imagenet/1",
            "deit_small": "deit_small_distilled_patch16_224_imagenet/1",
            "deit_base": "deit_base_distilled_patch16_224_imagenet/1",
            "deit_base_384": "deit_base_distilled_patch16_384_imagenet/1",
        },
    ),
    (
        _APACHE,
        "kaggle://keras/siglip/keras/",
        {
            "siglip_base": "siglip_base_patch16_224/1",
            "siglip_large": "siglip_large_patch16_256/1",
            "siglip_so400m": "siglip_so400m_patch14_224/1",
            "siglip2_base": "siglip2_base_patch16_224/1",
            "siglip2_base_384": "siglip2_base_patch16_384/1",
            "siglip2_base_32": "siglip2_base_patch32_256/1",
            "siglip2_large": "siglip2_large_patch16_256/1",
            "siglip2_so400m": "siglip2_so400m_patch14_224/1",
            "siglip2_so400m_384": "siglip2_so400m_patch14_384/1",
            "siglip2_giant": "siglip2_giant_opt_patch16_256/2",
        },
    ),
    (
        _MIT,
        "kaggle://keras/clip/keras/",
        {
            "clip_vit_base_16": "clip_vit_base_patch16/3",
            "clip_vit_base_32": "clip_vit_base_patch32/3",
            "clip_vit_large_14": "clip_vit_large_patch14/3",
            "clip_vit_large_14_336": "clip_vit_large_patch14_336/3",
            "clip_vit_base_32_laion": "clip_vit_b_32_laion2b_s34b_b79k/3",
            "clip_vit_huge_14_laion": "clip_vit_h_14_laion2b_s32b_b79k/3",
            "clip_vit_g_14_laion": "clip_vit_g_14_laion2b_s12b_b42k/3",
            "clip_vit_bigg_14_laion": "clip_vit_bigg_14_laion2b_39b_b160k/3",
        },
    ),
    (
        _NON_COMMERCIAL,
        "kaggle://keras/metaclip2/keras/",
        {
            "metaclip2": "metaclip_2_vit_huge_patch14_224/1",
            "metaclip2_378": "metaclip_2_vit_huge_patch14_378/1",
            "metaclip2_giant": "metaclip_2_vit_giant_patch14_224/1",
            "metaclip2_giant_378": "metaclip_2_vit_giant_patch14_378/1",
        },
    ),
    (
        _MIT,
        "kaggle://keras/swin-transformer/keras/",
        {
            "swin_tiny": "swin_tiny_patch4_window7_224/1",
            "swin_small": "swin_small_patch4_window7_224/1",
            "swin_base": "swin_base_patch4_window7_224/1",
            "swin_base_384": "swin_base_patch4_window12_384/1",
            "swin_large": "swin_large_patch4_window7_224/1",
            "swin_large_384": "swin_large_patch4_window12_384/1",
        },
    ),
    (
        _APACHE,
        "kaggle://keras/resnetv1/keras/",
        {
            "resnet_18": "resnet_18_imagenet/3",
            "resnet_50": "resnet_50_imagenet/3",
            "resnet_101": "resnet_101_imagenet/3",
            "resnet_152": "resnet_152_imagenet/3",
        },
    ),
    (
        _APACHE,
        "kaggle://keras/resnetv2/keras/",
        {
            "resnet_v2_50": "resnet_v2_50_imagenet/3",
            "resnet_v2_101": "resnet_v2_101_imagenet/3",
        },
    ),
    (
        _APACHE,
        "kaggle://keras/resnet_vd/keras/",
        {
            "resnet_vd_18": "resnet_vd_18_imagenet/2",
            "resnet_vd_34": "resnet_vd_34_imagenet/2",
            "resnet_vd_50": "resnet_vd_50_imagenet/2",
            "resnet_vd_50_ssld": "resnet_vd_50_ssld_v2_fix_imagenet/2",
            "resnet_vd_101": "resnet_vd_101_imagenet/2",
            "resnet_vd_101_ssld": "resnet_vd_101_ssld_imagenet/2",
            "resnet_vd_152": "resnet_vd_152_imagenet/2",
            "resnet_vd_200": "resnet_vd_200_imagenet/2",
        },
    ),
    (
        _APACHE,
        "kaggle://keras/efficientnet/keras/",
        # Without efficientnet_el, _em and _es, where keras-hub 0.32 has the address of another
        # network, and without efficientnet2_rw_*, whose configuration it does not save whole.
        {
            "efficientnet_b0_ra": "efficientnet_b0_ra_imagenet/2",
            "efficientnet_b0_ra4": "efficientnet_b0_ra4_e3600_r224_imagenet/2",
            "efficientnet_b1_ft": "efficientnet_b1_ft_imagenet/5",
            "efficientnet_b1_ra4": "efficientnet_b1_ra4_e3600_r240_imagenet/2",
            "efficientnet_b2_ra": "efficientnet_b2_ra_imagenet/2",
            "efficientnet_b3_ra2": "efficientnet_b3_ra2_imagenet/2",
            "efficientnet_b4_ra2": "efficientnet_b4_ra2_imagenet/2",
            "efficientnet_b5_sw": "efficientnet_b5_sw_imagenet/2",
            "efficientnet_b5_sw_ft": "efficientnet_b5_sw_ft_imagenet/2",
            "efficientnet_lite0": "efficientnet_lite0_ra_imagenet/2",
        },
    ),
    (
        _GEMMA,
        "kaggle://keras/mobilenetv5/keras/",
        {"mobilenet_v5": "mobilenetv5_300m_enc_gemma3n/1"},
    ),
)


def named_presets() -> Iterator[Preset]:
    """Yields the presets that have a name of their own."""
    for licence, beginning, names in _FAMILIES:
        for name, end in names.items():
            yield Preset(name, beginning + end, licence)
