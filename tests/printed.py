"""What the script of `fetch_script` prints, written down by hand."""

MARK = "DIRTUNE=01234567-89ab-4def-8123-456789abcdef\0"


def frame(kind, text=""):
    return f"{MARK}{kind}\0{text}"


def printed(*frames, texts=(), taken_s="5.0"):
    """Write down one sample; *texts* are files and what cat(1) prints for each."""
    listed = "".join(f"/proc/self/environ\0{path}\0" for path, _ in texts)
    read = "".join(f"{MARK}{text}" for _, text in texts)
    files = (frame("texts", listed), MARK, read) if texts else ()
    return "".join((frame("time", taken_s), *files, *frames, frame("end")))
