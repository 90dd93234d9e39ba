#!/bin/sh
# Makes the certificates of the tests anew: two authorities, and what they sign. Valid for a
# century, so that the tests do not depend on the date. Needs OpenSSL 3.
set -eu
cd "$(dirname "$0")"
rm -f ./*.pem ./*.key
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat > "$work/ca.conf" <<CONF
[ca]
default_ca = tests
[tests]
database = $work/index
new_certs_dir = $work
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
email_in_dn = no
[any]
commonName = supplied
CONF

# Signs the request in $work/request with the arguments' authority and extensions.
sign() {
    : > "$work/index"
    openssl ca -config "$work/ca.conf" -batch -notext -in "$work/request" \
        -startdate 20200101000000Z -enddate 21200101000000Z "$@"
}

request() {
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" \
        -keyout "$2" -out "$work/request"
}

authority() {
    request "$1" "$work/$1.key"
    printf 'basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n' > "$work/extensions"
    sign -selfsign -keyfile "$work/$1.key" -extfile "$work/extensions" -out "$1.pem"
}

# A certificate of an authority ($1) for a host ($2).
signed() {
    request "$2" "$1-$2.key"
    printf 'subjectAltName=DNS:%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$2" > "$work/extensions"
    sign -keyfile "$work/$1.key" -cert "$1.pem" -extfile "$work/extensions" -out "$1-$2.pem"
}

authority ours
authority theirs
signed ours localhost
signed ours emet.internal
signed theirs localhost
