"""CIFAR-10 and CIFAR-100 from files, in the format of torchvision or of the Hugging Face hub."""
