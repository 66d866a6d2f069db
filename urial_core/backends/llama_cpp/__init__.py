"""llama.cpp in this process, for models as GGUF files; no torch.

    model.py           LlamaCppModel: the CompletionModel
    private_server.py  llama.cpp's own server in this process, for this process only

llama.cpp comes with the package ``xllamacpp``. Importing this package does not import it; using a
model does.
"""

from urial_core.backends.llama_cpp.model import NEEDED_PACKAGES, LlamaCppModel

__all__ = ["NEEDED_PACKAGES", "LlamaCppModel"]
