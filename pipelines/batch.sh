#!/usr/bin/env bash
# Scores all videos of a folder, one after the other, without anybody at the machine. Called again, it goes on where it was.
#
#     pipelines/batch.sh FOLDER OUT [--report] [--PROPERTY VALUE]...
#
# OUT gets
#     jobs.tsv      the job list: state (waiting, done, failed), size and time of the video, its path in FOLDER
#     summary.csv   a row a video: the verdict, score and number of its worst face, and what gave them
#     options       the PROPERTY VALUE pairs it was begun with
#     files/        for each video PATH: PATH.jsonl, its records; PATH.csv; PATH.log; with --report PATH.html
#
# A video is scored again when it has changed. One that failed is tried again by the next call. New videos are added, those that
# are gone are taken from the list. PROPERTY is any property of the element deepfakescore; other ones than those OUT was
# begun with are refused, for their scores cannot be compared. After Ctrl-C the video that was being
# scored is waiting again.
# It ends with 0 where every video is scored, with 1 where some failed, with 130 after Ctrl-C.
set -euo pipefail

# shellcheck source=pipelines/setup.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/setup.sh"
(($# >= 2)) || die "usage: pipelines/batch.sh FOLDER OUT [--report] [--PROPERTY VALUE]..."
[[ -d $1 ]] || die "$1 is no folder"
folder=$(realpath "$1")
mkdir -p "$2/files"
out=$(realpath "$2")
shift 2
exec {lock}>"$out/.lock"
flock --nonblock "$lock" || die "another batch writes to $out"
options=$(printf '%q ' "$@")
if [[ -e $out/options && $(cat "$out/options") != "$options" ]]; then
    die "$out was begun with other options: $(cat "$out/options")
Name another folder, or remove this one."
fi
printf '%s\n' "$options" >"$out/options"
report=
if [[ ${1:-} == --report ]]; then
    report=yes
    shift
fi
setup_plugin

# The job list: what the old one says, for the videos that are there now.
declare -A state=() stamp=()
if [[ -e $out/jobs.tsv ]]; then
    while IFS=$'\t' read -r s t path; do
        state[$path]=$s stamp[$path]=$t
    done <"$out/jobs.tsv"
fi
mapfile -d '' -t paths < <(find -L "$folder" -path "$out" -prune -o -type f -regextype posix-extended -iregex \
    '.*\.(3gp|avi|flv|m2ts|m4v|mkv|mov|mp4|mpe?g|mts|mxf|ogv|ts|webm|wmv)' -printf '%P\0' | sort --zero-terminated)
((${#paths[@]} > 0)) || die "no video is in $folder"
for path in "${paths[@]}"; do
    [[ $path != *[$'\t\n']* ]] || die "a name with a tab or a line break cannot be in the job list: $(printf %q "$path")"
    now=$(stat --dereference --format '%s %.Y' "$folder/$path")
    if [[ ${stamp[$path]:-} != "$now" || ${state[$path]} != "done" || ! -s $out/files/$path.csv ]]; then
        state[$path]=waiting
    fi
    stamp[$path]=$now
done

save_jobs() {
    local path
    for path in "${paths[@]}"; do
        printf '%s\t%s\t%s\n' "${state[$path]}" "${stamp[$path]}" "$path"
    done >"$out/jobs.tsv.partial"
    mv "$out/jobs.tsv.partial" "$out/jobs.tsv"
}

# A row a video, in the order of the list; its columns are those of deepfake-score --csv, of which the last is the problem.
save_summary() {
    local path header='' problem rows=()
    for path in "${paths[@]}"; do
        if [[ ${state[$path]} == "done" ]]; then
            header=$(head -n 1 "$out/files/$path.csv")
            break
        fi
    done
    [[ -n $header ]] || return 0
    for path in "${paths[@]}"; do
        case ${state[$path]} in
        done) rows+=("$(tail -n +2 "$out/files/$path.csv")") ;;
        failed)
            problem=$(grep --max-count=1 '^error: ' "$out/files/$path.log" || tail -n 1 "$out/files/$path.log")
            problem=${problem#error: } commas=${header//[^,]/}
            path=$folder/$path
            rows+=("\"${path//\"/\"\"}\",failed${commas:1}\"${problem//\"/\"\"}\"")
            ;;
        esac
    done
    printf '%s\n' "$header" "${rows[@]}" >"$out/summary.csv.partial"
    mv "$out/summary.csv.partial" "$out/summary.csv"
}

interrupted='' job=''
# SIGTERM, since what a script runs in the background ignores SIGINT until it asks for it.
interrupt() {
    interrupted=yes
    [[ -z $job ]] || kill -TERM "$job" 2>/dev/null || true
}
trap interrupt INT TERM
save_jobs
number=0
for path in "${paths[@]}"; do
    number=$((number + 1))
    [[ ${state[$path]} == waiting ]] || continue
    say "$number of ${#paths[@]}: $path"
    file=$out/files/$path
    mkdir -p "$(dirname "$file")"
    code=0
    "$program" "$folder/$path" --csv "$file.csv" ${report:+--report "$file.html"} "$@" \
        >"$file.jsonl.partial" 2>"$file.log" &
    job=$!
    # One that came before there was a job.
    [[ -z $interrupted ]] || interrupt
    # A signal ends the wait, not the job.
    wait "$job" || code=$?
    while kill -0 "$job" 2>/dev/null; do
        code=0
        wait "$job" || code=$?
    done
    job=''
    if [[ -n $interrupted ]]; then
        rm -f "$file".{jsonl.partial,csv,html}
        say "Stopped; call it again to go on"
        save_summary
        exit 130
    fi
    if ((code == 0)); then
        mv "$file.jsonl.partial" "$file.jsonl"
        state[$path]="done"
    else
        rm -f "$file".{jsonl.partial,csv}
        state[$path]=failed
        say "$(grep '^error: ' "$file.log" || cat "$file.log")"
    fi
    save_jobs
    save_summary
done
failed=0
for path in "${paths[@]}"; do
    [[ ${state[$path]} != failed ]] || failed=$((failed + 1))
done
say "$((${#paths[@]} - failed)) of ${#paths[@]} videos are scored; $failed failed. See $out/summary.csv"
((failed == 0))
