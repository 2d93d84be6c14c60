from ._decoding import ImageError as ImageError
from ._references import ImageRef as ImageRef
from ._references import read_image as read_image
