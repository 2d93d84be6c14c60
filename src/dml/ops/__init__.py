"""Operations on a batch that neither overflow nor lose their gradient."""
