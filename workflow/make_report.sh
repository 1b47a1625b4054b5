#!/bin/sh
# Make results/<study>/report.html, unless nothing that it shows has changed since.
set -eu
folder=results/$1
if [ -f "$folder/report.html" ] && [ -z "$(find "$folder/tables" "$folder/figures" "$folder/claims.csv" -newer "$folder/report.html")" ]; then
    echo "$folder/report.html is up to date"
    exit 0
fi
snakemake --profile local --config "study=$1" --report "$folder/report.html"
