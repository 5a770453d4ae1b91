#!/usr/bin/env bash
# Everything that wants a GPU, in one call on a machine that has python3 with torch and nothing else to offer.
#
#   scripts/bench/gpu.sh --clips ARCHIVE_OR_FOLDER --out FOLDER [--wheels FOLDER] [--configs "a.toml b.toml"]
#                        [--parts "tests speed race train"] [--batch 512] [--target 0.97] [--device cuda]
#                        [--limit SECONDS] [--quick] [-- --key value ...]
#
# It unpacks the clips as WAV, runs the gpu tests, and for each config train_speed in batches of --batch, speedruns of three seeds,
# not compiled, and a training; nothing is downloaded. OUT/gpu.json and OUT/gpu.md hold what came out, OUT/*.log all that
# was printed. What follows "--" goes to all three. A part that fails or takes longer than the limit is noted, and the
# others go on; the status is then 1. --quick with --device cpu is a dry run of a minute.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
python=${PYTHON:-python3}
clips="" out="" wheels="" configs="$here/configs/mel.toml $here/configs/broadcast.toml $here/configs/raw.toml"
parts="tests speed race train" batch=512 target=0.97 device=cuda limit=600 quick=0

die() {
  printf 'gpu.sh: %s\n' "$1" >&2
  exit 2
}

while (($#)); do
  case $1 in
    --clips | --out | --wheels | --configs | --parts | --batch | --target | --device | --limit)
      (($# > 1)) || die "$1 wants a value"
      printf -v "${1#--}" '%s' "$2"
      shift 2
      ;;
    --quick) quick=1 && shift ;;
    --) shift && break ;;
    *) die "unknown option $1" ;;
  esac
done
[[ -n $clips && -n $out ]] || die "--clips and --out are needed"
[[ -e $clips ]] || die "--clips: there is no $clips"

mkdir -p "$out" || die "--out: cannot make $out"
out=$(cd "$out" && pwd)
export PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH} WAVEDIL_CACHE=$out/cache PYTHONUNBUFFERED=1
printf 'part\tstatus\tseconds\n' >"$out/parts.tsv"
failed=0

# part NAME COMMAND...: run it in the repository, log it, and note how it ended.
part() {
  local name=$1 start=$SECONDS status=0
  shift
  (cd "$here" && timeout "$limit" "$@") >"$out/$name.log" 2>&1 || status=$?
  ((status == 0)) || failed=1
  printf '%s\t%s\t%s\n' "$name" "$status" "$((SECONDS - start))" >>"$out/parts.tsv"
  printf '== %s: status %s, %s s\n' "$name" "$status" "$((SECONDS - start))"
  tail -n 12 "$out/$name.log"
}

if [[ -n $wheels ]]; then
  part wheels "$python" -m pip install --quiet --no-index --no-deps --target "$out/site" "$wheels"/*.whl
  export PYTHONPATH=$out/site:$PYTHONPATH
fi

root=$clips
if [[ -f $clips ]]; then
  root=$out/clips
  mkdir -p "$root"
  part unpack tar -xf "$(realpath "$clips")" -C "$root"
  part as_wav "$python" scripts/bench/as_wav.py "$root"
fi
root=$(realpath "$root")
found=$(find "$root" -maxdepth 3 -type d -name SpeechCommands -print -quit)
inside=("$root"/*/)
if [[ -n $found ]]; then
  data=(--data.source speech_commands --data.root "$(dirname "$found")")
else
  [[ ${#inside[@]} -gt 1 || ! -d ${inside[0]} ]] || root=${inside[0]} # the archive holds the folder itself
  data=(--data.source folder --data.root "$root")
fi

speed=(--repeats 3 --steps 15 --train.batch_size "$batch") train=() seeds="0 1 2"
race=(--train.compile off --train.epochs 16 --augment.style_probability 0) # compiling takes longer than such a run
if ((quick)); then
  speed=(--workers 0 --repeats 1 --steps 1)
  race=(--train.epochs 1)
  train=(--train.epochs 1)
  target=0 seeds=0
fi
common=("${data[@]}" --train.device "$device" "$@")

mapfile -t tests < <(cd "$here" && grep -rlE 'pytest\.mark\.gpu' tests --include='test_*.py')
mode=(--continue-on-collection-errors)
[[ $device != cpu ]] || mode=(--collect-only)
wanted() { [[ " $parts " == *" $1 "* ]]; }
wanted tests && part gpu_tests "$python" -m pytest -q -m gpu "${mode[@]}" "${tests[@]}"
for config in $configs; do
  name=$(basename "$config" .toml)
  wanted speed && part "train_speed-$name" "$python" scripts/bench/train_speed.py --config "$config" "${common[@]}" \
    "${speed[@]}" --json "$out/train_speed-$name.json"
  wanted race && for seed in $seeds; do
    part "speedrun-$name-$seed" "$python" scripts/speedrun.py --config "$config" --target "$target" "${common[@]}" \
      "${race[@]}" --seed "$seed" --json "$out/speedrun-$name-$seed.json"
  done
  wanted train && part "train-$name" "$python" scripts/train.py --config "$config" "${common[@]}" "${train[@]}" \
    --run_dir "$out/runs/$name"
done
"$python" "$here/scripts/bench/gpu_table.py" "$out" || failed=1
exit "$failed"
