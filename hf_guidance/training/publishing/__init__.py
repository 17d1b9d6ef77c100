"""What a trainer writes for others: the card of a model, and its arguments without secrets; and how all of it is published."""
