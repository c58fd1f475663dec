"""CIFAR-10 and CIFAR-100 from files, in torchvision's format or in that of the hub."""
