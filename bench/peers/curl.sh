#!/usr/bin/env bash
# One page after the other with curl, a line for each session with jq. Says to where: URL, page size, file, users.
set -euo pipefail
url=$1 size=$2 out=$3
shift 3
headers=$(mktemp)
trap 'rm -f "$headers"' EXIT
for user in "$@"; do
  page=1
  while :; do
    curl -fsS -D "$headers" -H 'x-api-key: sandbox-key' \
      "$url/api/users/$user/sessions?page=$page&size=$size&sort=initiated_at%3A-1" |
      jq -c --arg user "$user" '.[] | {user_id: $user} + .' >> "$out"
    grep -qi '^x-pagination:.*"has_next":true' "$headers" || break
    page=$((page + 1))
  done
done
