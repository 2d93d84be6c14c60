from ._reading import ImageError as ImageError
from ._reading import read_image as read_image
