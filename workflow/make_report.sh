#!/bin/sh
# make_report.sh <study> [<configuration>]: make results/<study>/report.html, unless nothing that it shows has changed since.
# The configuration is that of --configfile, where the study isn't one of config.yaml.
set -eu
folder=results/$1
if [ -f "$folder/report.html" ] && [ -z "$(find "$folder" \( -path "$folder/tables/*" -o -path "$folder/figures/*" -o -path "$folder/claims.csv" \) -newer "$folder/report.html")" ]; then
    echo "$folder/report.html is up to date"
    exit 0
fi
snakemake --profile local ${2:+--configfile "$2"} --config "study=$1" --report "$folder/report.html"
