"""Examples at the end of the help of each command."""

_EXAMPLES = {
    "align": """\
gffusion align visible.png infrared.png -o rig.json --overlay overlay.png
gffusion align visible/ infrared/ -o rig.json
gffusion align visible/ infrared/ --check rig.json
gffusion fuse visible/ infrared/ -o fused/ --align rig.json""",
    "benchmark": """\
gffusion benchmark
gffusion benchmark --model gffusion-live --size 720x1280""",
    "demo": """\
gffusion demo
gffusion demo --model gffusion-live --port 8000""",
    "doctor": """\
gffusion doctor
gffusion doctor --json""",
    "evaluate": """\
gffusion evaluate --visible visible/ --infrared infrared/ -o results/
gffusion evaluate --visible visible/ --infrared infrared/ -o results/ \\
  --fused mine=fused/ --model gffusion-live
gffusion evaluate --visible visible/ --infrared infrared/ -o miou/ \\
  --model gffusion-tiny --labels labels/ --no-baselines""",
    "export": """\
gffusion export gffusion-live -o live.onnx
gffusion export gffusion-tiny -o tiny.onnx --segment --dtype fp16
gffusion fuse visible.png infrared.png -o fused.png --model live.onnx""",
    "fuse": """\
gffusion fuse visible.png infrared.png -o fused.png
gffusion fuse visible/ infrared/ -o fused/ --align auto --segment
gffusion fuse radiometric.jpg -o fused.png --align auto
gffusion fuse visible.mp4 infrared.mp4 -o fused.mp4 --align rig.json""",
    "masks": """\
gffusion masks data/
gffusion masks data/ --method threshold -o masks/ --contact-sheet sheet.png""",
    "match": """\
gffusion match visible/ infrared/ -o pairs.csv
gffusion match visible/ infrared/ -o pairs.csv \\
  --tolerance 0.05 --time-offset 1.2
gffusion fuse pairs.csv -o fused/""",
    "models": """\
gffusion models
gffusion models gffusion-tiny
gffusion models "*funet*" --status bundled""",
    "pull": """\
gffusion pull gffusion-tiny -o tiny/
gffusion fuse visible.png infrared.png -o fused.png --model tiny/""",
    "push": """\
gffusion push runs/mine/best my-name/my-model --dry-run
gffusion push runs/mine/best my-name/my-model --private
gffusion push gffusion-tiny my-name/gffusion-tiny""",
    "sample": """\
gffusion sample demo/
gffusion sample data/ --count 20 --height 256 --width 320""",
    "show": """\
gffusion show fused visible.png infrared.png -o fused.pdf \\
  --model gffusion-tiny --model gffusion-live
gffusion show labels visible.png infrared.png -o labels.png
gffusion show training runs/mine runs/other -o curves.pdf""",
}


def format_examples(command: str) -> str:
    r"""Return the end of the help of a command; `\b` keeps its lines.

    Examples:
        >>> format_examples("doctor")
        '\x08\nExamples:\n  gffusion doctor\n  gffusion doctor --json'
    """
    return "\n  ".join(["\b\nExamples:", *_EXAMPLES[command].splitlines()])
