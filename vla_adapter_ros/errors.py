"""All errors of this package: one parent, one named child per cause."""


class VlaAdapterError(Exception):
    """Parent of every error raised on purpose. The message says what was wrong and what is allowed."""


class PathError(VlaAdapterError):
    """A text names no file or folder: empty, or of a home folder that is not there."""


class ContractError(VlaAdapterError):
    """A robot contract is malformed: unknown key, missing key, or a value outside what is allowed."""


class ContractMismatch(VlaAdapterError):
    """Two contracts that must agree differ; the message lists each difference."""


class ImageError(VlaAdapterError):
    """An image cannot be converted: unknown encoding, wrong size, or damaged data."""


class FrameError(VlaAdapterError):
    """A sample does not fit its stream: wrong name, shape, or a value that is not finite."""


class ChunkError(VlaAdapterError):
    """An action chunk is unusable: wrong names, shape, rate, or a value that is not finite."""


class KinematicsError(VlaAdapterError):
    """Kinematics cannot be had: no library, no URDF, or links and joints that do not fit together."""


class ChunkValueError(ChunkError):
    """An action chunk holds values that no working policy sends: not finite, or far out of range."""


class CommandError(VlaAdapterError):
    """A motion command is unusable: wrong names, shape, or a value that is not finite."""


class CheckpointError(VlaAdapterError):
    """A checkpoint directory is incomplete, damaged, or of another layout."""


class ObservationError(VlaAdapterError):
    """An observation does not fit the policy: image count, shape, type, or proprioception."""


class StatisticsError(VlaAdapterError):
    """Normalization statistics are missing, not finite, or of the wrong width."""


class DatasetError(VlaAdapterError):
    """A LeRobot data set cannot be read or written."""


class MappingError(DatasetError):
    """A mapping of a data set's names to a contract's is malformed, or does not fit the data set."""


class BagError(VlaAdapterError):
    """A bag cannot be read, or does not hold what a contract asks for."""


class CapsuleError(VlaAdapterError):
    """A capsule cannot be written or read, or does not hold what is asked of it."""


class RecordingError(VlaAdapterError):
    """An episode cannot be started, continued, or saved."""


class TrainingError(VlaAdapterError):
    """Training cannot start or go on; nothing that was saved is lost."""


class SimulationError(VlaAdapterError):
    """The simulated robot was asked for something that it cannot do."""


class ModelConfigError(VlaAdapterError):
    """A model configuration is malformed: unknown key, or values that do not fit together."""


class GraphError(VlaAdapterError):
    """A recorded CUDA graph does not do what was recorded: it is empty, or gives another result."""


class HarnessError(VlaAdapterError):
    """A harness of others is not installed, or asks for what cannot be had."""


class ParameterError(VlaAdapterError):
    """A node parameter has a value that is not allowed."""


class NodeError(VlaAdapterError):
    """A node cannot begin its work."""


class ConsoleError(VlaAdapterError):
    """The operator's console cannot be served: its address, its token or its certificate."""


class DeviceError(VlaAdapterError):
    """The settings of a human's device are malformed, or it sends something else than they say."""


class ServiceError(VlaAdapterError):
    """A service of a running node refused what it was asked for."""


class NoAnswerError(ServiceError):
    """A service is not there, or did not answer.

    Attributes:
        sent: Whether the request was sent, so that it may have been heard.
    """

    def __init__(self, text: str, *, sent: bool) -> None:
        super().__init__(text)
        self.sent = sent


class ProcessError(VlaAdapterError):
    """The process of a node ended on its own."""
