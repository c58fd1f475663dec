"""Small English grammar: sentences for pretraining, and two tasks that resemble CoLA and MRPC."""
