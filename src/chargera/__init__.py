"""ChargEra: an EV-charging network whose every bill a stranger can check."""

__version__ = "0.1.0"
