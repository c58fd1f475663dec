"""A small grammar of English: sentences to pretrain on, and two tasks like CoLA and MRPC."""
