"""Hears one piece with Whisper and prints what was said as JSON.

    python -I -c PROGRAM MODEL THREADS                  says which languages the model knows
    python -I -c PROGRAM MODEL THREADS WAV [LANGUAGE]   hears a file of 16 kHz, one channel, 16 bit

MODEL is a folder. It runs behind the fence of package sandbox: there is no network, and
nothing can be written. What goes wrong is said as {"error": CLASS}, without a message:
that could repeat what was heard.
"""

import json
import os
import sys
import wave

os.environ.update(HOME="/nonexistent", HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
# Threads that wait by computing take the time of others, and of the limit on it.
os.environ.update(OMP_WAIT_POLICY="PASSIVE", OPENBLAS_NUM_THREADS="1")

import numpy
from faster_whisper import WhisperModel


def samples(path):
    with wave.open(path, "rb") as file:
        if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != (1, 2, 16000):
            raise ValueError("not 16 kHz, one channel, 16 bit")
        return numpy.frombuffer(file.readframes(file.getnframes()), dtype="<i2").astype(numpy.float32) / 32768


def hear(model, path, language=None):
    # Each window is heard for itself: with what came before as a prompt, the small
    # models get into loops. Silence is left out, where they hear what nobody said.
    segments, info = model.transcribe(
        samples(path),
        language=language,
        word_timestamps=True,
        condition_on_previous_text=False,
        vad_filter=True,
    )
    return {
        "language": info.language,
        "segments": [
            {
                "start": s.start,
                "end": s.end,
                "text": s.text,
                "confidence": float(numpy.exp(s.avg_logprob)),
                "words": [{"start": w.start, "end": w.end, "text": w.word, "confidence": w.probability} for w in s.words or []],
            }
            for s in segments
        ],
    }


def answer(folder, threads, *piece):
    if not os.path.isfile(os.path.join(folder, "tokenizer.json")):
        raise FileNotFoundError("tokenizer.json: without it, it would be downloaded")
    model = WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=int(threads), local_files_only=True)
    return hear(model, *piece) if piece else {"languages": model.supported_languages}


try:
    said = json.dumps(answer(*sys.argv[1:]), allow_nan=False, default=float)
except Exception as error:
    if len(sys.argv) == 3:  # nothing has been heard that a message could repeat
        raise
    said = json.dumps({"error": type(error).__name__})
print(said)
